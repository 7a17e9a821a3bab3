"""A terminal for programs that behave differently on one."""

import os
import pty
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tests.services import REPOSITORY

_ANSWERS_WITHIN_S = 60.0


@dataclass(slots=True)
class Terminal:
    """The keyboard and the screen of a program."""

    descriptor: int
    screen: str = ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def read_until(self, text: str) -> None:
        """Return once `text` is on the screen; fails when it does not come."""
        deadline = time.monotonic() + _ANSWERS_WITHIN_S
        while text not in self.screen:
            left_s = deadline - time.monotonic()
            assert left_s > 0, self.screen
            if select.select([self.descriptor], [], [], left_s)[0]:
                self.screen += _read(self.descriptor)


@contextmanager
def own_terminal() -> Iterator[list[str]]:
    """Make standard output and error of this process a terminal; the list has what it showed."""
    ours, its = pty.openpty()
    shown: list[str] = []

    def watch() -> None:
        while text := _read(ours):
            shown.append(text)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with os.fdopen(its, "w") as screen, redirect_stdout(screen), redirect_stderr(screen):
        yield shown
    watcher.join()
    os.close(ours)


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 4096).decode(errors="replace")
    except OSError:  # Linux's word for a terminal that nobody writes to any more
        return ""


@contextmanager
def terminal(command: list[str], home: Path, **env: str) -> Iterator[Terminal]:
    """Run a program of this repository on a terminal of its own, and end it afterwards."""
    ours, its = pty.openpty()
    settings = {"HOME": str(home), "DATA_DIR": str(home), "TERM": "dumb", **env}
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **settings},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    ) as program:
        os.close(its)
        try:
            yield Terminal(ours)
        finally:
            program.kill()
            os.close(ours)
