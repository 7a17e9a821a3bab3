"""Compare HTTP clients as the outbound side of a relay: cost, and survival of cancellation.

    python bench/http_clients.py                       # every candidate that is installed
    python bench/http_clients.py --only aiohttp httpx --rounds 5

Uses what is installed of aiohttp, httpx, httpx-aiohttp, httpx2 and uvloop. All traffic is loopback,
to an upstream of its own; upstream and candidates each run in a process of their own, and the
rounds are interleaved (A B C, A B C, ...). The phases:

unary    POSTs of 1 KB answered with 1 KB, 32 in flight for 2 s: requests/s and CPU us per request.
stream   server-sent events, 100 chunks 5 ms apart, 16 in flight for 2 s: CPU us per chunk.
churn    20 tasks cancel requests at random moments (waiting for a connection, for the headers, for
         a chunk) for --churn seconds on a pool of 5 connections. Then: how many of 5 plain requests
         succeed with a pool timeout of 1 s, how many of 5 streams can be held at once, and how many
         connections the upstream still sees (up to 5 idle ones may stay; more have leaked).

Figures are medians over the rounds. Judge by CPU time and by ratios within one run.
"""

import argparse
import asyncio
import importlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from typing import Any, cast

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 960}]}).encode()
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"tok "}}],"model":"m"}\n\n'
FRAME = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNARY = b'{"text":"' + b"x" * 1000 + b'"}'
CHURN_PATHS = ["/unary", "/stream/8/5/10"]
CHURN_DELAYS = [0.003, 0.02, 0.06]

Close = Callable[[], Awaitable[object]]
Call = Callable[[str], Awaitable[tuple[AsyncIterator[bytes], Close]]]


class Upstream(asyncio.Protocol):
    """Answers /unary, /open (its open connections) and /stream/CHUNKS/MS-BETWEEN/MS-BEFORE."""

    connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.buffer = cast(asyncio.Transport, transport), b""
        self.task: asyncio.Task[None] | None = None
        Upstream.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        Upstream.connections -= 1
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        _, _, length = head.lower().partition(b"content-length:")
        if not end or len(body) < int(length.split(b"\r\n")[0] or 0):
            return
        self.buffer = b""
        path = head.split(b" ")[1]
        if path.startswith(b"/stream/"):
            chunks, gap, before = (int(part) for part in path.split(b"/")[2:])
            self.task = asyncio.ensure_future(self.stream(chunks, gap / 1000, before / 1000))
            return
        answer = b"%d" % (Upstream.connections - 1) if path == b"/open" else UNARY
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)
        )

    async def stream(self, chunks: int, gap: float, before: float) -> None:
        await asyncio.sleep(before)
        self.transport.write(STREAM_HEAD)
        for _ in range(chunks):
            self.transport.write(FRAME)
            await asyncio.sleep(gap)
        self.transport.write(b"0\r\n\r\n")


async def upstream() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def httpx_call(limit: int, module: str, adapter: str, with_client: bool) -> Call:
    httpx = importlib.import_module(module)
    limits = httpx.Limits(max_connections=limit, keepalive_expiry=15)
    timeout = httpx.Timeout(10, pool=1)
    make = importlib.import_module(adapter).AiohttpTransport if adapter else None
    transport = (make or httpx.AsyncHTTPTransport)(limits=limits, trust_env=False)
    if with_client:
        client = httpx.AsyncClient(transport=transport, trust_env=False, timeout=timeout)
        request, send = client.build_request, partial(client.send, stream=True)
    else:
        request = partial(httpx.Request, extensions={"timeout": timeout.as_dict()})
        send = transport.handle_async_request

    async def call(url: str) -> tuple[AsyncIterator[bytes], Close]:
        response = await send(request("POST", url, headers=HEADERS, content=BODY))
        chunks = response.aiter_raw() if with_client else aiter(response.stream)
        return chunks, response.aclose

    return call


def aiohttp_call(limit: int) -> Call:
    aiohttp = importlib.import_module("aiohttp")
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=15),
        timeout=aiohttp.ClientTimeout(connect=1, sock_connect=10, sock_read=10),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )

    async def call(url: str) -> tuple[AsyncIterator[bytes], Close]:
        response = await session.post(url, data=BODY, headers=HEADERS, allow_redirects=False)
        return response.content.iter_any(), partial(response.__aexit__, None, None, None)

    return call


# name: module, its adapter to aiohttp, whether the module's client sits on top of the transport
CANDIDATES = {
    "aiohttp": ("aiohttp", "", True),
    "httpx": ("httpx", "", True),
    "httpx + httpx-aiohttp": ("httpx", "httpx_aiohttp", True),
    "httpx-aiohttp, no client": ("httpx", "httpx_aiohttp", False),
    "httpx2": ("httpx2", "", True),
    "httpx2 + httpx-aiohttp": ("httpx2", "httpx_aiohttp.httpx2", True),
}


def build(name: str, limit: int) -> Call:
    return aiohttp_call(limit) if name == "aiohttp" else httpx_call(limit, *CANDIDATES[name])


def missing(name: str) -> list[str]:
    parts = (part for part in CANDIDATES[name][:2] if part)
    return [part for part in parts if not (find_spec(part.split(".")[0]) and find_spec(part))]


async def fetch(call: Call, url: str) -> int:
    chunks, close = await call(url)
    try:
        return sum([len(chunk) async for chunk in chunks])
    finally:
        await close()


async def measure(call: Call, url: str, in_flight: int) -> tuple[float, ...]:
    sizes: list[int] = []

    async def work(until: float) -> None:
        while time.monotonic() < until:
            sizes.append(await fetch(call, url))

    await asyncio.gather(*(fetch(call, url) for _ in range(in_flight)))  # warm up
    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(time.monotonic() + 2) for _ in range(in_flight)))
    wall, cpu = time.perf_counter() - wall, (time.process_time() - cpu) * 1e6
    return len(sizes) / wall, cpu / len(sizes), cpu / (sum(sizes) / len(EVENT))


async def churn(call: Call, base: str, until: float) -> str:
    errors: Counter[str] = Counter()

    async def canceller() -> None:
        while time.monotonic() < until:
            task = asyncio.ensure_future(fetch(call, base + random.choice(CHURN_PATHS)))
            await asyncio.sleep(random.uniform(0, random.choice(CHURN_DELAYS)))
            for _ in range(random.choice([1, 2])):  # a second one may hit the clean-up
                task.cancel()
                await asyncio.sleep(0)
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if not isinstance(outcome, int | asyncio.CancelledError):
                errors[type(outcome).__name__] += 1

    async def hold() -> Close:
        async with asyncio.timeout(3):
            chunks, close = await call(f"{base}/stream/1000/10/0")
            await anext(chunks)
            return close

    await asyncio.gather(*(canceller() for _ in range(20)))
    plain = 0
    for _ in range(5):
        with suppress(Exception):
            plain += await asyncio.wait_for(fetch(call, f"{base}/unary"), 3) == len(UNARY)
    held = await asyncio.gather(*(hold() for _ in range(5)), return_exceptions=True)
    closes = [close for close in held if not isinstance(close, BaseException)]
    await asyncio.gather(*(close() for close in closes))
    await asyncio.sleep(0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rsplit(":", 1)[1]))
    writer.write(b"GET /open HTTP/1.1\r\n\r\n")
    left = (await reader.readuntil(b"\r\n\r\n") + await reader.read(9)).split()[-1].decode()
    writer.close()
    return f"{plain}/5 plain, {len(closes)}/5 held, {left} open, errors {dict(errors)}"


async def candidate(name: str, base: str, phase: str, seconds: str) -> str | tuple[float, ...]:
    if phase == "churn":
        return await churn(build(name, 5), base, time.monotonic() + float(seconds))
    if phase == "unary":
        return await measure(build(name, 100), f"{base}/unary", 32)
    return await measure(build(name, 100), f"{base}/stream/100/5/0", 16)


def child(*arguments: object) -> Any:
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120).stdout
    )


def report(names: list[str], base: str, rounds: int, seconds: float) -> None:
    for name in names:
        if missing(name):
            print(f"{name}: skipped, {' and '.join(missing(name))} not installed")
    names = [name for name in names if not missing(name)]
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            rate, request, _ = child(name, base, "unary", 0)
            _, _, chunk = child(name, base, "stream", 0)
            results[name].append((rate, request, chunk))
    print(f"{'':26}{'req/s':>8}{'us/req':>8}{'us/chunk':>10}   after the churn")
    for name in names:
        columns = zip(*results[name], strict=True)
        rate, request, chunk = (statistics.median(column) for column in columns)
        after = child(name, base, "churn", seconds)
        print(f"{name:26}{rate:8.0f}{request:8.0f}{chunk:10.1f}   {after}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare HTTP clients as the side of a relay.")
    parser.add_argument("--only", nargs="*", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--churn", type=float, default=6, help="seconds of cancellations")
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is None:
        command = [sys.executable, __file__, "--child"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                port = cast(Any, server.stdout).readline().strip()
                report(args.only, f"http://127.0.0.1:{port}", args.rounds, args.churn)
            finally:
                server.kill()
        return
    factory = importlib.import_module("uvloop").new_event_loop if find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=factory) as runner:
        if args.child:
            print(json.dumps(runner.run(candidate(*args.child))))
        else:
            runner.run(upstream())


if __name__ == "__main__":
    main()
