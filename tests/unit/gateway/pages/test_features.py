"""The page of all features: what it says, and what it saves."""

import html as html_text
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feature_config.catalogue import Feature
from gateway.audit import Attribution, Origin
from gateway.configuration.guards import version_of
from gateway.configuration.history import changing_configuration, newest_revision
from gateway.models import Revision
from prompts.models import EvaluationRun
from selfhosted_models.families import ModelFamily
from selfhosted_models.models import EndpointHealth, ModelDeployment
from tests.factories import assign, make_admin, make_deployment, make_run, make_user, setting_of

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]

PAGE = "/admin/feature_config/featuresetting/"
CHAT = Feature.DUO_CHAT


@pytest.fixture
def alice() -> Client:
    return client_of("alice")


def client_of(name: str) -> Client:
    client = Client()
    client.force_login(make_admin(username=name))
    return client


def text_of(html: str) -> str:
    return " ".join(html_text.unescape(re.sub(r"<[^>]*>", " ", html)).split())


def row_html(client: Client, feature: Feature) -> str:
    page = client.get(PAGE).content.decode()
    return page.split(f'id="{feature}"')[1].split('<li class="feature"')[0]


def row(client: Client, feature: Feature) -> str:
    """Return the words of a feature's row, without those of its drop-downs."""
    return text_of(re.sub(r"<select.*?</select>", "", row_html(client, feature), flags=re.S))


def seen(client: Client, feature: Feature) -> str:
    found = re.search(r'name="seen_version" value="([0-9a-f]+)"', row_html(client, feature))
    assert found
    return found[1]


def choose(client: Client, feature: Feature, first: Any, **more: Any) -> Any:
    answered_by = first.pk if isinstance(first, ModelDeployment) else first
    return client.post(f"{PAGE}{feature}/choose/", {"answered_by": answered_by, **more})


def words(feature: Feature) -> str:
    setting = setting_of(feature)
    names = [choice.deployment.name for choice in setting.choices.all()]
    return "inactive" if setting.is_inactive else " > ".join(names) or "unassigned"


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


# --- What it says --------------------------------------------------------------------------------


def test_every_feature_has_a_row_and_none_is_chosen_at_first(alice: Client) -> None:
    page = alice.get(PAGE).content.decode()

    assert page.count('<li class="feature"') == len(Feature)
    assert "16 unassigned" in text_of(page)
    assert "No deployment yet" in page


def test_row_says_who_answers_how_well_and_in_what_health(alice: Client) -> None:
    gpu = make_deployment(name="gpu1", family=ModelFamily.MISTRAL_7B)
    assign(Feature.CODE_GENERATIONS, gpu, make_deployment(name="gpu2"))

    told = row(alice, Feature.CODE_GENERATIONS)
    assert "active gpu1 answers, then gpu2." in told
    assert "supported no verdict yet server never probed" in told

    now = timezone.now()
    EndpointHealth.objects.create(
        deployment=gpu, url=gpu.endpoints[0], state="degraded", since=now, heard_at=now
    )
    assert "no verdict yet server degraded" in row(alice, Feature.CODE_GENERATIONS)


def test_row_and_matrix_tell_the_verdict_of_the_site_and_whether_it_still_holds(
    alice: Client,
) -> None:
    gpu = make_deployment(name="gpu1", family=ModelFamily.CODEGEMMA_7B_IT)
    assign(Feature.GIT_SUGGESTIONS, gpu)
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    make_run(gpu, "++-", finished_at=at)
    assert "passed on 2026-05-01 server" in row(alice, Feature.GIT_SUGGESTIONS)
    assert "passed on 2026-05-01" in text_of(alice.get(f"{PAGE}matrix/").content.decode())

    EvaluationRun.objects.update(prompt_digest="of another prompt", passed_cases=0)

    assert "failed on 2026-05-01, expired" in row(alice, Feature.GIT_SUGGESTIONS)
    cell = text_of(alice.get(f"{PAGE}matrix/git_suggestions/codegemma-7b-it/").content.decode())
    assert "gpu1 failed on 2026-05-01, expired 0 of 3 cases passed, 50 % are asked for." in cell
    assert "started by dana. It expired: prompt or model server are others now." in cell


def test_row_names_the_fallback_that_really_answers(alice: Client) -> None:
    off = make_deployment(name="off")
    assign(CHAT, off, make_deployment(name="spare"))
    off.is_active = False
    off.save()

    told = row(alice, CHAT)

    assert "spare answers." in told
    assert "Not off: inactive" in told


def test_row_says_why_nothing_answers_and_what_to_do(alice: Client) -> None:
    off = make_deployment(name="off")
    assign(CHAT, off)
    off.is_active = False
    off.save()

    told = row(alice, CHAT)

    assert "broken Nothing answers: None of the deployments chosen for GitLab Duo Chat" in told
    assert "check that its key can be read" in told


def test_unassigned_is_not_inactive(alice: Client) -> None:
    setting_of(CHAT).deactivate()

    assert "inactive Refused to everyone." in row(alice, CHAT)
    assert "unassigned Nothing answers" in row(alice, Feature.CODE_COMPLETIONS)


def test_what_cannot_be_chosen_is_greyed_out(alice: Client) -> None:
    make_deployment(name="mine", family=ModelFamily.MISTRAL_7B)

    html = row_html(alice, Feature.CODE_COMPLETIONS)

    assert re.search(r"<option [^>]*disabled>mine \(Mistral 7B is not supported here\)", html)


def test_as_many_queries_for_many_rows_as_for_one(alice: Client) -> None:
    deployments = [make_deployment(api_key="sk-0123456789abcdefWXYZ") for _ in range(5)]
    assign(CHAT, deployments[0])
    few = queries_of(alice)

    for feature in Feature:
        assign(feature, *deployments)

    assert queries_of(alice) == few
    assert few <= 20


def queries_of(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(PAGE).status_code == 200
    return len(queries)


def test_viewer_sees_and_has_nothing_to_press() -> None:
    viewer = Client()
    viewer.force_login(make_user("viewer"))
    assign(CHAT, make_deployment(name="gpu1"))

    page = viewer.get(PAGE).content.decode()

    assert "gpu1" in page
    assert "<select" not in page
    assert "choose/" not in page


# --- One row -------------------------------------------------------------------------------------


def test_saving_a_row_is_one_revision_and_says_what_was_before(alice: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    assign(CHAT, first)

    answer = choose(alice, CHAT, second, fallback_1=first.pk, seen_version=seen(alice, CHAT))

    newest = newest_revision()
    assert newest
    assert newest.author == "alice"
    assert answer.headers["Location"] == f"{PAGE}?changed={newest.number}#duo_chat"
    assert words(CHAT) == "second > first"
    told = messages_of(alice.get(answer.headers["Location"]))
    assert told == ["Saved. GitLab Duo Chat: second, then first (before: first)."]


def test_saving_what_is_there_is_no_revision(alice: Client) -> None:
    assign(CHAT, make_deployment(name="gpu1"))
    before = Revision.objects.count()

    answer = choose(alice, CHAT, ModelDeployment.objects.get(), seen_version=seen(alice, CHAT))

    assert messages_of(alice.get(answer.headers["Location"])) == [
        "GitLab Duo Chat stays as it is: gpu1."
    ]
    assert Revision.objects.count() == before


def test_two_admins_at_one_row_are_told_of_each_other_and_nothing_is_lost(alice: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    stale = seen(alice, CHAT)
    choose(client_of("bob"), CHAT, first)

    refused = choose(alice, CHAT, second, seen_version=stale)

    assert refused.status_code == 409
    page = refused.content.decode()
    assert "bob changed answered by of GitLab Duo Chat" in page
    mine = page.split('id="duo_chat"')[1]
    assert f'<option value="{second.pk}" selected>' in mine  # what alice chose is still there
    assert words(CHAT) == "first"

    again = re.search(r'name="seen_version" value="([0-9a-f]+)"', mine)
    assert again
    assert choose(alice, CHAT, second, seen_version=again[1]).status_code == 302
    assert words(CHAT) == "second"


def test_tampered_row_changes_nothing(alice: Client) -> None:
    make_deployment()
    refused = make_deployment(family=ModelFamily.MISTRAL_7B)

    answer = choose(alice, Feature.CODE_COMPLETIONS, refused)

    assert answer.status_code == 422
    assert "That deployment cannot answer this feature" in answer.content.decode()
    assert words(Feature.CODE_COMPLETIONS) == "unassigned"


def test_row_of_a_file_is_saved_only_when_that_is_said(alice: Client) -> None:
    deployment, setting = make_deployment(name="gpu1"), setting_of(CHAT)
    setting.file_digest = version_of(setting)
    setting.save()

    refused = choose(alice, CHAT, deployment)
    assert "managed by the configuration file" in refused.content.decode()
    assert words(CHAT) == "unassigned"

    choose(alice, CHAT, deployment, overrides_file="on")
    assert words(CHAT) == "gpu1"


@pytest.mark.parametrize("feature", ["nothing", "duo_chat_"])
def test_a_feature_there_is_not_is_not_found(alice: Client, feature: str) -> None:
    assert alice.post(f"{PAGE}{feature}/choose/", {}).status_code == 404


# --- Several at once -----------------------------------------------------------------------------


def bulk(client: Client, target: Any, *features: Feature, **more: Any) -> Any:
    return client.post(f"{PAGE}bulk/", {"target": target, "features": features, **more})


def versions(*features: Feature) -> dict[str, str]:
    return {f"seen_version_{each}": version_of(setting_of(each)) for each in features}


def test_preview_says_what_changes_and_what_does_not_and_why(alice: Client) -> None:
    mistral = make_deployment(name="mistral", family=ModelFamily.MISTRAL_7B)
    assign(Feature.CODE_GENERATIONS, mistral)
    setting_of(CHAT).deactivate()

    answer = bulk(alice, mistral.pk, CHAT, Feature.CODE_COMPLETIONS, Feature.CODE_GENERATIONS)

    told = text_of(answer.content.decode())
    assert "1 feature would change, 2 would stay as they are" in told
    assert "GitLab Duo Chat Inactive mistral to be evaluated" in told
    assert "Code Completion (Unassigned): Code Completion does not support Mistral 7B" in told
    assert "Code Generation (mistral): It is so already." in told
    assert words(CHAT) == "inactive"


def test_confirmed_changes_are_one_revision(alice: Client) -> None:
    deployment = make_deployment(name="gpu1")
    before = Revision.objects.count()
    wanted = (CHAT, Feature.CODE_GENERATIONS)

    answer = bulk(alice, deployment.pk, *wanted, **versions(*wanted), confirmed="1")

    assert [words(feature) for feature in wanted] == ["gpu1", "gpu1"]
    assert Revision.objects.count() == before + 1
    told = messages_of(alice.get(answer.headers["Location"]))
    assert told == ["Saved: GitLab Duo Chat, Code Generation."]


def test_what_a_colleague_changed_since_the_preview_is_left_alone(alice: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    wanted = (CHAT, Feature.CODE_GENERATIONS)
    looked_at = versions(*wanted)
    choose(client_of("bob"), CHAT, first)

    answer = bulk(alice, second.pk, *wanted, **looked_at, confirmed="1")

    assert [words(feature) for feature in wanted] == ["first", "second"]
    assert "Left alone: GitLab Duo Chat (it was changed since" in " ".join(
        messages_of(alice.get(answer.headers["Location"]))
    )


@pytest.mark.parametrize(
    ("target", "left"), [("inactive", "inactive"), ("unassigned", "unassigned")]
)
def test_several_features_are_switched_off_or_let_go(alice: Client, target: str, left: str) -> None:
    assign(CHAT, make_deployment())

    bulk(alice, target, CHAT, **versions(CHAT), confirmed="1")

    assert words(CHAT) == target


@pytest.mark.parametrize("target", ["", "nonsense", "0" * 32])
def test_bulk_without_a_target_changes_nothing(alice: Client, target: str) -> None:
    answer = bulk(alice, target, CHAT, confirmed="1")

    assert "Tick the features" in messages_of(alice.get(answer.headers["Location"]))[0]


# --- Taking back ---------------------------------------------------------------------------------


def take_back(client: Client, number: Any) -> list[str]:
    answer = client.post(f"{PAGE}take-back/", {"revision": number})
    return messages_of(client.get(answer.headers["Location"]))


def test_a_change_is_offered_back_to_who_made_it_and_taken_back(alice: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    assign(CHAT, first, second)
    answer = bulk(
        alice,
        "inactive",
        CHAT,
        Feature.CODE_GENERATIONS,
        confirmed="1",
        **versions(CHAT, Feature.CODE_GENERATIONS),
    )
    page = answer.headers["Location"]
    number = page.rpartition("=")[2]

    assert "Undo this change" in alice.get(page).content.decode()
    assert "Undo this change" not in client_of("bob").get(page).content.decode()
    told = take_back(alice, number)

    assert told == ["Taken back. GitLab Duo Chat: first, then second; Code Generation: Unassigned."]
    assert words(CHAT) == "first > second"


def test_what_was_changed_again_is_not_taken_back(alice: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    answer = choose(alice, CHAT, first)
    number = answer.headers["Location"].partition("=")[2].partition("#")[0]
    with changing_configuration(Attribution("bob", Origin.REST)):
        assign(CHAT, second)

    told = take_back(alice, number)

    assert told[-1] == "GitLab Duo Chat was changed again since: nothing was taken back."
    assert words(CHAT) == "second"


def test_what_was_there_before_and_is_gone_is_named(alice: Client) -> None:
    first, second = make_deployment(name="first"), make_deployment(name="second")
    assign(CHAT, first)
    answer = choose(alice, CHAT, second)
    number = answer.headers["Location"].partition("=")[2].partition("#")[0]
    first.delete()

    assert take_back(alice, number)[-1:] == [
        "first, which answered GitLab Duo Chat before, is gone: choose anew."
    ]
    assert words(CHAT) == "second"


@pytest.mark.parametrize("number", ["", "x", "-1", "9" * 19, "\u0663"])
def test_no_number_of_a_revision_is_not_found(alice: Client, number: str) -> None:
    assert alice.post(f"{PAGE}take-back/", {"revision": number}).status_code == 404


def test_a_revision_there_is_not_is_told(alice: Client) -> None:
    assert "There is no revision" in take_back(alice, 77)[0]
