"""What standard error shows while people wait for a command."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BAR_CHARS = 30


def progress_bar(unit: str) -> Callable[[int, int], None]:
    """Return what draws a bar when told how much is done, of how much; nothing into a file."""

    def draw(done: int, of: int) -> None:
        filled = "#" * (_BAR_CHARS * done // of)
        end = "\n" if done == of else ""
        sys.stderr.write(f"\r[{filled:<{_BAR_CHARS}}] {done:,}/{of:,} {unit}{end}")

    return draw if sys.stderr.isatty() else lambda done, of: None


def waiting_line() -> Callable[[str], None]:
    """Return what shows in one line what is waited for; "" takes it away. Nothing into a file."""

    def show(what: str) -> None:
        columns = shutil.get_terminal_size().columns
        line = f"... {what}"[: columns - 1] if what else ""
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    return show if sys.stderr.isatty() else lambda what: None


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Show `what` as a waiting line for as long as the block takes."""
    show = waiting_line()
    show(what)
    try:
        yield
    finally:
        show("")
