#!/usr/bin/env python
"""Start the gateway as in production: check, migrate, then gunicorn in this process's place.

    python deploy/serve.py [--host 127.0.0.1] [--port 8000] [--workers 1]

Settings come from the environment; data and generated keys live in DATA_DIR.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRACEFUL_TIMEOUT_S = 30
KEEPALIVE_S = 75  # longer than a proxy in front keeps its side


def manage(*arguments: str) -> None:
    """Run manage.py; what it has to say goes to the terminal, and its failure ends us."""
    result = subprocess.run([sys.executable, str(ROOT / "manage.py"), *arguments], check=False)  # noqa: S603
    if result.returncode:
        sys.exit(result.returncode)


def main() -> None:
    parser = argparse.ArgumentParser(description="Start the gateway as in production.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=int(os.environ.get("WEB_CONCURRENCY", "1")))
    args = parser.parse_args()
    os.umask(0o077)  # what is made in DATA_DIR is its owner's alone
    manage("migrate", "--verbosity", "0")  # runs the system checks first
    command = [
        str(Path(sys.executable).with_name("gunicorn")),
        "gateway.asgi:application",
        "--worker-class=gateway.worker.GatewayWorker",
        f"--workers={args.workers}",
        f"--bind={args.host}:{args.port}",
        f"--graceful-timeout={GRACEFUL_TIMEOUT_S}",
        f"--keep-alive={KEEPALIVE_S}",
        f"--chdir={ROOT}",
        "--log-level=warning",
    ]
    os.execv(command[0], command)  # noqa: S606 - signals must reach gunicorn itself


if __name__ == "__main__":
    main()
