"""What becomes of tokens when GitLab is down, and when the operator says no."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.fakes.gitlab import GitLab
from tests.gateway_process import Gateway, gateway

TAKEN_WITHIN_S = 15

#: What lets anyone in at GitLab's own gateway, and must not here.
BYPASSES = {
    "AIGW_AUTH__BYPASS_EXTERNAL": "true",
    "AIGW_AUTH__BYPASS_EXTERNAL_WITH_HEADER": "true",
    "AIGW_AUTH__BYPASS_JWT_SIGNATURE": "true",
}


@dataclass(frozen=True, slots=True)
class Door:
    """A gateway without models, and the GitLab instance it trusts."""

    gateway: Gateway
    gitlab: GitLab
    data_dir: Path

    def status(self, token: str | None, address: str = "10.0.0.1", **more: str) -> int:
        """Return 404 if the token is good: the path is unknown, which only callers are told."""
        headers = self.gitlab.headers(token, x_forwarded_for=address, **more)
        return httpx.get(f"{self.gateway.url}/v9/nothing", headers=headers).status_code


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("door")
    with (
        GitLab() as instance,
        gateway(
            folder, AIGW_GITLAB_URL=instance.url, USER_REQUESTS_PER_MINUTE="0", **BYPASSES
        ) as running,
    ):
        yield Door(running, instance, folder / "data")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TAKEN_WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {TAKEN_WITHIN_S} s"


def test_restart_while_gitlab_is_down_still_verifies(gitlab: GitLab, tmp_path: Path) -> None:
    copies = tmp_path / "data" / "issuer_keys"
    with gateway(tmp_path, AIGW_GITLAB_URL=gitlab.url) as first:
        assert Door(first, gitlab, tmp_path).status(gitlab.mint()) == 404
        wait_until(lambda: any(copies.glob("*.json")))
    gitlab.discovery_fault = gitlab.keys_fault = "error"

    with gateway(tmp_path, AIGW_GITLAB_URL=gitlab.url) as restarted:
        door = Door(restarted, gitlab, tmp_path)

        assert door.status(gitlab.mint()) == 404
        assert door.status(gitlab.mint(key=7)) == 401
    assert [oct(path.stat().st_mode & 0o777) for path in copies.iterdir()] == ["0o600"]


def test_no_setting_lets_anyone_in_without_a_good_token(door: Door) -> None:
    head, payload, _ = door.gitlab.mint().split(".")

    assert door.status(f"{head}.{payload}.AAAA", "10.0.0.4") == 401
    assert door.status(None, "10.0.0.4") == 401
    assert door.status(None, "10.0.0.4", bypass_auth="true") == 401


def test_denied_key_and_token_are_refused_without_a_restart(door: Door) -> None:
    listed = door.data_dir / "denied_tokens"
    stolen, other = door.gitlab.mint(jti="stolen"), door.gitlab.mint()
    assert door.status(stolen) == door.status(other) == 404

    listed.write_text("jti stolen\n")
    wait_until(lambda: door.status(stolen) == 401)
    assert door.status(other) == 404

    listed.write_text("kid gitlab-key-0\n")
    wait_until(lambda: door.status(other) == 401)

    listed.unlink()
    wait_until(lambda: door.status(stolen) == door.status(other) == 404)


def test_flood_of_bad_tokens_bars_no_caller_who_is_known(door: Door) -> None:
    known = door.gitlab.mint()
    assert door.status(known, "10.0.0.2") == 404
    hits = door.gitlab.keys_hits

    signed, _, signature = known.rpartition(".")
    forged = [f"{signed}.{number:04}{signature[4:]}" for number in range(60)]
    flood = statuses_of_burst(door, forged, "10.0.0.2")

    assert {*flood} == {401, 429}
    assert flood.index(429) >= 20
    assert door.gitlab.keys_hits == hits
    assert door.status(known, "10.0.0.2") == 404
    assert door.status("a.b.c", "10.0.0.3") == 401  # another client of the same proxy


def statuses_of_burst(door: Door, tokens: list[str], address: str) -> list[int]:
    """Send a request with each token, all in one packet, and return the statuses in order."""
    requests = []
    for token in tokens:
        close = "close" if token is tokens[-1] else None
        headers = door.gitlab.headers(token, x_forwarded_for=address, connection=close)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        requests.append("\r\n".join(["GET /v9/nothing HTTP/1.1", "Host: door", *lines, "", ""]))
    url = urlsplit(door.gateway.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        connection.sendall("".join(requests).encode())
        with connection.makefile("rb") as answers:
            return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", answers.read())]
