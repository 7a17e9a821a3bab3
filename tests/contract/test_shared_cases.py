"""The shared executable cases of the wire contract, by their own runner."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.gateway_process import gateway
from tests.services import REPOSITORY, free_port

SHARED = REPOSITORY.parent / "shared" / "reference"
RUNNER, CASES = SHARED / "contract_runner.py", SHARED / "contract-cases.json"

BUILD_DOCS = (
    f"{sys.executable} manage.py build_docs_index {{src}} --gitlab-version 17.4.0 --install"
)

#: Cases of paths and prompts that are still to come. The list only ever gets shorter.
NOT_YET: set[str] = set()

pytestmark = pytest.mark.skipif(
    not (RUNNER.exists() and CASES.exists()), reason=f"{SHARED} holds no contract cases"
)


def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> str:
    command = [sys.executable, RUNNER, *arguments]
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=REPOSITORY, env=env
    ).stdout


def test_shared_cases_pass_except_those_to_come(tmp_path: Path) -> None:
    ports = ("--gitlab-port", str(free_port()), "--upstream-port", str(free_port()))
    common = ("--state", tmp_path / "state", *ports)
    settings = json.loads(run("env", "--json", *common))
    results = tmp_path / "results.json"

    with gateway(tmp_path, **settings) as process:
        target = ("--gateway", process.url, "--cases", CASES, "--json", results)
        report = run("run", *common, *target, "--docs-cmd", BUILD_DOCS, env=process.env)

    assert results.exists(), report
    outcomes = json.loads(results.read_text())["results"]
    failed = {case["id"] for case in outcomes if case["outcome"] == "FAIL"}
    assert outcomes
    skipped = {case["id"] for case in outcomes if case["outcome"] == "SKIP"}
    assert not skipped
    assert failed <= NOT_YET, os.linesep.join(
        line for line in report.splitlines() if line.startswith("FAIL")
    )
