"""Commands as operators run them when things are not as they should be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_lines import Ran
from tests.services import REPOSITORY, free_port
from tests.terminals import terminal

#: Runs every command line in turn, in one process, and prints what became of it.
_RUN_ALL = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
import django
django.setup()
from tests.command_lines import command_lines, furnish, run_line
furnish(folder := Path(sys.argv[1]))
print(json.dumps([[line, asdict(run_line(line))] for line in command_lines(folder)]))
"""
#: These get along without a database: they say something else, or nothing is wrong.
NEEDLESS = {
    "build_docs_index",
    "complete",
    "doctor",
    "install_docs_index",
    "issue_token",
    "list_prompts",
    "load_docs_index",
    "print_openapi",
    "publish_docs_index",
    "search_docs",
    "show_prompt",
    "support_bundle",
}
NEEDLESS_LINES = {("evaluate", "--list"), ("probe", "--url")}
PASSWORD = "canary-0123456789"


def run_all(folder: Path, **settings: str) -> list[tuple[list[str], Ran]]:
    env = {**os.environ, "DATA_DIR": str(folder), **settings}
    result = subprocess.run(
        [sys.executable, "-c", _RUN_ALL, str(folder)],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [(line, Ran(**ran)) for line, ran in json.loads(result.stdout.splitlines()[-1])]


def needs_the_database(line: list[str]) -> bool:
    return line[0] not in NEEDLESS and (*line[:2],) not in NEEDLESS_LINES


def test_database_that_is_down_is_told_in_a_sentence(tmp_path: Path) -> None:
    url = f"postgres://duo:{PASSWORD}@127.0.0.1:{(port := free_port())}/duo"

    for line, ran in run_all(tmp_path, DATABASE_URL=url):
        told = ran.out + ran.err
        assert "Traceback" not in told, line
        assert PASSWORD not in told, line
        assert "\x1b[" not in told, line  # colour is for terminals
        if needs_the_database(line):
            assert ran.status == 1, (line, ran)
            assert "database cannot be used" in ran.err, (line, ran)
            assert str(port) not in told, line  # the driver's own words


def test_node_without_a_database_says_where_to_go(tmp_path: Path) -> None:
    settings = {"SERVING_CONFIG_URL": "http://127.0.0.1:9", "SERVING_CONFIG_TOKEN": "a-token"}

    for line, ran in run_all(tmp_path, **settings):
        assert "Traceback" not in ran.out + ran.err, line
        if line[0] == "explain":  # the one that reads what this node serves
            assert (ran.status, "no configuration" in ran.err) == (1, True), (line, ran)
        elif needs_the_database(line):
            assert ran.status == 2, (line, ran)
            assert "SERVING_CONFIG_URL" in ran.err, (line, ran)


def _shell(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_bash_completes(tmp_path: Path) -> None:
    """As bash calls it on TAB."""
    script = (
        "source deploy/completion.bash; manage.py() { "
        + f'"{sys.executable}" manage.py "$@"; '
        + "}; COMP_WORDS=(manage.py config plan --ch); COMP_CWORD=3; _duo_manage manage.py; "
        'echo "${COMPREPLY[@]}"; complete -p manage.py'
    )

    told = _shell(["bash", "-c", script], tmp_path)

    assert told.stdout.splitlines() == [
        "--check",
        "complete -o default -F _duo_manage manage.py",
    ], told.stderr


def test_zsh_completes(tmp_path: Path) -> None:
    """In a zsh without any settings, on a terminal, where TAB is pressed."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed; on Debian: apt-get install zsh")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "manage.py"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{REPOSITORY}/manage.py" "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"

    with terminal(["zsh", "-f"], tmp_path, PATH=path) as zsh:
        zsh.type("source deploy/completion.bash; echo so''urced\n")
        zsh.read_until("sourced")
        zsh.type("manage.py config plan --ch\t")
        zsh.read_until("plan --check ")
