"""What the pages about the REST API say is so."""

import re
from pathlib import Path

import pytest
import yaml
from django.urls import resolve

from gateway.rest.scopes import Scope
from gateway.rest.views import NoSuchPath

DOCS = Path(__file__).parents[4] / "docs"
RAILS = (DOCS / "rails.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "rest-api.md").read_text(encoding="utf-8")
SCHEMA = yaml.safe_load((DOCS / "api-schema.yml").read_text(encoding="utf-8"))
#: Of every list; the order is told by itself.
OF_LISTS = {"cursor", "limit", "ordering"}


RUBY_PATHS = re.findall(r'call\(:\w+, "([^"]+)"', RAILS)
LISTED_PATHS = re.findall(r"^\| `(\S+/)` \|", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({*RUBY_PATHS, *LISTED_PATHS}))
def test_path_that_is_named_is_there(path: str) -> None:
    url = "/api/v1/" + re.sub(r"#?\{feature\}", "duo_chat", path).replace("{number}", "1")

    assert getattr(resolve(url).func, "cls", None) is not NoSuchPath


def test_every_scope_is_explained() -> None:
    assert all(f"`{scope}`" in REFERENCE for scope in Scope)


def test_filters_and_orders_are_told_as_they_are() -> None:
    section = REFERENCE.partition("## Filters and order\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\S+)` \| (.*?) \|(.*)\|$", section, re.MULTILINE)
    told = {path: {*re.findall(r"`(\w+)`", query)} for path, query, _ in rows}
    orders = {path: re.findall(r"`(-?\w+)`", order) for path, _, order in rows if order.strip()}

    found = {
        path.removeprefix("/api/v1/"): {
            each["name"] for each in methods["get"].get("parameters", []) if each["in"] == "query"
        }
        for path, methods in SCHEMA["paths"].items()
        if "get" in methods
    }
    lists = {path for path, names in found.items() if "cursor" in names}
    queries = {path: names - OF_LISTS if path in lists else names for path, names in found.items()}
    assert told == {path: names for path, names in queries.items() if names}
    assert orders.keys() == lists
    for path, names in orders.items():
        view = resolve(f"/api/v1/{path}").func.cls  # type: ignore[attr-defined]
        assert names[0] == view.ordering[0], path
        assert [name.lstrip("-") for name in names] == [*view.ordering_fields], path
