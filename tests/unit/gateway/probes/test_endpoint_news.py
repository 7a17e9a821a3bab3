import pytest

from gateway.probes.endpoint_news import KEPT_CHANGES, PROBER_LEASE_S, News, exchange_news
from selfhosted_models.models import EndpointHealth, EndpointHealthChange
from tests.factories import make_deployment

pytestmark = pytest.mark.django_db

URL = "http://10.0.4.11:8000/v1"
T0 = 1_800_000_000.0


def news(state: str = "healthy", at: float = T0, reason: str = "", name: str = "gpu1") -> News:
    return News(name, URL, state, reason, since=at, heard_at=at)


def tell(*told: News, worker: str = "a", now: float = T0) -> dict[tuple[str, str], News]:
    known, _ = exchange_news(told, (), worker=worker, now=now)
    return known


@pytest.fixture(autouse=True)
def gpu1() -> None:
    make_deployment(name="gpu1", endpoints=[URL])


def test_what_one_worker_tells_another_learns() -> None:
    tell(news("down", reason="It cannot be reached."), worker="a")

    assert tell(worker="b") == {("gpu1", URL): news("down", reason="It cannot be reached.")}


def test_older_news_changes_nothing() -> None:
    tell(news("down", at=T0 + 5), worker="a")

    known = tell(news("healthy", at=T0), worker="b")

    assert known["gpu1", URL].state == "down"


def test_news_of_the_same_state_keeps_its_beginning() -> None:
    tell(news("healthy", at=T0))

    tell(news("healthy", at=T0 + 60))

    row = EndpointHealth.objects.get()
    assert (row.since.timestamp(), row.heard_at.timestamp()) == (T0, T0 + 60)
    assert EndpointHealthChange.objects.count() == 1


def test_changes_are_kept_newest_first_and_bounded() -> None:
    for number in range(KEPT_CHANGES + 3):
        tell(news("down" if number % 2 else "healthy", at=T0 + number))

    times = [change.at.timestamp() for change in EndpointHealthChange.objects.all()]
    assert times == [T0 + number for number in reversed(range(3, KEPT_CHANGES + 3))]


def test_news_of_a_deployment_that_is_gone_is_passed_over() -> None:
    assert tell(news(name="gone")) == {}


def test_one_worker_probes_until_it_falls_silent() -> None:
    def is_prober(worker: str, now: float) -> bool:
        return exchange_news((), (), worker=worker, now=now)[1]

    assert is_prober("a", T0)
    assert not is_prober("b", T0 + 1)
    assert is_prober("a", T0 + 2)
    assert not is_prober("b", T0 + 2 + PROBER_LEASE_S - 1)
    assert is_prober("b", T0 + 2 + PROBER_LEASE_S + 1)
    assert not is_prober("a", T0 + 2 + PROBER_LEASE_S + 2)
