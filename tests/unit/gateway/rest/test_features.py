"""`features/` and `feature-settings/`."""

from typing import Any

import pytest

from feature_config.catalogue import Feature
from gateway.configuration.guards import version_of
from gateway.models import Revision
from tests.factories import assign, make_deployment, make_run, setting_of
from tests.unit.gateway.rest.api import Api

CHAT = "feature-settings/duo_chat/"
BULK = "feature-settings/bulk/"


def names_of(feature: Feature) -> list[str]:
    return [choice.deployment.name for choice in setting_of(feature).choices.all()]


def test_catalogue_has_every_feature_with_its_levels(api: Api) -> None:
    features = api.get("features/").json()

    completions = next(item for item in features if item["feature"] == "code_completions")
    levels = {level["family"]: level["level"] for level in completions["levels"]}
    assert [item["feature"] for item in features] == [*Feature]
    assert (levels["mistral-7b"], levels["codegemma-2b"]) == ("not_supported", "supported")
    assert api.get("features/code_completions/").json() == completions


def test_catalogue_tells_what_was_found_out_here(api: Api) -> None:
    run = make_run(make_deployment(name="gpu1"), "++-")

    told = api.get("features/git_suggestions/").json()

    (verdict,) = told["verdicts"]
    assert (verdict["deployment"], verdict["run"]) == ("gpu1", run.pk)
    assert (verdict["is_pass"], verdict["share"]) == (True, 0.6667)
    assert api.get("features/duo_chat/").json()["verdicts"] == []


@pytest.mark.parametrize("path", ["features/poetry/", "feature-settings/poetry/"])
def test_unknown_feature_is_told_with_those_there_are(api: Api, path: str) -> None:
    answer = api.get(path)

    assert answer.status_code == 404
    assert "There is no feature 'poetry'" in answer.json()["detail"]


def test_setting_is_set_whole_and_in_order(api: Api) -> None:
    make_deployment(name="a")
    make_deployment(name="b")
    seen = api.get(CHAT)["ETag"]

    answer = api.put(CHAT, {"deployments": ["b", "a"]}, if_match=seen)

    assert answer.status_code == 200
    assert answer.json()["deployments"] == ["b", "a"] == names_of(Feature.DUO_CHAT)
    assert answer["ETag"] == f'"{version_of(setting_of(Feature.DUO_CHAT))}"' != seen


def test_left_out_fields_are_at_their_defaults(api: Api) -> None:
    assign(Feature.DUO_CHAT, make_deployment())

    inactive = api.put(CHAT, {"is_inactive": True}, if_match="*").json()
    unassigned = api.put(CHAT, {}, if_match="*").json()

    assert (inactive["is_inactive"], inactive["deployments"]) == (True, [])
    assert (unassigned["is_inactive"], unassigned["deployments"]) == (False, [])


@pytest.mark.parametrize(
    ("feature", "body", "field", "words"),
    [
        ("duo_chat", {"deployments": ["nobody"]}, "deployments", "No deployment is named 'nobody'"),
        ("duo_chat", {"deployments": ["m", "m"]}, "deployments", "twice"),
        ("duo_chat", {"deployments": ["m"], "is_inactive": True}, "deployments", "leave them out"),
        ("code_completions", {"deployments": ["m"]}, "deployments", "does not support"),
        ("duo_chat", {"deployments": ["m"], "prompt_version": "9.9.9"}, "prompt_version", "9.9.9"),
        ("duo_chat", {"deployments": "m"}, "deployments", "list"),
    ],
)
def test_bad_choice_is_told_by_field_and_changes_nothing(
    api: Api, feature: str, body: dict[str, Any], field: str, words: str
) -> None:
    make_deployment(name="m", family="mistral-7b")

    answer = api.put(f"feature-settings/{feature}/", body, if_match="*")

    assert answer.status_code == 422
    assert words in " ".join(answer.json()["errors"][field])
    assert names_of(Feature(feature)) == []


def test_setting_a_colleague_changed_meanwhile_is_kept(api: Api) -> None:
    seen = api.get(CHAT)["ETag"]
    api.put(CHAT, {"is_inactive": True}, if_match="*")

    answer = api.put(CHAT, {}, if_match=seen)

    assert answer.status_code == 412
    assert setting_of(Feature.DUO_CHAT).is_inactive


# --- Several at once ------------------------------------------------------------------------------


def bulk(*settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"settings": list(settings), **more}


def test_bulk_sets_all_in_one_revision(api: Api) -> None:
    make_deployment(name="a")
    before = Revision.objects.count()

    answer = api.post(
        BULK,
        bulk(
            {"feature": "duo_chat", "deployments": ["a"]},
            {"feature": "root_cause_analysis", "is_inactive": True},
        ),
    )

    told = answer.json()
    assert answer.status_code == 200
    assert [change["name"] for change in told["changes"]] == ["duo_chat", "root_cause_analysis"]
    assert told["changes"][0]["fields"]["answered_by"] == {"old": "unassigned", "new": "a"}
    assert told["revision"] == Revision.objects.count() == before + 1
    assert names_of(Feature.DUO_CHAT) == ["a"]


def test_preview_tells_the_same_and_does_nothing(api: Api) -> None:
    make_deployment(name="a")
    wanted = {"feature": "duo_chat", "deployments": ["a"]}
    before = Revision.objects.count()

    preview = api.post(BULK, bulk(wanted, preview=True)).json()
    kept = names_of(Feature.DUO_CHAT), Revision.objects.count()
    done = api.post(BULK, bulk(wanted)).json()

    assert preview["changes"] == done["changes"]
    assert (preview["revision"], kept) == (None, ([], before))


def test_half_valid_bulk_changes_nothing_and_names_the_place(api: Api) -> None:
    make_deployment(name="a")

    answer = api.post(
        BULK,
        bulk(
            {"feature": "duo_chat", "deployments": ["a"]},
            {"feature": "test_generation", "deployments": ["nobody"]},
        ),
    )

    assert [*answer.json()["errors"]] == ["settings.1.deployments"]
    assert names_of(Feature.DUO_CHAT) == []


def test_bulk_names_each_feature_once(api: Api) -> None:
    answer = api.post(BULK, bulk({"feature": "duo_chat"}, {"feature": "duo_chat"}))

    assert "named twice" in answer.json()["errors"]["settings"][0]


def test_bulk_keeps_what_a_colleague_changed_meanwhile(api: Api) -> None:
    seen = version_of(setting_of(Feature.DUO_CHAT))
    api.put(CHAT, {"is_inactive": True}, if_match="*")

    answer = api.post(BULK, bulk({"feature": "duo_chat", "version": seen}))

    assert answer.status_code == 412
    assert setting_of(Feature.DUO_CHAT).is_inactive
