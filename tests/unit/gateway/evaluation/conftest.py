from pathlib import Path
from typing import Any

import pytest

from feature_config.catalogue import Feature
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment
from tests.fakes.model_server import ModelServer

SUITE = """
version: 1.0.0
feature: git_suggestions
bar: 0.6
checks: {mentions: [git]}
cases:
  - {id: undo, inputs: {prompt: undo my last commit}, checks: {fences: 1}}
  - {id: list, inputs: {prompt: list branches}, checks: {fences: 1}}
  - {id: stash, inputs: {prompt: stash my work}, checks: {fences: 1}}
"""


@pytest.fixture
def suite_path(tmp_path: Path) -> Path:
    """A suite of a site's own, with three cases that an answer with a fenced `git` passes."""
    path = tmp_path / "ours.yml"
    path.write_text(SUITE)
    return path


@pytest.fixture
def deployment(model_server: ModelServer, settings: Any, db: None) -> ModelDeployment:
    """A deployment of the scripted server, one request at a time, that answers Git suggestions."""
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    found = make_deployment(
        name="first", endpoints=[model_server.endpoint], max_in_flight=1, family="general"
    )
    assign(Feature.GIT_SUGGESTIONS, found)
    return found
