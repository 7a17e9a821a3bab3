"""Body of `/v1/prompts/{prompt_id}`. Source: wire contract, sections 2.3 and 3.1."""

from typing import Annotated, Any

from pydantic import AnyUrl, PlainSerializer, StringConstraints, UrlConstraints

from gateway.schemas.code import Text255, WireModel

#: Checked as a URL, kept as it was written: the URL policy parses it once, later.
EndpointUrl = Annotated[AnyUrl, UrlConstraints(max_length=255), PlainSerializer(str)]
ApiKey = Annotated[str, StringConstraints(max_length=2000)]


class ModelMetadata(WireModel):
    name: Text255
    provider: Text255
    endpoint: EndpointUrl
    api_key: ApiKey | None = None
    identifier: Text255 | None = None


class PromptRequest(WireModel):
    inputs: dict[str, Any]
    prompt_version: str | None = None
    stream: bool = False
    model_metadata: ModelMetadata | None = None
