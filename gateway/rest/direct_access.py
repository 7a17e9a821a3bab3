"""`direct_access/`: what Rails hands to the IDE of one of its users. Source: wire contract, 10."""

import time
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.authentication.tokens import issue_token
from gateway.rest.clients import client_of
from gateway.rest.examples import example
from gateway.rest.scopes import Scope
from gateway.rest.views import RestView
from gateway.runtime import own_keys_from_settings

#: As the gateway's own path for it grants: completions, and nothing else.
_SCOPES = ("complete_code",)
_REALMS = ("self-managed", "saas")


def _header_value(**options: Any) -> serializers.RegexField:
    """Return a field for what a header will carry."""
    return serializers.RegexField(r"^[!-~]+$", max_length=128, **options)


@example(
    sent={
        "user_id": "gid://gitlab/User/1",
        "instance_id": "ea8bf810-1d6f-4a6a-b4fd-93e8cbd8b57f",
        "host_name": "gitlab.example.com",
    }
)
class DirectAccessRequestSerializer(serializers.Serializer[Any]):
    """Whom the access is for."""

    user_id = _header_value(help_text="The user's global id, as Rails sends it to the gateway.")
    instance_id = _header_value(
        required=False, help_text="Of the GitLab instance; left out: that of the token, if any."
    )
    realm = serializers.ChoiceField(choices=_REALMS, default=_REALMS[0])
    host_name = _header_value(required=False, help_text="Of the GitLab instance.")


@example(
    {
        "base_url": "https://gateway.example.com",
        "token": "eyJhbGciOiJSUzI1NiJ9.eyJzY29wZXMiOlsiY29tcGxldGVfY29kZSJdfQ.c2lnbmF0dXJl",
        "expires_at": 1795349400,
        "headers": {
            "X-Gitlab-Authentication-Type": "oidc",
            "X-Gitlab-Global-User-Id": "gid://gitlab/User/1",
            "X-Gitlab-Instance-Id": "ea8bf810-1d6f-4a6a-b4fd-93e8cbd8b57f",
            "X-Gitlab-Realm": "self-managed",
            "X-Gitlab-Host-Name": "gitlab.example.com",
        },
    }
)
class DirectAccessSerializer(serializers.Serializer[Any]):
    """In the shape in which GitLab tells it to IDEs."""

    base_url = serializers.CharField()
    token = serializers.CharField(help_text="Permits code completion alone.")
    expires_at = serializers.IntegerField(help_text="Unix seconds; in an hour.")
    headers = serializers.DictField(
        child=serializers.CharField(), help_text="To be sent along with each request."
    )


class DirectAccess(RestView):
    """What Rails hands to the IDE of one of its users."""

    serializer_class = DirectAccessRequestSerializer
    required_scopes: ClassVar = {"create": Scope.ISSUE_USER_TOKENS}

    @extend_schema(
        summary="Let the IDE of a user call the gateway directly",
        responses={201: DirectAccessSerializer},
    )
    def create(self, request: Request) -> Response:
        asked = DirectAccessRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        values = asked.validated_data
        instance_id = values.get("instance_id", client_of(request).instance_id)
        token, expires_at = issue_token(
            own_keys_from_settings(),
            service_name=settings.CLOUD_CONNECTOR_SERVICE_NAME,
            user_id=values["user_id"],
            scopes=_SCOPES,
            now=time.time(),
            claims={"gitlab_realm": values["realm"], "gitlab_instance_id": instance_id},
        )
        headers = {
            "X-Gitlab-Authentication-Type": "oidc",
            "X-Gitlab-Global-User-Id": values["user_id"],
            "X-Gitlab-Instance-Id": instance_id,
            "X-Gitlab-Realm": values["realm"],
            "X-Gitlab-Host-Name": values.get("host_name", ""),
        }
        access = {
            "base_url": request.build_absolute_uri("/").rstrip("/"),
            "token": token,
            "expires_at": expires_at,
            "headers": {name: value for name, value in headers.items() if value},
        }
        return Response(access, status=201)
