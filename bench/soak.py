#!/usr/bin/env python
"""Stream through the production server for long, a fifth of it abandoned, and look for leaks.

    python bench/soak.py                          # 20,000 streams
    python bench/soak.py --streams 4000 --step 500

Starts a model server of its own and one worker, as `make serve` does. Clients open a connection for
each stream; those who leave do so before the answer, at its first byte or in its middle. After each
step the worker's memory and descriptors are read. It fails if, after warm-up, memory grows by more
than 1 MiB per 1,000 streams, or if at the end the descriptors are not within 5 of those at the
start.
"""

import argparse
import asyncio
import json
import os
import random
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHUNKS = 10
GAP_S = 0.002
ABANDONED = 0.2
IN_FLIGHT = 32
WARM_UP = 0.2  # of all streams: caches and pools fill
MOST_KIB_PER_1000 = 1024
MOST_DESCRIPTORS = 5
READY_WITHIN_S = 60
#: By then, connections kept for 15 s are closed: they are looked at every 15 s.
IDLE_S = 35

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MODELS = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"data":[]}'
)
BODY = json.dumps(
    {"model": "duo_chat", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
).encode()


def frame(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


PIECE = frame('{"choices":[{"index":0,"delta":{"content":"tok "},"finish_reason":null}]}')
LAST = frame('{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
END = LAST + frame("[DONE]") + b"0\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a model server on one connection: every request with a body gets the same stream."""
    # Cancelled at the end: streams would log that as an error.
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            if not length:  # a probe
                writer.write(MODELS)
                continue
            await reader.readexactly(int(length))
            writer.write(HEAD)
            for _ in range(CHUNKS):
                writer.write(PIECE)
                await writer.drain()
                await asyncio.sleep(GAP_S)
            writer.write(END)
    writer.close()


class Worker:
    """The worker process under test."""

    def __init__(self, master: int) -> None:
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        self._process = Path("/proc") / children[0]

    def memory_kib(self) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def descriptors(self) -> int:
        return len(os.listdir(self._process / "fd"))


class Soak:
    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._seeded = random.Random(1)
        self._request = (
            b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
            b"X-Gitlab-Authentication-Type: oidc\r\nX-Gitlab-Global-User-Id: bench\r\n"
            b"Content-Type: application/json\r\nConnection: close\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
            % (token.encode(), len(BODY), BODY)
        )
        self.outcomes: Counter[str] = Counter()

    async def run(self, streams: int) -> None:
        """Play so many streams, `IN_FLIGHT` at a time."""
        left = iter(range(streams))

        async def client() -> None:
            for _ in left:
                self.outcomes[await self._stream()] += 1

        await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))

    async def _stream(self) -> str:
        leaves = self._seeded.random() < ABANDONED
        moment = self._seeded.choice([0, 1, CHUNKS // 2])  # tokens read before the client leaves
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._request)
        received = b""
        while not (leaves and received.count(b"tok ") >= moment):
            part = await reader.read(65_536)
            if not part:
                break
            received += part
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        if leaves:
            return "abandoned"
        return "whole" if received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") else "broken"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings_for(data_dir: str, mock_port: int) -> dict[str, str]:
    """Return the environment that `bench/prepare.py` makes, with its TOKEN."""
    command = [sys.executable, "bench/prepare.py", "--data-dir", data_dir]
    printed = subprocess.run(
        [*command, "--mock-port", str(mock_port)], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    words = (shlex.split(line)[1] for line in printed.splitlines())
    return dict(word.split("=", 1) for word in words)


async def until_ready(port: int) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.1)


@contextmanager
def production_server(mock_port: int) -> Iterator[tuple[int, int, str]]:
    """Yield the process id of the master, its port, and a token."""
    with tempfile.TemporaryDirectory() as data_dir:
        prepared = settings_for(data_dir, mock_port)
        port = free_port()
        gateway = subprocess.Popen(
            [sys.executable, "deploy/serve.py", "--port", str(port), "--workers", "1"],
            cwd=ROOT,
            env={**os.environ, **prepared},
            stdout=subprocess.DEVNULL,
        )
        try:
            yield gateway.pid, port, prepared["TOKEN"]
        finally:
            gateway.terminate()
            gateway.wait()


async def soak(mock_port: int, master: int, port: int, token: str, args: Any) -> bool:
    async with await asyncio.start_server(answer, "127.0.0.1", mock_port, backlog=1024):
        await until_ready(port)
        return await measure(Soak(port, token), master, args.streams, args.step)


async def measure(load: Soak, master: int, streams: int, step: int) -> bool:
    """Return whether nothing leaks."""
    await load.run(100)  # what is opened once is open
    worker = Worker(master)
    await asyncio.sleep(IDLE_S)
    descriptors = worker.descriptors()
    began = time.monotonic()
    thousands: list[float] = []
    memory: list[int] = []
    print(f"at the start: {worker.memory_kib()} KiB, {descriptors} descriptors")
    for done in range(step, streams + 1, step):
        await load.run(step)
        if done > WARM_UP * streams:
            thousands.append(done / 1000)
            memory.append(worker.memory_kib())
        print(f"{done:>6} streams: {worker.memory_kib()} KiB, {worker.descriptors()} descriptors")
    took_s = time.monotonic() - began
    slope = statistics.linear_regression(thousands, memory).slope
    await asyncio.sleep(IDLE_S)
    left = worker.descriptors()
    print(f"{dict(load.outcomes)} in {took_s:.0f} s")
    print(f"memory: {slope:+.0f} KiB per 1,000 streams after warm-up (most: {MOST_KIB_PER_1000})")
    print(f"descriptors: {left - descriptors:+d} at the end (most: {MOST_DESCRIPTORS})")
    return (
        slope <= MOST_KIB_PER_1000
        and abs(left - descriptors) <= MOST_DESCRIPTORS
        and not load.outcomes["broken"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Stream for long and look for leaks.")
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--step", type=int, default=1_000)
    args = parser.parse_args()
    mock_port = free_port()
    with production_server(mock_port) as (master, port, token):
        is_clean = asyncio.run(soak(mock_port, master, port, token, args))
    sys.exit(0 if is_clean else 1)


if __name__ == "__main__":
    main()
