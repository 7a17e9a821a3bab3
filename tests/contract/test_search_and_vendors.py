"""Checklist 58 and 59, sections 2.6, 2.10, 2.11: search, vendors' paths, the readiness probe."""

import time
from typing import Any

import httpx
import pytest

from tests.contract.house import House

SEARCH = "/v1/search/gitlab-docs"
QUERIES = [
    "create issue",
    "How can I create an issue?",
    "",
    "?!",
    "AND",
    "a OR",
    '"',
    "NEAR(",
    "ci",
]
VENDOR_PATHS = [
    "/v1/proxy/anthropic/v1/messages",
    "/v1/proxy/vertex-ai/v1/projects/x:predict",
    "/v1/amazon_q/oauth/application",
    "/v1/amazon_q/events",
    "/v1/x-ray/libraries",
]


def query(text: str = "create issue", **changes: Any) -> dict[str, Any]:
    return {
        "type": "search-docs",
        "metadata": {"source": "GitLab EE", "version": "18.0.1"},
        "payload": {"query": text, **changes},
    }


def search(house: House, body: Any, *scopes: str) -> httpx.Response:
    return house.post(SEARCH, body, token=house.token(*(scopes or ("documentation_search",))))


# --- Search --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", QUERIES)
def test_search_has_the_contracts_form_whatever_is_asked(allowing: House, text: str) -> None:
    before = int(time.time())

    response = search(allowing, query(text))

    assert response.status_code == 200
    answer = response.json()
    assert isinstance(answer["response"]["results"], list)
    assert answer["metadata"]["provider"] == "sqlite"
    assert before <= answer["metadata"]["timestamp"] <= time.time()


def test_search_without_an_index_finds_nothing_and_says_why(allowing: House) -> None:
    answer = search(allowing, query()).json()

    assert answer["response"] == {"results": []}
    assert answer["metadata"]["degraded"] is True
    assert "No documentation index" in answer["metadata"]["reason"]


@pytest.mark.parametrize("page_size", [1, 20, "4"])
def test_page_size_inside_its_limits_is_accepted(allowing: House, page_size: object) -> None:
    assert search(allowing, query(page_size=page_size)).status_code == 200


@pytest.mark.parametrize(
    ("body", "fault", "place"),
    [
        (query(page_size=0), "greater_than_equal", ["payload", "page_size"]),
        (query(page_size=21), "less_than_equal", ["payload", "page_size"]),
        (query(page_size="many"), "int_parsing", ["payload", "page_size"]),
        (query("x" * 400_001), "string_too_long", ["payload", "query"]),
        ({**query(), "payload": {}}, "missing", ["payload", "query"]),
        ({**query(), "type": "x" * 101}, "string_too_long", ["type"]),
        ({**query(), "metadata": {"source": "x"}}, "missing", ["metadata", "version"]),
    ],
)
def test_bad_body_is_told_with_its_place_before_the_scope(
    allowing: House, body: dict[str, Any], fault: str, place: list[str]
) -> None:
    response = search(allowing, body, "duo_chat")

    (item,) = response.json()["detail"]
    assert response.status_code == 422
    assert (item["type"], item["loc"]) == (fault, ["body", *place])


def test_longest_query_is_taken(allowing: House) -> None:
    assert search(allowing, query("word " * 80_000)).status_code == 200


def test_search_without_its_scope_is_refused(allowing: House) -> None:
    others = search(allowing, query(), "duo_chat", "complete_code")
    user = allowing.post(SEARCH, query(), token=allowing.own_token())

    for response in (others, user):
        told = "Unauthorized to search documentations"
        assert (response.status_code, response.json()["detail"]) == (403, told)


# --- Vendors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", VENDOR_PATHS)
@pytest.mark.parametrize("body", [{}, {"model": "claude-2.1"}])
def test_vendors_path_is_not_found_with_the_reason(
    allowing: House, path: str, body: dict[str, Any]
) -> None:
    response = allowing.post(path, body, x_gitlab_unit_primitive="duo_chat")

    assert (response.status_code, response.json()["code"]) == (404, "vendor_path")
    assert "reaches only the models its customer runs" in response.json()["detail"]


@pytest.mark.parametrize("path", VENDOR_PATHS)
def test_vendors_path_needs_a_token(allowing: House, path: str) -> None:
    response = allowing.post(path, {}, token=None)

    assert response.status_code == 401


def test_scan_is_known_by_its_hyphen_only(allowing: House) -> None:
    response = allowing.post("/v1/x_ray/libraries", {})

    assert (response.status_code, response.json()["detail"]) == (404, "Not Found")


# --- The readiness probe -------------------------------------------------------------------------


@pytest.mark.parametrize("built", ["allowing", "registering"])
def test_gateway_is_ready_without_a_token(request: pytest.FixtureRequest, built: str) -> None:
    running: House = request.getfixturevalue(built)

    response = running.client.get("/monitoring/ready")

    assert (response.status_code, response.json()) == (200, {})


def test_readiness_probe_takes_get_only(allowing: House) -> None:
    response = allowing.client.post("/monitoring/ready")

    assert (response.status_code, response.headers["allow"]) == (405, "GET")
