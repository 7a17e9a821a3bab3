"""A progress bar on standard error, for commands that people wait for."""

import sys
from collections.abc import Callable

_BAR_CHARS = 30


def progress_bar(unit: str) -> Callable[[int, int], None]:
    """Return what draws a bar when told how much is done, of how much; nothing into a file."""

    def draw(done: int, of: int) -> None:
        filled = "#" * (_BAR_CHARS * done // of)
        end = "\n" if done == of else ""
        sys.stderr.write(f"\r[{filled:<{_BAR_CHARS}}] {done:,}/{of:,} {unit}{end}")

    return draw if sys.stderr.isatty() else lambda done, of: None
