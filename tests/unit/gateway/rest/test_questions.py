"""`golden-questions/` and `unanswered-questions/`."""

import pytest
from django.utils import timezone

from docsearch.models import GoldenQuestion, UnansweredQuestion
from docsearch.results import Outcome
from gateway.models import AuditRecord
from tests.unit.gateway.rest.api import Api

GOLDEN = {"question": "How do I protect a branch?", "page": "user/project/protected_branches.md"}


def ask_in_vain(*questions: str) -> list[int]:
    """Store questions that were not answered; return their ids."""
    now = timezone.now()
    rows = [
        UnansweredQuestion.objects.create(
            question=question,
            outcome=Outcome.NOTHING_FOUND,
            gitlab_version="17.4.0",
            first_asked_at=now,
            last_asked_at=now,
        )
        for question in questions
    ]
    return [row.pk for row in rows]


def test_golden_question_is_added_listed_and_removed_on_record(api: Api) -> None:
    added = api.post("golden-questions/", GOLDEN | {"page": " /ci/yaml/README.md"})
    path = added["Location"].removeprefix("/api/v1/")
    listed, shown = api.get("golden-questions/").json()["results"], api.get(path).json()
    removed = api.delete(path)

    assert (added.status_code, removed.status_code) == (201, 204)
    assert listed == [shown] == [added.json()]
    assert (shown["page"], shown["anchor"]) == ("ci/yaml/README.md", "")
    assert not GoldenQuestion.objects.exists()
    actions = AuditRecord.objects.filter(object_name=GOLDEN["question"]).order_by("number")
    assert [row.action for row in actions] == ["golden_question.added", "golden_question.removed"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"question": ""}, "question"),
        ({"page": "x.html"}, "page"),
        ({"anchor": "a\tb"}, "anchor"),
    ],
)
def test_golden_question_that_breaks_a_rule_is_told_by_field(
    api: Api, change: dict[str, str], field: str
) -> None:
    answer = api.post("golden-questions/", GOLDEN | change)

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, [field])
    assert not GoldenQuestion.objects.exists()


def test_golden_question_is_there_once(api: Api) -> None:
    api.post("golden-questions/", GOLDEN)

    answer = api.post("golden-questions/", GOLDEN)

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, ["question"])


def test_unanswered_questions_are_dealt_with(api: Api) -> None:
    first, second = ask_in_vain("how do i fly", "where is the moon")

    before = api.get("unanswered-questions/").json()["results"]
    done = api.post("unanswered-questions/deal-with/", {"questions": [first, 999]})
    after = api.get("unanswered-questions/").json()["results"]

    assert [row["id"] for row in before] == [second, first]
    assert (done.status_code, done.json()) == (200, {"count": 1})
    assert [row["question"] for row in after] == ["where is the moon"]


@pytest.mark.parametrize("questions", [[], ["x"], [0], [2**70], "all"])
def test_ids_that_are_none_are_refused(api: Api, questions: object) -> None:
    answer = api.post("unanswered-questions/deal-with/", {"questions": questions})

    assert answer.status_code == 422
