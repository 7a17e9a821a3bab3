"""Who calls the REST API: a GitLab instance by its signed token, or a program by an API token."""

from typing import Any

from asgiref.sync import async_to_sync
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from gateway.errors import NotReady, TokenRefused
from gateway.rest.api_tokens import PREFIX, find_api_token
from gateway.rest.clients import Client
from gateway.runtime import Runtime

#: Where `asgi.py` leaves the worker's runtime for pages.
RUNTIME_IN_SCOPE = "gateway.runtime"
#: As long as the tables that name a client have room for.
MAX_NAME_CHARS = 150


class BearerAuthentication(BaseAuthentication):
    """Reads `Authorization: Bearer`."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Return the client; None where no token was sent.

        Raises:
            TokenRefused: It is not good, or of a user: those administer nothing.
            RefusalsExceeded: Too many bad tokens came from there.
            KeysUnavailable: The keys of its issuer are not known yet.
            NotReady: This worker verifies no instance tokens yet.
        """
        sent = request.headers.get("Authorization")
        if sent is None:
            return None
        scheme, _, token = sent.partition(" ")
        if scheme.lower() == "bearer" and token.strip().startswith(PREFIX):
            return _client_of_api_token(token.strip()), None
        return _client_of_instance_token(request), None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _client_of_api_token(token: str) -> Client:
    row = find_api_token(token)
    if row is None:
        raise TokenRefused("This API token is unknown, expired or revoked: have a new one made.")
    return Client(f"API token {row.name}", frozenset(row.scopes))


def _client_of_instance_token(request: Request) -> Client:
    """Ask the worker's verifier, which lives in the event loop.

    A page is served in a thread that the loop waits for, so `async_to_sync` hands the call back to
    that very loop: one memory of verdicts and refusals for the gateway's paths and these.
    """
    runtime: Runtime | None = getattr(request, "scope", {}).get(RUNTIME_IN_SCOPE)
    if runtime is None:
        raise NotReady("This worker cannot verify tokens of GitLab instances yet: ask again.")
    address = request.META.get("REMOTE_ADDR", "")
    caller = async_to_sync(runtime.trust.verifier.authenticate)(request.headers, address)
    if caller.is_own_issued:
        raise TokenRefused("A user's token does not administer: use that of an instance.")
    name = f"instance {caller.subject}"[:MAX_NAME_CHARS]
    return Client(name, caller.scopes, caller.instance_id)


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document tells it."""

    target_class = BearerAuthentication
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, or an instance token with the headers of the gateway.",
        }
