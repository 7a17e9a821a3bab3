from hypothesis import given
from hypothesis import strategies as st

from prompts.control_tokens import ControlTokens

TOKENS = ("<|fim_suffix|>", "[INST]", "aba", "<<SYS>>", "<<")


def test_a_token_is_broken_after_its_first_character() -> None:
    tokens = ControlTokens(TOKENS)

    assert tokens.neutralise_text("a [INST] b") == "a [ INST] b"


def test_text_without_tokens_is_untouched() -> None:
    text = "if a < b and c[INS]:"

    assert ControlTokens(TOKENS).neutralise_text(text) is text


def test_values_are_neutralised_however_deep() -> None:
    value = {"[INST]": ["[INST]", {"deep": "x[INST]", "number": 3, "none": None}]}

    cleaned = ControlTokens(TOKENS).neutralise(value)

    assert cleaned == {"[ INST]": ("[ INST]", {"deep": "x[ INST]", "number": 3, "none": None})}


def test_no_tokens_change_nothing() -> None:
    assert ControlTokens(()).neutralise_text("[INST]") == "[INST]"


@given(st.lists(st.sampled_from([*TOKENS, "<", "|", "a", "b", "[", " ", "INST]", "é"])))
def test_no_token_survives_even_overlapping(pieces: list[str]) -> None:
    text = "".join(pieces)

    cleaned = ControlTokens(TOKENS).neutralise_text(text)

    assert not any(token in cleaned for token in TOKENS)
    assert cleaned.replace(" ", "") == text.replace(" ", "")
