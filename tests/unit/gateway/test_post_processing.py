import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.post_processing import MIN_REPEATED_LINES, drop_repeated_lines, tidy_generation

ABOVE = "# the cart\n"
REPEATED = [f"total = total + item number {number}\n" for number in range(MIN_REPEATED_LINES)]


@pytest.mark.parametrize(
    ("answer", "tidied"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("```\nx = 1\n```\n", "x = 1\n"),
        ("```python \r\nx = 1\n```", "x = 1\n"),
        ("x = 1\n```", "x = 1\n"),
        ("x = 1```", "x = 1"),
        ("a\n```ruby\nb\n```\nc", "a\nb\nc"),
        ("say ```python\nx", "say ```python\nx"),
        ("``` a comment\nx", "``` a comment\nx"),
        ("  ```python\nx", "  ```python\nx"),
        ("x = `1`", "x = `1"),
    ],
)
def test_lines_that_are_only_a_fence_go(answer: str, tidied: str) -> None:
    assert tidy_generation(answer, ABOVE) == tidied


@pytest.mark.parametrize(
    ("above", "answer", "tidied"),
    [
        ("x = 1", "y = 2", "\ny = 2"),
        ("x = 1\n", "y = 2", "y = 2"),
        ("x = 1", "\ny = 2", "\ny = 2"),
        ("", "y = 2", "\ny = 2"),
        ("x = 1", "```python\ny = 2\n```", "\ny = 2\n"),
    ],
)
def test_answer_begins_a_line(above: str, answer: str, tidied: str) -> None:
    assert tidy_generation(answer, above) == tidied


def test_group_of_repeated_lines_goes() -> None:
    answer = "before\n" + "".join(REPEATED) + "after\n"

    assert tidy_generation(answer, "".join(REPEATED)) == "before\nafter\n"


def test_repeated_lines_go_whatever_their_indent() -> None:
    answer = "".join(f"    {line}" for line in REPEATED) + "after\n"

    assert tidy_generation(answer, "".join(REPEATED)) == "after\n"


def test_fewer_repeated_lines_stay() -> None:
    answer = "".join(REPEATED[:-1])

    assert tidy_generation(answer, "".join(REPEATED)) == answer


def test_repeated_lines_apart_from_each_other_stay() -> None:
    answer = "other\n".join(REPEATED)

    assert tidy_generation(answer, "".join(REPEATED)) == answer


@pytest.mark.parametrize(
    "lines",
    [
        [f"{{ ({number}), [], () }};;\n" for number in range(5)],
        ["abcdefgh\n", "ijklmnop\n", "qrstuvwx\n", "yz012345\n", "6789ABCD\n"],
    ],
    ids=["mostly punctuation", "very diverse"],
)
def test_group_repeated_on_purpose_stays(lines: list[str]) -> None:
    assert tidy_generation("".join(lines), "".join(lines)) == "".join(lines)


@pytest.mark.parametrize("comment", ["# add it up", "// add it up", "-- add it up", "/* add */"])
def test_lone_repeated_comment_goes(comment: str) -> None:
    assert tidy_generation(f"{comment}\nx = 1\n", f"{comment}\n") == "x = 1\n"


def test_lone_repeated_line_of_code_stays() -> None:
    assert tidy_generation("x = 1\ny = 2\n", "x = 1\n") == "x = 1\ny = 2\n"


@pytest.mark.parametrize("answer", ["", " ", "\n\t\n", "```python\n```", "```", "`"])
def test_answer_of_nothing_is_empty(answer: str) -> None:
    assert tidy_generation(answer, ABOVE) == ""


@given(st.text(), st.text())
def test_lines_only_ever_go(text: str, above: str) -> None:
    kept = drop_repeated_lines(text, above).splitlines()

    assert set(kept) <= set(text.splitlines())


@given(st.text(), st.text())
def test_tidied_answer_has_text_or_is_empty(answer: str, above: str) -> None:
    tidied = tidy_generation(answer, above)

    assert tidied == "" or tidied.strip()
