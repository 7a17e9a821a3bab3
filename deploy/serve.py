#!/usr/bin/env python
"""Start the gateway as in production: check, migrate, then gunicorn in this process's place.

    python deploy/serve.py [--host 127.0.0.1] [--port 8000] [--workers 1]

Settings come from the environment; data and generated keys live in DATA_DIR.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRACEFUL_TIMEOUT_S = 30
DEFAULT_METRICS_BIND = "127.0.0.1:8082"
KEEPALIVE_S = 75  # longer than a proxy in front keeps its side


def manage(*arguments: str) -> None:
    """Run manage.py; what it has to say goes to the terminal, and its failure ends us."""
    result = subprocess.run([sys.executable, str(ROOT / "manage.py"), *arguments], check=False)  # noqa: S603
    if result.returncode:
        sys.exit(result.returncode)


def number_within(low: int, high: int) -> Callable[[str], int]:
    """Return what reads a whole number for argparse, or says which it takes."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {low} to {high}")
        return int(text)

    return read


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError:
            return False
    return True


def require_free_port(host: str, port: int, otherwise: str) -> None:
    if not is_free(host, port):
        sys.exit(f"{host}:{port} cannot be listened on: stop what listens there, or {otherwise}.")


def metrics_bind() -> list[str]:
    """Return gunicorn's option for the address of /metrics; none if it is switched off or taken."""
    is_chosen = "METRICS_BIND" in os.environ
    address = os.environ.get("METRICS_BIND", DEFAULT_METRICS_BIND)
    if not address:
        return []
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        sys.exit(f"METRICS_BIND is {address!r}: write it as 127.0.0.1:8082, or leave it empty.")
    if is_chosen:
        require_free_port(host, int(port), "choose another METRICS_BIND")
    elif not is_free(host, int(port)):
        print(f"==> No metrics: {address} is taken. METRICS_BIND chooses another.", flush=True)
        os.environ["METRICS_BIND"] = ""
        return []
    folder = Path(os.environ.get("DATA_DIR", ROOT / "var")) / "metrics"
    shutil.rmtree(folder, ignore_errors=True)  # what earlier workers counted
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return [f"--bind={address}"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Start the gateway as in production.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=number_within(1, 65535), default=8000)
    parser.add_argument(
        "--workers",
        type=number_within(1, 256),
        default=os.environ.get("WEB_CONCURRENCY", "1"),
        help="worker processes (WEB_CONCURRENCY)",
    )
    args = parser.parse_args()
    require_free_port(args.host, args.port, "choose another, as in make serve PORT=8001")
    os.environ["WEB_CONCURRENCY"] = str(args.workers)  # each worker takes its share of the slots
    binds = [f"--bind={args.host}:{args.port}", *metrics_bind()]
    os.umask(0o077)  # what is made in DATA_DIR is its owner's alone
    place = f"http://{args.host}:{args.port}"
    if os.environ.get("SERVING_CONFIG_URL"):
        manage("check")
        print(f"==> The gateway node starts at {place}, without a database", flush=True)
    else:
        manage("migrate", "--verbosity", "0")  # runs the system checks first
        print(
            f"==> The gateway starts at {place}, its admin pages at /admin/. A first login is made "
            "by: .venv/bin/python manage.py createsuperuser",
            flush=True,
        )
    command = [
        str(Path(sys.executable).with_name("gunicorn")),
        "gateway.asgi:application",
        "--worker-class=gateway.inbound.worker.GatewayWorker",
        f"--workers={args.workers}",
        *binds,
        f"--graceful-timeout={GRACEFUL_TIMEOUT_S}",
        f"--keep-alive={KEEPALIVE_S}",
        f"--chdir={ROOT}",
        f"--config={ROOT / 'deploy' / 'gunicorn_conf.py'}",
        "--log-level=warning",
    ]
    os.execv(command[0], command)  # noqa: S606 - signals must reach gunicorn itself


if __name__ == "__main__":
    main()
