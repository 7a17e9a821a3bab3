"""On a terminal commands say what is waited for, and use colour; into a pipe they do neither."""

import re
from pathlib import Path

import pytest
from pytest_django import Settings

from feature_config.catalogue import Feature
from selfhosted_models.models import ModelDeployment
from tests.command_lines import run_line, status_of
from tests.factories import assign
from tests.terminals import own_terminal

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]

#: A line of each command that may take more than two seconds, and what it shows meanwhile.
SLOW = {
    "build_docs_index {folder}/doc --gitlab-version 17.5.0 --output {folder}/x.sqlite3": "pages",
    "doctor --gateway-url http://127.0.0.1:9": "... ",
    "evaluate --deployment gpu1 --suite {folder}/suite.yml": "... git_suggestions on gpu1: ",
    "explain duo_chat --token {folder}/token": "... the keys of the token's issuer",
    "golden_questions check": "... the documentation search, which is asked 1 questions",
    "install_docs_index {folder}/index.sqlite3": "bytes",
    "load_docs_index": "... the search engine",
    "probe": "... the answers of model servers",
    "probe --fingerprint": "... the answers of model servers",
    "probe --url http://127.0.0.1:9": "... the answers of model servers",
    "publish_docs_index {folder}/index.sqlite3": "... the package registry, which is sent ",
    "rotate_keys": "keys",
    "search_docs runners": "... the documentation search",
    "support_bundle --output {folder}/bundle.zip": "... doctor.json",
    "verify_audit": "... every record",
}
COLOURED = ("config plan {folder}/config.yml", "doctor", "explain duo_chat", "probe")
COLOUR = re.compile(r"\x1b\[\d[\d;]*m")


@pytest.fixture
def installed(furnished: Path, settings: Settings) -> Path:
    """With an index, golden questions, a registry and a search engine that are not there."""
    folder = f"{furnished}"
    for line in (
        f"build_docs_index {folder}/doc --gitlab-version 17.4.0 --output {folder}/index.sqlite3",
        f"install_docs_index {folder}/index.sqlite3",
        f"golden_questions import {folder}/golden.yml",
    ):
        assert run_line(line.split()).status == 0
    assign(Feature.DUO_CHAT, ModelDeployment.objects.get(name="gpu1"))
    return furnished


@pytest.mark.parametrize("line", SLOW)
def test_what_takes_long_shows_on_a_terminal_that_it_goes_on(
    installed: Path, settings: Settings, line: str
) -> None:
    if "publish" in line:
        settings.DOCS_REGISTRY_URL = "http://127.0.0.1:9/api/v4/projects/42/packages"
    if "load" in line:
        settings.DOCS_SEARCH_URL = "http://127.0.0.1:9"
    if "install" in line:
        settings.DATA_DIR = installed / "elsewhere"
    words = line.format(folder=installed).split()

    with own_terminal() as shown:
        status_of(words)
    for file in ("x.sqlite3", "x.sqlite3.manifest.json", "bundle.zip"):
        (installed / file).unlink(missing_ok=True)
    piped = run_line(words)

    assert SLOW[line] in "".join(shown)
    assert "\x1b" not in piped.out + piped.err
    assert "\r" not in piped.out + piped.err


@pytest.mark.parametrize("line", COLOURED)
def test_colour_is_for_terminals(installed: Path, line: str) -> None:
    words = line.format(folder=installed).split()

    with own_terminal() as shown:
        status_of(words)
    piped = run_line(words)

    assert COLOUR.search("".join(shown))
    assert not COLOUR.search(piped.out + piped.err)
    assert piped.out
