"""A fake of OpenSearch: the few calls the documentation search makes, in the shapes of its API.

with SearchEngineServer() as engine:
    settings.DOCS_SEARCH_URL, settings.DOCS_SEARCH_TOKEN = engine.url, engine.token

It finds by whole words between blanks and ranks by boosts alone; a real one ranks better. No real
one can run in the tests, so what it answers was written from the documentation of the API.
"""

import base64
import fnmatch
import json
import re
import threading
from difflib import get_close_matches
from typing import Any, Literal

from tests.fakes.loopback import Connection, LoopbackServer, Request, send_whole

#: How it fails: refuses a section, breaks off, says it timed out, answers something else.
Fault = Literal["refuses", "cut", "timed_out", "other", "redirect", "overloaded"]
Document = dict[str, Any]


class SearchEngineServer(LoopbackServer):
    """The fake.

    Attributes:
        token: User and password that it accepts.
        indexes: Documents by index name.
        marks: The `_meta` of each index's mapping, by index name.
        aliases: Index names by alias.
        fault: How it fails; None works.
        asked: Method, path and body of each request so far.
        is_swapped: Set once an alias names another index.
    """

    token = "search:secret-of-the-engine"

    def __init__(self) -> None:
        super().__init__()
        self.indexes: dict[str, list[Document]] = {}
        self.marks: dict[str, Any] = {}
        self.aliases: dict[str, set[str]] = {}
        self.fault: Fault | None = None
        self.asked: list[tuple[str, str, Any]] = []
        self.is_swapped = threading.Event()

    async def respond(self, request: Request, connection: Connection) -> None:
        self.asked.append((request.method, request.path, request.json or request.body))
        basic = base64.b64encode(self.token.encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            send_whole(connection, b'{"status": 401}', status=401)
        elif self.fault == "cut":
            connection.send_head(200, {"Content-Type": "application/json"}, content_length=100)
            connection.send(b"{")
            connection.close()
        elif self.fault in {"other", "redirect", "overloaded"}:
            status = {"other": 200, "redirect": 302, "overloaded": 429}[self.fault]
            send_whole(connection, b'{"hello": "world"}', status=status)
        else:
            answering = self._change if request.method in {"PUT", "DELETE"} else self._answer
            status, answer = answering(request)
            send_whole(connection, json.dumps(answer).encode(), status=status)

    def _change(self, request: Request) -> tuple[int, Any]:
        match (request.method, request.path.strip("/").split("/")):
            case ("PUT", [index]):
                if index in self.indexes:
                    return 400, {"error": {"type": "resource_already_exists_exception"}}
                self.indexes[index] = []
                self.marks[index] = request.json["mappings"]["_meta"]
                return 200, {"acknowledged": True, "index": index}
            case ("DELETE", [names]):
                for index in names.split(","):
                    self.indexes.pop(index, None)
                    self.marks.pop(index, None)
                return 200, {"acknowledged": True}
            case ("PUT", [index, "_mapping"]):
                self.marks[index] = request.json["_meta"]
                return 200, {"acknowledged": True}
            case ("PUT", [index, "_bulk"]):
                return 200, self._bulk(index, request.body)
        return 404, {}

    def _answer(self, request: Request) -> tuple[int, Any]:
        match (request.method, request.path.strip("/").split("/")):
            case ("GET", [pattern, "_mapping"]):
                return 200, {
                    index: {"mappings": {"_meta": self.marks[index]}}
                    for index in fnmatch.filter(self.indexes, pattern)
                }
            case ("POST", [index, "_bulk"]):
                return 200, self._bulk(index, request.body)
            case ("POST", [_, "_refresh"]):
                return 200, {"_shards": {"total": 1, "successful": 1, "failed": 0}}
            case ("POST", ["_aliases"]):
                self._swap(request.json["actions"])
                return 200, {"acknowledged": True}
            case ("GET", [pattern, "_alias"]):
                return 200, {
                    index: {"aliases": self._names_of(index)}
                    for index in fnmatch.filter(self.indexes, pattern)
                }
            case ("POST", [alias, "_search"]) if self.aliases.get(alias):
                return 200, self._search(alias, request.json)
        return 404, {"error": {"type": "index_not_found_exception"}, "status": 404}

    def _names_of(self, index: str) -> dict[str, Any]:
        return {alias: {} for alias, names in self.aliases.items() if index in names}

    def _bulk(self, index: str, body: bytes) -> Any:
        lines = [json.loads(line) for line in body.splitlines()]
        self.indexes[index] += lines[1::2]
        status = 400 if self.fault == "refuses" else 201
        items = [{"index": {"_id": line["index"]["_id"], "status": status}} for line in lines[::2]]
        return {"took": 1, "errors": self.fault == "refuses", "items": items}

    def _swap(self, actions: list[dict[str, Any]]) -> None:
        for action in actions:
            ((verb, what),) = action.items()
            names = self.aliases.setdefault(what["alias"], set())
            if verb == "add":
                names.add(what["index"])
            else:
                names -= {*fnmatch.filter(names, what["index"])}
        self.is_swapped.set()

    def _search(self, alias: str, body: Any) -> Any:
        (index,) = self.aliases[alias]
        documents = self.indexes[index]
        answer: dict[str, Any] = {"took": 1, "timed_out": self.fault == "timed_out"}
        if "suggest" in body:
            known = {word for document in documents for word in document["spelling"].split()}
            entries = [
                {
                    "text": word,
                    "options": [
                        {"text": close, "score": 0.8, "freq": 1}
                        for close in get_close_matches(word, known - {word}, 1, 0.75)
                        if word not in known
                    ],
                }
                for word in body["suggest"]["text"].split()
            ]
            return {**answer, "hits": {"hits": []}, "suggest": {"repaired": entries}}
        scored = [(_score(body["query"], document), document) for document in documents]
        best: dict[str, tuple[float, Document]] = {}
        for score, document in scored:
            page = document[body["collapse"]["field"]]
            if score > best.get(page, (0.0,))[0]:
                best[page] = (score, document)
        hits = sorted(best.values(), key=lambda hit: -hit[0])[: body["size"]]
        return {
            **answer,
            "hits": {
                "hits": [
                    {"_score": score, "_source": {"passage": document["passage"]}}
                    for score, document in hits
                ]
            },
            "aggregations": {
                name: {"doc_count": sum(_score(agg["filter"], one) > 0 for one in documents)}
                for name, agg in body["aggs"].items()
            },
        }


def _score(query: Any, document: Document) -> float:
    """Return what a document counts for a query; 0 if it is not found."""
    ((kind, what),) = query.items()
    if kind == "bool":
        required = [_score(part, document) for part in what.get("must", [])]
        optional = [_score(part, document) for part in what.get("should", [])]
        is_found = all(required) and (required or any(optional))
        return sum(required) + sum(optional) if is_found else 0.0
    if kind == "dis_max":
        return max(_score(part, document) for part in what["queries"])
    if kind == "multi_match":
        fields = [field.partition("^")[::2] for field in what["fields"]]
        return float(what["boost"]) * max(
            float(boost or 1) * _has(document[name], what["query"]) for name, boost in fields
        )
    ((field, phrase),) = what.items()
    assert kind == "match_phrase"
    return float(phrase["boost"]) * _has(document[field], phrase["query"])


def _has(text: str, phrase: str) -> bool:
    return bool(re.search(rf"(?:^| ){re.escape(phrase)}(?: |$)", text))
