import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from feature_config.catalogue import Feature
from gateway.configuration.stored import read_configuration
from gateway.models import Revision
from selfhosted_models.models import ModelDeployment
from tests.factories import assign, make_deployment

pytestmark = pytest.mark.django_db

DOCUMENT = """\
version: 1
deployments:
  - name: gpu1
    family: codegemma-7b-it
    serving_format: openai_chat
    endpoints: [http://10.0.4.11:8000/v1]
    model_identifier: m
    api_key: {file: key}
features:
  duo_chat: gpu1
"""
KEY = "sk-0123456789abcdefWXYZ"


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A document that is right, with its key beside it."""
    (tmp_path / "key").write_text(KEY + "\n")
    path = tmp_path / "config.yml"
    path.write_text(DOCUMENT)
    return str(path)


def config(*arguments: object) -> str:
    out = io.StringIO()
    call_command("config", *map(str, arguments), stdout=out, stderr=out)
    return out.getvalue()


def refusal(*arguments: object) -> tuple[int, str, str]:
    """Return exit status, what was printed, and the error."""
    out = io.StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("config", *map(str, arguments), stdout=out, stderr=out)
    return refused.value.returncode, out.getvalue(), str(refused.value)


def stored() -> dict[str, Any]:
    return read_configuration().document().to_data()


def test_plan_prints_the_difference_and_changes_nothing(file: str) -> None:
    printed = config("plan", file)

    assert "+ deployment gpu1\n    family: codegemma-7b-it\n" in printed
    assert "~ feature duo_chat: unassigned -> gpu1\n" in printed
    assert "1 added, 1 changed." in printed
    assert KEY not in printed
    assert not ModelDeployment.objects.exists()


def test_plan_check_is_an_error_until_it_is_applied(file: str) -> None:
    status, _, error = refusal("plan", "--check", file)
    assert (status, error) == (1, "The stored configuration is not what the file says.")

    config("apply", file)

    assert config("plan", "--check", file) == "Nothing differs.\n"


def test_apply_says_what_it_did_and_who_did_it(file: str) -> None:
    printed = config("apply", file, "--reason", "rollout", "--author", "pipeline")

    revision = Revision.objects.get()
    assert f"Saved as revision 1 ({revision.digest})." in printed
    assert "Managed by file from now on: gpu1, duo_chat." in printed
    assert (revision.author, revision.origin, revision.reason) == ("pipeline", "file", "rollout")
    assert config("apply", file) == "Nothing differs.\n"


def test_apply_removes_only_when_told_to(file: str) -> None:
    make_deployment(name="other")

    assert "- deployment other" not in config("apply", file)
    assert "- deployment other" in config("apply", "--prune", file)


def test_json_is_for_machines(file: str) -> None:
    planned = json.loads(config("plan", "--json", file))
    applied = json.loads(config("apply", "--json", file))

    assert [(change["action"], change["name"]) for change in planned["changes"]] == [
        ("added", "gpu1"),
        ("changed", "duo_chat"),
    ]
    assert planned["revision"] is None
    assert applied["changes"] == planned["changes"]
    assert applied["revision"]["number"] == 1
    assert applied["revision"]["digest"] == Revision.objects.get().digest


@pytest.mark.parametrize("action", ["plan", "apply"])
def test_wrong_document_is_misuse_and_each_problem_has_its_line(action: str, file: str) -> None:
    Path(file).write_text(DOCUMENT.replace("codegemma-7b-it", "gemma").replace("file: key", "x: y"))

    status, _, error = refusal(action, file)

    assert status == 2
    assert error == (
        f"{file}:8: deployments[0].api_key.x: unknown key. There is: env, file, stored.\n"
        "Nothing was changed."
    )


def test_wrong_document_as_json_lists_the_problems(file: str) -> None:
    Path(file).write_text(DOCUMENT.replace("codegemma-7b-it", "gemma"))

    status, printed, _ = refusal("apply", "--json", file)

    [problem] = json.loads(printed)["problems"]
    assert status == 2
    assert (problem["line"], problem["path"]) == (4, "deployments[0].family")
    assert "is not known" in problem["message"]


def test_document_comes_from_stdin(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = DOCUMENT.replace("file: key", f"file: {Path(file).parent / 'key'}")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(document.encode())))

    config("apply", "-")

    assert stored()["features"] == {"duo_chat": "gpu1"}


def test_file_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    status, _, error = refusal("apply", tmp_path / "no.yml")

    assert status == 2
    assert error == f"{tmp_path / 'no.yml'} cannot be read: No such file or directory."


def test_export_is_applied_without_a_change(file: str, tmp_path: Path) -> None:
    config("apply", file)
    export = tmp_path / "elsewhere" / "export.yml"  # where the key's file is not
    export.parent.mkdir()

    config("export", export)

    assert KEY not in export.read_text()
    assert config("plan", "--check", "--prune", export) == "Nothing differs.\n"
    assert config("export") == config("export", "-") == export.read_text()
    assert json.loads(config("export", "--json")) == stored()


def test_export_that_cannot_be_written_is_misuse(tmp_path: Path) -> None:
    status, _, error = refusal("export", tmp_path / "no" / "export.yml")

    assert status == 2
    assert "cannot be written: No such file or directory." in error


def test_revisions_are_listed_newest_first(file: str) -> None:
    make_deployment(name="other")
    config("apply", file, "--author", "pipeline", "--reason", "rollout")

    first, second = config("revisions").splitlines()

    assert first.split()[0] == "2"
    assert first.endswith("file     pipeline: rollout")
    assert second.split()[0] == "1"
    assert [row["number"] for row in json.loads(config("revisions", "--json"))] == [2, 1]
    assert len(config("revisions", "--limit", "1").splitlines()) == 1


def test_revisions_say_when_what_is_stored_is_none_of_them() -> None:
    make_deployment()
    ModelDeployment.objects.update(context_tokens=512)

    assert "changed outside of the pages, the API and the commands" in config("revisions")


def test_diff_compares_two_revisions_or_one_with_now() -> None:
    deployment = make_deployment(name="gpu1", context_tokens=512)
    assign(Feature.DUO_CHAT, deployment)
    ModelDeployment.objects.update(context_tokens=1024)

    assert config("diff", 1, 2) == "~ feature duo_chat: unassigned -> gpu1\n1 changed.\n"
    assert "context_tokens: 512 -> 1024" in config("diff", 2)
    assert json.loads(config("diff", 2, 2, "--json")) == {"changes": []}


def test_rollback_restores_and_says_what_it_did(file: str) -> None:
    config("apply", file)
    before = stored()
    deployment = ModelDeployment.objects.get()
    deployment.context_tokens = 512
    deployment.save()

    rehearsed = config("rollback", 1, "--dry-run")
    assert Revision.objects.count() == 2
    printed = config("rollback", 1, "--author", "eve")

    assert "~ deployment gpu1\n    context_tokens: 512 -> (none)" in printed
    assert printed.startswith(rehearsed)
    assert stored() == before
    newest = Revision.objects.get(number=3)
    assert (newest.author, newest.origin) == ("eve", "command")
    assert newest.reason == "Rolled back to revision 1."


def test_rollback_tells_of_a_key_that_is_gone(file: str) -> None:
    config("apply", file)
    deployment = ModelDeployment.objects.get()
    deployment.remove_api_key()
    deployment.save()

    printed = config("rollback", 1)

    assert "gpu1 is restored without its API key. No key with the fingerprint" in printed


def test_unknown_revision_is_misuse() -> None:
    assert refusal("rollback", 7)[0] == 2
    status, _, error = refusal("diff", 7)

    assert status == 2
    assert error == "There is no revision 7. There is none yet."


def test_revision_is_put_through_the_rules_of_this_version(file: str) -> None:
    config("apply", file)

    assert config("check-revision") == "What is stored now keeps every rule of this version.\n"
    assert config("check-revision", 1) == "Revision 1 keeps every rule of this version.\n"
    assert json.loads(config("check-revision", "--json"))["changes"] == []


def test_row_that_breaks_a_rule_of_this_version_is_unhealthy() -> None:
    make_deployment(name="gpu1", model_identifier="no spaces please")

    status, _, error = refusal("check-revision")

    assert status == 1
    assert "deployments[0].model_identifier: Visible ASCII characters only" in error


def test_database_that_is_not_migrated_is_told_without_its_own_words(file: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gateway_revision RENAME TO away")

    status, _, error = refusal("apply", file)

    assert status == 1
    assert error.startswith("The database cannot be used (OperationalError): check that it is up")
