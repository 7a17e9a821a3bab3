"""Why a feature does not answer. Nothing here knows a status code."""

from collections.abc import Sequence

from feature_config.catalogue import FEATURES, Feature


class FeatureError(Exception):
    """Base of this app's errors; raise a leaf.

    Attributes:
        code: Stable word for logs, metrics and callers.
        safe_message: What happened and what to do.
        retryable: Whether the same request may succeed later.
    """

    code = "feature_error"
    retryable = False

    def __init__(self, safe_message: str) -> None:
        super().__init__(safe_message)
        self.safe_message = safe_message


class FeatureUnknown(FeatureError):
    code = "feature_unknown"

    def __init__(self, name: str, *, known: Sequence[str]) -> None:
        super().__init__(f"There is no model '{name[:60]}' here. There is: {', '.join(known)}.")


class FeatureInactive(FeatureError):
    code = "feature_inactive"

    def __init__(self, feature: Feature) -> None:
        super().__init__(
            f"{FEATURES[feature].title} is inactive on this server. An instance admin can assign a "
            "deployment to it under Features."
        )


class DeploymentMissing(FeatureError):
    """The feature is on and nothing can answer it: an operator must act."""

    code = "deployment_missing"
