"""The model a caller names in `model_metadata`."""

from gateway.model_metadata import CallerModel
from gateway.schemas.prompts import ModelMetadata


def model_of_metadata(metadata: ModelMetadata | None) -> CallerModel | None:
    """Return the model the caller names, None if it names none."""
    if metadata is None:
        return None
    return CallerModel(
        name=metadata.name,
        endpoint=metadata.endpoint.removesuffix("/"),
        api_key=metadata.api_key,
        identifier=metadata.identifier or "",
        provider=metadata.provider,
        loc=("body", "model_metadata", "endpoint"),
    )
