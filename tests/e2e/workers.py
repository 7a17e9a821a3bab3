"""The worker processes of a running gateway."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gateway_process import Gateway


def workers(gateway: Gateway) -> list[int]:
    """Return the process ids of the workers, oldest first."""
    master = gateway.service.process.pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have the process do nothing meanwhile: what comes goes to the others."""
    os.kill(pid, signal.SIGSTOP)
    status = Path(f"/proc/{pid}/status")
    while "\nState:\tT" not in status.read_text():
        time.sleep(0.001)  # another process is waited for
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
