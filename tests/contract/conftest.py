"""One gateway for each way of treating the caller's model, for all contract tests.

No test changes a gateway's configuration, so they are shared; each test has a model server of its
own, or one of the registered ones.
"""

from collections.abc import Iterator

import pytest

from tests.contract.house import House, Model, house, new_model
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer

#: What is registered where models are matched or ignored; base paths of the model server.
DEPLOYMENTS = [
    {"name": "gemma", "family": "codegemma-7b-it", "serving_format": "openai_text"},
    {"name": "mixtral", "family": "mixtral-8x7b-instruct", "serving_format": "openai_chat"},
    {"name": "chat", "family": "general", "serving_format": "openai_chat"},
]
FEATURES: dict[str, list[str] | str] = {
    "code_completions": ["gemma"],
    "duo_chat": ["chat"],
    "discussion_summary": "inactive",
}


@pytest.fixture(scope="session")
def gitlab_instance() -> Iterator[GitLab]:
    with GitLab() as instance:
        yield instance


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def _configured(built: House) -> House:
    built.gateway.apply(
        [
            {
                **deployment,
                "endpoints": [built.models.path(deployment["name"])],
                "model_identifier": f"{deployment['name']}-model",
                "api_key": f"stored-key-of-{deployment['name']}",
            }
            for deployment in DEPLOYMENTS
        ],
        FEATURES,
    )
    return built


@pytest.fixture(scope="session")
def allowing(
    gitlab_instance: GitLab, models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Uses the endpoint and key a caller names; nothing is registered or assigned."""
    folder = tmp_path_factory.mktemp("allowing")
    with house(folder, gitlab_instance, models, "allow") as built:
        yield built


@pytest.fixture(scope="session")
def registering(
    gitlab_instance: GitLab, models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Matches the model a caller names with `DEPLOYMENTS`."""
    folder = tmp_path_factory.mktemp("registering")
    with house(folder, gitlab_instance, models, "registered") as built:
        yield _configured(built)


@pytest.fixture(scope="session")
def ignoring(
    gitlab_instance: GitLab, models: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Does not read the model a caller names; `DEPLOYMENTS` answer."""
    folder = tmp_path_factory.mktemp("ignoring")
    with house(folder, gitlab_instance, models, "ignore") as built:
        yield _configured(built)


@pytest.fixture
def model(models: ModelServer) -> Model:
    """A model server of the test's own, which no gateway knows."""
    return new_model(models)
