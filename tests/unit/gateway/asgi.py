"""A client that plays one request after another to an ASGI application, in process."""

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.inbound.handler import GatewayHandler


@dataclass(slots=True)
class Answer:
    """What the application sent.

    Attributes:
        status: 0 if it sent none.
        headers: Names in lower case.
        parts: The body, as it was sent.
        is_complete: Whether the application said that the body has ended.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    is_complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Call:
    """One request.

    Attributes:
        app: Is asked.
        scope: The request's head.
        parts: Its body, as it arrives; None in it is silence until the end of time.
        answer: What came back so far.
        began_answering: Set with the first part of the answer's body.
        left: Once set, the client has closed the connection.
    """

    def __init__(
        self, app: GatewayHandler, scope: MutableMapping[str, Any], parts: Sequence[bytes | None]
    ) -> None:
        self.app = app
        self.scope = scope
        self.parts = [*parts]
        self.answer = Answer()
        self.began_answering = asyncio.Event()
        self.left = asyncio.Event()

    async def run(self) -> Answer:
        """Play the request to its end."""
        await self.app(self.scope, self._receive, self._send)
        return self.answer

    async def _receive(self) -> MutableMapping[str, Any]:
        if self.parts:
            part = self.parts.pop(0)
            if part is not None:
                return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            pairs = ((name.decode(), value.decode("latin-1")) for name, value in message["headers"])
            self.answer.headers = dict(pairs)
            return
        self.answer.is_complete = not message.get("more_body", False)
        if body := message.get("body"):
            self.answer.parts.append(body)
            self.began_answering.set()


class Client:
    """Makes calls to one application."""

    def __init__(self, app: GatewayHandler) -> None:
        self._app = app

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        parts: Sequence[bytes | None] = (b"",),
        query: bytes = b"",
    ) -> Call:
        """Return a request that can be run; `json` is its body in place of `parts`."""
        sent = {"content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [
                (name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()
            ],
        }
        return Call(self._app, scope, parts if json is None else (orjson.dumps(json),))

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.call("GET", path, headers).run()

    async def post(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        json: Any = None,
        parts: Sequence[bytes | None] = (b"",),
    ) -> Answer:
        return await self.call("POST", path, headers, json=json, parts=parts).run()
