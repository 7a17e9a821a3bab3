"""What must not be overwritten unawares: a colleague's change, and the word of the file."""

from feature_config.models import FeatureSetting
from gateway.configuration.document import digest_of
from gateway.configuration.errors import ChangeConflict, DeploymentInUse, ManagedByFile
from gateway.configuration.stored import choice_of, entry_of
from gateway.models import AuditRecord
from selfhosted_models.models import ModelDeployment

Row = ModelDeployment | FeatureSetting


def version_of(row: Row) -> str:
    """Return what changes whenever the row does: the ETag of REST, the hidden field of a form."""
    entry = choice_of(row) if isinstance(row, FeatureSetting) else entry_of(row)
    return digest_of(entry.to_data())


def differs_from_file(row: Row) -> bool:
    """Tell whether a row that a file manages is not what that file said."""
    return row.is_managed_by_file and row.file_digest != version_of(row)


def check_unchanged(row: Row, seen: str) -> None:
    """Pass if `row` is what the caller looked at. Call within the block that changes it.

    Args:
        row: As it is stored now.
        seen: The `version_of` it had for the caller.

    Raises:
        ChangeConflict: It is not; the message says who changed what.
    """
    if seen == version_of(row):
        return
    last: AuditRecord | None = (
        AuditRecord.objects.filter(object_id=str(row.pk)).order_by("-number").first()
    )
    who = f"{row} was changed"
    if last is not None:
        fields = ", ".join(last.changes).replace("_", " ")
        at = f"{last.created_at:%Y-%m-%d %H:%M:%S} UTC"
        who = f"{last.author} changed {fields} of {row} ({last.origin}, {at})"
    raise ChangeConflict(
        f"{who} after you opened it, and nothing of yours was saved. Look at what it is now, then "
        "save again what you still want to change."
    )


def check_not_managed_by_file(row: Row) -> None:
    """Pass if no file manages `row`.

    Raises:
        ManagedByFile: One does; the message says what to do.
    """
    if row.is_managed_by_file:
        raise ManagedByFile(
            f"{row} is managed by the configuration file: change it there and run "
            "`manage.py config apply`. What is changed here lasts until the file is applied again."
        )


def features_using(row: ModelDeployment) -> list[str]:
    """Return the titles of the features a deployment is chosen for."""
    return [str(choice.setting) for choice in row.choices.select_related("setting")]


def check_may_be_deactivated(row: ModelDeployment) -> None:
    """Pass if no feature would lose `row`.

    Raises:
        DeploymentInUse: The message names those that would.
    """
    if users := features_using(row):
        raise DeploymentInUse(
            f"{len(users)} feature{'s' if len(users) > 1 else ''} would lose {row}: "
            f"{', '.join(users)}. Choose another there first, or say that you mean it."
        )
