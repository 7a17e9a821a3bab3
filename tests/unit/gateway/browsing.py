"""What tests of the admin pages share: somebody who is logged in, and what a page says."""

import html
import re
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.factories import make_user


def client_of(role: str) -> Client:
    """Return the browser of somebody with a role."""
    client = Client()
    client.force_login(make_user(role))
    return client


def text_of(answer: Any) -> str:
    """Return what a page says, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.content.decode())).split())


def queries_of(client: Client, url: str) -> int:
    """Return how many queries a page takes."""
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)
