"""One question to one model server: how it goes out, and how the answer is read.

Requests and probes alike are built and read here, so that what a probe sees is what a request gets.
"""

from collections.abc import Callable

import orjson

from selfhosted_models.endpoints import Endpoint
from selfhosted_models.errors import UpstreamTruncated
from selfhosted_models.outbound import OutboundRequest
from selfhosted_models.serving import ServingConfig
from selfhosted_models.serving_formats.base import (
    Ability,
    CompletionChunk,
    FormatError,
    Sampling,
    T,
    WireRequest,
)
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from selfhosted_models.serving_formats.stop_sequences import StopCutter


def hop_of(serving: ServingConfig) -> str:
    """Return what the model server is called in messages."""
    return f"The model server of {serving.deployment}"


def outbound_request(
    serving: ServingConfig,
    endpoint: Endpoint,
    wire: WireRequest,
    *,
    stream: bool,
    request_id: str,
) -> OutboundRequest:
    """Return `wire` as it is sent to `endpoint`, with the headers of the format and the key."""
    serving_format = SERVING_FORMATS[serving.serving_format]
    headers = {
        **serving_format.headers(serving, stream=stream),
        "User-Agent": "selfhosted-duo-gateway",
        "X-Request-ID": request_id,
    }
    return OutboundRequest(
        hop=hop_of(serving),
        endpoint=endpoint,
        path=wire.path,
        method=wire.method,
        headers=headers,
        body=None if wire.body is None else orjson.dumps(wire.body),
        endpoint_hint=serving_format.endpoint_hint,
    )


def read_document(serving: ServingConfig, read: Callable[[bytes], T], data: bytes) -> T:
    """Return what `read`, a function of the serving format, makes of an answer.

    Raises:
        UpstreamError: The answer is not of the format, or reports an error.
    """
    try:
        return read(data)
    except FormatError as error:
        title = SERVING_FORMATS[serving.serving_format].title
        raise error.of_hop(hop_of(serving), title) from error


class AnswerReader:
    """Reads one answer, event by event or as one body: parsed, cut at its stop sequences, whole.

    Args:
        serving: Who answers.
        sampling: What was asked for.
    """

    def __init__(self, serving: ServingConfig, sampling: Sampling) -> None:
        self._serving = serving
        self._format = SERVING_FORMATS[serving.serving_format]
        does_server = Ability.STOP_SEQUENCES in self._format.abilities and serving.honours_stop
        self._cutter = StopCutter(() if does_server else sampling.stop)
        self._is_complete = Ability.FINISH_REASON not in self._format.abilities

    def read_event(self, data: bytes) -> CompletionChunk:
        """Return the piece in one event.

        Raises:
            UpstreamError: It is not of the format, or reports an error.
        """
        chunk = self._cutter.cut(read_document(self._serving, self._format.parse_event, data))
        if chunk.finish_reason is not None:
            self._is_complete = True
        return chunk

    def read_body(self, body: bytes) -> CompletionChunk:
        """Return the whole answer; raises as `read_event` does."""
        return self._cutter.cut(read_document(self._serving, self._format.parse_body, body))

    def end(self) -> str:
        """Return the text still held back when a stream ends without a last piece.

        Raises:
            UpstreamTruncated: It has broken off.
        """
        if not self._is_complete:
            raise UpstreamTruncated(
                f"{hop_of(self._serving)} ended its answer without saying that it was done: see "
                "its own log."
            )
        return self._cutter.rest()
