import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from feature_config.catalogue import Feature
from selfhosted_models.models import EndpointHealth
from tests.factories import assign, make_deployment
from tests.fakes.gitlab import GitLab

pytestmark = pytest.mark.django_db

URL = "http://10.0.4.11:8000/v1"


def run(*arguments: str) -> tuple[str, int]:
    out = io.StringIO()
    try:
        call_command("explain", *arguments, stdout=out, no_color=True)
    except SystemExit as ended:
        return out.getvalue(), int(ended.code or 0)
    return out.getvalue(), 0


@pytest.fixture(autouse=True)
def answered() -> None:
    deployment = make_deployment(name="gpu1", endpoints=[URL])
    assign(Feature.CODE_COMPLETIONS, deployment)


def test_an_open_way_exits_0_and_names_who_answers() -> None:
    told, status = run("code_completions", "--user", "jane")

    assert status == 0
    assert "a valid token of jane" in told
    assert f"1. gpu1 at {URL}: not heard of yet" in told


def test_a_shut_gate_exits_1_and_says_what_to_do() -> None:
    told, status = run("code_completions", "--scopes", "duo_chat")

    assert status == 1
    assert "shut  scope" in told
    assert "What to do: Give the user" in told


def test_json_is_for_machines(django_user_model: Any) -> None:
    EndpointHealth.objects.create(
        deployment_id=make_deployment(name="gpu2").pk,
        url=URL,
        state="down",
        since="2026-01-01T00:00Z",
        heard_at="2026-01-01T00:00Z",
    )

    told, status = run("duo_chat", "--json")

    found = json.loads(told)
    assert (status, found["answered"], found["way"]) == (1, False, [])
    assert found["gates"][-1]["gate"] == "deployment"
    assert found["gates"][-1]["code"] == "deployment_missing"


def test_a_token_that_proves_nobody_shuts_the_first_gate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("not.a.token")

    told, status = run("code_completions", "--token", str(file))

    assert status == 1
    assert "shut  token" in told
    assert "proves nobody" in capsys.readouterr().err


@pytest.fixture
def trusted(gitlab: GitLab, settings: Settings, tmp_path: Path) -> GitLab:
    settings.DATA_DIR = tmp_path
    settings.AIGW_GITLAB_URL = gitlab.url
    return gitlab


@pytest.mark.enable_socket
def test_a_good_token_is_judged_by_what_it_carries(trusted: GitLab, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(trusted.mint(["complete_code"]) + "\n")

    told, status = run("code_completions", "--token", str(file))
    elsewhere, refused = run("duo_chat", "--token", str(file))

    assert (status, refused) == (0, 1)
    assert "1. gpu1" in told
    assert "shut  scope" in elsewhere


@pytest.mark.enable_socket
def test_a_token_comes_from_standard_input(
    trusted: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(trusted.mint(["complete_code"])))

    _told, status = run("code_completions", "--token", "-")

    assert status == 0


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    "claims",
    [
        {"expires_in_s": -120},
        {"iss": "https://another.example.com"},
        {"aud": "another-service"},
        {"key": 7},
    ],
    ids=["expired", "another issuer", "another audience", "unknown key"],
)
def test_a_bad_token_is_refused_as_a_request_would_be(
    trusted: GitLab, tmp_path: Path, capsys: pytest.CaptureFixture[str], claims: dict[str, Any]
) -> None:
    file = tmp_path / "token"
    file.write_text(trusted.mint(["complete_code"], **claims))

    told, status = run("code_completions", "--token", str(file))

    assert status == 1
    assert "shut  token" in told
    assert "proves nobody" in (err := capsys.readouterr().err)
    assert file.read_text() not in told + err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such_feature"], "There is no feature 'no_such_feature'. There is: "),
        (["duo_chat", "--token", "-", "--user", "jane"], "Give --token, or --user and --scopes."),
        (["duo_chat", "--token", "/no/such/file"], "cannot be read from /no/such/file"),
    ],
)
def test_misuse_exits_2_and_says_what_is_right(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words) as refused:
        run(*arguments)

    assert refused.value.returncode == 2
