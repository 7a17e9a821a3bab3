"""When it is worth asking again."""

import pytest

from gateway.routing.errors import CircuitOpen, DeploymentBusy


@pytest.mark.parametrize(("expected_s", "told_s"), [(0, 1), (0.2, 1), (1.5, 2), (5, 5), (400, 5)])
def test_busy_deployment_is_worth_asking_again_within_five_seconds(
    expected_s: float, told_s: int
) -> None:
    assert DeploymentBusy("gpu1", expected_s, "its line is full").retry_after_s == told_s


@pytest.mark.parametrize(("opens_in_s", "told_s"), [(0, 1), (0.2, 1), (9.1, 10), (144, 30)])
def test_open_circuit_is_worth_asking_again_within_thirty_seconds(
    opens_in_s: float, told_s: int
) -> None:
    error = CircuitOpen("gpu1", opens_in_s)

    assert error.retry_after_s == told_s
    assert "gpu1" in error.safe_message
