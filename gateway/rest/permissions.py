"""What a client may do: nothing that no scope of its token permits."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from gateway.errors import ScopeDenied
from gateway.rest.clients import client_of


class HasRequiredScope(BasePermission):
    """Looks up the view's action in its `required_scopes`; an action that is not there is refused.

    A method that the view does not have is let through, to be answered as such.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user:
            return False
        action = view.action_map.get(str(request.method).lower())
        if action is None:
            return True
        required = view.required_scopes.get(action)
        if required is None:
            return False
        if required not in client_of(request).scopes:
            raise ScopeDenied(f"The token lacks the scope {required}.")
        return True


class IsAuthenticated(BasePermission):
    """Any good token will do: for what tells nothing of this installation."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user)
