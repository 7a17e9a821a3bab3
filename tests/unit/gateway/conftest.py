from collections.abc import Iterator

import pytest
import time_machine

#: A whole second, so that ages in tokens are exact.
NOW = 1_800_000_000


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Wall time that stands still, for us and for PyJWT; `shift` moves it."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller
