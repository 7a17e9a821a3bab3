"""A bundle says enough to help, and holds no secret and nothing users said."""

import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from docsearch.models import UnansweredQuestion
from feature_config.catalogue import Feature
from gateway.operations.support_bundle import PARTS, BundleRefused, make_bundle
from tests.factories import assign, make_deployment

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


def test_bundle_with_the_words_of_a_user_is_refused(db: None) -> None:
    words = "how do I reset the password of my deploy key"
    UnansweredQuestion.objects.create(
        question=words,
        outcome="nothing_found",
        times=1,
        first_asked_at=timezone.now(),
        last_asked_at=timezone.now(),
    )
    make_deployment(name=words)

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
