"""Single checks of `doctor`; the whole of it is in tests/e2e/test_doctor.py."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pytest_django import Settings

from docsearch.store import IndexStore
from feature_config.catalogue import Feature
from gateway.doctor import local
from gateway.doctor.checkup import examine, is_healthy
from gateway.doctor.findings import Finding, State, Told
from gateway.doctor.patient import Patient
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment
from tests.fakes.model_server import MODEL, ModelServer
from tests.unit.docsearch.pages import install

pytestmark = pytest.mark.django_db

KEY = "sk-canary-0123456789abcdef"


def nothing_resolves(_: str) -> tuple[str, ...]:
    return ()


def found(check: str, patient: Patient | None = None) -> list[Finding]:
    """Return what one check finds, after all that come before it."""
    examined = examine(patient or Patient(resolve=nothing_resolves))
    return [finding for finding in examined if finding.check == check]


def states(findings: list[Finding]) -> set[State]:
    return {finding.state for finding in findings}


def test_offline_nothing_is_dialled_whose_name_is_not_known(settings: Settings) -> None:
    # Sockets are refused to this test: a check that dialled would say that it ended with an error.
    settings.AIGW_GITLAB_URL = "https://gitlab.internal"
    settings.DOCS_REGISTRY_URL = "https://gitlab.internal/api/v4/projects/1/packages"
    assign(Feature.DUO_CHAT, make_deployment(endpoints=["https://llm.internal/v1"]))

    findings = [*examine(Patient(resolve=nothing_resolves))]

    by_check = {finding.check: finding for finding in findings}
    assert by_check["names"].state is State.FAILED
    assert "DNS" in by_check["names"].remedy
    assert by_check["tls"].state is State.SKIPPED
    for check in ("issuers", "model_servers"):
        assert "does not resolve" in by_check[check].evidence
    assert [item for item in findings if "ended with" in item.evidence] == [by_check["gateway"]]


def test_every_finding_that_is_bad_says_what_to_do() -> None:
    make_deployment(name="gpu1", endpoints=["http://llm.internal/v1"], api_key=KEY)

    for finding in examine(Patient(resolve=nothing_resolves)):
        is_bad = finding.state in {State.FAILED, State.WARNING}
        assert bool(finding.remedy) is is_bad, finding


def test_check_that_fails_unforeseen_does_not_end_the_examination() -> None:
    def broken(_: Patient) -> Iterator[Told]:
        yield Told(State.OK, "first", "seen")
        raise RuntimeError(KEY)

    def sound(_: Patient) -> Iterator[Told]:
        yield Told(State.OK, "second", "seen")

    findings = [*examine(Patient(), {"broken": broken, "sound": sound})]

    assert [finding.state for finding in findings] == [State.OK, State.FAILED, State.OK]
    assert not is_healthy(findings)
    assert KEY not in str(findings)


def test_secret_in_a_finding_is_masked(settings: Settings) -> None:
    settings.DOCS_REGISTRY_TOKEN = "canary-0123456789"

    def careless(_: Patient) -> Iterator[Told]:
        yield Told(
            State.FAILED, "canary-0123456789", "it is canary-0123456789", "canary-0123456789"
        )

    assert "canary-0123456789" not in str([*examine(Patient(), {"careless": careless})])


def test_encryption_key_that_is_still_needed_is_named(settings: Settings) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.ENCRYPTION_KEYS = [old]
    make_deployment(name="gpu1", api_key=KEY)
    settings.ENCRYPTION_KEYS = [new, old]
    needed = found("encryption")
    settings.ENCRYPTION_KEYS = [new]
    lost = found("encryption")

    (warned,) = [finding for finding in needed if finding.state is State.WARNING]
    assert "do not retire it" in warned.evidence
    assert warned.remedy == "Run: manage.py rotate_keys"
    assert states(lost) == {State.FAILED}


def test_certificate_is_looked_at_where_https_is_spoken(settings: Settings) -> None:
    assert states(found("tls")) == {State.SKIPPED}


@pytest.mark.enable_socket
def test_model_server_is_asked_as_requests_are(
    settings: Settings, model_server: ModelServer
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    make_deployment(
        name="gpu1",
        family="general",
        endpoints=[model_server.endpoint],
        model_identifier=MODEL,
    )

    (finding,) = found("model_servers")

    assert finding.state is State.OK
    assert model_server.exchanges[-1].path == "/v1/chat/completions"


@pytest.mark.enable_socket
def test_plain_text_server_dialled_by_https_is_told(
    settings: Settings, model_server: ModelServer
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    make_deployment(endpoints=[model_server.url.replace("http:", "https:") + "/v1"])

    (finding,) = found("tls")

    assert (finding.state, finding.evidence) == (State.FAILED, "does not speak TLS")


@pytest.mark.enable_socket
def test_loopback_that_is_not_allowed_is_told_with_its_setting(model_server: ModelServer) -> None:
    make_deployment(endpoints=[model_server.endpoint])

    (asked,) = found("model_servers")

    assert asked.state is State.FAILED
    assert "UPSTREAM_ALLOWED_HOSTS" in asked.evidence
    assert State.FAILED in states(found("egress"))


def test_feature_without_a_deployment_that_works_is_told() -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, deployment)
    ModelDeployment.objects.filter(pk=deployment.pk).update(is_active=False)

    assert State.FAILED in states(found("features"))


def test_public_place_is_told_and_not_dialled(settings: Settings) -> None:
    settings.AIGW_GITLAB_URL = "https://203.0.113.9"

    findings = found("egress")

    assert "outside the allowed networks" in findings[0].evidence


def test_folder_that_cannot_be_written_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "absent"

    told = [*local.check_disk(Patient())]

    assert told[0].state is State.FAILED


def test_file_that_others_can_read_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "db.sqlite3").touch(mode=0o644)

    (finding,) = found("permissions")

    assert finding.remedy == f"Run: chmod 600 {tmp_path / 'db.sqlite3'}"


def test_proxy_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")

    assert states(found("proxy")) == {State.WARNING}


def test_documentation_that_is_wanted_and_not_there_is_told(
    settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    assert states(found("docs_index")) == {State.SKIPPED}
    settings.GITLAB_VERSION = "17.4.0"

    assert states(found("docs_index")) == {State.FAILED}


@pytest.mark.skipif(bool(find_spec("tokenizers")), reason="the extra is installed")
def test_search_by_meaning_without_the_extra_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.DOCS_HYBRID = True
    install(IndexStore.below(tmp_path), tmp_path, boards="# Boards")

    (skipped,) = found("docs_index")
    (failed, *_) = found("settings")

    assert (skipped.state, failed.state) == (State.SKIPPED, State.FAILED)
    assert "DOCS_HYBRID is on" in failed.evidence
    assert "requirements-hybrid.txt" in skipped.evidence


def test_gateway_node_needs_no_database(settings: Settings, tmp_path: Path) -> None:
    settings.SERVING_CONFIG_URL = "http://config.internal"
    settings.DATA_DIR = tmp_path

    assert states(found("database")) == {State.SKIPPED}
    findings = found("configuration")
    assert {finding.state for finding in findings} == {State.FAILED, State.WARNING}
