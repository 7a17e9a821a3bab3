from hypothesis import given
from hypothesis import strategies as st

from selfhosted_models.serving_formats.base import CompletionChunk, Usage
from selfhosted_models.serving_formats.stop_sequences import StopCutter

TEXTS = st.text("ab\n", max_size=6)


def cut(stop: tuple[str, ...], *texts: str) -> str:
    """Return what is left of an answer that came in these pieces."""
    cutter = StopCutter(stop)
    said = ""
    for text in texts:
        chunk = cutter.cut(CompletionChunk(text))
        said += chunk.text
        if chunk.is_last:
            return said
    return said + cutter.rest()


@given(st.lists(TEXTS), st.lists(TEXTS.filter(bool), max_size=3))
def test_answer_ends_before_the_first_stop_sequence_however_it_was_cut(
    texts: list[str], stop: list[str]
) -> None:
    whole = "".join(texts)
    ends = [place for item in stop if (place := whole.find(item)) >= 0]

    said = cut(tuple(stop), *texts)

    # Of two that overlap, the one that is whole first ends the answer.
    assert whole.startswith(said)
    assert not any(item in said for item in stop)
    assert said == whole if not ends else len(said) >= min(ends)


def test_text_that_can_be_no_stop_sequence_is_not_held_back() -> None:
    cutter = StopCutter(["\n\n", "</s>"])

    assert [cutter.cut(CompletionChunk(text)).text for text in ("a", "b\n", "c", "<", "b>")] == [
        "a",
        "b",
        "\nc",
        "",
        "<b>",
    ]


def test_cut_answer_is_over_and_keeps_its_usage() -> None:
    chunk = StopCutter(["\n"]).cut(CompletionChunk("a\nb", "length", Usage(7, 4)))

    assert chunk == CompletionChunk("a", "stop", Usage(7, 4), is_last=True)


def test_end_of_an_answer_gives_out_what_was_held_back() -> None:
    for end in (CompletionChunk("", "length"), CompletionChunk("", is_last=True)):
        cutter = StopCutter(["</s>"])
        assert cutter.cut(CompletionChunk("a</")).text == "a"

        assert cutter.cut(end).text == "</"
        assert cutter.rest() == ""


def test_without_stop_sequences_nothing_changes() -> None:
    chunk = CompletionChunk("a\n", usage=Usage(1, 2))

    assert StopCutter([""]).cut(chunk) is chunk
