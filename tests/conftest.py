"""Fixtures for all tests: no sockets in unit tests, real services, and the two fakes."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest
from django.apps import apps
from django.db import connection
from django.db.models.signals import post_migrate
from pytest_django import DjangoDbBlocker
from pytest_socket import disable_socket, enable_socket

from tests import services
from tests.fakes.gitlab import GitLab
from tests.fakes.model_server import ModelServer

# How long an example takes says nothing on a machine that does other things besides.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

UNIT_TESTS = Path(__file__).parent / "unit"
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


def unavailable(reason: str) -> NoReturn:
    """Skip the test for lack of something outside the repository; in CI that is a failure."""
    if IN_CI:
        pytest.fail(f"{reason} (in CI nothing may be missing)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> list[str]:
    """Take the triggers off that keep the history append-only, and return their SQL.

    They would refuse what empties the tables after a test with transactions of its own.
    """
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = dict(cursor.fetchall())
        for name in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        _give_roles_again_whenever_tables_are_emptied()
    return list(triggers.values())


def _give_roles_again_whenever_tables_are_emptied() -> None:
    """Restore what migrations wrote; Django tells of an emptied database as of a migrated one."""
    groups = apps.get_model("auth", "Group").objects
    permissions = apps.get_model("auth", "Permission").objects
    rights = permissions.values_list("content_type__app_label", "codename")
    roles = {group.name: set(rights.filter(group=group)) for group in groups.all()}

    def give_again(**_: object) -> None:
        for name, granted in roles.items():
            group, _created = groups.get_or_create(name=name)
            for label, codename in granted:
                found = permissions.filter(content_type__app_label=label, codename=codename)
                group.permissions.add(*found)

    *_, last = apps.get_app_configs()  # by then the permissions of all are there
    post_migrate.connect(give_again, sender=last, weak=False)


@pytest.fixture(autouse=True)
def _no_sockets_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse TCP sockets below tests/unit, except to tests marked `enable_socket`."""
    is_unit_test = UNIT_TESTS in request.path.parents
    if not is_unit_test or request.node.get_closest_marker("enable_socket"):
        yield
        return
    disable_socket(allow_unix_socket=True)  # every event loop has a pair of them
    yield
    enable_socket()


def run_service(
    start: Callable[[Path], AbstractContextManager[str]], data_dir: Path
) -> Iterator[str]:
    """Yield the URL of a service of `tests.services`; skip when its wheel is missing."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(start(data_dir))
        except services.WheelMissing as error:
            unavailable(str(error))
        yield url


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A DATABASE_URL of a real PostgreSQL, shared by all tests: make a database of your own."""
    yield from run_service(services.postgres, tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A REDIS_URL of a real Valkey, shared by all tests: use keys of your own."""
    yield from run_service(services.valkey, tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="session")
def small_llm_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL, ending in /v1, of a real small LLM."""
    yield from run_service(services.small_llm, tmp_path_factory.mktemp("small_llm"))


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A scriptable model server. A unit test that uses it is marked `enable_socket`."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    """A GitLab instance that signs tokens. A unit test that uses it is marked `enable_socket`."""
    with GitLab() as instance:
        yield instance
