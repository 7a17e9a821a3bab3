"""The operator's list of keys and tokens that are refused at once, whoever signed them.

A file, and not a variable of the environment, because it takes effect without a restart.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.upkeep import keep_running

log = structlog.get_logger(__name__)

READ_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class DeniedTokens:
    """What a list names.

    Attributes:
        key_ids: Values of the header `kid`.
        token_ids: Values of the claim `jti`.
        bad_lines: Numbers of the lines that name neither, from 1.
    """

    key_ids: frozenset[str] = frozenset()
    token_ids: frozenset[str] = frozenset()
    bad_lines: tuple[int, ...] = ()


def parse_denied_tokens(text: str) -> DeniedTokens:
    """Return what `text` names: a line each, `kid VALUE` or `jti VALUE`; `#` begins a comment."""
    named: dict[str, set[str]] = {"kid": set(), "jti": set()}
    bad_lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        match line.partition("#")[0].split():
            case []:
                pass
            case [("kid" | "jti") as kind, value]:
                named[kind].add(value)
            case _:
                bad_lines.append(number)
    return DeniedTokens(frozenset(named["kid"]), frozenset(named["jti"]), tuple(bad_lines))


class DenyList:
    """The list as it was read last; a file that cannot be read leaves it as it is.

    Args:
        path: A missing file denies nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._denied = DeniedTokens()
        #: Its own: name look-ups and a database may hang in the others for longer than is allowed.
        self._thread = ThreadPoolExecutor(1, "denied-tokens")

    def holds(self, *, key_id: str, token_id: str) -> bool:
        """Tell whether a token with this key id, or this id of its own, is refused."""
        return key_id in self._denied.key_ids or token_id in self._denied.token_ids

    def read(self) -> None:
        """Read the file."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            text = ""
        except (OSError, UnicodeError) as error:
            log.error("denied_tokens.unreadable", path=str(self._path), error=type(error).__name__)  # noqa: TRY400 - an operator's mistake
            return
        if text == self._text:
            return
        self._text, self._denied = text, parse_denied_tokens(text)
        log.info(
            "denied_tokens.loaded",
            key_ids=len(self._denied.key_ids),
            token_ids=len(self._denied.token_ids),
        )
        if self._denied.bad_lines:
            log.error(
                "denied_tokens.bad_lines",
                path=str(self._path),
                lines=list(self._denied.bad_lines),
                hint="Write `kid VALUE` or `jti VALUE` on each line.",
            )

    async def keep_fresh(self) -> None:
        """Read the file again and again; cancel to stop."""
        try:
            await keep_running("denied tokens", self._read_and_wait)
        finally:
            self._thread.shutdown(wait=False)

    async def _read_and_wait(self) -> float:
        await asyncio.get_running_loop().run_in_executor(self._thread, self.read)
        return READ_EVERY_S
