import pytest

from gateway.views.direct import fitting_text
from prompts.tokens import estimate_tokens


@pytest.mark.parametrize(
    ("wire_name", "limit"), [("codegemma", 8192), ("codellama", 16384), ("mistral", 32768)]
)
def test_long_text_of_a_caller_keeps_its_end_within_the_wires_limit(
    wire_name: str, limit: int
) -> None:
    text = "x = 1\n" * 100_000

    kept = fitting_text(text, wire_name)

    assert text.endswith(kept)
    assert 0.9 * limit < estimate_tokens(kept) <= limit


def test_short_text_is_sent_as_it_is() -> None:
    assert fitting_text("def area(", "codegemma") == "def area("
