"""The model a caller names: GitLab sends family, endpoint, key and identifier with each request.

What becomes of it is the operator's choice (`GATEWAY_MODEL_METADATA`). Source of the rules: wire
contract, sections 3.1 and 3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import RequestInvalid
from selfhosted_models.endpoints import parse_endpoint
from selfhosted_models.errors import EndpointRefused, SettingInvalid, UpstreamError
from selfhosted_models.families import family_of_wire_name, fits_wire_name
from selfhosted_models.secrets import API_KEY_PATTERN, Secret
from selfhosted_models.serving import ServingConfig


class ModelMetadataPolicy(StrEnum):
    """What a caller's model fields may do."""

    REGISTERED = "registered"  # they must match a deployment here, which then answers
    ALLOW = "allow"  # the caller's endpoint and key are used, inside the URL policy
    IGNORE = "ignore"  # they are not read


def model_metadata_policy(text: str) -> ModelMetadataPolicy:
    """Return what GATEWAY_MODEL_METADATA says.

    Raises:
        SettingInvalid: It says something else.
    """
    try:
        return ModelMetadataPolicy(text)
    except ValueError as error:
        known = ", ".join(ModelMetadataPolicy)
        raise SettingInvalid(
            f"GATEWAY_MODEL_METADATA is {text!r}.", f"It is one of: {known}."
        ) from error


class DialectUnsupported(UpstreamError):
    """The identifier names a vendor's dialect, or none can be told."""

    code = "dialect_unsupported"


#: Dialect -> serving format. Others belong to cloud vendors, who are not reached from here.
_DIALECTS: Mapping[str, str] = {
    "custom_openai": "openai_chat",
    "openai": "openai_chat",
    "text-completion-openai": "openai_text",
}
DEFAULT_DIALECT = "custom_openai"


@dataclass(frozen=True, slots=True)
class CallerModel:
    """The model fields of one request, validated in shape only.

    Attributes:
        name: Wire name of the family; also the model's name where there is no identifier.
        endpoint: Base URL; None or "" if the caller gave none.
        api_key: The caller's own key for it.
        identifier: `[dialect/]model`; "" counts as absent.
        provider: Dialect where the identifier is absent.
        loc: Where the fields are in the body, for error messages.
    """

    name: str
    endpoint: str | None
    api_key: str | None
    identifier: str
    provider: str
    loc: tuple[str | int, ...] = ("body",)


def serving_config_of(model: CallerModel) -> ServingConfig:
    """Return how to reach the caller's own server.

    Raises:
        RequestInvalid: The endpoint is missing or not a URL, or the family is unknown.
        DialectUnsupported: The identifier asks for a vendor's dialect.
    """
    dialect, separator, rest = model.identifier.partition("/")
    if not model.identifier:
        dialect, identifier = model.provider, model.name
    elif separator:
        identifier = rest
    else:
        dialect, identifier = DEFAULT_DIALECT, model.identifier
    if dialect not in _DIALECTS:
        raise DialectUnsupported(
            f"The dialect '{dialect[:40]}' is not spoken here: use custom_openai/<model> for chat "
            "or text-completion-openai/<model> for text completions."
        )
    family = family_of_wire_name(model.name)
    if family is None:
        raise _unknown_family(model)
    try:
        endpoint = parse_endpoint(model.endpoint or "")
    except EndpointRefused as refusal:
        raise RequestInvalid(f"model_endpoint: {refusal.safe_message}") from refusal
    api_key = (model.api_key or "").strip()
    if api_key and not API_KEY_PATTERN.fullmatch(api_key):
        raise RequestInvalid("api_key: it holds a character that no header may carry.")
    return ServingConfig(
        deployment=f"{family} of the caller",
        family=family,
        serving_format=_DIALECTS[dialect],
        endpoints=(endpoint,),
        model_identifier=identifier,
        api_key=Secret(api_key) if api_key else None,
        # The wire contract fixes what such a server is sent: roles as the definitions have them.
        has_system_role=True,
        reports_stream_usage=False,
    )


def match_registered(model: CallerModel, deployments: Mapping[str, ServingConfig]) -> ServingConfig:
    """Return the deployment that serves the caller's family at the caller's endpoint.

    Raises:
        RequestInvalid: None does; `detail[0].msg` is what Rails shows to the admin.
    """
    try:
        wanted = parse_endpoint(model.endpoint or "")
    except EndpointRefused as refusal:
        raise RequestInvalid(f"model_endpoint: {refusal.safe_message}") from refusal
    matching = [
        deployment
        for deployment in deployments.values()
        if wanted in deployment.endpoints and fits_wire_name(deployment.family, model.name)
    ]
    identifier = model.identifier.partition("/")[2] or model.identifier
    exact = [found for found in matching if found.model_identifier == identifier]
    if not matching:
        message = (
            f"No active deployment serves {model.name[:40]} at {wanted.url}. Register it in the "
            "gateway's admin under Model deployments, with this endpoint and family."
        )
        raise RequestInvalid(
            [{"type": "model_not_registered", "loc": [*model.loc], "msg": message, "input": ""}],
            code="model_not_registered",
        )
    return (exact or matching)[0]


def _unknown_family(model: CallerModel) -> RequestInvalid:
    message = f"There is no model family '{model.name[:40]}'."
    return RequestInvalid(
        [{"type": "value_error", "loc": [*model.loc], "msg": message, "input": model.name[:40]}]
    )
