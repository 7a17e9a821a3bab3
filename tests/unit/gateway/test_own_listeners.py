import pytest
import structlog

from gateway.own_listeners import named_places, resolve_places


def test_urls_name_host_and_port() -> None:
    urls = [
        "postgres://user:secret@10.0.0.5/db",
        "postgresql://[fd00::5]:6432/db",
        "redis://10.0.0.6",
        "sqlite:////data/db.sqlite3",
        "postgres:///db?host=/run/postgresql",
        "postgres://10.0.0.5:notaport/db",
        "",
    ]

    assert named_places(urls) == [("10.0.0.5", 5432), ("fd00::5", 6432), ("10.0.0.6", 6379)]


@pytest.mark.enable_socket
async def test_literals_are_resolved_as_they_are() -> None:
    places = await resolve_places([("10.0.0.5", 5432), ("fd00::5", 6432), ("0.0.0.0", 8000)])

    assert places == {("10.0.0.5", 5432), ("fd00::5", 6432), ("0.0.0.0", 8000)}


@pytest.mark.enable_socket
async def test_a_name_nobody_knows_is_left_out_and_logged() -> None:
    with structlog.testing.capture_logs() as logs:
        places = await resolve_places([("no such name", 5432), ("10.0.0.6", 6379)])

    assert places == {("10.0.0.6", 6379)}
    assert [event["event"] for event in logs] == ["own_listener.unknown"]
