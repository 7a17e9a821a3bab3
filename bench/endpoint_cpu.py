#!/usr/bin/env python
"""CPU time a worker spends on one request, by endpoint, and as a multiple of a bare relay.

    .venv/bin/python bench/endpoint_cpu.py
    .venv/bin/python bench/endpoint_cpu.py --only relay /v2/code/completions --requests 2000

Starts what it needs on loopback: a model server that answers at once, a bare relay (the same
server and HTTP client as the gateway's, and nothing else), and the gateway with one worker, as
`make serve` starts it. Each endpoint has its requests, 16 in flight, in turn, over several rounds;
printed is the median of the rounds. What counts is utime + stime of the gateway's processes.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import aiohttp
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

ROOT = Path(__file__).resolve().parent.parent
ISSUER, INSTANCE, USER, KEY_ID = "https://gitlab.bench", "instance-1", "user-1", "bench-key"
SCOPES = ["complete_code", "generate_code", "duo_chat", "explain_code", "documentation_search"]
IN_FLIGHT = 16
PIECES = 20
READY_WITHIN_S = 60

# --- The model server, which publishes the key of the tokens too ----------------------------------

TEXT = "Final Answer: " + "word " * (PIECES - 1)


def choice(stream: bool, chat: bool, text: str, finish: str | None = None) -> bytes:
    told: dict[str, Any] = {"text": text}
    if chat:
        told = {"delta" if stream else "message": {"role": "assistant", "content": text}}
    return json.dumps({"choices": [{"index": 0, "finish_reason": finish, **told}]}).encode()


def streamed(chat: bool) -> bytes:
    words = [word + " " for word in TEXT.split()]
    events = [choice(True, chat, word) for word in words]
    events += [choice(True, chat, "", "stop"), b"[DONE]"]
    return b"".join(b"data: " + event + b"\n\n" for event in events)


class ModelServer(asyncio.Protocol):
    """Answers chat and text completions, whole or streamed in one packet, and /keys."""

    def __init__(self, keys: bytes) -> None:
        self.keys, self.buffer = keys, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if not end or len(body) < int(length.split(b"\r\n")[0] or 0):
            return
        self.buffer = b""
        kind, answer = b"application/json", self.keys
        if b"/keys" not in head.split(b"\r\n")[0]:
            chat, stream = b"/chat/completions" in head, b'"stream":true' in body
            kind = b"text/event-stream" if stream else kind
            answer = streamed(chat) if stream else choice(False, chat, TEXT, "stop")
        line = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(line % (kind, len(answer)) + answer)


async def serve_models(keys: str) -> None:
    make: Callable[[], asyncio.Protocol] = lambda: ModelServer(keys.encode())  # noqa: E731
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# --- The bare relay -------------------------------------------------------------------------------


class Relay:
    """An ASGI application that passes every body on and every answer back."""

    def __init__(self, upstream: str) -> None:
        self.url = f"{upstream}/chat/completions"
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.session is None:
            self.session = aiohttp.ClientSession(auto_decompress=False)
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        async with self.session.post(self.url, data=body) as answer:
            kind = answer.headers["content-type"].encode()
            headers = [(b"content-type", kind)]
            start = {"type": "http.response.start", "status": answer.status, "headers": headers}
            await send(start)
            async for part in answer.content.iter_any():
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})


# --- What is asked --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One line of the table: where, what, and by whom it is asked."""

    name: str
    path: str
    body: Any = None
    method: str = "POST"
    status: int = 200
    of_relay: bool = False


_FILE = {
    "file_name": "area.py",
    "content_above_cursor": "def area(w, h):\n    return ",
    "content_below_cursor": "\n\nprint(area(2, 3))\n",
}
_CODE = {"prompt_version": 2, "prompt": None, "current_file": _FILE}
_GENERATION = {**_CODE, "prompt": "add a test", "prompt_id": "code_suggestions/generations"}
_MESSAGES = [{"role": "user", "content": "What is a merge request?"}]
_ABOUT = {"source": "GitLab EE", "version": "18.0.0"}
_ENVELOPE = {"type": "code_editor_completion", "payload": _FILE}
_STREAMED_ENVELOPE = {"type": "code_editor_completion", "payload": {**_FILE, "stream": True}}
_LEGACY = {"type": "prompt", "metadata": _ABOUT, "payload": {"content": "What is Git?"}}
_SEARCH = {"type": "search-docs", "metadata": _ABOUT, "payload": {"query": "create issue"}}
_EXPLAIN = {"input": "explain", "selected_text": "x = 1", "file_content": "", "language_info": ""}
_OPENAI = {"model": "duo_chat", "messages": _MESSAGES}
_STREAM = {"stream": True}

ENDPOINTS = [
    Endpoint("relay", "/", {"messages": _MESSAGES}, of_relay=True),
    Endpoint("relay, streamed", "/", {"messages": _MESSAGES, "stream": True}, of_relay=True),
    Endpoint("/monitoring/healthz", "/monitoring/healthz", method="GET"),
    Endpoint("unknown path (token alone)", "/v9/nothing", status=404),
    Endpoint("/v1/code/user_access_token", "/v1/code/user_access_token"),
    Endpoint("/v1/search/gitlab-docs", "/v1/search/gitlab-docs", _SEARCH),
    Endpoint("/v2/code/completions", "/v2/code/completions", _CODE),
    Endpoint("/v2/code/completions, streamed", "/v2/code/completions", _CODE | _STREAM),
    Endpoint("/v2/code/generations", "/v2/code/generations", _GENERATION),
    Endpoint("/v3/code/completions", "/v3/code/completions", {"prompt_components": [_ENVELOPE]}),
    Endpoint(
        "/v4/code/suggestions, streamed",
        "/v4/code/suggestions",
        {"prompt_components": [_STREAMED_ENVELOPE]},
    ),
    Endpoint("/v1/prompts/…", "/v1/prompts/chat%2Fexplain_code", {"inputs": _EXPLAIN}),
    Endpoint("/v1/chat/…", "/v1/chat/agent", {"prompt_components": [_LEGACY]}),
    Endpoint("/v2/chat/agent (streamed)", "/v2/chat/agent", {"messages": _MESSAGES}),
    Endpoint("/openai/v1/chat/completions", "/openai/v1/chat/completions", _OPENAI),
    Endpoint(
        "/openai/v1/chat/completions, streamed", "/openai/v1/chat/completions", _OPENAI | _STREAM
    ),
]


# --- Processes ------------------------------------------------------------------------------------


def cpu_s(session: int) -> float:
    """Return the CPU time so far of every process of a session, in seconds."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(*command: object, **options: Any) -> Any:
    """Run a command in a session of its own while the context lasts."""
    running = subprocess.Popen([*map(str, command)], start_new_session=True, **options)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(40)


def child(*arguments: object) -> Any:
    return process(sys.executable, __file__, "--child", *arguments, stdout=subprocess.PIPE)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            urlopen(url, timeout=5).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def prepare(models: str) -> None:
    """Make the database: one deployment, which answers every feature."""
    sys.path.insert(0, str(ROOT))
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)

    from feature_config.models import FeatureSetting
    from selfhosted_models.models import ModelDeployment

    deployment = ModelDeployment.objects.create(
        name="bench",
        family="general",
        serving_format="openai_chat",
        endpoints=[models],
        model_identifier="bench",
        max_in_flight=4 * IN_FLIGHT,
    )
    for setting in FeatureSetting.objects.all():
        setting.assign([deployment])


def key_set(key: RSAPrivateKey) -> str:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return json.dumps({"keys": [{**jwk, "kid": KEY_ID, "use": "sig", "alg": "RS256"}]})


def headers_of_rails(key: RSAPrivateKey) -> dict[str, str]:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "gitlab-ai-gateway", "sub": INSTANCE, "scopes": SCOPES}
    token = jwt.encode(
        {**claims, "iat": now, "exp": now + 3600}, key, "RS256", headers={"kid": KEY_ID}
    )
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "X-Gitlab-Authentication-Type": "oidc",
        "X-Gitlab-Instance-Id": INSTANCE,
        "X-Gitlab-Realm": "self-managed",
        "X-Gitlab-Global-User-Id": USER,
        "X-Gitlab-Version": "18.0.0",
    }


# --- Measuring ------------------------------------------------------------------------------------


async def ask(session: aiohttp.ClientSession, url: str, endpoint: Endpoint, requests: int) -> None:
    body = endpoint.body and json.dumps(endpoint.body, separators=(",", ":")).encode()
    left = iter(range(requests))

    async def work() -> None:
        for _ in left:
            async with session.request(endpoint.method, url, data=body) as answer:
                told = await answer.read()
                if answer.status != endpoint.status:
                    sys.exit(f"{endpoint.name} answered {answer.status}: {told[:300]!r}")

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


async def measure(
    endpoints: list[Endpoint],
    servers: dict[bool, tuple[str, int]],
    headers: dict[str, str],
    rounds: int,
    requests: int,
) -> AsyncIterator[tuple[Endpoint, float]]:
    """Yield an endpoint and its CPU µs per request, round after round."""
    async with aiohttp.ClientSession(headers=headers) as session:
        for number in range(rounds + 1):
            for endpoint in endpoints:
                base, server = servers[endpoint.of_relay]
                before = cpu_s(server)
                count = requests if number else 50  # the first round warms up
                await ask(session, base + endpoint.path, endpoint, count)
                if number:
                    yield endpoint, (cpu_s(server) - before) / count * 1e6


async def report(arguments: argparse.Namespace, servers: Any, headers: dict[str, str]) -> None:
    endpoints = [item for item in ENDPOINTS if not arguments.only or item.name in arguments.only]
    found: dict[str, list[float]] = {endpoint.name: [] for endpoint in endpoints}
    figures = measure(endpoints, servers, headers, arguments.rounds, arguments.requests)
    async for endpoint, cpu_us in figures:
        found[endpoint.name].append(cpu_us)
    medians = {name: statistics.median(values) for name, values in found.items()}
    relay = medians.get("relay")
    print("| | CPU µs per request | relays |\n|---|---|---|")
    for name, cpu_us in medians.items():
        print(f"| {name} | {cpu_us:,.0f} | {f'{cpu_us / relay:.1f}' if relay else '-'} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU per request of each endpoint.")
    parser.add_argument("--only", nargs="*", choices=[item.name for item in ENDPOINTS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=500, help="of each endpoint in a round")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, value, *port = arguments.child
        if kind == "models":
            asyncio.run(serve_models(value))
        else:
            uvicorn.run(
                Relay(value),
                port=int(port[0]),
                loop="uvloop",
                http="httptools",
                lifespan="off",
                log_level="warning",
                access_log=False,
            )
        return
    sys.path.insert(0, str(ROOT))
    from tests.services import free_port

    key = generate_private_key(65537, 2048)
    with ExitStack() as stack:
        models = stack.enter_context(child("models", key_set(key)))
        origin = f"http://127.0.0.1:{int(models.stdout.readline())}"
        data_dir = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        os.environ |= {
            "DATA_DIR": data_dir,
            "DATABASE_URL": f"sqlite:///{data_dir}/db.sqlite3",
            "DJANGO_SETTINGS_MODULE": "gateway.settings",
            "GATEWAY_TRUSTED_ISSUERS": f"{ISSUER}={origin}/keys",
            "UPSTREAM_ALLOWED_HOSTS": "127.0.0.1",
            "USER_REQUESTS_PER_MINUTE": "0",
            "USER_MAX_IN_FLIGHT": "0",
        }
        prepare(f"{origin}/v1")
        ports = [free_port(), free_port()]
        relay = stack.enter_context(child("relay", f"{origin}/v1", ports[0]))
        log = stack.enter_context((Path(data_dir) / "gateway.log").open("wb"))
        serve = [sys.executable, ROOT / "deploy/serve.py", "--port", ports[1]]
        gateway = stack.enter_context(process(*serve, stdout=log, stderr=log))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        wait_until_ready(f"{urls[0]}/")
        wait_until_ready(f"{urls[1]}/monitoring/healthz")
        servers = {True: (urls[0], relay.pid), False: (urls[1], gateway.pid)}
        asyncio.run(report(arguments, servers, headers_of_rails(key)))


if __name__ == "__main__":
    main()
