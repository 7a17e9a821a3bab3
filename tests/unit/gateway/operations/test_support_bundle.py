"""A bundle says enough to help, and holds no secret and nothing users said."""

import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from docsearch.models import UnansweredQuestion
from docsearch.store import IndexStore
from feature_config.catalogue import Feature
from gateway.models import LoggedRequest
from gateway.operations.support_bundle import PARTS, BundleRefused, make_bundle
from selfhosted_models.models import EndpointHealth
from tests.factories import assign, make_deployment
from tests.unit.docsearch.pages import install

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEY = "canary0123456789abcdef"


def files_of(bundle: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_bundle_says_what_is_what(db: None) -> None:
    assign(Feature.DUO_CHAT, make_deployment(name="gpu1", endpoints=["http://127.0.0.1:9/v1"]))

    files = files_of(make_bundle(NOW))

    assert set(files) == {"MANIFEST.md", *PARTS}
    assert all(f"| {name} |" in files["MANIFEST.md"] for name in PARTS)
    assert "gpu1" in files["configuration.yml"]
    assert json.loads(files["explanations.json"])["duo_chat"]["way"]
    assert json.loads(files["versions.json"])["packages"]["Django"]
    assert not [name for name, text in files.items() if "not_available" in text]


def test_no_secret_is_in_it(settings: Settings) -> None:
    settings.DOCS_REGISTRY_TOKEN = "token-canary-0123456789"
    make_deployment(name="gpu1", api_key=KEY)

    everything = "".join(files_of(make_bundle(NOW)).values())

    secrets = [KEY, settings.DOCS_REGISTRY_TOKEN, settings.SECRET_KEY, *settings.ENCRYPTION_KEYS]
    secrets.append(settings.DOCS_SIGNING_KEY.splitlines()[1])
    assert not [secret for secret in secrets if secret in everything]


def test_key_that_was_put_where_it_does_not_belong_is_masked(db: None) -> None:
    make_deployment(name="gpu1", api_key=KEY, model_identifier=f"model-{KEY}")

    files = files_of(make_bundle(NOW))

    assert "model-***" in files["configuration.yml"]


@pytest.mark.parametrize(
    "words",
    [
        "how do I reset the password of my deploy key",
        'how do "deploy keys" of my group expire',
        "how do I\n\nreset\tthe password of my key",
        "wo finde ich die Schlüssel für unsere Läufer",
    ],
)
def test_bundle_with_the_words_of_a_user_is_refused(db: None, words: str) -> None:
    UnansweredQuestion.objects.create(
        question=words,
        outcome="nothing_found",
        times=1,
        first_asked_at=timezone.now(),
        last_asked_at=timezone.now(),
    )
    make_deployment(name="gpu1", model_identifier=words)

    with pytest.raises(BundleRefused, match="what a user said") as told:
        make_bundle(NOW)

    assert words not in str(told.value)


def test_command_writes_for_the_owner_alone_and_overwrites_nothing(
    db: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle.zip"
    call_command("support_bundle", "--output", str(path))

    assert path.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out.strip() == str(path)
    with pytest.raises(CommandError) as told:
        call_command("support_bundle", "--output", str(path))
    assert told.value.returncode == 2


def ended(outcome: str, at: datetime) -> LoggedRequest:
    return LoggedRequest(
        ended_at=at,
        route="/openai/v1/chat/completions",
        status=504,
        ending="failed",
        outcome=outcome,
        feature="duo_chat",
        deployment="gpu1",
        attempts=1,
        queued_ms=0,
        total_ms=1,
    )


def test_bundle_counts_errors_and_tells_states_and_indexes(
    db: None, settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    EndpointHealth.objects.create(
        deployment=make_deployment(name="gpu1", endpoints=["http://127.0.0.1:9/v1"]),
        url="http://127.0.0.1:9/v1",
        state="down",
        reason="refused",
        since=NOW,
        heard_at=NOW,
    )
    LoggedRequest.objects.bulk_create(
        [
            ended("upstream_timeout", NOW),
            ended("upstream_timeout", NOW),
            ended("upstream_timeout", NOW - timedelta(days=2)),
            ended("ok", NOW),
        ]
    )
    install(IndexStore.below(tmp_path), tmp_path, board="# Boards")

    files = files_of(make_bundle(NOW))

    (counted,) = json.loads(files["errors.json"])
    assert (counted["outcome"], counted["times"]) == ("upstream_timeout", 2)
    (state,) = json.loads(files["states.json"])["now"]
    assert (state["deployment"], state["state"]) == ("gpu1", "down")
    assert json.loads(files["revisions.json"])[0]["digest"]
    assert json.loads(files["documentation.json"])[0]["gitlab_version"] == "17.4.0"


def test_bundle_is_made_while_the_database_cannot_be_asked(db: None) -> None:
    with connection.execute_wrapper(_refuse):
        files = files_of(make_bundle(NOW))

    assert set(files) == {"MANIFEST.md", *PARTS}
    assert "the database cannot be used" in files["configuration.yml"]
    assert "the database cannot be used" in files["errors.json"]
    assert json.loads(files["settings.json"])["DATA_DIR"]
    assert json.loads(files["doctor.json"])


def _refuse(*_: object) -> NoReturn:
    raise OperationalError("gone")
