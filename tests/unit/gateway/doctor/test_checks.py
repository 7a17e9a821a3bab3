"""Single checks of `doctor`; the whole of it is in tests/e2e/test_doctor.py."""

import io
import time
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier
from typing import Any

import orjson
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from docsearch.store import IndexStore
from feature_config.catalogue import Feature
from gateway.authentication.verifier import LEEWAY_S
from gateway.configuration.node import FILE_NAME
from gateway.configuration.serving_exports import (
    ServingExport,
    export_data,
    sign,
    signing_key_from_settings,
)
from gateway.configuration.stored import read_configuration
from gateway.doctor.checkup import CHECKS, examine, is_healthy
from gateway.doctor.findings import Finding, State, Told
from gateway.doctor.network import CLOCK_WARNING_S
from gateway.doctor.patient import Patient
from gateway.doctor.stores import OLD_COPY_S
from selfhosted_models.endpoints import parse_endpoint
from selfhosted_models.models import ModelDeployment
from tests.certificates import self_signed
from tests.factories import assign, make_deployment
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.gitlab import GitLab
from tests.fakes.loopback import (
    Connection,
    LoopbackServer,
    Request,
    json_body,
    send_whole,
)
from tests.fakes.model_server import MODEL, ModelServer, Script
from tests.fakes.search_engine import SearchEngineServer
from tests.services import REPOSITORY
from tests.unit.docsearch.pages import install
from tests.unit.gateway.doctor.staging import IMPATIENT, TlsServer, found, nothing_resolves
from tests.unit.gateway.signing import weak_key

pytestmark = pytest.mark.django_db

KEY = "sk-canary-0123456789abcdef"


def states(findings: list[Finding]) -> set[State]:
    return {finding.state for finding in findings}


# --- The whole ------------------------------------------------------------------------------------


def test_hops_are_looked_at_from_near_to_far() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    words = {
        "settings": "settings",
        "database": "database",
        "migrations": "migrations",
        "configuration": "configuration",
        "redis": "Redis",
        "worker": "a Celery worker",
        "names": "names",
        "clock": "clocks",
        "keys": "keys",
        "encryption": "what is encrypted with which key",
        "issuers": "the issuers' keys",
        "tls": "certificates",
        "proxy": "proxies",
        "model_servers": "model servers",
        "features": "features",
        "docs_index": "documentation index",
        "disk": "disk",
        "permissions": "permissions",
        "egress": "egress",
        "gateway": "the gateway itself",
    }
    sentence = page.partition("in this order: ")[2].partition("Each row")[0]

    assert [*words] == [*CHECKS]
    at = 0
    for word in words.values():
        at = sentence.index(word, at) + len(word)


def test_offline_nothing_is_dialled_whose_name_is_not_known(settings: Settings) -> None:
    # Sockets are refused to this test: a check that dialled would say that it ended with an error.
    settings.AIGW_GITLAB_URL = "https://gitlab.internal"
    settings.DOCS_REGISTRY_URL = "https://gitlab.internal/api/v4/projects/1/packages"
    settings.REDIS_URL = "redis://cache.internal:6379/0"
    assign(Feature.DUO_CHAT, make_deployment(endpoints=["https://llm.internal/v1"]))

    findings = [*examine(Patient(resolve=nothing_resolves))]

    by_check = {finding.check: finding for finding in findings}
    assert by_check["names"].state is State.FAILED
    assert "DNS" in by_check["names"].remedy
    for check in ("worker", "tls"):
        assert by_check[check].state is State.SKIPPED
    for check in ("redis", "issuers", "model_servers"):
        assert "does not resolve" in by_check[check].evidence
    assert [item for item in findings if "ended with" in item.evidence] == [by_check["gateway"]]


def test_every_finding_that_is_bad_says_what_to_do() -> None:
    make_deployment(name="gpu1", endpoints=["http://llm.internal/v1"], api_key=KEY)

    for finding in examine(Patient(resolve=nothing_resolves)):
        is_bad = finding.state in {State.FAILED, State.WARNING}
        assert bool(finding.remedy) is is_bad, finding


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENCRYPTION_KEYS", ["SENTINEL"]),
        ("SERVING_CONFIG_SIGNING_KEY", "SENTINEL"),
        ("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "SENTINEL"),
        ("CA_BUNDLE", "/no/such/file.pem"),
        ("SERVING_CONFIG_URL", "nonsense"),
        ("AIGW_GITLAB_URL", "nonsense"),
        ("GATEWAY_TRUSTED_ISSUERS", ["nonsense"]),
        ("UPSTREAM_ALLOWED_CIDRS", ["nonsense"]),
        ("REDIS_URL", "redis://:SENTINEL@cache:port/0"),
        ("DOCS_SEARCH_URL", "nonsense"),
        ("DOCS_REGISTRY_URL", "nonsense"),
        ("DOCS_SIGNING_KEY", "SENTINEL"),
        ("GITLAB_VERSION", "latest"),
        ("IS_DATABASE_URL_KNOWN", False),
    ],
)
def test_wrong_setting_is_told_once_and_never_as_a_bug(
    settings: Settings, tmp_path: Path, name: str, value: Any
) -> None:
    settings.DATA_DIR = tmp_path
    assign(Feature.DUO_CHAT, make_deployment(endpoints=["https://llm.internal/v1"]))
    setattr(settings, name, value)

    findings = [*examine(Patient(resolve=nothing_resolves), without("gateway"))]

    assert State.FAILED in states([item for item in findings if item.check == "settings"])
    assert "please report it" not in str(findings)
    assert "SENTINEL" not in str(findings)
    assert [*dict.fromkeys(finding.check for finding in findings)] == [*without("gateway")]


@pytest.mark.enable_socket
@pytest.mark.parametrize("check", ["issuers", "gateway"])
def test_what_needs_a_wrong_setting_is_skipped(
    settings: Settings, gitlab: GitLab, check: str
) -> None:
    settings.AIGW_GITLAB_URL = gitlab.url
    settings.CA_BUNDLE = "/no/such/file.pem"

    (finding,) = found(check, Patient())

    assert finding.state is State.SKIPPED
    assert "CA_BUNDLE cannot be used" in finding.evidence


def without(*names: str) -> dict[str, Any]:
    return {name: check for name, check in CHECKS.items() if name not in names}


def test_check_that_fails_unforeseen_does_not_end_the_examination() -> None:
    def broken(_: Patient) -> Iterator[Told]:
        yield Told(State.OK, "first", "seen")
        raise RuntimeError(KEY)

    def without_database(_: Patient) -> Iterator[Told]:
        yield Told(State.OK, "second", "seen")
        raise DatabaseError(KEY)

    def sound(_: Patient) -> Iterator[Told]:
        yield Told(State.OK, "third", "seen")

    checks = {"broken": broken, "without_database": without_database, "sound": sound}
    findings = [*examine(Patient(), checks)]

    ok, failed = State.OK, State.FAILED
    assert [finding.state for finding in findings] == [ok, failed, ok, failed, ok]
    assert "went away" in findings[3].evidence
    assert not is_healthy(findings)
    assert KEY not in str(findings)


def test_secret_in_a_finding_is_masked(settings: Settings) -> None:
    settings.DOCS_REGISTRY_TOKEN = "canary-0123456789"

    def careless(_: Patient) -> Iterator[Told]:
        yield Told(
            State.FAILED, "canary-0123456789", "it is canary-0123456789", "canary-0123456789"
        )

    assert "canary-0123456789" not in str([*examine(Patient(), {"careless": careless})])


@pytest.mark.enable_socket
def test_each_row_is_told_as_it_is_found_and_what_is_waited_for_before(
    settings: Settings, model_server: ModelServer
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    slow = model_server.path("slow", Script(stall="before_headers"))
    make_deployment(name="gpu1", endpoints=[slow, model_server.endpoint], model_identifier=MODEL)
    waited: list[str] = []
    checks = {name: CHECKS[name] for name in ("database", "configuration", "model_servers")}
    findings = examine(Patient(on_wait=waited.append), checks)

    quick = next(finding for finding in findings if finding.check == "model_servers")
    assert quick.subject == f"gpu1 at {model_server.endpoint}"
    assert f"gpu1 at {slow}" in waited[-1]
    model_server.wait_for_request(base="slow").release()
    (last,) = findings

    assert (last.subject, last.state) == (f"gpu1 at {slow}", State.OK)
    assert waited[-1] == f"gpu1 at {slow}"


def test_names_are_looked_up_all_at_once(settings: Settings) -> None:
    hosts = [f"llm{number}.internal" for number in range(10)]
    make_deployment(endpoints=[f"http://{host}/v1" for host in hosts])
    together = Barrier(len(hosts))

    def nobody_knows(_: str) -> tuple[str, ...]:
        together.wait(10)  # passes once all of them are asked for
        return ()

    findings = found("names", Patient(resolve=nobody_knows))

    assert [finding.subject for finding in findings] == hosts


@pytest.mark.enable_socket
def test_network_that_swallows_packets_is_told_of_each_hop(
    settings: Settings, model_server: ModelServer
) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
    with FaultProxy(model_server.url) as hole:
        hole.break_with("black_hole")
        settings.AIGW_GITLAB_URL = hole.url
        settings.REDIS_URL = hole.url.replace("http:", "redis:")
        make_deployment(endpoints=[f"{hole.url}/v1", hole.url.replace("http:", "https:")])
        gateway = parse_endpoint(hole.url)

        findings = [*examine(Patient(patience=IMPATIENT, gateway_endpoint=gateway))]

    failed = {finding.check: finding for finding in findings if finding.state is State.FAILED}
    for check in ("issuers", "model_servers", "gateway"):
        assert "did not accept a connection in time" in failed[check].evidence
    assert "Timeout" in failed["redis"].evidence
    assert "cannot be reached" in failed["tls"].evidence
    assert model_server.exchanges == []


# --- Settings, keys and this machine --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("AIGW_SELF_SIGNED_JWT__SIGNING_KEY", "no token can be issued"),
        ("SERVING_CONFIG_SIGNING_KEY", "no gateway node takes a new configuration"),
    ],
)
def test_garbled_key_is_told_with_what_goes_without_it(
    settings: Settings, name: str, says: str
) -> None:
    locked = BestAvailableEncryption(b"password")
    pem = weak_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked).decode()
    for garbled in (pem, pem[:100], "-----BEGIN PRIVATE KEY-----"):
        setattr(settings, name, garbled)

        (failed,) = [item for item in found("keys") if item.state is State.FAILED]

        assert name in failed.remedy
        assert says in failed.remedy


def test_keys_that_are_not_made_yet_stay_so(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.ENCRYPTION_KEYS = []

    findings = found("keys")

    assert states(findings) == {State.SKIPPED}
    assert all("first starts" in finding.evidence for finding in findings)
    assert [*tmp_path.iterdir()] == []


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


@pytest.mark.parametrize(
    ("free_gib", "state"), [(3, State.OK), (1, State.WARNING), (0.1, State.FAILED)]
)
def test_disk_that_is_nearly_full_is_told(free_gib: float, state: State) -> None:
    findings = found("disk", Patient(free_bytes=lambda _: int(free_gib * 1024**3)))

    assert states(findings) == {state}


def test_file_that_others_can_read_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "db.sqlite3").touch(mode=0o644)

    (finding,) = found("permissions")

    assert finding.remedy == f"Run: chmod 600 {tmp_path / 'db.sqlite3'}"


def test_proxy_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")

    assert states(found("proxy")) == {State.WARNING}


# --- Database and configuration -------------------------------------------------------------------


def test_migration_that_is_missing_or_of_a_newer_version_is_told() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_applied("gateway", "9999_of_tomorrow")
    (newer,) = found("migrations")
    last = max(name for app, name in recorder.applied_migrations() if app == "docsearch")
    recorder.record_unapplied("docsearch", last)
    (missing,) = found("migrations")

    assert (newer.state, newer.evidence.rpartition(" ")[2]) == (
        State.WARNING,
        "gateway.9999_of_tomorrow",
    )
    assert missing.state is State.FAILED
    assert f"docsearch.{last}" in missing.evidence
    assert missing.remedy == "Run: manage.py migrate"


def test_gateway_node_needs_no_database(settings: Settings, tmp_path: Path) -> None:
    settings.SERVING_CONFIG_URL = "http://config.internal"
    settings.DATA_DIR = tmp_path

    assert states(found("database")) == {State.SKIPPED}
    findings = found("configuration")
    assert {finding.state for finding in findings} == {State.FAILED, State.WARNING}


class ConfigurationNode(LoopbackServer):
    """Hands out a signed configuration."""

    signed: str

    async def respond(self, request: Request, connection: Connection) -> None:
        send_whole(connection, json_body({"signed": self.signed}), headers={"ETag": '"7"'})


@pytest.mark.enable_socket
@pytest.mark.parametrize(("age_s", "state"), [(60, State.OK), (OLD_COPY_S + 60, State.WARNING)])
def test_gateway_node_asks_the_configuration_node_and_looks_at_its_copy(
    settings: Settings, tmp_path: Path, age_s: int, state: State
) -> None:
    make_deployment(name="gpu1", api_key=KEY)
    settings.DATA_DIR = tmp_path
    signed = sign(export_data(ServingExport(read_configuration(), 7)), signing_key_from_settings())
    copy = {"signed": signed, "etag": "7", "confirmed_at": time.time() - age_s}
    (tmp_path / FILE_NAME).write_bytes(orjson.dumps(copy))
    with ConfigurationNode() as node:
        node.signed = signed
        settings.SERVING_CONFIG_URL = node.url
        patient = Patient()

        asked, kept = found("configuration", patient)

    assert (asked.state, kept.state) == (State.OK, state)
    assert patient.snapshot is not None
    assert [*patient.snapshot.deployments] == ["gpu1"]


def test_feature_without_a_deployment_that_works_is_told() -> None:
    deployment = make_deployment()
    assign(Feature.DUO_CHAT, deployment)
    ModelDeployment.objects.filter(pk=deployment.pk).update(is_active=False)

    assert State.FAILED in states(found("features"))


# --- The network ----------------------------------------------------------------------------------


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
@pytest.mark.parametrize(
    ("skew_s", "state"),
    [
        (0, State.OK),
        (CLOCK_WARNING_S + 5, State.WARNING),
        (-CLOCK_WARNING_S - 5, State.WARNING),
        (LEEWAY_S + 5, State.FAILED),
        (-LEEWAY_S - 5, State.FAILED),
    ],
)
def test_clock_of_gitlab_is_compared(
    settings: Settings, gitlab: GitLab, skew_s: int, state: State
) -> None:
    settings.AIGW_GITLAB_URL = gitlab.url
    gitlab.clock_ahead_s = skew_s

    (finding,) = found("clock")

    assert (finding.subject, finding.state) == ("clock of GitLab", state)


def test_certificate_is_looked_at_where_https_is_spoken(settings: Settings) -> None:
    assert states(found("tls")) == {State.SKIPPED}


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("certificate", "is_trusted", "state", "says"),
    [
        ({}, True, State.OK, "is trusted"),
        ({}, False, State.FAILED, "self-signed certificate"),
        ({"good_for": timedelta(days=10)}, True, State.WARNING, "good for 9 days"),
        ({"good_for": timedelta(days=-1)}, True, State.FAILED, "expired"),
        ({"address": "127.0.0.2"}, True, State.FAILED, "mismatch"),
    ],
)
def test_certificate_is_judged(
    settings: Settings,
    tmp_path: Path,
    certificate: dict[str, Any],
    is_trusted: bool,
    state: State,
    says: str,
) -> None:
    pem = tmp_path / "gitlab.pem"
    with TlsServer(self_signed(pem, **certificate)) as server:
        settings.AIGW_GITLAB_URL = server.url
        settings.CA_BUNDLE = str(pem) if is_trusted else ""

        (finding,) = found("tls")

    assert (finding.state, says in finding.evidence) == (state, True), finding


def test_public_place_is_told_and_not_dialled(settings: Settings) -> None:
    settings.AIGW_GITLAB_URL = "https://203.0.113.9"

    findings = found("egress")

    assert "outside the allowed networks" in findings[0].evidence


class Gateway(LoopbackServer):
    """Answers whether it is ready."""

    status = 200

    async def respond(self, request: Request, connection: Connection) -> None:
        send_whole(connection, b"{}", status=self.status)


@pytest.mark.enable_socket
@pytest.mark.parametrize(("status", "state"), [(200, State.OK), (503, State.FAILED)])
def test_gateway_is_asked_whether_it_is_ready(status: int, state: State) -> None:
    with Gateway() as gateway:
        gateway.status = status

        (finding,) = found("gateway", Patient(gateway_endpoint=parse_endpoint(gateway.url)))

    assert finding.state is state


# --- The documentation ----------------------------------------------------------------------------


def test_documentation_that_is_wanted_and_not_there_is_told(
    settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    assert states(found("docs_index")) == {State.SKIPPED}
    settings.GITLAB_VERSION = "17.4.0"

    assert states(found("docs_index")) == {State.FAILED}


@pytest.mark.parametrize(
    ("wanted", "state"), [("", State.OK), ("17.4.2", State.OK), ("17.9.0", State.WARNING)]
)
def test_documentation_of_another_version_is_told(
    settings: Settings, tmp_path: Path, wanted: str, state: State
) -> None:
    settings.DATA_DIR = tmp_path
    settings.GITLAB_VERSION = wanted
    install(IndexStore.below(tmp_path), tmp_path, version="17.4.0", boards="# Issue boards")

    assert states(found("docs_index")) == {state}


@pytest.mark.skipif(bool(find_spec("tokenizers")), reason="the extra is installed")
def test_search_by_meaning_without_the_extra_is_told(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.DOCS_HYBRID = True
    install(IndexStore.below(tmp_path), tmp_path, boards="# Boards")

    (skipped,) = found("docs_index")
    (failed,) = [item for item in found("settings") if item.state is State.FAILED]

    assert skipped.state is State.SKIPPED
    assert "DOCS_HYBRID is on" in failed.evidence
    assert "requirements-hybrid.txt" in skipped.evidence


@pytest.mark.enable_socket
def test_search_engine_is_asked_in_place_of_an_index(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("opensearchpy", reason="the extra of requirements-opensearch.txt")
    settings.DATA_DIR = tmp_path
    settings.GITLAB_VERSION = ""
    install(IndexStore.below(tmp_path), tmp_path, version="17.4.0", boards="# Issue boards")
    with SearchEngineServer() as engine:
        settings.DOCS_SEARCH_URL, settings.DOCS_SEARCH_TOKEN = engine.url, engine.token
        (empty,) = found("docs_index")
        call_command("load_docs_index", stdout=io.StringIO())
        (loaded,) = found("docs_index")
        settings.DOCS_SEARCH_TOKEN = "another:secret"
        (refused,) = found("docs_index")
    (away,) = found("docs_index")
    settings.DOCS_SEARCH_URL = "http://search.internal:9200"
    (unknown,) = found("docs_index")

    assert (empty.state, empty.remedy) == (State.FAILED, "Run: manage.py load_docs_index")
    assert (loaded.state, "17.4.0" in loaded.evidence) == (State.OK, True)
    assert "DOCS_SEARCH_TOKEN" in refused.evidence
    assert "cannot be reached" in away.evidence
    assert "does not resolve" in unknown.evidence
