"""The client of a request."""

from dataclasses import dataclass
from typing import ClassVar, cast

from rest_framework.request import Request


@dataclass(frozen=True, slots=True)
class Client:
    """A verified client; Django's idea of a user.

    Attributes:
        name: What the history calls it.
        scopes: What its token permits.
        instance_id: Of the GitLab instance; empty for an API token.
    """

    name: str
    scopes: frozenset[str]
    instance_id: str = ""

    is_authenticated: ClassVar[bool] = True

    def get_username(self) -> str:
        return self.name


def client_of(request: Request) -> Client:
    """Return who sent a request that a permission let through."""
    return cast(Client, request.user)
