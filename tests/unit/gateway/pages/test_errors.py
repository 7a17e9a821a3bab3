"""The page in place of one that failed."""

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import RequestFactory

from gateway.pages.errors import server_error


def page_after(error: Exception) -> HttpResponse:
    try:
        raise error
    except type(error):
        return server_error(RequestFactory().get("/admin/"))


@pytest.mark.parametrize("error", [OperationalError("sentinel"), InterfaceError("sentinel")])
def test_database_that_is_away_is_told(error: Exception) -> None:
    response = page_after(error)

    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert b"DATABASE_URL" in response.content
    assert b"sentinel" not in response.content


@pytest.mark.parametrize("error", [IntegrityError("sentinel"), KeyError("sentinel")])
def test_bug_is_a_bug(error: Exception) -> None:
    response = page_after(error)

    assert response.status_code == 500
    assert b"sentinel" not in response.content
