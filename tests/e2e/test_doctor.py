"""`doctor` on a healthy installation and on broken ones, as operators run it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Site
from tests.e2e.doctor_setups import PASSWORD, SETUPS, SetUp, recorded_rows, tidied
from tests.services import REPOSITORY, free_port

KEY = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.title)
def test_doctor_names_what_is_broken_and_what_to_do(site: Site, setup: SetUp) -> None:
    data_dir = Path(site.gateway.env["DATA_DIR"])

    result = setup.examine(site, "--json")

    report = json.loads(result.stdout)
    findings = report["findings"]
    failed = [finding for finding in findings if finding["state"] == "failed"]
    assert {finding["check"] for finding in failed} == setup.fails, failed
    assert all(finding["evidence"] and finding["remedy"] for finding in failed)
    assert (report["healthy"], result.returncode) == (not setup.fails, int(bool(setup.fails)))
    kept = [(data_dir / name).read_text() for name in ("secret_key", "encryption_key")]
    for secret in (PASSWORD, KEY, *kept):
        assert secret not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    recorded = recorded_rows(setup.title)  # `make recordings` writes them again
    assert len(recorded) == len(findings)
    for finding, (state, check, rest) in zip(findings, recorded, strict=True):
        assert (finding["state"], finding["check"]) == (state, check)
        assert rest.startswith(f"{tidied(finding['subject'], str(data_dir))}: ")


def examine(options: list[str], **env: str) -> "subprocess.CompletedProcess[str]":
    """Run `doctor` with settings of its own, where no gateway runs."""
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", *options],
        cwd=REPOSITORY,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway.settings", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def by_check(result: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "please report it" not in result.stdout
    findings = json.loads(result.stdout)["findings"]
    return {finding["check"]: finding for finding in reversed(findings)}


def test_looking_changes_nothing(tmp_path: Path) -> None:
    absent = tmp_path / "data"
    options = ["--json", "--gateway-url", f"http://127.0.0.1:{free_port()}"]

    found = by_check(examine(options, DATA_DIR=str(absent), DATABASE_URL=f"sqlite:///{absent}/d"))

    assert not absent.exists()
    assert found["database"]["evidence"].endswith("is not there")
    assert "not made yet" in found["keys"]["evidence"]
    assert found["gateway"]["state"] == "failed"
    assert "--gateway-url" in found["gateway"]["remedy"]


def test_folder_that_cannot_be_used_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = str(tmp_path / "file" / "data")
    settings = {"DATA_DIR": folder, "DATABASE_URL": f"postgres://duo:{PASSWORD}@db:port/duo"}

    result = examine(["--json"], **settings)

    found = by_check(result)
    assert "DATABASE_URL is not the URL of a database" in result.stdout
    assert PASSWORD not in result.stdout
    assert "DATABASE_URL is wrong" in found["database"]["evidence"]
    assert found["disk"]["evidence"] == f"{folder} cannot be written: Not a directory"


def test_on_a_terminal_each_row_is_shown_as_it_is_found(site: Site) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "doctor", "--gateway-url", site.url],
        cwd=REPOSITORY,
        env={**site.gateway.env, "TERM": "xterm", "COLUMNS": "200"},
        stdout=child,
        stderr=child,
    )
    os.close(child)
    shown = b""
    try:
        while part := os.read(parent, 65536):
            shown += part
    except OSError:  # how Linux tells that the other side has closed
        pass
    finally:
        os.close(parent)
        process.wait(30)

    text = shown.decode()
    waited = text.index(f"... fake at {site.network.url}/v1")
    answered = text.index(f"fake at {site.network.url}/v1: answered")
    assert waited < answered
    assert "\x1b[32" in text  # colour is for terminals
    assert text.index("... the gateway at") > answered
    assert "\r\x1b[K" in text[waited:answered]  # what was waited for is taken away
