"""How far a feature is known to work with a model family."""

from enum import StrEnum


class SupportLevel(StrEnum):
    """The vendor's verdict on a (feature, family) cell; a site's own verdict stands beside it."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not_supported"
    TO_BE_EVALUATED = "to_be_evaluated"

    @property
    def is_selectable(self) -> bool:
        """Whether an admin may choose a model of the family for the feature."""
        return self is not SupportLevel.NOT_SUPPORTED

    @property
    def words(self) -> str:
        """The level as people read it."""
        return self.value.replace("_", " ")
