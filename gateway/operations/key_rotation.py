"""Encrypting stored secrets anew with the newest of ENCRYPTION_KEYS, so that older ones can go.

One by one, each by itself: what was done stays done if it is interrupted, and the next call goes on
from there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.audit import Attribution, record
from gateway.probes.jobs import cancel_probe
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probe_runs import ProbeRun
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
        forgotten: Questions to model servers that are not stored as a deployment, and whose key
            none opens: they cannot be asked any more, and are cancelled.
    """

    rotated: int
    current: int
    unreadable: tuple[str, ...]
    changed_meanwhile: tuple[str, ...] = ()
    forgotten: tuple[str, ...] = ()

    @property
    def left(self) -> tuple[str, ...]:
        """Names of deployments whose key still needs an older of ENCRYPTION_KEYS, or a lost one."""
        return (*self.unreadable, *self.changed_meanwhile)


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret in a row.

    Attributes:
        name: Of what it belongs to.
        replace: Stores another ciphertext, unless somebody has meanwhile; tells whether it did.
        forget: Gives it up; None where only people may.
    """

    name: str
    ciphertext: str
    replace: Callable[[str], bool]
    forget: Callable[[], object] | None = None


def rotate_stored_keys(
    box: SecretBox, by: Attribution, *, on_row: OnRow = lambda done, of: None
) -> Rotation:
    """Encrypt every stored key with the newest of the box's; the keys stay what they are."""
    return _go_through(box, on_row, by)


def plan_rotation(box: SecretBox) -> Rotation:
    """Return what `rotate_stored_keys` would do; nothing is written."""
    return _go_through(box, lambda done, of: None, None)


def lost_keys(box: SecretBox) -> list[str]:
    """Return the names of what has a key that none of the box's opens."""
    return [each.name for each in stored_secrets() if box.key_number_of(each.ciphertext) is None]


def _go_through(box: SecretBox, on_row: OnRow, by: Attribution | None) -> Rotation:
    everything = [*stored_secrets()]
    rotated = current = 0
    unreadable, changed, forgotten = [], [], []
    for done, each in enumerate(everything, start=1):
        number = box.key_number_of(each.ciphertext)
        if number is None and each.forget is not None:
            if by is not None:
                each.forget()
            forgotten.append(each.name)
        elif number is None:
            unreadable.append(each.name)
        elif number == 1:
            current += 1
        elif by is None or each.replace(box.rotate(each.ciphertext)):
            rotated += 1
        else:
            changed.append(each.name)
        on_row(done, len(everything))
    if by is not None and rotated:
        counts = {"rotated": (None, rotated), "left": (None, len(unreadable) + len(changed))}
        record(by, "encryption_keys.rotated", changes=counts)
    return Rotation(rotated, current, tuple(unreadable), tuple(changed), tuple(forgotten))


def stored_secrets() -> Iterator[StoredSecret]:
    """Yield every secret that is stored: of deployments, and of what is asked before it is one."""
    for row in ModelDeployment.objects.exclude(api_key_ciphertext="").order_by("name"):
        yield _of_deployment(row)
    for run in ProbeRun.objects.exclude(draft={}).order_by("pk"):
        if run.draft.get("api_key_ciphertext"):
            yield _of_draft(run)


def _of_deployment(row: ModelDeployment) -> StoredSecret:
    before = row.api_key_ciphertext

    def replace(ciphertext: str) -> bool:
        unchanged = ModelDeployment.objects.filter(pk=row.pk, api_key_ciphertext=before)
        return bool(unchanged.update(api_key_ciphertext=ciphertext))

    return StoredSecret(row.name, before, replace)


def _of_draft(run: ProbeRun) -> StoredSecret:
    before = run.draft

    def replace(ciphertext: str) -> bool:
        unchanged = ProbeRun.objects.filter(pk=run.pk, draft=before)
        return bool(unchanged.update(draft={**before, "api_key_ciphertext": ciphertext}))

    name = f"{run} of {before.get('name') or 'a URL'}"
    return StoredSecret(name, before["api_key_ciphertext"], replace, lambda: cancel_probe(run))
