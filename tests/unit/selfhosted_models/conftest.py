from collections.abc import AsyncIterator

import pytest

from selfhosted_models.outbound import OutboundDoor
from tests.unit.selfhosted_models.doors import LOOPBACK_ALLOWED


@pytest.fixture
async def door() -> AsyncIterator[OutboundDoor]:
    """A door to real servers on loopback."""
    opened = OutboundDoor(LOOPBACK_ALLOWED)
    yield opened
    await opened.aclose()
