"""The inbound API: one Ninja API for every path of the gateway.

Ninja routes, validates and describes; errors are raised through it to the one place that answers
them, `gateway/inbound/handler.py`.
"""

from typing import Any, NoReturn

import orjson
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationErrorContext
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser

from gateway.api_document import shared_components
from gateway.errors import GatewayError, RequestInvalid
from gateway.inbound.json_bodies import read_json
from gateway.views import (
    agent,
    chat,
    code,
    health,
    openai,
    prompts,
    search,
    suggestions,
    user_tokens,
    vendors,
)

MAX_ECHOED_CHARS = 256
MAX_ERRORS = 20
_SECRET_FIELDS = {"model_api_key", "api_key"}


class StrictJsonParser(Parser):
    """Reads JSON bodies, with the wire contract's error for malformed ones."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return read_json(request.body)
        except orjson.JSONDecodeError as error:
            item = {
                "type": "json_invalid",
                "loc": ["body", error.pos],
                "msg": "JSON decode error",
                "input": {},
                "ctx": {"error": error.msg},
            }
            raise RequestInvalid([item], code="json_invalid") from error


class GatewayAPI(NinjaAPI):
    """Raises what goes wrong, with body errors in the wire contract's shape."""

    def on_exception(self, request: HttpRequest, exc: Any) -> NoReturn:
        # Ninja wraps what a parser raises; the cause is the error with the contract's text.
        if isinstance(exc, HttpError) and isinstance(exc.__cause__, GatewayError):
            raise exc.__cause__
        raise exc

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the document; it is not served, because every path but the API's is unknown."""
        document = super().get_openapi_schema(**options)
        for kind, components in shared_components().items():
            document["components"].setdefault(kind, {}).update(components)
        return document

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> Any:
        items = [
            _wire_item(context.model.__ninja_param_source__ or "body", dict(item))
            for context in error_contexts
            for item in context.pydantic_validation_error.errors(include_url=False)[:MAX_ERRORS]
        ]
        return RequestInvalid(items)


def _wire_item(source: str, item: dict[str, Any]) -> dict[str, Any]:
    """Return one validation error as GitLab expects it: no parameter name, no secret echoed."""
    loc = [source, *item["loc"][1:]]
    shown = item.get("input")
    is_secret = bool(_SECRET_FIELDS & set(map(str, loc)))
    if is_secret or isinstance(shown, dict | list):  # a neighbour's key may be inside
        shown = None
    if isinstance(shown, str):
        shown = shown[:MAX_ECHOED_CHARS]
    message = item["msg"][:MAX_ECHOED_CHARS]  # some repeat the caller's value in full
    wire = {"type": item["type"], "loc": loc, "msg": message, "input": shown}
    if "ctx" in item:
        wire["ctx"] = {name: str(value)[:MAX_ECHOED_CHARS] for name, value in item["ctx"].items()}
    return wire


api = GatewayAPI(
    title="AI Gateway",
    description="The paths GitLab Rails, IDEs and OpenAI clients call.",
    parser=StrictJsonParser(),
    urls_namespace="gateway",
    docs_url=None,
    openapi_url=None,
)
for views in (
    code,
    suggestions,
    prompts,
    agent,
    chat,
    search,
    openai,
    user_tokens,
    health,
    vendors,
):
    api.add_router("", views.router)
