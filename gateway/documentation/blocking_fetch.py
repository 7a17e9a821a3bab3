"""The outbound door for code that blocks: it runs in a thread, or in a command."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from docsearch.errors import ServerUnreachable
from docsearch.fetching import Answer, Call, Fetch
from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import DeploymentError
from selfhosted_models.outbound import Download, OutboundDoor, OutboundRequest
from selfhosted_models.serving import Clocks

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Server:
    """The other side.

    Attributes:
        hop: What it is, for messages.
        advice: What to check, for messages.
        is_told_to_admins: Whether only admins read the messages, which then say more.
    """

    hop: str
    endpoint: Endpoint
    clocks: Clocks
    advice: str
    is_told_to_admins: bool = True


class Runs(Protocol):
    """Runs coroutines in the event loop the door lives in, and waits for them."""

    def run(self, coroutine: Coroutine[Any, Any, _T], /) -> _T:
        """Run what may be interrupted."""

    def finish(self, coroutine: Coroutine[Any, Any, _T], /) -> _T:
        """Run what must come to its end, such as closing a connection."""


class LoopRuns:
    """For threads beside a loop that goes on; `stop` interrupts them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[Any]] = set()
        self.is_stopped = False

    def run(self, coroutine: Coroutine[Any, Any, _T], /) -> _T:
        try:
            return self.finish(self._interruptible(coroutine))
        except CancelledError:
            raise ServerUnreachable("The gateway is being stopped.") from None

    def finish(self, coroutine: Coroutine[Any, Any, _T], /) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def stop(self) -> None:
        """Interrupt what runs, and what is still to be run; called in the loop.

        The tasks are cancelled, not the waiting for them: what one of them had opened by then is
        handed to the thread, which closes it.
        """
        self.is_stopped = True
        for task in [*self._tasks]:
            task.cancel()

    async def _interruptible(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        if self.is_stopped:
            task.cancel()
        try:
            return await task
        finally:
            self._tasks.discard(task)


class _RunnerRuns:
    """For a command, which has no loop going."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, coroutine: Coroutine[Any, Any, _T], /) -> _T:
        return self._runner.run(coroutine)

    finish = run


@contextmanager
def door_for_command(open_door: Callable[[], OutboundDoor]) -> Iterator[tuple[OutboundDoor, Runs]]:
    """Open a door for as long as the context lasts, and a loop for it."""

    async def make_door() -> OutboundDoor:
        return open_door()

    with asyncio.Runner() as runner:
        door = runner.run(make_door())
        try:
            yield door, _RunnerRuns(runner)
        finally:
            runner.run(door.aclose())


def fetch_through(door: OutboundDoor, server: Server, runs: Runs) -> Fetch:
    """Return a callable that asks `server`; it blocks, and never in the door's own loop."""

    async def open_answer(call: Call) -> Download:
        request = OutboundRequest(
            hop=server.hop,
            endpoint=server.endpoint,
            path=call.path,
            method=call.method,
            headers=call.headers,
            body=call.body,
        )
        headers_by = asyncio.get_running_loop().time() + server.clocks.first_token_s
        return await door.open_download(request, server.clocks, headers_by=headers_by)

    def reached(coroutine: Coroutine[Any, Any, _T]) -> _T:
        try:
            return runs.run(coroutine)
        except DeploymentError as error:
            told = error.admin_message if server.is_told_to_admins else error.safe_message
            raise ServerUnreachable(f"{told} {server.advice}") from error

    def parts(download: Download) -> Iterator[bytes]:
        while (part := reached(download.read())) is not None:
            yield part

    @contextmanager
    def fetch(call: Call) -> Iterator[Answer]:
        download = reached(open_answer(call))
        try:
            yield Answer(download.status, download.headers, parts(download))
        finally:
            runs.finish(download.aclose())

    return fetch
