import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from selfhosted_models.models import Fingerprint
from tests.factories import make_deployment
from tests.fakes.model_server import MODEL, ModelServer, Script

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]

NOBODY = "http://127.0.0.1:1/v1"


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Settings) -> None:
    settings.UPSTREAM_ALLOWED_HOSTS = ["127.0.0.1"]


def run(*arguments: str) -> tuple[str, int]:
    """Return what is printed, and the exit status."""
    out = io.StringIO()
    try:
        call_command("probe", *arguments, stdout=out, stderr=out, no_color=True)
    except SystemExit as ended:
        return out.getvalue(), int(ended.code or 0)
    return out.getvalue(), 0


def run_json(*arguments: str) -> tuple[list[dict[str, Any]], int]:
    told, status = run("--json", *arguments)
    return [json.loads(line) for line in told.splitlines()], status


def deploy(url: str, name: str = "gpu1", **fields: Any) -> None:
    make_deployment(name=name, family="general", endpoints=[url], model_identifier=MODEL, **fields)


# --- Cheap checks --------------------------------------------------------------------------------


def test_endpoints_that_answer_exit_0(model_server: ModelServer) -> None:
    deploy(model_server.endpoint)

    told, status = run()

    assert status == 0
    assert told.startswith(f"gpu1  {model_server.endpoint}  ok  ")
    assert [exchange.path for exchange in model_server.exchanges] == ["/v1/models"]


def test_one_that_does_not_exits_1_and_says_what_to_do(model_server: ModelServer) -> None:
    deploy(model_server.endpoint)
    deploy(NOBODY, "gpu2")
    deploy(model_server.path("locked", Script.error(401, "zebra-7")), "gpu3", api_key="sk-canary")

    told, status = run()

    assert status == 1
    assert f"gpu2  {NOBODY}  refused" in told
    assert "check that the server runs" in told
    assert "auth_failed" in told
    assert "check its API key" in told
    assert "zebra" not in told
    assert "sk-canary" not in told


def test_json_is_one_object_a_line(model_server: ModelServer) -> None:
    deploy(model_server.endpoint)
    deploy(NOBODY, "gpu2")

    (first, second), status = run_json()

    assert status == 1
    assert first["took_ms"] >= 0
    assert (first["deployment"], first["outcome"], first["message"]) == ("gpu1", "ok", "")
    assert (second["endpoint"], second["outcome"]) == (NOBODY, "refused")


def test_only_those_named_are_asked_even_inactive_ones(model_server: ModelServer) -> None:
    deploy(NOBODY)
    deploy(model_server.endpoint, "gpu2", is_active=False)

    assert [line["deployment"] for line in run_json("gpu2")[0]] == ["gpu2"]
    assert [line["deployment"] for line in run_json()[0]] == ["gpu1"]


def test_a_key_that_cannot_be_decrypted_is_told() -> None:
    deploy(NOBODY, api_key_ciphertext="not a token")

    (told,), status = run_json()

    assert (told["outcome"], status) == ("auth_failed", 1)


def test_nothing_registered_is_no_failure() -> None:
    told, status = run()

    assert status == 0
    assert "add one in the admin" in told


# --- The full measurement ------------------------------------------------------------------------


def test_a_measurement_is_told_and_stored(model_server: ModelServer) -> None:
    deploy(model_server.endpoint)

    told, status = run("--fingerprint")

    assert status == 0
    assert "gpu1  streaming              yes  The answer came in" in told
    assert f"gpu1  fingerprint {Fingerprint.objects.get().digest}" in told


def test_a_measurement_for_machines_ends_with_the_fingerprint(model_server: ModelServer) -> None:
    deploy(model_server.endpoint)
    run("--fingerprint")
    model_server.answer_with(Script(usage=None))

    (*findings, last), status = run_json("gpu1", "--fingerprint", "--timeout", "60")

    assert status == 0
    assert findings[0]["trait"] == "reachable"
    assert last["differences"]["stream_usage"] == [True, False]
    assert last["facts"]["chat"] is True


def test_a_measurement_of_a_server_that_is_away_exits_1() -> None:
    deploy(NOBODY)

    told, status = run("--fingerprint")

    assert status == 1
    assert "check that the server runs" in told
    assert not Fingerprint.objects.exists()


# --- A URL ---------------------------------------------------------------------------------------


def test_a_url_is_explained(model_server: ModelServer) -> None:
    told, status = run("--url", f"{model_server.url}/v1/chat/completions")

    assert status == 0
    assert f"Register it as {model_server.endpoint}." in told
    assert f"{MODEL}: serving_format openai_chat, family general" in told


def test_a_url_for_machines(model_server: ModelServer) -> None:
    (told,), status = run_json("--url", model_server.url)

    assert status == 0
    assert told["outcome"] == "ok"
    assert told["corrected_url"] == model_server.endpoint
    assert told["suggestions"][0]["model_identifier"] == MODEL


def test_the_key_for_a_url_is_read_from_the_environment(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-canary")

    told, _ = run("--url", model_server.url, "--key-env", "A_KEY")

    assert model_server.exchanges[0].headers["authorization"] == "Bearer sk-canary"
    assert "sk-canary" not in told


def test_a_url_without_a_model_server_exits_1() -> None:
    told, status = run("--url", NOBODY)

    assert status == 1
    assert told.startswith("refused  The server at http://127.0.0.1:1 cannot be reached")


# --- Misuse --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gpu9"], "There is no deployment gpu9. There is: gpu1."),
        (["--timeout", "0"], "--timeout is 0 to 3600 seconds"),
        (["--timeout", "nan"], "--timeout is 0 to 3600 seconds"),
        (["--url", NOBODY, "gpu1"], "Give --url, or"),
        (["--url", NOBODY, "--fingerprint"], "Give --url, or"),
        (["--key-env", "A_KEY"], "--key-env goes with --url"),
        (["--url", NOBODY, "--key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is not set"),
    ],
    ids=str,
)
def test_misuse_exits_2_and_says_what_to_do(arguments: list[str], message: str) -> None:
    deploy(NOBODY)

    with pytest.raises(CommandError, match=message) as caught:
        run(*arguments)

    assert caught.value.returncode == 2
