#!/usr/bin/env python
"""Ask a real small LLM every acceptance suite, through the live path.

    python bench/evaluation.py --report docs/images/evaluation.html

Starts the LLM on loopback, registers it in a data folder of its own, calls `manage.py evaluate` and
prints a table of the features. The scores of a model of 135 million parameters are poor: what is
measured is that all cases get their answer, as many at a time as the deployment allows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: Of which an answer gets half. No question needs more, and a model this small rambles to the end.
CONTEXT_TOKENS = 1024
#: As long as the forms allow: what is slow here is the CPU, and is not to be cut off.
TIMEOUTS = {"first_token_s": 300, "idle_s": 120, "total_s": 900}


@contextmanager
def small_llm(at_once: int) -> Iterator[str]:
    """Yield the base URL of the LLM."""
    command = [sys.executable, "deploy/small_llm.py", "--context-tokens", str(CONTEXT_TOKENS)]
    process = subprocess.Popen(
        [*command, "--parallel", str(at_once)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def manage(
    data_dir: Path, *arguments: str, check: bool = True, **options: Any
) -> "subprocess.CompletedProcess[str]":
    env = {
        **os.environ,
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": f"sqlite:///{data_dir / 'db.sqlite3'}",
        "UPSTREAM_ALLOWED_HOSTS": "127.0.0.1",
        "LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, text=True, check=check, **options)


def configuration_of(url: str, at_once: int) -> str:
    """Return a configuration file; JSON is YAML, too."""
    deployment = {
        "name": "small-llm",
        "family": "general",
        "serving_format": "openai_chat",
        "endpoints": [url],
        "model_identifier": "smollm2-135m-instruct",
        "context_tokens": CONTEXT_TOKENS,
        "max_in_flight": at_once,
        "timeouts": TIMEOUTS,
    }
    return json.dumps({"version": 1, "deployments": [deployment], "features": {}})


def seconds(milliseconds: int | None) -> str:
    """Return them as a cell of the table; None if no answer came."""
    return "-" if milliseconds is None else f"{milliseconds / 1000:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a real small LLM every acceptance suite.")
    parser.add_argument("--at-once", type=int, default=8, help="cases at a time (8)")
    parser.add_argument("--feature", help="this one only")
    parser.add_argument("--report", help="write .json or .html")
    args = parser.parse_args()
    wanted = [f"--{name}={value}" for name in ("feature", "report") if (value := vars(args)[name])]
    with tempfile.TemporaryDirectory() as folder, small_llm(args.at_once) as url:
        data_dir = Path(folder)
        configuration = data_dir / "configuration.yml"
        configuration.write_text(configuration_of(url, args.at_once))
        manage(data_dir, "migrate", "--verbosity=0")
        manage(data_dir, "config", "apply", str(configuration), stdout=subprocess.DEVNULL)
        began = time.monotonic()
        command = ["evaluate", "--deployment=small-llm", "--json", *wanted]
        # A feature whose cases have no answer that its contract allows makes it exit with 1.
        printed = manage(data_dir, *command, check=False, stdout=subprocess.PIPE).stdout
        took_s = time.monotonic() - began
    runs = json.loads(printed)["runs"]
    print("| Feature | Cases | Pass | s | Answer, median s | slowest s |")
    print("|---|---|---|---|---|---|")
    for run in runs:
        errors = sum(bool(case["error"]) for case in run["results"])
        cases = f"{run['total_cases']}" + f" ({errors} without an answer)" * bool(errors)
        print(
            f"| {run['title']} | {cases} | {run['passed_cases']} | {run['took_s']:.0f} | "
            f"{seconds(run['median_ms'])} | {seconds(run['slowest_ms'])} |"
        )
    print(f"{sum(run['total_cases'] for run in runs)} cases in {took_s:.0f} s, all of it")


if __name__ == "__main__":
    main()
