"""A client of the REST API, in process."""

import json
from typing import Any

from django.test import Client


class Api:
    """Sends JSON with a token, and keeps to the API's own paths.

    Args:
        token: Sent as bearer; empty sends none.
    """

    def __init__(self, token: str = "") -> None:
        self.token = token
        self._client = Client(raise_request_exception=False)

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self._client.generic(
            method,
            f"/api/v1/{path}",
            b"" if body is None else _bytes_of(body),
            content_type="application/json",
            headers={**sent, **(headers or {})},
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, headers=_names(headers))

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self.call("POST", path, body, _names(headers))

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self.call("PUT", path, body, _names(headers))

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.call("PATCH", path, body, _names(headers))

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, headers=_names(headers))


def _names(headers: dict[str, str]) -> dict[str, str]:
    """Return header names as they are sent: `if_match` is `if-match`."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _bytes_of(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
