import pytest
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Settings) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
