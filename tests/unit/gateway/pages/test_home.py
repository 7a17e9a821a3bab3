"""The home page: how the installation stands, and what to do first."""

import html as html_text
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from feature_config.catalogue import Feature
from gateway.errors import Hop
from gateway.usage.buffer import Taken
from gateway.usage.store import write_down
from selfhosted_models.models import EndpointHealth
from tests.factories import assign, make_admin, make_deployment, make_fingerprint
from tests.unit.gateway.usage.ended import ended

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


@pytest.fixture
def admin() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


def words(client: Client) -> str:
    page = client.get("/admin/").content.decode()
    return " ".join(html_text.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_who_begins_is_led_from_step_to_step(admin: Client, settings: Settings) -> None:
    settings.AIGW_GITLAB_URL = "https://gitlab.example.com"

    told = words(admin)
    assert "Trust your GitLab done Add a deployment to do" in told
    assert "Let it answer a feature to do" in told

    deployment = make_deployment()
    assert "Add a deployment done Let it answer a feature to do" in words(admin)

    assign(Feature.DUO_CHAT, deployment)
    assert "First steps" not in words(admin)


def test_problems_are_told_with_what_to_do(admin: Client) -> None:
    down, shaky = make_deployment(name="down"), make_deployment(name="shaky")
    now = timezone.now()
    for row, state, reason in ((down, "down", "Refused."), (shaky, "degraded", "Slow.")):
        EndpointHealth.objects.create(
            deployment=row,
            url=row.endpoints[0],
            state=state,
            reason=reason,
            since=now,
            heard_at=now,
        )
    assign(Feature.DUO_CHAT, down)
    assign(Feature.CODE_COMPLETIONS, shaky)

    told = words(admin)

    assert "GitLab Duo Chat : every endpoint is down" in told
    assert "Start the model server, or correct its endpoint" in told
    assert "shaky : http://10.0.4.11:8000/v1 is degraded. Slow." in told
    assert "1 active 1 broken 14 unassigned 0 inactive" in told


def test_a_server_that_changed_is_told_for_a_week(admin: Client) -> None:
    changed, long_ago = make_deployment(name="changed"), make_deployment(name="long-ago")
    for row, age in ((changed, timedelta(days=1)), (long_ago, timedelta(days=8))):
        fingerprint = make_fingerprint(row, context=8192)
        fingerprint.differences = {"context": [16384, 8192]}
        fingerprint.created_at -= age
        fingerprint.save()

    told = words(admin)

    assert "changed : Its server changed: context: 8,192, was 16,384." in told
    assert "long-ago : Its server changed" not in told


def test_nothing_wrong_is_said_too(admin: Client) -> None:
    assign(Feature.DUO_CHAT, make_deployment(name="gpu1"))

    told = words(admin)

    assert "Open problems None that is known." in told
    assert "gpu1 never probed 1 feature" in told
    assert "No index is installed" in told


def test_as_many_queries_for_many_deployments_as_for_one(
    admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        make_deployment()

    with django_assert_max_num_queries(15):
        words(admin)


def test_somebody_without_a_role_is_told_so_and_sees_nothing() -> None:
    make_deployment(name="secret-gpu")
    client = Client()
    client.force_login(User.objects.create(username="new", is_staff=True))

    told = words(client)

    assert "You have no role yet" in told
    assert "secret-gpu" not in told


def test_last_hour_is_told_at_a_glance(admin: Client) -> None:
    now = timezone.now().timestamp()
    failed = ended(-60, outcome="upstream_timeout", hop=Hop.MODEL_SERVER, first_s=None)
    older = ended(-2 * 3600)
    write_down(Taken([ended(-5), ended(-60), failed, older], 0), clock_offset_s=now)

    assert "The last hour Requests 3 Errors 1 33.3 % First text 250 ms" in words(admin)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            "",
            "Wanted: the version each caller names, else the newest. Installed on this node: none",
        ),
        ("17.4.0", "Wanted: GitLab 17.4.0. Installed on this node: none"),
    ],
)
def test_documentation_that_is_wanted_is_told(
    admin: Client, settings: Settings, tmp_path: Path, wanted: str, told: str
) -> None:
    settings.DATA_DIR, settings.GITLAB_VERSION = tmp_path, wanted

    assert told in words(admin)
