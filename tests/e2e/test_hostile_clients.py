"""Callers that mean harm: each costs its own connection, never the worker."""

import socket
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.callers import CHAT, COMPLETION, CURRENT_FILE
from tests.e2e.conftest import Site
from tests.fakes.model_server import Script


def _send(site: Site, *parts: bytes) -> bytes:
    """Send `parts` until the gateway has had enough; return what it answered."""
    address = urlsplit(site.url)
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        with suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        with suppress(ConnectionError):
            while received := connection.recv(65_536):
                answer += received
    return answer


def _is_alive(site: Site) -> bool:
    return httpx.get(f"{site.url}/monitoring/healthz", timeout=5).status_code == 200


GET = b"GET /monitoring/healthz HTTP/1.1\r\nHost: gateway\r\n"
POST = b"POST /monitoring/healthz HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n"
FLOOD = b"x" * 64 * 1024

HEADS = {
    "a large header": [GET, b"X-Large: " + FLOOD, b"\r\n\r\n"],
    "a header without an end": [GET, b"X-Large: ", *([FLOOD] * 64)],
    "many headers": [GET, *(b"X-%d: y\r\n" % number for number in range(200)), b"\r\n"],
    "a large URL": [b"GET /" + FLOOD + b" HTTP/1.1\r\nHost: gateway\r\n\r\n"],
    "a URL without an end": [b"GET /", *([FLOOD] * 64)],
    "a content type of semicolons": [GET, b"Content-Type: a/b" + b";" * 100_000, b"\r\n\r\n"],
}


@pytest.mark.parametrize("parts", HEADS.values(), ids=HEADS.keys())
def test_head_that_is_too_large_is_refused(site: Site, parts: list[bytes]) -> None:
    answer = _send(site, *parts)

    assert answer.startswith(b"HTTP/1.1 431 ") or not answer
    assert _is_alive(site)


def test_trailers_without_an_end_are_cut_off(site: Site) -> None:
    endless = [b"X-Trailer: " + FLOOD + b"\r\n"] * 256

    _send(site, POST, b"\r\n1\r\nx\r\n0\r\n", *endless)

    assert _is_alive(site)


@pytest.mark.parametrize("path", ["/admin/login/", "/static/x", "/admin/"])
def test_body_of_a_page_is_limited(site: Site, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"x" * 1024 * 1024 + b"\r\n"

    answer = _send(site, head.encode(), *([chunk] * 8))

    assert answer.startswith(b"HTTP/1.1 413 ") or not answer
    assert _is_alive(site)


@pytest.mark.parametrize(
    "content_type", ["a/b; charset*=utf-8''%00", "a/b; charset*=bogus''x", "a/b; charset=nothing"]
)
def test_odd_content_type_is_no_bug(site: Site, content_type: str) -> None:
    headers = {**site.headers, "Content-Type": content_type}

    response = httpx.post(site.url + COMPLETION.path, content=b"{}", headers=headers)

    assert response.status_code == 422


def test_million_mistakes_in_one_body_are_told_in_few_words(site: Site) -> None:
    telemetry = {"requests": 0, "accepts": 0, "errors": 0, "experiments": [{}] * 50_000}
    body = {"prompt_version": 1, "current_file": CURRENT_FILE, "telemetry": [telemetry]}

    response = httpx.post(site.url + COMPLETION.path, json=body, headers=site.headers, timeout=20)

    assert response.status_code == 422
    assert len(response.content) < 20_000
    event = site.gateway.finished(response.headers["X-Request-ID"])
    assert len(event["reason"]) <= 500


@pytest.mark.parametrize(
    "filler", [b"[],", b"[[[]]],", b"0,", b"{},"], ids=["lists", "nested", "numbers", "objects"]
)
def test_body_of_nothing_but_structure_is_refused_unread(site: Site, filler: bytes) -> None:
    count = 3 * 1024 * 1024 // len(filler)
    content = b'{"x": [' + filler * count + b"0]}"

    response = httpx.post(
        site.url + COMPLETION.path,
        content=content,
        headers={**site.headers, "Content-Type": "application/json"},
        timeout=20,
    )

    assert response.status_code == 400
    assert response.json()["code"] == "request_malformed"


def test_control_characters_in_a_text_of_brackets_do_not_hold_the_worker(site: Site) -> None:
    site.models.answer_with(Script())
    flood = "<" * 1_000_000 + "[INST]"

    response = site.post(CHAT, messages=[{"role": "user", "content": flood}])

    assert response.status_code in {200, 413}
    assert _is_alive(site)
