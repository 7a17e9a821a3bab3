"""What admins keep an eye on: indexes of all nodes, unanswered questions, and golden ones."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from docsearch.golden import (
    MAX_CHARS,
    MAX_GOLDEN_QUESTIONS,
    GoldenEntry,
    GoldenFailure,
    check_entry,
    digest_of,
)
from docsearch.redaction import MAX_QUESTION_CHARS
from docsearch.results import Outcome
from docsearch.store import Origin
from docsearch.versions import GitLabVersion

ORIGINS = [
    (Origin.BUILT.value, "built on the node"),
    (Origin.FILE.value, "installed from a file"),
    (Origin.REGISTRY.value, "fetched from the package registry"),
]
#: A download of the largest index ends within ten minutes.
_LOOK_ENDS_WITHIN = timedelta(minutes=10)
#: Workers read every two seconds whether they are to look.
_LOOK_BEGINS_WITHIN = timedelta(seconds=10)
#: Checks that are kept.
_CHECKS_KEPT = 100
_ONLY_ROW = 1


class UnansweredQuestionQuerySet(models.QuerySet["UnansweredQuestion"]):
    def open(self) -> "UnansweredQuestionQuerySet":
        """Return those nobody has dealt with."""
        return self.filter(dealt_with_at=None)

    def count_asked(self, asked: Iterable["UnansweredQuestion"], *, most: int) -> None:
        """Store questions that were asked, each once, and forget those asked longest ago.

        Args:
            asked: Not saved; `times` of each is how often it was asked since the last call.
            most: Rows that are kept.
        """
        with transaction.atomic():
            for row in asked:
                same = self.filter(question=row.question)
                is_known = same.update(
                    times=F("times") + row.times,
                    outcome=row.outcome,
                    gitlab_version=row.gitlab_version,
                    last_asked_at=row.last_asked_at,
                )
                if not is_known:
                    row.first_asked_at = row.last_asked_at
                    self.bulk_create([row], ignore_conflicts=True)
            newest_first = self.order_by("-last_asked_at", "-pk").values_list("pk", flat=True)
            self.filter(pk__in=[*newest_first[most:]]).delete()

    def deal_with(self) -> int:
        """Take them off the worklist; asked again, they do not come back."""
        return self.filter(dealt_with_at=None).update(dealt_with_at=timezone.now())


class UnansweredQuestion(models.Model):
    """A question, redacted, that no page answered."""

    id = models.BigAutoField(primary_key=True)
    question = models.CharField(max_length=MAX_QUESTION_CHARS, unique=True, help_text="Redacted.")
    outcome = models.CharField(
        max_length=20, choices=[(outcome.value, outcome.value) for outcome in Outcome]
    )
    gitlab_version = models.CharField(max_length=20, help_text="Of the documentation searched.")
    times = models.PositiveIntegerField(default=1, help_text="How often it was asked.")
    first_asked_at = models.DateTimeField(help_text="UTC.")
    last_asked_at = models.DateTimeField(db_index=True, help_text="UTC.")
    dealt_with_at = models.DateTimeField(null=True, help_text="UTC; empty: on the worklist.")

    objects = UnansweredQuestionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-times", "-last_asked_at"]

    def __str__(self) -> str:
        return self.question


class GoldenQuestionQuerySet(models.QuerySet["GoldenQuestion"]):
    def entries(self) -> tuple[GoldenEntry, ...]:
        """Return what is to be checked, in a fixed order."""
        return tuple(
            GoldenEntry(row.question, row.page, row.anchor) for row in self.order_by("question")
        )

    def replace_all(self, entries: Iterable[GoldenEntry]) -> None:
        """Let these be the golden questions, and no others."""
        with transaction.atomic():
            self.all().delete()
            self.bulk_create(
                GoldenQuestion(question=entry.question, page=entry.page, anchor=entry.anchor)
                for entry in entries
            )


class GoldenQuestion(models.Model):
    """A question of this site, and the page that must be among its first answers."""

    id = models.BigAutoField(primary_key=True)
    question = models.CharField(
        max_length=MAX_CHARS["question"],
        unique=True,
        help_text="As people ask it, as in: how do I protect a branch?",
    )
    page = models.CharField(
        max_length=MAX_CHARS["page"],
        help_text="The page that answers it, below the documentation's folder, as in "
        "user/project/protected_branches.md.",
    )
    anchor = models.CharField(
        max_length=MAX_CHARS["anchor"],
        blank=True,
        help_text="Its section, as in the page's address after #; empty: any.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = GoldenQuestionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["question"]

    def __str__(self) -> str:
        return self.question

    def clean(self) -> None:
        """Hold a row of a form to the rules of a file.

        Raises:
            ValidationError: By field.
        """
        entry = GoldenEntry(self.question, self.page, self.anchor).cleaned()
        self.question, self.page, self.anchor = entry.question, entry.page, entry.anchor
        if problems := check_entry(entry):
            raise ValidationError(problems)
        others = GoldenQuestion.objects.exclude(pk=self.pk).count()
        if others >= MAX_GOLDEN_QUESTIONS:
            raise ValidationError(
                f"There are {MAX_GOLDEN_QUESTIONS} golden questions already: delete some first."
            )


class GoldenCheckQuerySet(models.QuerySet["GoldenCheck"]):
    def of(self, index_digest: str, entries: Sequence[GoldenEntry]) -> "GoldenCheckQuerySet":
        """Return the check of these questions against this index, if it was made."""
        return self.filter(index_digest=index_digest, questions_digest=digest_of(entries))

    def current(self, entries: Sequence[GoldenEntry]) -> "GoldenCheckQuerySet":
        """Return the checks of the questions as they are now."""
        return self.filter(questions_digest=digest_of(entries))

    def record(self, check: "GoldenCheck") -> None:
        """Store a check, in place of an earlier one of the same."""
        self.bulk_create(
            [check],
            update_conflicts=True,
            unique_fields=["index_digest", "questions_digest"],
            update_fields=["passed", "failures", "checked_at"],
        )
        newest = self.order_by("-checked_at", "-pk").values_list("pk", flat=True)
        self.filter(pk__in=[*newest[_CHECKS_KEPT:]]).delete()


class GoldenCheck(models.Model):
    """How one index answered the golden questions, as they were then."""

    id = models.BigAutoField(primary_key=True)
    gitlab_version = models.CharField(max_length=20)
    index_digest = models.CharField(max_length=64, help_text="SHA-256 of the index.")
    questions_digest = models.CharField(max_length=64)
    total = models.PositiveIntegerField()
    passed = models.PositiveIntegerField()
    failures: Any = models.JSONField(help_text="Question, page wanted, pages found.")
    checked_at = models.DateTimeField(default=timezone.now)

    objects = GoldenCheckQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-checked_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["index_digest", "questions_digest"], name="docsearch_goldencheck_once"
            )
        ]

    def __str__(self) -> str:
        return f"GitLab {self.gitlab_version}: {self.passed} of {self.total}"

    @classmethod
    def of(
        cls,
        gitlab_version: str,
        index_digest: str,
        entries: Sequence[GoldenEntry],
        failures: Sequence[GoldenFailure],
    ) -> "GoldenCheck":
        """Return the row of a check, not saved."""
        return cls(
            gitlab_version=gitlab_version,
            index_digest=index_digest,
            questions_digest=digest_of(entries),
            total=len(entries),
            passed=len(entries) - len(failures),
            failures=[{**asdict(failure), "found": [*failure.found]} for failure in failures],
        )

    @property
    def is_passed(self) -> bool:
        return self.passed == self.total


class RegistryLook(models.Model):
    """What came of a node's last look in the package registry for one wanted version."""

    class State(models.TextChoices):
        LOOKING = "looking", "looking"
        FETCHING = "fetching", "fetching"
        CURRENT = "current", "up to date"
        KEPT = "kept", "left as it is"
        FAILED = "failed", "failed"

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=100)
    wanted = models.CharField(max_length=20, blank=True, help_text="Empty: the newest there is.")
    state = models.CharField(max_length=10, choices=State)
    message = models.CharField(max_length=500, blank=True)
    gitlab_version = models.CharField(max_length=20, blank=True, help_text="What answers for it.")
    received_bytes = models.PositiveBigIntegerField(default=0)
    total_bytes = models.PositiveBigIntegerField(default=0)
    looked_at = models.DateTimeField(help_text="UTC.")

    class Meta:
        ordering: ClassVar = ["node", "wanted"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["node", "wanted"], name="docsearch_registrylook_once")
        ]

    def __str__(self) -> str:
        return f"{self.node}: {self.wanted or 'newest'}"

    @property
    def is_under_way(self) -> bool:
        """Whether it still goes on; one that was silent for long has died."""
        is_begun = self.state in {self.State.LOOKING, self.State.FETCHING}
        return is_begun and timezone.now() - self.looked_at < _LOOK_ENDS_WITHIN


class CheckRequestQuerySet(models.QuerySet["CheckRequest"]):
    def ask(self) -> None:
        """Have every worker that reads this database look in the package registry soon."""
        self.update_or_create(pk=_ONLY_ROW, defaults={"asked_at": timezone.now()})

    def last_asked_at(self) -> datetime | None:
        """Return when somebody last asked; None: never."""
        return self.filter(pk=_ONLY_ROW).values_list("asked_at", flat=True).first()

    def is_recent(self) -> bool:
        """Return whether somebody asked so lately that not every worker has begun to look."""
        asked_at = self.last_asked_at()
        return asked_at is not None and timezone.now() - asked_at < _LOOK_BEGINS_WITHIN


class CheckRequest(models.Model):
    """That somebody wants the package registry looked at now; one row, read by every worker."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    asked_at = models.DateTimeField(help_text="UTC.")

    objects = CheckRequestQuerySet.as_manager()

    def __str__(self) -> str:
        return f"asked at {self.asked_at:%Y-%m-%d %H:%M:%S}"


class InstalledIndexQuerySet(models.QuerySet["InstalledIndex"]):
    def newest_digest(self, node: str, version: GitLabVersion) -> str | None:
        """Return what is known to be active for a version on a node; None: nothing."""
        rows = self.filter(node=node, gitlab_version=str(version))
        return rows.values_list("index_digest", flat=True).first()


class InstalledIndex(models.Model):
    """An index as it was found on a node; the newest row of a version is the active one."""

    id = models.BigAutoField(primary_key=True)
    node = models.CharField(max_length=100)
    gitlab_version = models.CharField(max_length=20)
    index_digest = models.CharField(max_length=64, help_text="SHA-256 of the index.")
    size_bytes = models.PositiveBigIntegerField()
    made_at = models.DateTimeField(null=True, help_text="UTC; when it was signed.")
    key = models.CharField(max_length=100, blank=True, help_text="The public key that signed it.")
    origin = models.CharField(
        max_length=10,
        blank=True,
        db_default="",
        choices=ORIGINS,
        help_text="How it came to the node.",
    )
    found_at = models.DateTimeField(default=timezone.now, help_text="UTC.")

    objects = InstalledIndexQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-found_at", "-pk"]
        indexes: ClassVar = [
            models.Index(fields=["node", "gitlab_version", "-found_at"], name="docsearch_installed")
        ]

    def __str__(self) -> str:
        return f"GitLab {self.gitlab_version} on {self.node}"
