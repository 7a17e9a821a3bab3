"""The client goes away: the model server must not generate for nobody. Watched at its socket."""

import pytest

from tests.e2e.callers import CALLS, Call, leaving_client
from tests.e2e.conftest import Site
from tests.fakes.model_server import Script, Stall

CLOSED_WITHIN_S = 1.0

by_path = pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)


@by_path
@pytest.mark.parametrize("stall", ["before_headers", "after_headers"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_leaving_before_the_first_token_closes_upstream(
    site: Site, call: Call, stall: Stall, stream: bool
) -> None:
    site.models.answer_with(Script(stall=stall))
    seen = len(site.models.exchanges)

    with leaving_client(site.url, call, site.headers, stream=stream):
        exchange = site.models.wait_for_request(seen)
        assert not exchange.closed_by_peer.is_set()

    assert exchange.closed_by_peer.wait(CLOSED_WITHIN_S)


@by_path
def test_leaving_after_the_first_token_closes_upstream(site: Site, call: Call) -> None:
    site.models.answer_with(Script(chunks=("one ", "two ", "three"), stall=2))
    seen = len(site.models.exchanges)

    with leaving_client(site.url, call, site.headers, stream=True) as client:
        first = client.getresponse().read1(1024)
        exchange = site.models.wait_for_request(seen)

    assert first
    assert exchange.closed_by_peer.wait(CLOSED_WITHIN_S)


@by_path
def test_leaving_a_stream_that_never_ends_closes_upstream(site: Site, call: Call) -> None:
    site.models.answer_with(Script(never_ends=True))
    seen = len(site.models.exchanges)

    with leaving_client(site.url, call, site.headers, stream=True) as client:
        client.getresponse().read1(1024)
        exchange = site.models.wait_for_request(seen)

    assert exchange.closed_by_peer.wait(CLOSED_WITHIN_S)


def test_a_client_that_left_is_an_outcome_of_its_own(site: Site) -> None:
    site.models.answer_with(Script(stall="before_headers"))
    seen = len(site.models.exchanges)

    headers = {**site.headers, "X-Request-Id": "leaver-1"}

    with leaving_client(site.url, CALLS[0], headers, stream=True):
        site.models.wait_for_request(seen)

    assert site.gateway.finished("leaver-1")["outcome"] == "client_left"
