"""What every path of the gateway shares: ids, CORS, the order of checks, errors."""

from typing import Any

import httpx
import orjson
import pytest

from feature_config.catalogue import Feature
from gateway.inbound.handler import GatewayHandler
from gateway.snapshot import empty_snapshot
from tests.unit.gateway.asgi import Answer, Client
from tests.unit.gateway.parts import (
    ModelServer,
    prompts,
    runtime,
    serving,
    snapshot,
    text_answer,
)
from tests.unit.gateway.signing import headers, mint

COMPLETIONS = "/v2/code/completions"
BODY: dict[str, Any] = {
    "prompt_version": 2,
    "current_file": {
        "file_name": "a.py",
        "content_above_cursor": "x = ",
        "content_below_cursor": "\n",
    },
}


def client(model_server: ModelServer | None = None) -> Client:
    """Return a client of a gateway whose `model_server` answers code completions."""
    serves = snapshot([serving()], {Feature.CODE_COMPLETIONS: ["codegemma-gpu1"]})
    return Client(GatewayHandler(runtime(model_server or ModelServer(text_answer("1")), serves)))


def signed(**changes: str | None) -> dict[str, str]:
    return headers(mint(), **changes)


# --- On every response ---------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["corr-42", "a", "A.b_c-9", "x" * 128])
async def test_request_id_comes_back_unchanged(sent: str) -> None:
    answer = await client().get("/monitoring/healthz", {"X-Request-ID": sent})

    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a\u00e9", "a,b", "<script>", "a/b"])
async def test_odd_request_id_is_replaced(sent: str | None) -> None:
    answer = await client().get("/monitoring/healthz", {"X-Request-ID": sent} if sent else {})

    assert len(answer.headers["x-request-id"]) == 32
    assert int(answer.headers["x-request-id"], 16)


@pytest.mark.parametrize(
    ("method", "path", "authorised", "status"),
    [
        ("GET", "/monitoring/healthz", False, 200),
        ("POST", COMPLETIONS, False, 401),
        ("POST", "/nowhere", True, 404),
        ("GET", COMPLETIONS, True, 405),
        ("POST", COMPLETIONS, True, 422),
    ],
)
async def test_every_answer_has_the_common_headers(
    method: str, path: str, authorised: bool, status: int
) -> None:
    sent = signed() if authorised else {}

    answer = await client().call(method, path, {**sent, "Origin": "https://ide.example.com"}).run()

    assert answer.status == status
    assert float(answer.headers["x-process-time"]) >= 0
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-gitlab-duo-configuration"] == snapshot().version
    assert answer.headers["content-length"] == str(len(answer.body))


async def test_without_an_origin_there_is_no_cors_header() -> None:
    answer = await client().get("/monitoring/healthz")

    assert "access-control-allow-origin" not in answer.headers


# --- Probes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/livez", {}),
        ("/readyz", {"configuration": snapshot().version, "configuration_age_s": 0.0}),
    ],
)
async def test_probes_need_no_token(path: str, body: dict[str, str]) -> None:
    answer = await client().get(path)

    assert (answer.status, orjson.loads(answer.body)) == (200, body)


async def test_worker_without_a_configuration_lives_and_is_not_ready() -> None:
    empty = Client(
        GatewayHandler(runtime(ModelServer(text_answer("1")), empty_snapshot(prompts())))
    )

    live, ready = await empty.get("/livez"), await empty.get("/readyz")

    assert (live.status, ready.status) == (200, 503)
    assert "check the database" in ready.body.decode()
    assert "x-gitlab-duo-configuration" not in ready.headers


# --- CORS preflight ------------------------------------------------------------------------------


async def preflight(method: str, **more: str) -> Answer:
    asked = {"Origin": "https://ide.example.com", "Access-Control-Request-Method": method, **more}
    return await client().call("OPTIONS", COMPLETIONS, asked).run()


async def test_preflight_for_post_needs_no_token() -> None:
    answer = await preflight("POST", **{"Access-Control-Request-Headers": "x-one, authorization"})

    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert answer.headers["access-control-max-age"] == "600"
    assert answer.headers["access-control-allow-headers"] == "x-one, authorization"


@pytest.mark.parametrize("method", ["DELETE", "PUT", "GET", "post"])
async def test_preflight_for_another_method_is_refused(method: str) -> None:
    answer = await preflight(method)

    assert (answer.status, answer.text) == (400, "Disallowed CORS method")


async def test_options_without_an_origin_is_no_preflight() -> None:
    answer = await client().call("OPTIONS", COMPLETIONS).run()

    assert answer.status == 401


# --- The order of checks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v9/nothing"),
        ("POST", "/v9/nothing"),
        ("GET", COMPLETIONS),
        ("POST", f"{COMPLETIONS}/"),
        ("GET", "/metrics"),
        ("POST", "/openai/v1/nothing"),
    ],
)
async def test_without_a_token_no_path_tells_whether_it_exists(method: str, path: str) -> None:
    answer = await client().call(method, path).run()

    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize("path", ["/v9/nothing", "/metrics", "/v2/\0", "//", "/v2/%2e%2e", "/é"])
async def test_unknown_path_is_not_found(path: str) -> None:
    answer = await client().post(path, signed())

    assert answer.status == 404
    assert answer.json["detail"] == "Not Found"


async def test_null_byte_in_a_prompt_id_is_an_unknown_prompt() -> None:
    answer = await client().post("/v1/prompts/chat/\0", signed(), json={"inputs": {}})

    assert (answer.status, answer.json["detail"]) == (404, "Prompt 'chat/\0' not found")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
async def test_other_methods_are_told_which_one_there_is(method: str) -> None:
    answer = await client().call(method, COMPLETIONS, signed()).run()

    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json["detail"] == "Method Not Allowed"


async def test_probe_takes_get_only_and_no_token() -> None:
    answer = await client().post("/monitoring/healthz")

    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", [COMPLETIONS, "/v2/completions", "/v2/code/generations"])
async def test_final_slash_is_redirected(path: str) -> None:
    answer = await client().post(f"{path}/", signed(), json=BODY)

    assert (answer.status, answer.headers["location"]) == (307, path)


async def test_final_slash_belongs_to_a_prompt_id() -> None:
    answer = await client().post(
        "/v1/prompts/model_configuration/check/", signed(), json={"inputs": {}}
    )

    assert answer.json["detail"] == "Prompt 'model_configuration/check/' not found"


async def test_bad_body_is_told_before_a_missing_scope() -> None:
    sent = headers(mint(scopes=[]))

    answer = await client().post(COMPLETIONS, sent, json={"prompt_version": 2})

    assert answer.status == 422


# --- Errors --------------------------------------------------------------------------------------


async def test_model_servers_words_are_never_passed_on() -> None:
    told = httpx.Response(500, json={"error": {"message": "SENTINEL at /srv/models"}})

    answer = await client(ModelServer(told)).post(COMPLETIONS, signed(), json=BODY)

    assert answer.status == 503
    assert answer.json["detail"] == "Inference failed"
    assert "SENTINEL" not in answer.text + repr(answer.headers)


async def test_bug_is_a_plain_500() -> None:
    bug = ModelServer(ZeroDivisionError("SENTINEL"))

    answer = await client(bug).post(COMPLETIONS, signed(), json=BODY)

    assert (answer.status, answer.text) == (500, "Internal Server Error")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-request-id"]


async def test_openai_paths_have_openais_envelope() -> None:
    answer = await client().post("/openai/v1/chat/completions", {})

    assert answer.status == 401
    assert answer.json["error"]["type"] == "authentication_error"
    assert answer.json["error"]["message"] == "No authorization header presented"


async def test_bug_before_the_body_is_a_500_with_its_event() -> None:
    broken = runtime(ModelServer(), snapshot([serving()], {}))
    broken.trust = None  # type: ignore[assignment] # stands for any bug of ours in there

    answer = await Client(GatewayHandler(broken)).post(COMPLETIONS, signed())

    assert (answer.status, answer.body) == (500, b"Internal Server Error")
