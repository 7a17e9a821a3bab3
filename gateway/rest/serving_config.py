"""`serving-config/`: the whole configuration, signed, for gateways that have no database."""

import hashlib
from typing import Any, ClassVar

from django.db import transaction
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from gateway.configuration.history import newest_number
from gateway.configuration.serving_exports import (
    ServingExport,
    export_data,
    key_id_of,
    sign,
    signing_key_from_settings,
)
from gateway.configuration.stored import read_configuration
from gateway.rest.examples import example
from gateway.rest.scopes import Scope
from gateway.rest.views import RestView


@example(
    {
        "version": "fca50ae9303ef9cbb79cdcf8070a4e6c",
        "revision": 42,
        "key_id": "596a27d277609a84",
        "signed": "eyJhbGciOiJFZERTQSJ9.eyJkb2N1bWVudCI6eyJ2ZXJzaW9uIjoxfX0.c2lnbmF0dXJl",
    }
)
class ServingConfigSerializer(serializers.Serializer[Any]):
    """The signed configuration."""

    version = serializers.CharField(help_text="Digest of the configuration document.")
    revision = serializers.IntegerField(help_text="The newest; it never goes down.")
    key_id = serializers.CharField(help_text="Names the Ed25519 key that signed it.")
    signed = serializers.CharField(help_text="A compact JWS; API keys in it are ciphertext.")


class ServingConfiguration(RestView):
    """What gateways without a database serve from."""

    serializer_class = ServingConfigSerializer
    required_scopes: ClassVar = {"retrieve": Scope.READ_SERVING_CONFIG}
    #: Every worker of every gateway node asks every two seconds, with one token.
    throttle_classes = ()

    @extend_schema(
        summary="Fetch what a gateway serves from",
        parameters=[
            OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER),
        ],
        responses={
            200: ServingConfigSerializer,
            304: OpenApiResponse(description="As you have it."),
        },
    )
    def retrieve(self, request: Request) -> Any:
        with transaction.atomic():
            configuration = read_configuration()
            export = ServingExport(configuration, newest_number())
        key = signing_key_from_settings()
        signed = sign(export_data(export), key)
        etag = f'"{hashlib.sha256(signed.encode()).hexdigest()[:32]}"'
        response = Response(
            {
                "version": configuration.document().digest(),
                "revision": export.revision,
                "key_id": key_id_of(key.public_key()),
                "signed": signed,
            },
            headers={"ETag": etag},
        )
        return get_conditional_response(request, etag=etag, response=response)
