"""Encrypting stored secrets anew with the newest of ENCRYPTION_KEYS, so that older ones can go.

Row by row, each by itself: what was done stays done if it is interrupted, and the next call goes
on from there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.audit import Attribution, record
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox

#: (rows looked at, of how many)
OnRow = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rotation:
    """How it went.

    Attributes:
        rotated: Secrets that were encrypted anew, or would be.
        current: Those the newest key encrypts already.
        unreadable: Names of deployments whose key none of ENCRYPTION_KEYS opens.
        changed_meanwhile: Names of those somebody saved at that moment: call again.
    """

    rotated: int
    current: int
    unreadable: tuple[str, ...]
    changed_meanwhile: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """Names of deployments whose key still needs an older of ENCRYPTION_KEYS, or a lost one."""
        return (*self.unreadable, *self.changed_meanwhile)


def rotate_stored_keys(
    box: SecretBox, by: Attribution, *, on_row: OnRow = lambda done, of: None
) -> Rotation:
    """Encrypt every stored key with the newest of the box's; the keys stay what they are."""
    return _go_through(box, on_row, by)


def plan_rotation(box: SecretBox) -> Rotation:
    """Return what `rotate_stored_keys` would do; nothing is written."""
    return _go_through(box, lambda done, of: None, None)


def _go_through(box: SecretBox, on_row: OnRow, by: Attribution | None) -> Rotation:
    rows = list(ModelDeployment.objects.exclude(api_key_ciphertext="").order_by("name"))
    rotated = current = 0
    unreadable, changed = [], []
    for done, row in enumerate(rows, start=1):
        before = row.api_key_ciphertext
        number = box.key_number_of(before)
        if number is None:
            unreadable.append(row.name)
        elif number == 1:
            current += 1
        # Only what is still as it was read: who enters a new key meanwhile is not overwritten.
        elif by is None or ModelDeployment.objects.filter(
            pk=row.pk, api_key_ciphertext=before
        ).update(api_key_ciphertext=box.rotate(before)):
            rotated += 1
        else:
            changed.append(row.name)
        on_row(done, len(rows))
    if by is not None and rotated:
        counts = {"rotated": (None, rotated), "left": (None, len(unreadable) + len(changed))}
        record(by, "encryption_keys.rotated", changes=counts)
    return Rotation(rotated, current, tuple(unreadable), tuple(changed))
