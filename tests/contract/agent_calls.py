"""What Rails sends to Duo Chat's agent, and what it reads of the answer."""

import json
import re
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.contract.house import House, Model, metadata
from tests.fakes.model_server import Script

PATH = "/v2/chat/agent"
TOOL_SCOPES = (
    "ask_build",
    "ask_epic",
    "ask_issue",
    "ask_merge_request",
    "documentation_search",
    "ask_commit",
)
CUT_AFTER_S = 10.0

_TOOL_LINE = re.compile(r"^- (\w+):", re.MULTILINE)


def user(content: str = "What is CI?", **attached: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **attached}


def question(model: Model | None = None, *messages: dict[str, Any], **changes: Any) -> Any:
    """Return a body; without messages of the test's own there is one of the user."""
    body: dict[str, Any] = {"messages": [*messages] or [user()]}
    if model is not None:
        body["model_metadata"] = metadata(model, **changes.pop("named", {}))
    return body | changes


def step(**changes: str) -> dict[str, str]:
    taken = {"thought": "read it", "tool": "issue_reader", "tool_input": "issue 5"}
    return {**taken, "observation": "author is dana.r", **changes}


def after(*steps: dict[str, str]) -> dict[str, Any]:
    """Return the options of a call that follows these steps."""
    return {"agent_scratchpad": {"agent_type": "react", "steps": [*steps]}}


def says(*chunks: str, **how: Any) -> Script:
    return Script(chunks=chunks, **how)


def ask(house: House, body: Any, *scopes: str, **headers: str | None) -> httpx.Response:
    """Ask with every tool's scope unless told otherwise; `duo_chat` is always there."""
    token = house.token("duo_chat", *(scopes or TOOL_SCOPES))
    return house.post(PATH, body, token=token, **headers)


def told(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the events of a good answer, one a line."""
    assert response.status_code == 200, response.text
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


def answer_of(events: list[dict[str, Any]]) -> str:
    assert {event["type"] for event in events} <= {"final_answer_delta"}
    return "".join(event["data"]["text"] for event in events)


def the_error(response: httpx.Response) -> dict[str, Any]:
    """Return the data of the one line an answer that failed at once has."""
    (event,) = told(response)
    assert event["type"] == "error"
    data: dict[str, Any] = event["data"]
    return data


def tools_offered(model: Model) -> list[str]:
    """Return the tools of which the model was told, in that order."""
    return _TOOL_LINE.findall(model.last.json["messages"][0]["content"])


def http_chunks(url: str, body: Any, headers: Mapping[str, str]) -> list[bytes]:
    """Post `body` and return each chunk of HTTP/1.1's chunked answer, as the server framed it."""
    parts, content = urlsplit(url), json.dumps(body).encode()
    head = {**headers, "Host": parts.netloc, "Content-Type": "application/json"}
    head |= {"Content-Length": str(len(content)), "Connection": "close"}
    lines = [f"POST {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    with socket.create_connection((parts.hostname, parts.port), timeout=CUT_AFTER_S) as peer:
        peer.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        received = b"".join(iter(lambda: peer.recv(65536), b""))
    answered, _, rest = received.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in answered.lower()
    chunks: list[bytes] = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return chunks
        chunks.append(rest[:length])
        rest = rest[length + 2 :]
