"""A command line for each of our own commands, that goes as far as it can without a network."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.core.management import get_commands

from gateway.operations.command_line import run

OWN_APPS = ("selfhosted_models", "feature_config", "prompts", "docsearch", "gateway")
#: By command; `{folder}` is one that `furnish` filled.
LINES = {
    "build_docs_index": ["{folder}/doc --gitlab-version 17.4.0 --output {folder}/index.sqlite3"],
    "complete": ["-- explain duo"],
    "config": [
        "plan {folder}/config.yml",
        "apply {folder}/config.yml",
        "export",
        "revisions",
        "diff 1",
        "rollback 1 --dry-run",
        "check-revision",
    ],
    "create_api_token": ["x --scopes read_configuration"],
    "doctor": ["--gateway-url http://127.0.0.1:9"],
    "evaluate": ["--list", "--deployment gpu1 --suite {folder}/suite.yml"],
    "explain": ["duo_chat", "duo_chat --token {folder}/token"],
    "golden_questions": ["import {folder}/golden.yml", "check", "results", "export"],
    "install_docs_index": ["{folder}/index.sqlite3", "--from-registry", "--rollback"],
    "issue_token": ["--user me --scopes duo_chat"],
    "list_api_tokens": [""],
    "list_prompts": [""],
    "load_docs_index": [""],
    "print_openapi": [""],
    "probe": ["", "--fingerprint", "--url http://127.0.0.1:9"],
    "publish_docs_index": ["{folder}/index.sqlite3"],
    "reset_second_factor": ["alice"],
    "revoke_api_token": ["x"],
    "rotate_keys": ["--check", ""],
    "search_docs": ["runners"],
    "show_prompt": ["duo_chat --family mistral-7b"],
    "support_bundle": ["--output {folder}/bundle.zip"],
    "unanswered_questions": [""],
    "verify_audit": [""],
}
_CONFIG = """\
version: 1
deployments:
  - name: gpu1
    family: general
    serving_format: openai_chat
    endpoints: [http://127.0.0.1:9/v1]
    model_identifier: m
    api_key: {file: key}
features:
  duo_chat: gpu1
"""
_SUITE = """\
version: 1.0.0
feature: git_suggestions
bar: 0.5
cases:
  - id: undo
    inputs: {prompt: undo my last commit}
    checks: {mentions: [git]}
    reference: git reset
"""


def own_commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in OWN_APPS)


def furnish(folder: Path) -> None:
    """Write the files that `LINES` name."""
    (folder / "config.yml").write_text(_CONFIG)
    (folder / "key").write_text("sk-canary-0123456789abcdef")
    (folder / "suite.yml").write_text(_SUITE)
    (folder / "token").write_text("not.a.token")
    (folder / "golden.yml").write_text("- question: What is a runner?\n  page: runners.md\n")
    (folder / "doc").mkdir()
    for title in ("Runners", "Boards", "Wikis", "Milestones", "Pipelines", "Tokens"):
        page = folder / "doc" / f"{title.lower()}.md"
        page.write_text(f"# {title}\n\n{title} are described here, with what they are for.\n")


def command_lines(folder: Path) -> Iterator[list[str]]:
    """Yield every line, the name of its command first."""
    for name in own_commands():
        for line in LINES[name]:  # a command without one fails the tests that ask for them
            yield [name, *line.format(folder=folder).split()]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a command line."""

    status: int
    out: str
    err: str


def run_line(line: list[str]) -> Ran:
    """Run it in this process, as `manage.py` does; an exception that gets out is a stack trace."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = status_of(line)
    return Ran(status, out.getvalue(), err.getvalue())


def status_of(line: list[str]) -> int:
    """Run it likewise, with the standard streams there are; return the exit status."""
    try:
        return run(["manage.py", *line])
    except SystemExit as ended:
        return int(ended.code or 0)
