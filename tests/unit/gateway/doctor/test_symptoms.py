"""Every row of the catalogue of what goes wrong in the field is staged, and told by its check."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest_django import Settings

from feature_config.catalogue import Feature
from gateway.doctor.checkup import CHECKS
from gateway.doctor.findings import State
from gateway.doctor.patient import Patient
from gateway.doctor.symptoms import SYMPTOMS, Symptom
from selfhosted_models.endpoints import parse_endpoint
from tests.certificates import self_signed
from tests.factories import assign, make_deployment
from tests.fakes.gitlab import GitLab
from tests.services import REPOSITORY, free_port
from tests.unit.gateway.doctor.staging import TlsServer, Vllm, found, nothing_resolves

CATALOGUE = REPOSITORY.parent / "shared" / "reference" / "admin-and-operations.md"


@dataclass
class Stage:
    """An installation in which all is well, until a symptom is staged.

    Attributes:
        endpoint: Of its deployment.
    """

    settings: Settings
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    servers: ExitStack
    endpoint: str = "http://10.0.4.11:8000/v1"
    patient: Patient = field(default_factory=Patient)

    def vllm(self) -> Vllm:
        self.settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]
        server = self.servers.enter_context(Vllm())
        self.endpoint = f"{server.url}/v1"
        return server

    def gitlab(self) -> GitLab:
        instance = self.servers.enter_context(GitLab())
        self.settings.AIGW_GITLAB_URL = instance.url
        return instance

    def deploy(self, **fields: object) -> None:
        given = {"name": "gpu1", "endpoints": [self.endpoint], **fields}
        assign(Feature.DUO_CHAT, make_deployment(**given))


@pytest.fixture
def stage(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: None
) -> Iterator[Stage]:
    settings.DATA_DIR = tmp_path
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with ExitStack() as servers:
        yield Stage(settings, tmp_path, monkeypatch, servers)


def url_without_v1(stage: Stage) -> None:
    server = stage.vllm()
    stage.deploy(endpoints=[server.url])


def other_served_name(stage: Stage) -> None:
    stage.vllm().served_name = "/models/some-model"
    stage.deploy()


def no_chat_template(stage: Stage) -> None:
    stage.vllm().has_chat_template = False
    stage.deploy()


def list_of_models_refused(stage: Stage) -> None:
    stage.vllm().refuses_lists = True
    stage.deploy()


def loopback(stage: Stage) -> None:
    stage.vllm()
    stage.settings.UPSTREAM_ALLOWED_HOSTS = []
    stage.deploy()


def no_gateway(stage: Stage) -> None:
    stage.patient.gateway_endpoint = parse_endpoint(f"http://127.0.0.1:{free_port()}")


def keys_are_an_error(stage: Stage) -> None:
    stage.gitlab().keys_fault = "error"


def no_keys(stage: Stage) -> None:
    stage.gitlab().keys_fault = "no_keys"


def login_page(stage: Stage) -> None:
    stage.gitlab().discovery_fault = "html"


def other_clock(stage: Stage) -> None:
    stage.gitlab().clock_ahead_s = -120


def no_name(stage: Stage) -> None:
    stage.settings.AIGW_GITLAB_URL = "https://gitlab.internal"
    stage.patient.resolve = nothing_resolves


def garbled_setting(stage: Stage) -> None:
    stage.settings.AIGW_SELF_SIGNED_JWT__SIGNING_KEY = "-----BEGIN"


def garbled_file(stage: Stage) -> None:
    (stage.folder / "signing_key.pem").write_bytes(b"\xff\x00")


def bad_bundle(stage: Stage) -> None:
    stage.settings.CA_BUNDLE = str(stage.folder / "absent.pem")


def unknown_authority(stage: Stage) -> None:
    server = stage.servers.enter_context(TlsServer(self_signed(stage.folder / "gpu1.pem")))
    stage.settings.AIGW_GITLAB_URL = server.url


def https_to_plain_text(stage: Stage) -> None:
    stage.settings.AIGW_GITLAB_URL = stage.gitlab().url.replace("http:", "https:")


def place_outside(stage: Stage) -> None:
    stage.settings.AIGW_GITLAB_URL = "https://203.0.113.9"


def nothing(_: Stage) -> None:
    pass


def read_only_folder(stage: Stage) -> None:
    (stage.folder / "file").touch()
    stage.settings.DATA_DIR = stage.folder / "file" / "data"


def file_of_somebody_else(stage: Stage) -> None:
    (stage.folder / "db.sqlite3").touch(mode=0o600)
    stage.patient.user_id += 1


def quiet_log(stage: Stage) -> None:
    stage.settings.LOG_LEVEL = "ERROR"


def small_context(stage: Stage) -> None:
    stage.deploy(context_tokens=64)


#: How they report it, what is staged, which check tells it, its state, and a part of what it says.
STAGED: list[tuple[str, Callable[[Stage], None], str, State, str]] = [
    ("404 from vLLM", url_without_v1, "model_servers", State.FAILED, "check the endpoint"),
    ("404 from vLLM", other_served_name, "model_servers", State.FAILED, "the model identifier"),
    ("404 from vLLM", no_chat_template, "model_servers", State.FAILED, "chat template"),
    ("Connection refused (GitLab log)", no_gateway, "gateway", State.FAILED, "cannot be reached"),
    ("401 in GitLab log", keys_are_an_error, "issuers", State.FAILED, "answered 500"),
    ("401 in GitLab log", other_clock, "clock", State.FAILED, "behind ours"),
    (
        'JWT signature verification failed; "no keys found in JWKS"',
        no_name,
        "names",
        State.FAILED,
        "does not resolve",
    ),
    (
        'JWT signature verification failed; "no keys found in JWKS"',
        no_keys,
        "issuers",
        State.FAILED,
        "no RSA signing key",
    ),
    (
        'JWT signature verification failed; "no keys found in JWKS"',
        login_page,
        "issuers",
        State.FAILED,
        "login page",
    ),
    ("JWK key de-serialisation error", garbled_setting, "settings", State.FAILED, "private RSA"),
    ("JWK key de-serialisation error", bad_bundle, "settings", State.FAILED, "CA_BUNDLE"),
    ("JWK key de-serialisation error", garbled_setting, "keys", State.FAILED, "private RSA"),
    ("JWK key de-serialisation error", unknown_authority, "tls", State.FAILED, "self-signed"),
    (
        "Token creation failed / 503 on direct_access",
        garbled_file,
        "keys",
        State.FAILED,
        "signing_key.pem",
    ),
    ("SSL verify failed: self-signed in chain", unknown_authority, "tls", State.FAILED, "refused"),
    ("TLS wrong version on agent token", https_to_plain_text, "tls", State.FAILED, "not speak TLS"),
    ("20 s extra on each request offline", no_name, "names", State.FAILED, "does not resolve"),
    ("20 s extra on each request offline", place_outside, "egress", State.WARNING, "outside"),
    (
        "Health check 401 while features work",
        list_of_models_refused,
        "model_servers",
        State.OK,
        "answered a question",
    ),
    (
        "Model not reachable at localhost",
        loopback,
        "model_servers",
        State.FAILED,
        "UPSTREAM_ALLOWED_HOSTS",
    ),
    ("Model not reachable at localhost", loopback, "egress", State.FAILED, "127.0.0.1"),
    ("Image platform does not match host", nothing, "settings", State.OK, " on "),
    (
        "Read-only `/tmp`, permission denied in cache",
        read_only_folder,
        "disk",
        State.FAILED,
        "cannot be written",
    ),
    (
        "Read-only `/tmp`, permission denied in cache",
        file_of_somebody_else,
        "permissions",
        State.FAILED,
        "belongs to user",
    ),
    ("No logs in gateway", quiet_log, "settings", State.WARNING, "LOG_LEVEL is ERROR"),
    ("Feature button missing", nothing, "features", State.WARNING, "nothing is chosen"),
    (
        "Agent features fail with a generic error",
        small_context,
        "features",
        State.WARNING,
        "a context of 64 tokens",
    ),
    ("Direct connection failed in IDE", no_gateway, "gateway", State.FAILED, "cannot be reached"),
]


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("break_it", "check", "state", "words"),
    [
        pytest.param(break_it, check, *told, id=f"{told_as}: {break_it.__name__} by {check}")
        for told_as, break_it, check, *told in STAGED
    ],
)
def test_symptom_is_told_by_its_check(
    stage: Stage, break_it: Callable[[Stage], None], check: str, state: State, words: str
) -> None:
    break_it(stage)

    findings = found(check, stage.patient)

    told = [item for item in findings if words in f"{item.evidence} {item.remedy}"]
    assert [item.state for item in told] == [state], findings


def test_each_check_of_each_symptom_is_staged() -> None:
    staged = {(told_as, check) for told_as, _, check, *_ in STAGED}

    assert staged == {(symptom.told_as, check) for symptom in SYMPTOMS for check in symptom.checks}


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda symptom: symptom.told_as)
def test_symptom_has_a_check_or_a_reason(symptom: Symptom) -> None:
    assert set(symptom.checks) <= set(CHECKS)
    assert symptom.checks or symptom.remark.startswith(("cannot occur: ", "cannot be seen from"))


def test_no_row_of_the_catalogue_is_left_out() -> None:
    if not CATALOGUE.exists():
        pytest.skip(f"{CATALOGUE} is not here")
    section = CATALOGUE.read_text().partition("## 12.")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]

    assert [symptom.told_as for symptom in SYMPTOMS] == rows[2:]


def test_page_for_operators_names_every_symptom_with_its_checks() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text()

    for symptom in SYMPTOMS:
        checks = ", ".join(f"`{check}`" for check in symptom.checks) or "none"
        assert f"| {symptom.told_as} | {checks} | {symptom.remark} |" in page
