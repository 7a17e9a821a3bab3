"""An event loop whose time stands still until a test lets it pass."""

import asyncio

#: More turns of the loop than any chain of callbacks under test is long.
_TURNS = 10


class ManualTimeLoop(asyncio.SelectorEventLoop):
    """Runs what is ready when told to, and never waits.

    Attributes:
        now: Its time, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        super().__init__()
        self.now = now

    def time(self) -> float:
        return self.now

    def settle(self) -> None:
        """Run until nothing more happens at this time."""
        for _ in range(_TURNS):
            self.run_until_complete(asyncio.sleep(0))
