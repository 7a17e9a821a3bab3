"""The context of servers that say the truth, lie, say nothing, refuse and cut."""

from typing import Any

import pytest

from selfhosted_models.errors import UpstreamRejected, UpstreamTimeout
from selfhosted_models.probing.context import (
    MOST_REQUESTS,
    MOST_TRIED_TOKENS,
    Context,
    ContextSearch,
)
from selfhosted_models.serving_formats.base import CompletionChunk, Usage

TEMPLATE_TOKENS = 30


class Model:
    """Takes so many tokens; a word of filler has `tokens_per_word`."""

    def __init__(
        self,
        context: int,
        *,
        tokens_per_word: float = 1,
        refusal: int | None = 400,
        counts: bool = True,
    ) -> None:
        self.context = context
        self.tokens_per_word = tokens_per_word
        self.refusal = refusal
        self.counts = counts
        self.longest_taken = 0
        self.longest_asked = 0
        self.requests = 0

    async def ask_with(self, words: int) -> CompletionChunk:
        self.requests += 1
        tokens = TEMPLATE_TOKENS + int(words * self.tokens_per_word)
        self.longest_asked = max(self.longest_asked, tokens)
        if tokens + 1 > self.context and self.refusal:
            raise UpstreamRejected("too long", status=self.refusal)
        tokens = min(tokens, self.context)
        self.longest_taken = max(self.longest_taken, tokens)
        return CompletionChunk("a", usage=Usage(tokens, 1) if self.counts else None)

    async def find(self, told: int | None = None) -> Context:
        return await ContextSearch(self.ask_with, lambda: True).find(told)


async def test_what_a_server_says_is_tried_by_one_prompt_that_nearly_fills_it() -> None:
    model = Model(8192)

    found = await model.find(told=8192)

    assert (found.tokens, found.is_tried, model.requests) == (8192, True, 3)
    assert 0.95 * 8192 < model.longest_taken < 8192


@pytest.mark.parametrize("tokens_per_word", [0.5, 1, 1.7])
@pytest.mark.parametrize("refusal", [400, 413, 422, None])
async def test_a_server_that_lies_is_found_out(refusal: int | None, tokens_per_word: float) -> None:
    model = Model(4096, tokens_per_word=tokens_per_word, refusal=refusal)

    found = await model.find(told=16_384)

    assert found.tokens is not None
    assert 0.9 * 4096 <= found.tokens <= 4096
    assert model.requests <= MOST_REQUESTS


@pytest.mark.parametrize("context", [700, 2048, 5000, 20_000])
async def test_a_server_that_says_nothing_is_tried(context: int) -> None:
    model = Model(context)

    found = await model.find()

    assert found.tokens is not None
    assert 0.9 * context <= found.tokens <= context
    assert model.requests <= MOST_REQUESTS


@pytest.mark.parametrize("told", [None, 1_000_000])
async def test_no_prompt_is_longer_than_our_limit(told: int | None) -> None:
    model = Model(1_000_000)

    found = await model.find(told)

    assert model.longest_asked <= MOST_TRIED_TOKENS
    expected: dict[str, Any] = {"is_at_least": True} if told is None else {"tokens": told}
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.is_tried is (told is None)


async def test_who_counts_nothing_and_refuses_nothing_stays_unknown() -> None:
    assert (await Model(512, refusal=None, counts=False).find()).tokens is None


async def test_who_counts_nothing_and_refuses_is_found_by_its_refusals() -> None:
    found = await Model(3000, counts=False).find()

    assert found.tokens is not None
    assert 0.9 * 3000 <= found.tokens <= 3000


async def test_a_server_that_fails_otherwise_is_not_taken_for_small() -> None:
    with pytest.raises(UpstreamRejected):
        await Model(1024, refusal=500).find(told=8192)


async def test_a_time_out_ends_it() -> None:
    async def ask_with(words: int) -> CompletionChunk:
        raise UpstreamTimeout("late")

    with pytest.raises(UpstreamTimeout):
        await ContextSearch(ask_with, lambda: True).find(None)


async def test_without_time_for_more_what_was_taken_counts() -> None:
    model = Model(100_000)

    found = await ContextSearch(model.ask_with, lambda: model.requests < 4).find(None)

    assert found.tokens is not None
    assert found.tokens <= model.longest_taken
    assert found.is_at_least
