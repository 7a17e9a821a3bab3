"""What callers send, by path, and a client that can leave in the middle."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CURRENT_FILE = {
    "file_name": "area.py",
    "language_identifier": "python",
    "content_above_cursor": "def area(w, h):\n    return ",
    "content_below_cursor": "\n\nprint(area(2, 3))\n",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of request: its path, scope and body, and the feature that answers."""

    path: str
    scope: str
    feature: str
    body: dict[str, Any]

    def streamed(self, stream: bool = True) -> dict[str, Any]:
        return {**self.body, "stream": stream}


COMPLETION = Call(
    "/v2/code/completions",
    "complete_code",
    "code_completions",
    {"prompt_version": 2, "prompt": None, "current_file": CURRENT_FILE},
)
GENERATION = Call(
    "/v2/code/generations",
    "generate_code",
    "code_generations",
    {
        "prompt_version": 2,
        "prompt": "add a function",
        "prompt_id": "code_suggestions/generations",
        "current_file": CURRENT_FILE,
    },
)
PROMPT = Call(
    "/v1/prompts/code_suggestions%2Fgenerations",
    "generate_code",
    "code_generations",
    {"inputs": {"prefix": "x = 1\n", "instruction": "go on", "language": "", "file_name": "a.py"}},
)
CHAT = Call(
    "/openai/v1/chat/completions",
    "duo_chat",
    "duo_chat",
    {"model": "duo_chat", "messages": [{"role": "user", "content": "Hello"}]},
)
CALLS = (COMPLETION, GENERATION, PROMPT, CHAT)
SCOPES = sorted({call.scope for call in CALLS})


@contextmanager
def leaving_client(
    gateway_url: str, call: Call, headers: Mapping[str, str], *, stream: bool
) -> Iterator[http.client.HTTPConnection]:
    """Send `call` and yield the connection; closing it is how a client leaves."""
    parts = urlsplit(gateway_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    body = json.dumps(call.streamed(stream))
    connection.request("POST", call.path, body, {**headers, "Content-Type": "application/json"})
    try:
        yield connection
    finally:
        connection.close()
