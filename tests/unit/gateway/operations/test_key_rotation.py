"""Stored keys are encrypted anew, one by one, and what still needs an older key is named."""

import json

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from pytest_django import Settings

from gateway.audit import Attribution, Origin
from gateway.checks import check_stored_keys
from gateway.configuration.history import newest_revision
from gateway.models import AuditRecord
from gateway.operations.key_rotation import plan_rotation, rotate_stored_keys
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db

KEY = "sk-canary-0123456789abcdef"
OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))
BY = Attribution("operator", Origin.COMMAND)


@pytest.fixture
def rotating(settings: Settings) -> Settings:
    """Two deployments whose keys the old key encrypts; the new one is first by now."""
    settings.ENCRYPTION_KEYS = [OLD]
    make_deployment(name="a", api_key=KEY)
    make_deployment(name="b", api_key=KEY)
    make_deployment(name="without a key")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    return settings


def opens(keys: list[str], name: str) -> bool:
    row = ModelDeployment.objects.get(name=name)
    return SecretBox(keys).key_number_of(row.api_key_ciphertext) is not None


def test_after_a_rotation_the_old_key_can_go(rotating: Settings) -> None:
    before = newest_revision()
    done = rotate_stored_keys(SecretBox(rotating.ENCRYPTION_KEYS), BY)

    assert (done.rotated, done.current, done.left) == (2, 0, ())
    row = ModelDeployment.objects.get(name="a")
    key = row.decrypt_api_key(SecretBox([NEW]))
    assert key is not None
    assert key.equals(KEY)
    assert newest_revision() == before  # the keys themselves are as they were
    assert AuditRecord.objects.latest("number").action == "encryption_keys.rotated"


def test_interrupted_rotation_goes_on_where_it_stopped(rotating: Settings) -> None:
    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    box = SecretBox(rotating.ENCRYPTION_KEYS)
    with pytest.raises(KeyboardInterrupt):
        rotate_stored_keys(box, BY, on_row=interrupt)
    assert (opens([NEW], "a"), opens([NEW], "b")) == (True, False)

    done = rotate_stored_keys(box, BY)

    assert (done.rotated, done.current) == (1, 1)
    assert opens([NEW], "b")


def test_plan_writes_nothing(rotating: Settings) -> None:
    assert plan_rotation(SecretBox(rotating.ENCRYPTION_KEYS)).rotated == 2
    assert not opens([NEW], "a")


def test_command_says_what_is_left(rotating: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    rotating.ENCRYPTION_KEYS = [LOST]
    make_deployment(name="of a lost key", api_key=KEY)
    rotating.ENCRYPTION_KEYS = [NEW, OLD]

    with pytest.raises(CommandError, match="of a lost key") as told:
        call_command("rotate_keys")

    assert told.value.returncode == 1
    assert "2 encrypted anew" in capsys.readouterr().out
    assert "Do not remove" in str(told.value)


def test_check_tells_and_changes_nothing(
    rotating: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="manage.py rotate_keys"):
        call_command("rotate_keys", "--check", "--json")
    assert json.loads(capsys.readouterr().out)["rotated"] == 2

    call_command("rotate_keys")
    call_command("rotate_keys", "--check")

    assert "may be removed" in capsys.readouterr().out


def test_key_that_was_retired_too_early_is_told_at_every_start(rotating: Settings) -> None:
    assert check_stored_keys(databases=["default"]) == []
    rotating.ENCRYPTION_KEYS = [NEW]

    (message,) = check_stored_keys(databases=["default"])

    assert message.id == "gateway.W003"
    assert "a, b" in message.msg
