"""The official client, on the callable this app is given in place of a network of its own."""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode

from opensearchpy import Connection, OpenSearch

from docsearch.errors import SearchEngineRefused
from docsearch.fetching import Call, Fetch

#: Of one answer; a page of passages has some hundred kilobytes.
_MAX_ANSWER_BYTES = 16 * 1024 * 1024


def open_client(fetch: Fetch, headers: Mapping[str, str]) -> OpenSearch:
    """Return the client; every request goes through `fetch`, and none is sent twice.

    Args:
        fetch: Reaches the engine.
        headers: Sent with each request, such as `authorization`.
    """
    return OpenSearch(
        hosts=[{"host": "engine"}],  # never dialled: `fetch` knows where it is
        connection_class=_FetchConnection,
        fetch=fetch,
        headers=dict(headers),
        max_retries=0,
    )


class _FetchConnection(Connection):
    """Asks through a `Fetch`. It logs nothing: bodies hold questions."""

    def __init__(self, *, fetch: Fetch, **options: Any) -> None:
        super().__init__(**options)
        self._fetch = fetch

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], str]:
        """Return status, headers and body; clocks are those of `fetch`, redirects are refused."""
        path = f"{url}?{urlencode(params)}" if params else url
        sent = {**self.headers, **(headers or {})}
        with self._fetch(Call(method, path, sent, body)) as answer:
            received = bytearray()
            for part in answer.parts:
                received += part
                if len(received) > _MAX_ANSWER_BYTES:
                    raise SearchEngineRefused("The search engine sent an oversized answer.")
        text = received.decode("utf-8", "replace")
        if not 200 <= answer.status < 300 and answer.status not in ignore:
            self._raise_error(answer.status, text, answer.headers.get("content-type"))
        return answer.status, answer.headers, text
