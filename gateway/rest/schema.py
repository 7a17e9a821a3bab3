"""The OpenAPI document: at `schema/`, and committed as docs/api-schema.yml."""

from typing import Any

from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularAPIView

from gateway.rest.permissions import IsAuthenticated
from gateway.rest.problems import CONTENT_TYPE, Problem
from gateway.rest.views import RestView

_STATUSES = (400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429, 500, 503)
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {**_TEXT, "description": "What happened and what to do."},
        "code": {**_TEXT, "description": "A stable word for programs."},
        "request_id": _TEXT,
        "errors": {
            "type": "object",
            "description": "What is wrong with each field, by its path.",
            "additionalProperties": {"type": "array", "items": _TEXT},
        },
    },
}
_PROBLEM_EXAMPLE = Problem(
    422, "request_invalid", "name: Choose a name.", {"name": ["Choose a name."]}
).body("f8390800d7595ae31c4fb48df4bfd531")


class Schema(RestView, SpectacularAPIView):
    permission_classes = (IsAuthenticated,)
    renderer_classes = [OpenApiJsonRenderer2]
    schema = None


def add_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Say of every operation how it tells errors; a hook of drf-spectacular."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    content = {
        CONTENT_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "example": _PROBLEM_EXAMPLE,
        }
    }
    components["responses"] = {"Problem": {"description": "An error.", "content": content}}
    for path in result["paths"].values():
        for operation in path.values():
            for status in _STATUSES:
                operation["responses"][str(status)] = {"$ref": "#/components/responses/Problem"}
    return result
