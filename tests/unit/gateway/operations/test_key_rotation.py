"""Stored keys are encrypted anew, one by one, and what still needs an older key is named."""

import json
import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from gateway.audit import Attribution, Origin
from gateway.checks import check_stored_keys
from gateway.configuration.history import newest_revision
from gateway.configuration.stored import read_configuration
from gateway.doctor.patient import Patient
from gateway.doctor.stores import check_encryption
from gateway.models import AuditRecord
from gateway.operations.key_rotation import plan_rotation, rotate_stored_keys
from gateway.probes.jobs import start_probe
from selfhosted_models.background_runs import RunState
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import ProbeKind
from selfhosted_models.secrets import SecretBox
from tests.factories import build_deployment, make_deployment

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


def doctors_words() -> str:
    """Return what doctor says of the older key."""
    patient = Patient(configuration=read_configuration(), is_database_usable=True)
    return [*check_encryption(patient)][-1].evidence


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


def test_node_does_not_start_without_a_key_that_is_in_use(rotating: Settings) -> None:
    assert check_stored_keys(databases=["default"]) == []
    rotating.ENCRYPTION_KEYS = [NEW]

    with pytest.raises(SystemCheckError, match=r"gateway\.E031.*: a, b\.") as refused:
        call_command("migrate", verbosity=0, skip_checks=False)

    assert "rotate_keys" in str(refused.value)


def test_key_that_is_lost_can_be_given_again_without_a_gateway(
    rotating: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotating.ENCRYPTION_KEYS = [NEW]
    file = tmp_path / "duo.yml"
    call_command("config", "export", str(file))
    lost = re.compile(r"api_key:\s*\{?\s*stored: \w+\}?")
    file.write_text(lost.sub("api_key: {env: GIVEN_AGAIN}", file.read_text()))
    monkeypatch.setenv("GIVEN_AGAIN", KEY)

    call_command("config", "apply", str(file))

    assert check_stored_keys(databases=["default"]) == []
    assert opens([NEW], "a")
    assert opens([NEW], "b")


def test_key_of_a_deployment_that_is_being_tried_is_rotated_too(rotating: Settings) -> None:
    rotating.ENCRYPTION_KEYS = [OLD]
    draft = build_deployment(name="tried", api_key=KEY)
    run = start_probe(ProbeKind.CHECK, draft, BY, is_stored=False)
    rotating.ENCRYPTION_KEYS = [NEW]
    assert "check" in str(check_stored_keys(databases=["default"])[0].msg)
    rotating.ENCRYPTION_KEYS = [NEW, OLD]
    assert "3 stored keys" in doctors_words()

    rotate_stored_keys(SecretBox(rotating.ENCRYPTION_KEYS), BY)

    assert "no stored key needs it" in doctors_words()
    run.refresh_from_db()
    asked = ModelDeployment(**run.draft)
    key = asked.decrypt_api_key(SecretBox([NEW]))
    assert key is not None
    assert key.equals(KEY)


def test_try_whose_key_is_lost_is_cancelled(
    rotating: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    rotating.ENCRYPTION_KEYS = [LOST]
    run = start_probe(
        ProbeKind.CHECK, build_deployment(name="tried", api_key=KEY), BY, is_stored=False
    )
    rotating.ENCRYPTION_KEYS = [NEW, OLD]

    with pytest.raises(CommandError, match="manage.py rotate_keys"):
        call_command("rotate_keys", "--check")
    call_command("rotate_keys")

    run.refresh_from_db()
    assert (run.state, "api_key_ciphertext" in run.draft) == (RunState.CANCELLED, False)
    assert "of tried: it was cancelled" in capsys.readouterr().out


def test_key_that_somebody_enters_meanwhile_is_not_overwritten(rotating: Settings) -> None:
    def enter(done: int, of: int) -> None:
        row = ModelDeployment.objects.get(name="b")
        row.set_api_key("sk-entered-meanwhile")
        row.save()

    found = rotate_stored_keys(SecretBox(rotating.ENCRYPTION_KEYS), BY, on_row=enter)

    key = ModelDeployment.objects.get(name="b").decrypt_api_key(SecretBox([NEW]))
    assert found.changed_meanwhile == ("b",)
    assert found.left == ("b",)
    assert key is not None
    assert key.equals("sk-entered-meanwhile")
