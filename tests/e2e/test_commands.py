"""Commands as operators run them when things are not as they should be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import REPOSITORY, free_port

#: Runs each command line in turn, in one process, and prints what became of it.
_RUN_ALL = """
import contextlib, io, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
from gateway.operations.command_line import run
told = {}
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run(["manage.py", *line])
        except SystemExit as ended:
            status = ended.code or 0
    told[line[0]] = [status, out.getvalue(), err.getvalue()]
print(json.dumps(told))
"""
#: Each needs the database.
NEEDY = [
    ["config", "export"],
    ["create_api_token", "x", "--scopes", "read_configuration"],
    ["evaluate", "--feature", "duo_chat"],
    ["explain", "duo_chat"],
    ["golden_questions", "results"],
    ["list_api_tokens"],
    ["probe"],
    ["revoke_api_token", "x"],
    ["rotate_keys"],
    ["unanswered_questions"],
    ["verify_audit"],
]
PASSWORD = "canary-0123456789"


def run_all(folder: Path, **settings: str) -> dict[str, tuple[int, str, str]]:
    env = {**os.environ, "DATA_DIR": str(folder), **settings}
    result = subprocess.run(
        [sys.executable, "-c", _RUN_ALL, json.dumps(NEEDY)],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told: dict[str, tuple[int, str, str]] = json.loads(result.stdout.splitlines()[-1])
    return told


def test_database_that_is_down_is_told_in_a_sentence(tmp_path: Path) -> None:
    url = f"postgres://duo:{PASSWORD}@127.0.0.1:{free_port()}/duo"

    for name, (status, out, err) in run_all(tmp_path, DATABASE_URL=url).items():
        assert status == 1, (name, out, err)
        assert "database" in err.lower() or "configuration cannot be read" in err, (name, err)
        assert "Traceback" not in out + err, name
        assert PASSWORD not in out + err, name
        assert "\x1b[" not in out + err, name  # colour is for terminals


def test_node_without_a_database_says_where_to_go(tmp_path: Path) -> None:
    settings = {"SERVING_CONFIG_URL": "http://127.0.0.1:9", "SERVING_CONFIG_TOKEN": "a-token"}

    for name, (status, out, err) in run_all(tmp_path, **settings).items():
        assert status == 2, (name, out, err)
        assert "SERVING_CONFIG_URL" in err, (name, err)
        assert "Traceback" not in out + err, name


@pytest.mark.parametrize(
    ("words", "offered"), [("manage.py docto", "doctor"), ("manage.py doctor --js", "--json")]
)
def test_shell_completes_commands_and_options(tmp_path: Path, words: str, offered: str) -> None:
    script = (
        "source deploy/completion.bash; manage.py() { " + f'"{sys.executable}" manage.py' + "; }; "
        f"COMP_WORDS=({words}); COMP_CWORD={words.count(' ')}; _duo_manage manage.py; "
        'echo "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.stdout.split() == [offered], result.stderr
