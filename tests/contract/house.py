"""A gateway as operators run it, with its two neighbours, and what Rails sends it."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fakes.gitlab import SERVICE_NAME, GitLab, rsa_key
from tests.fakes.model_server import Exchange, ModelServer, Script
from tests.gateway_process import Gateway, gateway

USER_ID = "user-1c2d"
OWN_KEY, SECOND_OWN_KEY, STRANGER = -1, -2, -3  # as in `tests.fakes.gitlab.rsa_key`
SCOPES = ("complete_code", "generate_code", "duo_chat")

_bases = itertools.count(1)


def pem_of(key: int) -> str:
    data = rsa_key(key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data.decode()


@dataclass(frozen=True, slots=True)
class House:
    """The gateway, the GitLab instance in front of it, and the model servers behind it."""

    gateway: Gateway
    gitlab: GitLab
    models: ModelServer
    client: httpx.Client

    def token(self, *scopes: str, **claims: Any) -> str:
        return self.gitlab.mint(scopes or SCOPES, **claims)

    def own_token(self, *scopes: str, key: int = OWN_KEY, **claims: Any) -> str:
        """Return a token as the gateway issues it to a user."""
        own = {"iss": SERVICE_NAME, "sub": USER_ID, **claims}
        return self.gitlab.mint(scopes or ("complete_code",), key=key, header={"kid": None}, **own)

    def headers(self, token: str | None = "", **changes: str | None) -> dict[str, str]:
        """Return what Rails sends; "" is a good token, None is none."""
        return self.gitlab.headers(self.token() if token == "" else token, **changes)

    def post(
        self, path: str, body: Any = None, *, token: str | None = "", **headers: str | None
    ) -> httpx.Response:
        return self.client.post(path, json=body, headers=self.headers(token, **headers))


@dataclass(frozen=True, slots=True)
class Model:
    """One model server of a test's own."""

    server: ModelServer
    name: str
    endpoint: str

    def answers(self, *scripts: Script) -> "Model":
        self.server.path(self.name, *scripts)
        return self

    @property
    def asked(self) -> list[Exchange]:
        return self.server.exchanges_at(self.name)

    @property
    def last(self) -> Exchange:
        return self.asked[-1]


def new_model(server: ModelServer, name: str = "") -> Model:
    name = name or f"model-{next(_bases)}"
    return Model(server, name, server.path(name))


@contextmanager
def house(folder: Path, gitlab: GitLab, models: ModelServer, policy: str) -> Iterator[House]:
    """Run a gateway with this GATEWAY_MODEL_METADATA while the context lasts."""
    with (
        gateway(
            folder,
            AIGW_GITLAB_URL=gitlab.url,
            AIGW_SELF_SIGNED_JWT__SIGNING_KEY=pem_of(OWN_KEY),
            AIGW_SELF_SIGNED_JWT__VALIDATION_KEY=pem_of(SECOND_OWN_KEY),
            GATEWAY_MODEL_METADATA=policy,
            # All tests are one user to it, and many let their model server fail.
            USER_MAX_IN_FLIGHT="0",
            USER_REQUESTS_PER_MINUTE="0",
            BREAKER_FAILURES="0",
        ) as process,
        httpx.Client(base_url=process.url, timeout=30) as client,
    ):
        yield House(process, gitlab, models, client)


def file(**changes: Any) -> dict[str, Any]:
    return {
        "file_name": "cart.rb",
        "content_above_cursor": "def total\n  items.sum ",
        "content_below_cursor": "\nend\n",
        **changes,
    }


def completion(model: Model | None = None, **changes: Any) -> dict[str, Any]:
    """Return the body of a completion as Rails sends it, by a model of its own if given."""
    body: dict[str, Any] = {
        "prompt_version": 2,
        "prompt": None,
        "project_path": "shop/cart",
        "project_id": 41,
        "current_file": file(),
        "stream": False,
        "choices_count": 0,
        "telemetry": [],
        "context": [],
    }
    return body | (_named(model) if model else {}) | changes


def generation(model: Model | None = None, **changes: Any) -> dict[str, Any]:
    """Return the body of a generation as Rails sends it."""
    changes = {"prompt_id": "code_suggestions/generations", **changes}
    return completion(model, **{"prompt": "sum up the cart", **changes})


def metadata(model: Model, **changes: Any) -> dict[str, Any]:
    """Return `model_metadata` as Rails sends it."""
    named = {"provider": "openai", "name": "mistral", "endpoint": model.endpoint}
    return {**named, "api_key": "key-beta", "identifier": "custom_openai/house-model", **changes}


def _named(model: Model) -> dict[str, Any]:
    return {
        "model_provider": "litellm",
        "model_name": "codegemma",
        "model_endpoint": model.endpoint,
        "model_api_key": "key-alpha",
        "model_identifier": "",
    }
