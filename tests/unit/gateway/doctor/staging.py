"""What checks of `doctor` look at, made so that it can be broken on purpose."""

import asyncio
import ssl
from typing import Any

from gateway.doctor.checkup import CHECKS, examine
from gateway.doctor.findings import Finding
from gateway.doctor.patient import Patience, Patient
from selfhosted_models.serving import Clocks
from tests.fakes.loopback import (
    Connection,
    LoopbackServer,
    LoopbackService,
    Request,
    json_body,
    send_whole,
)

#: What each check learns from, beside itself.
_BEFORE = ("database", "configuration", "redis")
#: What does not take a connection is hardly waited for.
IMPATIENT = Patience(
    redis_s=0.05,
    worker_s=1,
    server=Clocks(connect_s=0.05, first_token_s=3, idle_s=3, total_s=3),
    model=Clocks(connect_s=0.05, first_token_s=3, idle_s=3, total_s=3),
)


def nothing_resolves(_: str) -> tuple[str, ...]:
    return ()


def found(check: str, patient: Patient | None = None) -> list[Finding]:
    """Return what one check finds, after those it learns from."""
    checks = {name: CHECKS[name] for name in CHECKS if name in (*_BEFORE, check)}
    examined = examine(patient or Patient(resolve=nothing_resolves), checks)
    return [finding for finding in examined if finding.check == check]


class Vllm(LoopbackServer):
    """Answers as vLLM does what operators get wrong.

    Attributes:
        served_name: Of its model.
        has_chat_template: Whether it can answer a chat.
        refuses_lists: Whether its list of models needs another key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.served_name = "some-model"
        self.has_chat_template = True
        self.refuses_lists = False

    async def respond(self, request: Request, connection: Connection) -> None:
        status, answer = self._answer(request)
        send_whole(connection, json_body(answer), status=status)

    def _answer(self, request: Request) -> tuple[int, Any]:
        if self.refuses_lists and request.path == "/v1/models":
            return 401, {"error": "Unauthorized"}
        if request.path != "/v1/chat/completions":
            return 404, {"detail": "Not Found"}
        if request.json["model"] != self.served_name:
            return 404, {"object": "error", "message": "no such model", "code": 404}
        if not self.has_chat_template:
            return 400, {"object": "error", "message": "no chat template", "code": 400}
        message = {"role": "assistant", "content": "Hi"}
        return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


class TlsServer(LoopbackService):
    """Shows its certificate, and says no more."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context
        self._server: asyncio.Server

    def base_url(self, origin: str) -> str:
        return origin.replace("http:", "https:")

    async def open(self) -> int:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        self._server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=self._context)
        return int(self._server.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        self._server.close()
