"""How many tokens a server takes: asked for, then tried, since servers say more than is true.

A prompt that is too long is either refused, or cut silently: then the server counts fewer tokens
than it was sent. Bounded in requests, in tokens and by the time of whoever asks.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from selfhosted_models.errors import UpstreamRejected
from selfhosted_models.serving_formats.base import CompletionChunk

#: Asks for one token after so many words of filler.
AskWith = Callable[[int], Awaitable[CompletionChunk]]

#: One token in nearly every tokenizer, however often it is repeated.
_FILLER = " the"
#: Longer prompts cost other users too much; of a larger context the server's word is taken.
MOST_TRIED_TOKENS = 32_768
MOST_REQUESTS = 14
_LEAST_TOKENS = 256
#: Chat templates and the answer take some.
_ROOM_TOKENS = 16
#: How exactly a limit is found: one part in so many.
_PRECISION = 64
#: A prompt that was cut counts for less than was sent; counts are nearly exact.
_CUT_SHARE = 0.98
#: By which a server says that a prompt is too long for it.
_TOO_LONG = frozenset({400, 413, 422})


def filler(words: int) -> str:
    """Return a prompt of so many words.

    Each begins differently: some servers count only what they do not remember from the last one.
    """
    return f"{words}{_FILLER * words}"


@dataclass(frozen=True, slots=True)
class Context:
    """What was found out.

    Attributes:
        tokens: Input and output together; None if it could not be found out.
        is_at_least: Whether it may be more: nothing longer was tried.
        is_tried: Whether a prompt of nearly that length was taken, not only promised.
        requests: How many it took.
    """

    tokens: int | None
    is_at_least: bool = False
    is_tried: bool = False
    requests: int = 0


class ContextSearch:
    """Finds the context of one model by trying it.

    Args:
        ask_with: Asks the server; raises a `DeploymentError`.
        has_time: Whether another request may be sent.
    """

    def __init__(self, ask_with: AskWith, has_time: Callable[[], bool]) -> None:
        self._ask_with = ask_with
        self._has_time = has_time
        self._requests = 0
        self._tokens_per_word = 1.0
        self._template_tokens = 0.0
        self._counts = False
        self._most_counted = 0

    async def find(self, told: int | None) -> Context:
        """Return the context; `told` is what the server says it is.

        Raises:
            DeploymentError: The server failed, other than by refusing what is too long.
        """
        await self._calibrate()
        if told is not None:
            return await self._try_promise(told)
        return await self._grow()

    async def _calibrate(self) -> None:
        """Learn how the server counts, from two short prompts."""
        fewer, more = 32, 160
        counts = [await self._count(words) for words in (fewer, more)]
        if counts[0] is None or counts[1] is None or counts[1] <= counts[0]:
            return
        self._tokens_per_word = (counts[1] - counts[0]) / (more - fewer)
        self._template_tokens = max(counts[0] - fewer * self._tokens_per_word, 0)
        self._counts = True

    async def _try_promise(self, told: int) -> Context:
        tried = min(told, MOST_TRIED_TOKENS)
        if await self._takes(tried):
            is_tried = self._counts and tried == told
            return Context(told, is_tried=is_tried, requests=self._requests)
        return await self._narrow(0, tried)

    async def _grow(self) -> Context:
        taken, size = 0, 2_048
        while self._may_ask and size <= MOST_TRIED_TOKENS:
            if not await self._takes(size):
                return await self._narrow(taken, size)
            taken, size = size, size * 2
        if not self._counts:  # one that takes anything may cut anything
            return Context(None, requests=self._requests)
        return self._tried(taken, is_at_least=True)

    async def _narrow(self, taken: int, refused: int) -> Context:
        """Halve the distance between what was taken and what was not, until it is small."""
        while self._may_ask and refused - taken > max(refused // _PRECISION, _ROOM_TOKENS):
            middle = (taken + refused) // 2
            if await self._takes(middle):
                taken = middle
            else:
                refused = middle
        return self._tried(taken)

    def _tried(self, taken: int, *, is_at_least: bool = False) -> Context:
        """Return what certainly fits: the prompt that was taken, without the room left free."""
        tokens = taken - _room(taken)
        if self._counts:
            tokens = min(tokens, self._most_counted)
        if tokens < _LEAST_TOKENS:
            return Context(None, requests=self._requests)
        return Context(tokens, is_at_least, is_tried=True, requests=self._requests)

    async def _takes(self, tokens: int) -> bool:
        """Tell whether a context of so many `tokens` is there: a prompt that nearly fills it."""
        room = _room(tokens) + self._template_tokens
        words = max(int((tokens - room) / self._tokens_per_word), 1)
        try:
            counted = await self._count(words)
        except UpstreamRejected as rejection:
            if rejection.status not in _TOO_LONG:
                raise
            return False
        sent = self._template_tokens + words * self._tokens_per_word
        return not self._counts or counted is None or counted >= sent * _CUT_SHARE

    async def _count(self, words: int) -> int | None:
        """Return the tokens of a prompt of so many words, as the server counts them."""
        self._requests += 1
        answer = await self._ask_with(words)
        counted = answer.usage.input_tokens if answer.usage else None
        self._most_counted = max(self._most_counted, counted or 0)
        return counted

    @property
    def _may_ask(self) -> bool:
        return self._requests < MOST_REQUESTS and self._has_time()


def _room(tokens: int) -> int:
    return _ROOM_TOKENS + tokens // _PRECISION
