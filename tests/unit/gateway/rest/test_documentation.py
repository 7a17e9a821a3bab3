"""What the pages about the REST API say is so."""

import re
from pathlib import Path

import pytest
from django.urls import resolve

from gateway.rest.scopes import Scope
from gateway.rest.views import NoSuchPath

DOCS = Path(__file__).parents[4] / "docs"
RAILS = (DOCS / "rails.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "rest-api.md").read_text(encoding="utf-8")


RUBY_PATHS = re.findall(r'call\(:\w+, "([^"]+)"', RAILS)
LISTED_PATHS = re.findall(r"^\| `(\S+/)` \|", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({*RUBY_PATHS, *LISTED_PATHS}))
def test_path_that_is_named_is_there(path: str) -> None:
    url = "/api/v1/" + re.sub(r"#?\{feature\}", "duo_chat", path)

    assert getattr(resolve(url).func, "cls", None) is not NoSuchPath


def test_every_scope_is_explained() -> None:
    assert all(f"`{scope}`" in REFERENCE for scope in Scope)
