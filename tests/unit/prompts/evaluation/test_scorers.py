"""The mutation table: every scorer passes a good answer and fails a bad one."""

from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from prompts.evaluation.scorers import SCORERS
from prompts.evaluation.suite import GivenAnswer

PYTHON = "def area(w, h):\n    return w * h\n"
SOURCE = {"source_code": "def run(x):\n    return eval(x)\n"}
PAIR = "<old_code>\n    return {}\n</old_code>\n<new_code>\n    return {}\n</new_code>"
PROMPT = "You explain code.\nThe selected code:\nx = compute(a_long_name)\nExplain it."


class Row(NamedTuple):
    """What a suite wants, an answer that passes, answers that fail, and the inputs."""

    wanted: Any
    good: Any
    bad: list[Any]
    inputs: dict[str, Any] = {}


def late(latency_s: float) -> GivenAnswer:
    return GivenAnswer("x", latency_s=latency_s)


def judged(problem: str) -> GivenAnswer:
    return GivenAnswer("x", judgements={"is polite": problem})


TABLE: dict[str, list[Row]] = {
    "is_not_empty": [Row(True, "x", ["", " \n\t"])],
    "is_no_echo": [
        Row(
            True,
            "It computes a value and keeps it in x.",
            [PROMPT, PROMPT.splitlines()[2] + "\n" + PROMPT.splitlines()[3]],
        ),
        Row(
            True, "x", ["fix it", "```\nFix  it\n```", "fix it now"], {"a": "fix it", "b": ["now"]}
        ),
    ],
    "mentions": [
        Row(["cache", ["hour", "60 minutes"]], "A CACHE for an\nhour.", ["A cache.", "An hour."]),
        Row(["I "], "I ask.", ["In it.", "Mississippi"]),
        Row(["自動"], "これは自動です", ["これは手動です"]),
    ],
    "avoids": [Row(["--hard", "sorry"], "git reset --soft", ["git reset --hard", "I am Sorry"])],
    "length": [
        Row({"least_words": 2, "most_words": 3}, "one two", ["one", "one two three four"]),
        Row({"most_chars": 5}, "12345", ["123456"]),
        Row({"most_sentences": 1}, "One, v1.2.", ["One. Two."]),
    ],
    "has_lines": [
        Row(["## A", "## B"], "## A\ntext\n##  b\n", ["## A", "## B\n## A", "## A ## B"])
    ],
    "points": [Row({"least": 1, "most": 2}, "Title\n- a\n2. b", ["none", "- a\n- b\n* c"])],
    "fences": [Row(1, "```\nx\n```", ["x", "```"])],
    "written_in": [
        Row("en", "This is the name of it.", ["Das ist der Name.", "", "x = 1"]),
        Row("de", "Das ist der Name und nicht mehr.", ["That is the name of it."]),
        Row("fr", "C'est le nom de la branche et pas plus.", ["It is the name of the branch."]),
        Row("es", "Es el nombre de la rama y una prueba.", ["It is the name of the branch."]),
        Row("ja", "これはブランチです", ["This is a branch", "分支"]),
        Row("ru", "Это ветка", ["This is a branch"]),
        Row("ar", "هذا فرع", ["This is a branch"]),
    ],
    "cites": [Row(["doc/ci/index.md"], "See doc/ci/index.md.", ["See doc/ci/yaml.md.", "See it."])],
    "refuses": [Row(True, "I can\u2019t see it.", ["It was dana.", "It is not hard."])],
    "judge": [Row("is polite", judged(""), [judged("It swears.")])],
    "answers_within_s": [Row(5, late(5), [late(5.1)])],
    "parses": [
        Row("python", PYTHON, ["def area(w, h:\n", ""]),
        Row("go", "Sure:\n```go\npackage a\n```\nand {", ["```go\nfunc {\n```"]),
    ],
    "stitches": [Row("js", "a + b", ["a +", ")"], {"prefix": "f(", "suffix": ");"})],
    "keeps": [
        Row(["area", "w"], PYTHON, ["def areas(w): pass", "def area(v): pass", "area\n```\nw\n```"])
    ],
    "passes": [
        Row("assert area(2, 3) == 6", PYTHON, [PYTHON.replace("*", "+"), "def area(:", ""]),
        Row("assert f(2) == 4", "x * x", ["x + 3", "1 / 0"], {"prefix": "def f(x):\n    return "}),
    ],
    "replaces": [
        Row(
            {"language": "python", "without": ["return eval("], "with": ["literal_eval"]},
            PAIR.format("eval(x)", "ast.literal_eval(x)"),
            [
                "no pair at all",
                PAIR.format("evil(x)", "literal_eval(x)"),
                PAIR.format("eval(x)", "literal_eval((x)"),
                PAIR.format("eval(x)", "int(x)"),
                PAIR.format("eval(x)", "eval(x) or literal_eval"),
            ],
            SOURCE,
        )
    ],
    "fits_schema": [Row({"required": ["a"]}, 'So: {"a": 1}', ['{"b": 1}', "a", '{"a": 1'])],
    "values": [
        Row(
            {"a.0.b": {"one_of": [1]}}, '{"a": [{"b": 1}]}', ['{"a": []}', '{"a": [{"b": 2}]}', "1"]
        ),
        Row({"a": {"items": 1}}, '{"a": [1]}', ['{"a": []}', '{"a": 1}']),
        Row({"a": {"least": 1, "most": 2}}, '{"a": 1.5}', ['{"a": 3}', '{"a": 0}', '{"a": true}']),
    ],
}
ROWS = [(name, row) for name, rows in TABLE.items() for row in rows]


def problem(name: str, row: Row, answer: Any) -> str:
    given = answer if isinstance(answer, GivenAnswer) else GivenAnswer(answer, prompt=PROMPT)
    return SCORERS[name].judge(given, row.inputs, row.wanted)


def test_every_scorer_is_in_the_table() -> None:
    assert set(TABLE) == set(SCORERS)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_good_answer_passes(name: str, row: Row) -> None:
    assert problem(name, row, row.good) == ""


@pytest.mark.parametrize(
    ("name", "row", "bad"), [(name, row, bad) for name, row in ROWS for bad in row.bad]
)
def test_bad_answer_fails_with_a_reason(name: str, row: Row, bad: Any) -> None:
    assert problem(name, row, bad)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_what_is_wanted_has_the_form_of_its_scorer(name: str, row: Row) -> None:
    SCORERS[name].wanted.validate(row.wanted)


@pytest.mark.parametrize("name", SCORERS)
def test_form_of_a_scorer_is_a_schema_and_refuses_nothing_wanted(name: str) -> None:
    Draft202012Validator.check_schema(SCORERS[name].wanted.schema)

    assert not SCORERS[name].wanted.is_valid(None)


def test_only_what_runs_code_says_so() -> None:
    assert [name for name, each in SCORERS.items() if each.executes] == ["passes"]
