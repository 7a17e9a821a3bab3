"""Making the stored configuration what a document says: all of it, or nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting, check_choice
from gateway.audit import Attribution, record
from gateway.configuration.document import (
    Choice,
    DeploymentEntry,
    Document,
    KeyReference,
    digest_of,
)
from gateway.configuration.errors import DocumentInvalid, KeyUnreadable, Problem, Trail
from gateway.configuration.history import changing_configuration
from gateway.configuration.keys import KeyReader
from gateway.configuration.parsing import KEY_FORMS, suggest
from gateway.configuration.planning import Change
from gateway.configuration.stored import choice_of, entry_of, fill_row
from gateway.models import Revision
from selfhosted_models.errors import SecretUnavailable
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from selfhosted_models.serving_formats.registry import SERVING_FORMATS

#: Where a document says what a column of the model says.
_TRAIL_OF_FIELD: dict[str, Trail] = {
    "first_token_timeout_s": ("timeouts", "first_token_s"),
    "idle_timeout_s": ("timeouts", "idle_s"),
    "total_timeout_s": ("timeouts", "total_s"),
    "api_key_env": ("api_key", "env"),
    "api_key_file": ("api_key", "file"),
    NON_FIELD_ERRORS: (),
}
_CHOICES = {"family": [*map(str, ModelFamily)], "serving_format": [*SERVING_FORMATS]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What applying a document did, or would do.

    Attributes:
        changes: What is different afterwards; empty if nothing is.
        notes: What else is to be known, in sentences.
        revision: The revision it made; None if it made none.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    revision: Revision | None


def apply_document(
    document: Document, attribution: Attribution, keys: KeyReader, *, prune: bool = False
) -> Outcome:
    """Make what `document` names as it says, and mark it as managed by file.

    What it does not name stays as it is, and is released to the web if a file managed it.

    Args:
        document: What is wanted.
        attribution: Who wants it.
        keys: Reads the keys it refers to.
        prune: Delete the deployments it does not name, and unassign the features.

    Raises:
        DocumentInvalid: A rule is broken; nothing was changed.
        HistoryBusy: Another change does not end.
    """
    with changing_configuration(attribution) as recording:
        applier = _Applier(document, keys=keys, prune=prune)
        applier.write()
        applier.mark_as_managed(attribution)
    return Outcome(recording.changes, tuple(applier.notes), recording.revision)


def plan_document(
    document: Document, attribution: Attribution, keys: KeyReader, *, prune: bool = False
) -> Outcome:
    """Return what `apply_document` would do.

    Raises:
        As `apply_document`.
    """
    return _taken_back(partial(apply_document, document, attribution, keys, prune=prune))


def restore_document(document: Document, attribution: Attribution) -> Outcome:
    """Make the whole configuration what `document`, that of a revision, says.

    A key of that time is kept where it is still stored; where it is not, the deployment is restored
    without a key and a note says so. References to keys are not read.

    Raises:
        DocumentInvalid: A rule of today forbids it; nothing was changed.
        HistoryBusy: Another change does not end.
    """
    with changing_configuration(attribution) as recording:
        applier = _Applier(document, keys=None, prune=True)
        applier.write()
    return Outcome(recording.changes, tuple(applier.notes), recording.revision)


def rehearse_restore(document: Document, attribution: Attribution) -> Outcome:
    """Return what `restore_document` would do; every rule of this version judges the document.

    Raises:
        As `restore_document`.
    """
    return _taken_back(partial(restore_document, document, attribution))


def _taken_back(change: Callable[[], Outcome]) -> Outcome:
    """Do it and take it back as a whole: so what is told is what would be done."""
    with transaction.atomic():
        outcome = change()
        transaction.set_rollback(True)
    return replace(outcome, revision=None)


@dataclass(slots=True)
class _Applier:
    """Writes one document within the transaction of its caller.

    Attributes:
        keys: None takes only keys that are stored, and does without those that are not.
        notes: What was done differently from what the document says.
    """

    document: Document
    keys: KeyReader | None
    prune: bool
    notes: list[str] = field(default_factory=list)
    _problems: list[Problem] = field(default_factory=list)
    _stored: dict[str, ModelDeployment] = field(init=False)
    _rows: dict[str, ModelDeployment] = field(init=False)
    _settings: dict[Feature, FeatureSetting] = field(init=False)
    _box: SecretBox = field(init=False)

    def __post_init__(self) -> None:
        self._stored = {row.name: row for row in ModelDeployment.objects.all()}
        self._rows = {row.name: row for row in ModelDeployment.objects.all()}
        found = FeatureSetting.objects.prefetch_related("choices__deployment")
        self._settings = {Feature(setting.feature): setting for setting in found}
        self._box = SecretBox(settings.ENCRYPTION_KEYS)

    def write(self) -> None:
        """Check all, then write all; the features let go of their deployments first.

        Raises:
            DocumentInvalid: With every problem found.
        """
        changing = dict(self._changing_choices())
        for feature in changing:
            self._settings[feature].prompt_version = ""
            self._settings[feature].assign([])
        for position, entry in enumerate(self.document.deployments):
            self._check_entry(entry, position)
        for feature, choice in self.document.features.items():
            self._check_choice(feature, choice)
        if self._problems:
            raise DocumentInvalid(self._problems)
        for entry in self.document.deployments:
            self._save(self._rows[entry.name])
        for feature, choice in changing.items():
            self._answer(feature, choice)
        if self.prune:
            for name in self._stored.keys() - self._names():
                self._rows[name].delete()

    def _names(self) -> set[str]:
        return {entry.name for entry in self.document.deployments}

    def _changing_choices(self) -> Iterator[tuple[Feature, Choice]]:
        for feature, setting in self._settings.items():
            stored = choice_of(setting)
            left = Choice() if self.prune else stored
            wanted = self.document.features.get(feature, left)
            if wanted != stored:
                yield feature, wanted

    # --- Deployments ------------------------------------------------------------------------------

    def _check_entry(self, entry: DeploymentEntry, position: int) -> None:
        row = self._rows.setdefault(entry.name, ModelDeployment())
        fill_row(row, entry)
        trail = ("deployments", position)
        self._set_key(row, entry.api_key, trail)
        try:
            row.full_clean()
        except ValidationError as error:
            for name, details in error.error_dict.items():
                place = (*trail, *_TRAIL_OF_FIELD.get(name, (name,)))
                self._add_problems(row, name, details, place)

    def _add_problems(
        self, row: ModelDeployment, name: str, details: Sequence[ValidationError], trail: Trail
    ) -> None:
        for detail in details:
            message = " ".join(detail.messages)
            if detail.code == "invalid_choice":
                message = f"is not known.{suggest(getattr(row, name), _CHOICES[name])}"
            self._problems.append(self.document.problem(message, *trail))

    def _save(self, row: ModelDeployment) -> None:
        stored = self._stored.get(row.name)
        if (
            stored is None
            or entry_of(stored) != entry_of(row)
            or stored.api_key_ciphertext != row.api_key_ciphertext
        ):
            row.save()

    def _set_key(self, row: ModelDeployment, reference: KeyReference | None, trail: Trail) -> None:
        if reference is None:
            row.remove_api_key()
            return
        try:
            if not self._enter_key(row, reference):
                self._keep_key(row, reference)
        except (KeyUnreadable, SecretUnavailable, ValidationError) as error:
            row.remove_api_key()
            why = (
                " ".join(error.messages)
                if isinstance(error, ValidationError)
                else error.safe_message
            )
            if self.keys is None:
                self.notes.append(f"{row.name} is restored without its API key. {why}")
            else:
                self._problems.append(self.document.problem(why, *trail, "api_key"))
        else:
            row.api_key_env, row.api_key_file = reference.env, reference.file

    def _enter_key(self, row: ModelDeployment, reference: KeyReference) -> bool:
        """Store the key that is referred to; tell whether it could be read."""
        if self.keys is None or not (reference.env or reference.file):
            return False
        try:
            key = self.keys.read(reference)
        except KeyUnreadable:
            if not reference.stored:
                raise
            return False
        before = self._stored.get(row.name)
        is_same = before is not None and before.holds_api_key(key, self._box)
        if not (is_same and before and before.endpoints == row.endpoints):
            row.set_api_key(key)
        return True

    def _keep_key(self, row: ModelDeployment, reference: KeyReference) -> None:
        """Take the stored key of that fingerprint, wherever it is, for the hosts it is for."""
        owners = [
            owner
            for owner in self._stored.values()
            if owner.api_key_fingerprint == reference.stored and owner.has_api_key
        ]
        if not owners:
            raise KeyUnreadable(
                f"No key with the fingerprint {reference.stored} is stored: give {KEY_FORMS}."
            )
        fitting = [owner for owner in owners if row.may_use_key_of(owner)]
        if not fitting:
            raise KeyUnreadable(
                f"The stored API key was entered for other hosts: give {KEY_FORMS} for these."
            )
        if row.pk not in [owner.pk for owner in fitting]:
            row.take_api_key(fitting[0], self._box)

    # --- Features ---------------------------------------------------------------------------------

    def _check_choice(self, feature: Feature, choice: Choice) -> None:
        known = self._names() if self.prune else self._rows.keys()
        if unknown := [name for name in choice.deployments if name not in known]:
            for name in unknown:
                message = f"no deployment is named '{name}'.{suggest(name, sorted(known))}"
                self._problems.append(self.document.problem(message, "features", feature.value))
            return
        rows = [self._rows[name] for name in choice.deployments]
        if any(row.family not in _CHOICES["family"] for row in rows):
            return  # told at the deployment
        try:
            check_choice(feature, rows, choice.prompt_version)
        except ValidationError as error:
            message = " ".join(error.messages)
            self._problems.append(self.document.problem(message, "features", feature.value))

    def _answer(self, feature: Feature, choice: Choice) -> None:
        self._settings[feature].choose(
            [self._rows[name] for name in choice.deployments],
            is_inactive=choice.is_inactive,
            prompt_version=choice.prompt_version,
        )

    # --- Who manages what -------------------------------------------------------------------------

    def mark_as_managed(self, attribution: Attribution) -> None:
        """Note on each row what the file says of it, and on those it does not name, nothing."""
        taken, released = [], []
        for name, row, digest in self._marks():
            if digest and not row.file_digest:
                taken.append(name)
            elif row.file_digest and not digest:
                released.append(name)
            if row.file_digest != digest:
                type(row)._default_manager.filter(pk=row.pk).update(file_digest=digest)
        if taken:
            self.notes.append(f"Managed by file from now on: {', '.join(taken)}.")
        if released:
            self.notes.append(
                f"No longer in the file, kept, and managed in the web from now on: "
                f"{', '.join(released)}."
            )
        if taken or released:
            changes = {"taken": (None, taken), "released": (None, released)}
            record(attribution, "configuration.managed_by_file", changes=changes)

    def _marks(self) -> Iterator[tuple[str, ModelDeployment | FeatureSetting, str]]:
        """Yield each row that is left with its name and the digest of what the file says of it."""
        names = self._names()
        for name, row in self._rows.items():
            if name in names:
                yield name, row, digest_of(entry_of(row).to_data())
            elif not self.prune:
                yield name, row, ""
        for feature, setting in self._settings.items():
            choice = self.document.features.get(feature)
            yield feature.value, setting, digest_of(choice.to_data()) if choice else ""
