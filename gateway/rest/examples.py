"""Examples in the OpenAPI document; each is written beside the serializer it is of."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer

#: Those of answers that have a body.
_STATUSES = ("200", "201", "202")


def example(told: Any = None, *, sent: Any = None) -> Callable[[type], type]:
    """Return a decorator that gives a serializer its example.

    Args:
        told: In answers; also in requests, if no other is given for those. Of lists, one element.
        sent: In requests.
    """
    examples = []
    if sent is not None:
        examples.append(OpenApiExample("Request", value=sent, request_only=True))
    if told is not None:
        examples.append(
            OpenApiExample(
                "Example", value=told, response_only=sent is not None, status_codes=_STATUSES
            )
        )
    return extend_schema_serializer(examples=examples)
