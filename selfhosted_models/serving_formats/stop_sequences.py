"""Ending an answer before its stop sequences, for servers that leave them in or overlook them."""

from collections.abc import Iterable
from dataclasses import replace

from selfhosted_models.serving_formats.base import CompletionChunk


class StopCutter:
    """Cuts one answer, chunk by chunk, before the first stop sequence in it; none cuts nothing.

    The end of a text that may yet become a stop sequence is held back until more of it comes.
    """

    def __init__(self, stop: Iterable[str]) -> None:
        self._stop = tuple(filter(None, stop))
        self._held = ""

    def cut(self, chunk: CompletionChunk) -> CompletionChunk:
        """Return `chunk` with the text that is certain; the last one if its text was cut."""
        if not self._stop:
            return chunk
        text = self._held + chunk.text
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return CompletionChunk(text[: min(found)], "stop", chunk.usage, is_last=True)
        is_over = chunk.is_last or chunk.finish_reason is not None
        certain = len(text) if is_over else len(text) - self._open_chars(text)
        self._held = text[certain:]
        return replace(chunk, text=text[:certain])

    def rest(self) -> str:
        """Return what is held back, for an answer that ends without saying so."""
        return self._held

    def _open_chars(self, text: str) -> int:
        """Return how long an end of `text` begins a stop sequence."""
        longest = max(map(len, self._stop)) - 1
        return next(
            (
                chars
                for chars in range(min(longest, len(text)), 0, -1)
                if any(stop.startswith(text[-chars:]) for stop in self._stop)
            ),
            0,
        )
