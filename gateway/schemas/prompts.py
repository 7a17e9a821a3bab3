"""Body of `/v1/prompts/{prompt_id}`. Source: wire contract, sections 2.3 and 3.1."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AnyUrl,
    Field,
    StringConstraints,
    TypeAdapter,
    UrlConstraints,
)

from gateway.schemas.code import Text255, WireModel

#: More than any prompt has.
MAX_INPUTS = 256
_ANY_URL = TypeAdapter(Annotated[AnyUrl, UrlConstraints(max_length=255)])


def _require_url(text: str) -> str:
    _ANY_URL.validate_python(text)
    return text


#: Checked as a URL, kept as it was written: the URL policy parses it once, later.
EndpointUrl = Annotated[str, AfterValidator(_require_url)]
ApiKey = Annotated[str, StringConstraints(max_length=2000)]


class ModelMetadata(WireModel):
    name: Text255
    provider: Text255
    endpoint: EndpointUrl
    api_key: ApiKey | None = None
    identifier: Text255 | None = None


class PromptRequest(WireModel):
    inputs: Annotated[dict[str, Any], Field(max_length=MAX_INPUTS)]
    prompt_version: str | None = None
    stream: bool = False
    model_metadata: ModelMetadata | None = None
