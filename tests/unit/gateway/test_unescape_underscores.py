r"""`\_` becomes `_` in a stream, wherever it is cut."""

from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.post_processing import escapes_underscores, unescape_underscores
from selfhosted_models.families import ModelFamily

MIXTRAL = {ModelFamily.MIXTRAL_8X7B_INSTRUCT, ModelFamily.MIXTRAL_8X22B}


async def pieces(texts: Sequence[str]) -> AsyncIterator[str]:
    for text in texts:
        yield text


async def unescaped(*texts: str) -> list[str]:
    return [text async for text in unescape_underscores(pieces(texts))]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a\\_b"], ["a_b"]),
        (["a\\", "_b"], ["a", "_b"]),
        (["a\\", "b"], ["a", "\\b"]),
        (["a\\"], ["a", "\\"]),
        (["\\", "\\", "_"], ["\\", "_"]),
        (["\\\\_"], ["\\_"]),
        (["\\", "", "_"], ["_"]),
        (["\\n", "_x"], ["\\n", "_x"]),
        ([""], []),
        ([], []),
    ],
)
async def test_backslash_waits_for_what_follows_it(texts: list[str], told: list[str]) -> None:
    assert await unescaped(*texts) == told


@given(st.lists(st.text(alphabet="\\_ab\n", max_size=6), max_size=12))
async def test_any_cut_gives_the_same_text(texts: list[str]) -> None:
    told = await unescaped(*texts)

    assert "".join(told) == "".join(texts).replace("\\_", "_")
    assert all(told)


@given(st.text(alphabet="\\_ab", max_size=20))
async def test_all_but_one_backslash_leaves_at_once(text: str) -> None:
    fed, told = "", ""

    async def one_by_one() -> AsyncIterator[str]:
        nonlocal fed
        for character in text:
            fed += character
            yield character
            held = len(fed.replace("\\_", "_")) - len(told)
            assert held == fed.endswith("\\")

    async for piece in unescape_underscores(one_by_one()):
        told += piece

    assert fed == text


@pytest.mark.parametrize("family", ModelFamily)
def test_only_mixtral_escapes(family: ModelFamily) -> None:
    assert escapes_underscores(family) == (family in MIXTRAL)
