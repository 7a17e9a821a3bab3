"""Which version's documentation is wanted where nobody says it."""

from django.conf import settings

from docsearch.errors import VersionInvalid
from docsearch.versions import GitLabVersion
from selfhosted_models.errors import SettingInvalid


def wanted_version(given: str | None = None) -> GitLabVersion | None:
    """Return the version given, else that of GITLAB_VERSION; None: the newest installed.

    Raises:
        VersionInvalid: What is given is none.
        SettingInvalid: GITLAB_VERSION is none.
    """
    if given:
        return GitLabVersion.parse(given)
    if not settings.GITLAB_VERSION:
        return None
    try:
        return GitLabVersion.parse(settings.GITLAB_VERSION)
    except VersionInvalid as error:
        raise SettingInvalid(
            f"GITLAB_VERSION: {error}",
            "Unset it to search the documentation of the version each caller has.",
        ) from error
