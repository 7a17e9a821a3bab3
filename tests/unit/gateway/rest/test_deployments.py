"""`deployments/`: what Rails may do with model servers, and what it is told when it may not."""

from typing import Any

import pytest

from feature_config.catalogue import Feature
from gateway.configuration.guards import version_of
from gateway.models import AuditRecord, Revision
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment
from tests.unit.gateway.rest.api import Api

KEY = "sk-canary-0123456789abcdef"
GOOD: dict[str, Any] = {
    "name": "codegemma-gpu1",
    "family": "codegemma-7b-it",
    "serving_format": "openai_text",
    "endpoints": ["http://10.0.4.11:8000/v1"],
    "model_identifier": "codegemma-7b-it",
}


def path_of(row: ModelDeployment) -> str:
    return f"deployments/{row.pk}/"


def test_created_deployment_is_stored_and_told(api: Api) -> None:
    answer = api.post("deployments/", GOOD | {"api_key": KEY, "context_tokens": 8192})

    row = ModelDeployment.objects.get()
    told = answer.json()
    assert answer.status_code == 201
    assert answer["Location"] == f"/api/v1/{path_of(row)}"
    assert answer["ETag"] == f'"{version_of(row)}"' == f'"{told["version"]}"'
    assert (told["id"], told["name"], told["context_tokens"]) == (str(row.pk), row.name, 8192)
    assert told["created_at"].endswith("Z")


def test_key_is_stored_and_never_told(api: Api) -> None:
    created = api.post("deployments/", GOOD | {"api_key": KEY})
    shown = api.get(path_of(ModelDeployment.objects.get()))

    assert ModelDeployment.objects.get().has_api_key
    assert shown.json()["has_api_key"] is True
    assert KEY.encode() not in created.content + shown.content
    assert KEY not in str([*Revision.objects.values(), *AuditRecord.objects.values()])


def test_change_is_recorded_with_who_and_why(api: Api) -> None:
    api.post("deployments/", GOOD, x_change_reason="New GPU", x_request_id="req-1")

    revision, record = Revision.objects.get(), AuditRecord.objects.get(action="deployment.added")
    assert (revision.author, revision.origin, revision.reason) == (
        "API token rails",
        "rest",
        "New GPU",
    )
    assert (record.request_id, record.source_address) == ("req-1", "127.0.0.1")


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": ""}, "name", "blank"),
        ({"name": "-x"}, "name", "Begin with a letter"),
        ({"family": "gpt-5"}, "family", "not a valid choice"),
        ({"serving_format": "carrier_pigeon"}, "serving_format", "not a valid choice"),
        ({"endpoints": []}, "endpoints", "at least 1"),
        ({"endpoints": ["ftp://10.0.0.1"]}, "endpoints", "URL 1"),
        ({"endpoints": "http://10.0.0.1"}, "endpoints", "list"),
        ({"api_key": "a b"}, "api_key", "no spaces"),
        ({"context_tokens": 1}, "context_tokens", "256"),
        ({"total_timeout_s": "nan"}, "total_timeout_s", "number"),
        (
            {"first_token_timeout_s": 60, "total_timeout_s": 30},
            "total_timeout_s",
            "shorter than the first token",
        ),
    ],
)
def test_bad_field_is_told_by_name_and_nothing_is_stored(
    api: Api, change: dict[str, Any], field: str, words: str
) -> None:
    answer = api.post("deployments/", GOOD | change)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "request_invalid")
    assert words in " ".join(problem["errors"][field])
    assert not ModelDeployment.objects.exists()


def test_second_deployment_of_a_name_is_refused(api: Api) -> None:
    make_deployment(name=GOOD["name"])

    answer = api.post("deployments/", GOOD)

    assert "Another deployment has this name" in answer.json()["errors"]["name"][0]


def test_changed_field_leaves_the_others_and_the_key(api: Api) -> None:
    row = make_deployment(api_key=KEY)

    answer = api.patch(path_of(row), {"is_active": False}, if_match=f'"{version_of(row)}"')

    after = ModelDeployment.objects.get()
    assert answer.status_code == 200
    assert (after.is_active, after.has_api_key, after.name) == (False, True, row.name)
    assert answer["ETag"] == f'"{version_of(after)}"'


def test_deployment_in_use_is_deactivated_only_by_who_means_it(api: Api) -> None:
    row = make_deployment(name="gpu1")
    assign(Feature.DUO_CHAT, row)

    refused = api.patch(path_of(row), {"is_active": False}, if_match="*")
    other = api.patch(path_of(row), {"context_tokens": 4096}, if_match="*")
    meant = api.patch(path_of(row) + "?deactivates_in_use=true", {"is_active": False}, if_match="*")

    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert "1 feature would lose gpu1: GitLab Duo Chat." in refused.json()["detail"]
    assert (other.status_code, other.json()["is_active"]) == (200, True)
    assert (meant.status_code, meant.json()["is_active"]) == (200, False)


def test_null_removes_the_key(api: Api) -> None:
    row = make_deployment(api_key=KEY)

    api.patch(path_of(row), {"api_key": None}, if_match="*")

    assert not ModelDeployment.objects.get().has_api_key


def test_stored_key_does_not_follow_to_another_host(api: Api) -> None:
    row = make_deployment(api_key=KEY)

    answer = api.patch(path_of(row), {"endpoints": ["http://10.6.6.6/v1"]}, if_match="*")

    assert "entered for other hosts" in answer.json()["errors"]["endpoints"][0]
    assert ModelDeployment.objects.get().endpoints == row.endpoints


def test_change_without_if_match_is_asked_for_it(api: Api) -> None:
    row = make_deployment()

    for answer in (api.patch(path_of(row), {"is_active": False}), api.delete(path_of(row))):
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")
    assert ModelDeployment.objects.get().is_active


def test_change_of_what_a_colleague_changed_meanwhile_is_refused(api: Api) -> None:
    row = make_deployment()
    seen = version_of(row)
    api.patch(path_of(row), {"context_tokens": 4096}, if_match=f'"{seen}"')

    answer = api.patch(path_of(row), {"context_tokens": 2048}, if_match=f'"{seen}"')

    assert (answer.status_code, answer.json()["code"]) == (412, "change_conflict")
    assert "API token rails changed context tokens" in answer.json()["detail"]
    assert ModelDeployment.objects.get().context_tokens == 4096


def test_row_of_a_file_is_changed_only_when_that_is_overridden(api: Api) -> None:
    row = make_deployment(file_digest="0" * 32)

    refused = api.patch(path_of(row), {"is_active": False}, if_match="*")
    done = api.patch(path_of(row) + "?override_file=true", {"is_active": False}, if_match="*")
    deleted = api.delete(path_of(row) + "?override_file=true", if_match="*")

    assert (refused.status_code, refused.json()["code"]) == (409, "managed_by_file")
    assert (done.status_code, done.json()["is_active"]) == (200, False)
    assert deleted.status_code == 409


def test_unused_deployment_is_deleted(api: Api) -> None:
    row = make_deployment()

    answer = api.delete(path_of(row), if_match=f'"{version_of(row)}"')

    assert (answer.status_code, answer.content) == (204, b"")
    assert not ModelDeployment.objects.exists()


def test_deployment_in_use_is_kept_and_its_users_named(api: Api) -> None:
    row = make_deployment()
    assign(Feature.DUO_CHAT, row)

    answer = api.delete(path_of(row), if_match="*")

    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")
    assert "GitLab Duo Chat uses" in answer.json()["detail"]
    assert api.get(path_of(row)).json()["used_by"] == ["duo_chat"]


def test_list_goes_on_from_page_to_page(api: Api) -> None:
    for number in range(5):
        make_deployment(name=f"gpu-{number}")

    names, path = [], "deployments/?limit=2"
    while path:
        page = api.get(path).json()
        names += [row["name"] for row in page["results"]]
        path = (page["next"] or "").rpartition("/api/v1/")[2]

    assert names == [f"gpu-{number}" for number in range(5)]


def test_list_is_filtered_and_ordered(api: Api) -> None:
    make_deployment(name="a", is_active=False)
    make_deployment(name="b")
    make_deployment(name="c")

    found = api.get("deployments/?is_active=true&ordering=-name").json()

    assert [row["name"] for row in found["results"]] == ["c", "b"]


def test_filter_that_makes_no_sense_is_told(api: Api) -> None:
    answer = api.get("deployments/?family=gpt-5")

    assert (answer.status_code, [*answer.json()["errors"]]) == (422, ["family"])


@pytest.mark.parametrize("cursor", ["x", "cD0x", "bz0xJnA9/w==", "cD0lMDA="])
def test_cursor_that_is_none_is_told(api: Api, cursor: str) -> None:
    answer = api.get(f"deployments/?cursor={cursor}&ordering=created_at")

    assert answer.status_code in {200, 404}
    assert answer.status_code == 200 or "cursor" in answer.json()["detail"].lower()
