"""A model server in memory, with the faults that measuring must see through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import orjson

from selfhosted_models.endpoints import UrlPolicy
from selfhosted_models.outbound import OutboundDoor
from tests.unit.selfhosted_models.doors import Parts

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
TEMPLATE_TOKENS = 7


@dataclass(kw_only=True)
class Server:
    """Speaks OpenAI's chat and text completions; the defaults are one that does all it should.

    Attributes:
        key: The API key it wants; None wants none.
        told_context: What its list says; None says nothing.
        context: What it really takes, in tokens: a word is one.
        on_excess: What becomes of a longer prompt.
        fails_beyond: It breaks down over a prompt of more tokens.
        system_role: What becomes of a system message.
        obeys: Whether the model follows a system message.
        honours_stop: Whether an answer ends before a stop sequence.
        counts: Whether answers say how many tokens they took.
        usage_asked: What becomes of `stream_options`.
        pieces: Whether a stream comes word by word.
        fill: What it answers to code with a gap.
        thinks: What it says before an answer.
        takes_tools: Whether a request may offer some.
        statuses: Status by path, in place of an answer.
        asked: Every request so far: method, path, body.
    """

    models: tuple[str, ...] = ("some-model",)
    key: str | None = None
    told_context: int | None = 2048
    context: int = 2048
    on_excess: Literal["refuse", "cut"] = "refuse"
    fails_beyond: int = 1_000_000
    system_role: Literal["take", "refuse", "drop"] = "take"
    obeys: bool = False
    honours_stop: bool = True
    counts: bool = True
    usage_asked: Literal["tell", "ignore", "refuse"] = "tell"
    pieces: bool = True
    fill: str = "width * height"
    thinks: str = ""
    takes_tools: bool = True
    statuses: Mapping[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def door(self) -> OutboundDoor:
        return OutboundDoor(UrlPolicy(), transport=httpx.MockTransport(self.respond))

    def respond(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1")
        body: Any = orjson.loads(request.content) if request.content else None
        self.asked.append((request.method, path, body))
        if path in self.statuses:
            return _answer({"error": {"message": "zebra-7"}}, self.statuses[path])
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return _answer({"error": {"message": "zebra-7"}}, 401)
        if path == "/models":
            told = {} if self.told_context is None else {"max_model_len": self.told_context}
            return _answer({"data": [{"id": name, **told} for name in self.models]})
        if path not in {"/chat/completions", "/completions"}:
            return _answer({"detail": "zebra-7"}, 404)
        return self._complete(body, is_chat=path == "/chat/completions")

    def _complete(self, body: dict[str, Any], *, is_chat: bool) -> httpx.Response:
        turns = body.get("messages", [{"role": "user", "content": body.get("prompt")}])
        has_system = any(turn["role"] == "system" for turn in turns)
        tokens = TEMPLATE_TOKENS + sum(
            len(turn["content"].split())
            for turn in turns
            if turn["role"] != "system" or self.system_role == "take"
        )
        refused = (
            (has_system and self.system_role == "refuse")
            or ("tools" in body and not self.takes_tools)
            or ("stream_options" in body and self.usage_asked == "refuse")
            or (tokens + body["max_tokens"] > self.context and self.on_excess == "refuse")
        )
        if refused:
            return _answer({"error": {"message": "zebra-7"}}, 400)
        if tokens > self.fails_beyond:
            return _answer({"error": {"message": "zebra-7"}}, 500)
        tokens = min(tokens, self.context)
        words, reason = self._words(turns, body)
        usage = {"prompt_tokens": tokens, "completion_tokens": len(words)} if self.counts else None
        if not body["stream"]:
            said = _choice(" ".join(words), reason, is_chat=is_chat)
            return _answer({"choices": [said], **({"usage": usage} if usage else {})})
        texts = [f"{word} " for word in words] if self.pieces else [" ".join(words)]
        events: list[dict[str, Any]] = [
            {"choices": [_choice(text, None, is_chat=is_chat)]} for text in texts
        ]
        events.append({"choices": [_choice("", reason, is_chat=is_chat)]})
        if usage and "stream_options" in body and self.usage_asked == "tell":
            events.append({"choices": [], "usage": usage})
        data = b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)
        stream = Parts(data + b"data: [DONE]\n\n")
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=stream)

    def _words(
        self, turns: list[dict[str, str]], body: dict[str, Any]
    ) -> tuple[list[str], Literal["stop", "length"]]:
        asked = " ".join(turn["content"] for turn in turns)
        said = "Hello there, friend."
        if "marigold" in asked and self.obeys and self.system_role == "take":
            said = "Marigold"
        elif "Count from" in asked:
            said = " ".join(NUMBERS)
        elif "def area(" in asked:
            return [self.fill], "stop"
        said = self.thinks + said
        for stop in body.get("stop", []) if self.honours_stop else []:
            said = said.partition(stop)[0]
        words = said.split()
        limit = body["max_tokens"]
        return words[:limit], "length" if len(words) > limit else "stop"


def _choice(text: str, reason: str | None, *, is_chat: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"message": {"content": text}} if is_chat else {"text": text}
    return {"index": 0, "finish_reason": reason, **said}


def _answer(document: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, stream=Parts(orjson.dumps(document)))
