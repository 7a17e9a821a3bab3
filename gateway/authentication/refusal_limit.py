"""How many bad tokens one address may have us verify."""

from collections import OrderedDict
from collections.abc import Callable

REFUSALS_PER_S = 20
ADDRESSES = 4096


class RefusalLimit:
    """Counts refused tokens by client address: 20 at once, then 20 a second.

    Args:
        now: Monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        #: Address -> when all it has sent is forgiven; who sent last is last.
        self._clear_at: OrderedDict[str, float] = OrderedDict()

    def is_reached(self, address: str) -> bool:
        ahead = (self._clear_at.get(address, 0.0) - self._now()) * REFUSALS_PER_S
        return ahead > REFUSALS_PER_S - 0.5  # a half, for times are rounded

    def count(self, address: str) -> None:
        """Note one refused token."""
        now = self._now()
        clear_at = max(self._clear_at.pop(address, now), now)
        self._clear_at[address] = clear_at + 1 / REFUSALS_PER_S
        if len(self._clear_at) > ADDRESSES:
            self._clear_at.popitem(last=False)
