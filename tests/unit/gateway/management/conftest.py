from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections
from pytest_django import Settings

from tests.command_lines import furnish
from tests.factories import make_deployment


@pytest.fixture
def furnished(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: None
) -> Path:
    """An installation where every line gets as far as a network that is not there."""
    furnish(tmp_path)
    settings.DATA_DIR = tmp_path
    settings.AIGW_GITLAB_URL = "http://127.0.0.1:9"
    make_deployment(name="gpu1", endpoints=["http://127.0.0.1:9/v1"], api_key="a-key")
    User.objects.create(username="alice")
    # Each command would take the test's database along when it ends.
    monkeypatch.setattr(connections, "close_all", lambda: None)
    return tmp_path
