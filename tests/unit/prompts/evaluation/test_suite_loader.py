from collections.abc import Callable
from pathlib import Path

import pytest

from prompts.evaluation.loader import LoadedSuites, load_suites
from prompts.loader import shipped_prompts

HEAD = "version: 1.0.0\nfeature: git_suggestions\nbar: 0.5\n"
CASE = "cases:\n  - id: undo\n    inputs: {prompt: undo it}\n"
CHECKS = "    checks: {mentions: [reset]}\n"

Load = Callable[[str], LoadedSuites]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_one(source: str) -> LoadedSuites:
        path = tmp_path / "own.yml"
        path.write_bytes(source.encode("latin-1"))
        return load_suites([path], shipped_prompts().registry)

    return load_one


def test_suite_of_a_site_is_read(load: Load) -> None:
    loaded = load(HEAD + "checks: {length: {most_words: 9}}\n" + CASE + CHECKS)

    assert loaded.problems == ()
    (suite,) = loaded.suites
    assert (suite.name, suite.version, suite.bar) == ("own", "1.0.0", 0.5)
    (case,) = suite.cases
    assert [check.scorer for check in case.checks] == ["length", "mentions"]
    assert case.inputs == {"prompt": "undo it"}
    assert case.reference == ""


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("- a list", 1, "must be a mapping"),
        ("version: []]", 1, "not valid YAML"),
        ("version: 1.0.0\xe9\n", 1, "cannot be read"),
        ("version: 1.0.0\n", 1, "the key 'feature' is missing"),
        (HEAD.replace("1.0.0", "one") + CASE + CHECKS, 1, "must be a version"),
        (HEAD.replace("git_suggestions", "poetry") + CASE + CHECKS, 2, "must be one of duo_chat"),
        (HEAD.replace("0.5", "2") + CASE + CHECKS, 3, "must be from 0 to 1"),
        (HEAD + "colour: red\n" + CASE + CHECKS, 4, "unknown key"),
        (HEAD + "cases: []\n", 4, "at least one case"),
        (HEAD + CASE, 5, "the key 'checks' is missing"),
        (HEAD + CASE + "    checks: {}\n", 7, "at least one check"),
        (HEAD + CASE + "    checks: {wisdom: 3}\n", 7, "unknown scorer; there is answers_within_s"),
        (HEAD + CASE + "    checks:\n      fences: some\n", 8, "does not fit type: integer"),
        (HEAD + CASE + "    checks:\n      mentions:\n        - x\n        - [3]\n", 10, "fit"),
        (HEAD + CASE + "    checks: {fits_schema: {type: poem}}\n", 7, "does not fit"),
        (HEAD + CASE + "    checks: {parses: cobol}\n", 7, "does not fit enum"),
        (HEAD + CASE.replace("undo\n", "Undo it\n") + CHECKS, 5, "small letters, digits"),
        (HEAD + CASE.replace("prompt:", "text:") + CHECKS, 6, "unknown input; those of git_sug"),
        (HEAD + CASE.replace("undo it", "[a]") + CHECKS, 6, "must be of type string"),
        (HEAD + CASE.replace("{prompt: undo it}", "{}") + CHECKS, 6, "Missing inputs: prompt"),
        (HEAD + CASE + CHECKS + CASE.removeprefix("cases:\n") + CHECKS, 8, "a case 'undo' before"),
    ],
)
def test_mistake_is_told_with_its_line(load: Load, source: str, line: int, message: str) -> None:
    loaded = load(source)

    assert loaded.suites == ()
    (problem,) = loaded.problems
    assert message in problem.message
    assert problem.line == line


def test_broken_suite_leaves_the_others_working(tmp_path: Path) -> None:
    good, broken = tmp_path / "good.yml", tmp_path / "broken.yml"
    good.write_text(HEAD + CASE + CHECKS)
    broken.write_text("bar: [")

    loaded = load_suites([broken, good], shipped_prompts().registry)

    assert [suite.name for suite in loaded.suites] == ["good"]
    assert [problem.path for problem in loaded.problems] == [broken]


def test_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    loaded = load_suites([tmp_path / "lost.yml"], shipped_prompts().registry)

    assert "cannot be read" in loaded.problems[0].message
