"""The model itself, where the extra is installed; CI does without."""

import json
from array import array
from math import sqrt
from pathlib import Path

import pytest
from pytest_django import Settings

from docsearch.errors import EncoderMissing
from docsearch.hybrid import installed_model, load_encoder
from tests.unit.docsearch.conftest import DOCUMENTATION
from tests.unit.docsearch.test_commands import run

try:
    installed_model()
except EncoderMissing as error:
    pytest.skip(f"The extra is not installed: {error}", allow_module_level=True)

ENCODER = load_encoder()
VERSION = ("--gitlab-version", "17.4.0")


def cosine(one: str, other: str) -> float:
    left, right = (array("b", ENCODER.encode(text)) for text in (one, other))
    lengths = sqrt(sum(x * x for x in left)) * sqrt(sum(y * y for y in right))
    return sum(x * y for x, y in zip(left, right, strict=True)) / lengths


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("The weather is lovely today.", "It's so sunny outside!", 0.6660),
        ("The weather is lovely today.", "He drove to the stadium.", 0.1046),
        ("It's so sunny outside!", "He drove to the stadium.", 0.1411),
    ],
)
def test_texts_are_as_near_as_the_models_own_documentation_says(
    one: str, other: str, near: float
) -> None:
    assert cosine(one, other) == pytest.approx(near, abs=0.002)  # what a byte can tell


@pytest.mark.parametrize("text", ["", " ", "\0", "🦘", "é" * 10_000, "word " * 10_000, "日本語"])
def test_any_text_has_a_vector(text: str) -> None:
    vector = ENCODER.encode(text)

    assert len(vector) == ENCODER.identity.dimensions
    assert max(map(abs, array("b", vector))) == 127


def test_a_vector_is_the_same_each_time() -> None:
    assert ENCODER.encode("Register a runner") == ENCODER.encode("Register a runner")
    assert load_encoder().identity == ENCODER.identity


def test_a_paraphrase_finds_its_page_once_meaning_counts(
    settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    settings.GITLAB_VERSION = ""
    built = run("build_docs_index", str(DOCUMENTATION), *VERSION, "--vectors", "--install")
    question = "copy everything somewhere safe in case the machine dies"
    by_words = json.loads(run("search_docs", question, "--json"))

    settings.DOCS_HYBRID = True
    found = json.loads(run("search_docs", question, "--json"))

    assert "with vectors of all-MiniLM-L6-v2" in built
    backup = "doc/administration/backup.md"
    assert backup not in {passage["path"] for passage in by_words["results"]}
    assert found["results"][0]["path"] == backup
