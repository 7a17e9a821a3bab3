from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache

from gateway.audit import Attribution, Origin
from gateway.rest.api_tokens import create_api_token
from gateway.rest.scopes import Scope
from tests.unit.gateway.rest.api import Api

BY = Attribution("operator", Origin.COMMAND)


@pytest.fixture(autouse=True)
def _no_requests_counted_yet() -> Iterator[None]:
    """The limits of clients are kept in the process's cache."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def api_of(db: None) -> Callable[..., Api]:
    """Return a client with a token of these scopes."""

    def make(*scopes: Scope, name: str = "rails") -> Api:
        return Api(create_api_token(name, scopes, BY))

    return make


@pytest.fixture
def api(api_of: Callable[..., Api]) -> Api:
    """A client that may do everything."""
    return api_of(*Scope)
