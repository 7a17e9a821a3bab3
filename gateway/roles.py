"""Who may do what in the admin pages: three roles, as Django groups.

The permissions of each are given by migrations (`0006_roles` was the first); pages and actions ask
for permissions, never for a role by its name.
"""

from typing import Any

from django.conf import settings

VIEWER = "viewer"
EDITOR = "editor"
SECURITY_OFFICER = "security officer"

#: What people are told of a role where they choose one.
ROLES = {
    VIEWER: "sees the configuration",
    EDITOR: "changes what is registered and what answers each feature",
    SECURITY_OFFICER: "sees the audit trail, gives people their roles",
}


#: Going back to an earlier configuration may do all of this.
RESTORING = (
    "selfhosted_models.add_modeldeployment",
    "selfhosted_models.change_modeldeployment",
    "selfhosted_models.delete_modeldeployment",
    "feature_config.change_featuresetting",
)


def may_change_something(user: Any) -> bool:
    """Tell whether `user` holds any permission beyond looking."""
    names = (name.partition(".")[2] for name in user.get_all_permissions())
    return any(not name.startswith("view_") for name in names)


def needs_second_factor(user: Any) -> bool:
    """Tell whether a password alone does not let `user` in."""
    if settings.TOTP_REQUIRED is False:
        return False
    return may_change_something(user) or user.totpdevice_set.filter(confirmed=True).exists()
