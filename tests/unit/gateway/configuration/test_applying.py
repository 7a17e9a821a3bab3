from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from feature_config.catalogue import Feature
from feature_config.models import FeatureSetting
from gateway.audit import Attribution, Origin
from gateway.configuration.applying import (
    Outcome,
    apply_document,
    plan_document,
    rehearse_restore,
    restore_document,
)
from gateway.configuration.errors import DocumentInvalid
from gateway.configuration.history import newest_revision, revision_of
from gateway.configuration.keys import KeyReader
from gateway.configuration.parsing import document_of, parse_document
from gateway.configuration.stored import read_configuration
from gateway.models import AuditRecord, Revision
from selfhosted_models.models import ModelDeployment
from selfhosted_models.secrets import SecretBox
from tests.factories import assign, make_deployment, setting_of

pytestmark = pytest.mark.django_db

OPS = Attribution("ops", Origin.FILE, "rollout")
ENVIRON = {"KEY_A": "sk-key-a-0123456789abcdef", "KEY_B": "sk-key-b-0123456789abcdef"}
ENDPOINT = "http://10.0.4.11:8000/v1"


def entry(name: str = "gpu1", **changes: Any) -> dict[str, Any]:
    fields = {
        "name": name,
        "family": "codegemma-7b-it",
        "serving_format": "openai_chat",
        "endpoints": [ENDPOINT],
        "model_identifier": "m",
    }
    return {**fields, **changes}


def source(*deployments: dict[str, Any], **features: Any) -> bytes:
    document = {"version": 1, "deployments": list(deployments), "features": features}
    return yaml.safe_dump(document, sort_keys=False, default_flow_style=False).encode()


def apply(
    *deployments: dict[str, Any],
    prune: bool = False,
    environ: dict[str, str] = ENVIRON,
    **features: Any,
) -> Outcome:
    document = parse_document(source(*deployments, **features))
    return apply_document(document, OPS, KeyReader(environ, Path()), prune=prune)


def refusals(*deployments: dict[str, Any], **rest: Any) -> list[str]:
    """Return what is wrong, each with its line, after making sure that nothing was changed."""
    before, revisions = stored(), Revision.objects.count()
    with pytest.raises(DocumentInvalid) as refusal:
        apply(*deployments, **rest)
    assert (stored(), Revision.objects.count()) == (before, revisions)
    return [f"{problem.line}: {problem}" for problem in refusal.value.problems]


def stored() -> dict[str, Any]:
    return read_configuration().document().to_data()


def key_of(name: str) -> str | None:
    row = ModelDeployment.objects.get(name=name)
    key = row.decrypt_api_key(SecretBox(settings.ENCRYPTION_KEYS))
    return key.reveal() if key else None


def fingerprint_of(name: str) -> str:
    return ModelDeployment.objects.get(name=name).api_key_fingerprint


# --- Applying ------------------------------------------------------------------------------------


def test_document_is_applied_whole_as_one_revision() -> None:
    outcome = apply(
        entry("gpu1", api_key={"env": "KEY_A"}, context_tokens=8192, timeouts={"idle_s": 5}),
        entry("gpu2", is_active=False),
        code_completions="gpu1",
        duo_chat=["gpu2", "gpu1"],
        root_cause_analysis="inactive",
    )

    assert stored()["features"] == {
        "duo_chat": ["gpu2", "gpu1"],
        "code_completions": "gpu1",
        "root_cause_analysis": "inactive",
    }
    assert key_of("gpu1") == ENVIRON["KEY_A"]
    assert [str(change).splitlines()[0] for change in outcome.changes] == [
        "+ deployment gpu1",
        "+ deployment gpu2",
        "~ feature duo_chat: unassigned -> gpu2, then gpu1",
        "~ feature code_completions: unassigned -> gpu1",
        "~ feature root_cause_analysis: unassigned -> inactive",
    ]
    revision = Revision.objects.get()
    assert outcome.revision == revision
    assert (revision.author, revision.origin, revision.reason) == ("ops", "file", "rollout")


def test_applying_again_changes_nothing() -> None:
    deployments = [entry("gpu1", api_key={"env": "KEY_A"}), entry("gpu2")]
    apply(*deployments, duo_chat="gpu1")
    rows, records = list(ModelDeployment.objects.values()), AuditRecord.objects.count()

    outcome = apply(*deployments, duo_chat="gpu1")

    assert outcome == Outcome((), (), None)
    assert list(ModelDeployment.objects.values()) == rows
    assert (Revision.objects.count(), AuditRecord.objects.count()) == (1, records)


def test_what_is_not_named_stays() -> None:
    other = make_deployment(name="other")
    assign(Feature.DUO_CHAT, other)

    apply(entry("gpu1"), code_completions="other")

    assert stored()["features"] == {"duo_chat": "other", "code_completions": "other"}
    assert [row["name"] for row in stored()["deployments"]] == ["gpu1", "other"]


def test_pruning_removes_what_is_not_named() -> None:
    assign(Feature.DUO_CHAT, make_deployment(name="other"))
    setting_of(Feature.GIT_SUGGESTIONS).deactivate()

    apply(entry("gpu1"), prune=True, code_completions="gpu1")

    assert stored()["features"] == {"code_completions": "gpu1"}
    assert [row["name"] for row in stored()["deployments"]] == ["gpu1"]


def test_family_and_choice_change_together() -> None:
    apply(entry("gpu1"), entry("gpu2"), code_completions="gpu1")

    apply(entry("gpu1", family="mistral-7b"), entry("gpu2"), code_completions="gpu2")

    assert stored()["features"] == {"code_completions": "gpu2"}


def test_feature_can_be_unassigned_by_name() -> None:
    apply(entry("gpu1"), duo_chat="gpu1")

    apply(entry("gpu1"), duo_chat="unassigned")

    assert stored()["features"] == {}


def test_version_of_a_prompt_is_pinned_and_let_go() -> None:
    pinned = {"answered_by": "gpu1", "prompt_version": "~1.0"}
    apply(entry("gpu1"), duo_chat=pinned)
    assert setting_of(Feature.DUO_CHAT).prompt_version == "~1.0"
    assert stored()["features"] == {"duo_chat": pinned}

    outcome = apply(entry("gpu1"), duo_chat="gpu1")

    assert [change.fields for change in outcome.changes] == [{"prompt_version": ("~1.0", None)}]
    assert setting_of(Feature.DUO_CHAT).prompt_version == ""


def test_pin_that_no_longer_fits_can_be_changed() -> None:
    apply(entry("gpu1"), duo_chat="gpu1")
    FeatureSetting.objects.filter(pk=Feature.DUO_CHAT).update(prompt_version="~99.0")

    apply(entry("gpu1"), duo_chat="gpu1")

    assert setting_of(Feature.DUO_CHAT).prompt_version == ""


def test_planning_tells_the_same_and_changes_nothing() -> None:
    make_deployment(name="other")
    before, revisions = stored(), Revision.objects.count()
    document = parse_document(source(entry("gpu1"), duo_chat="gpu1"))

    planned = plan_document(document, OPS, KeyReader({}, Path()), prune=True)

    assert (stored(), Revision.objects.count()) == (before, revisions)
    assert not FeatureSetting.objects.exclude(file_digest="").exists()
    applied = apply_document(document, OPS, KeyReader({}, Path()), prune=True)
    assert applied.changes == planned.changes
    assert len(planned.changes) == 3


# --- Refusing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "mistral"}, "4: deployments[0].family: is not known. Did you mean 'mistral-7b"),
        ({"serving_format": "openai"}, "5: deployments[0].serving_format: is not known. Did you"),
        ({"endpoints": []}, "6: deployments[0].endpoints:"),
        ({"endpoints": ["ftp://x"]}, "6: deployments[0].endpoints: URL 1:"),
        ({"name": "?"}, "3: deployments[0].name: Begin with a letter or digit"),
        ({"context_tokens": 1}, "9: deployments[0].context_tokens: Ensure this value is greater"),
        ({"timeouts": {"idle_s": 1}}, "10: deployments[0].timeouts.idle_s: Ensure this value is"),
        ({"api_key": {"env": "NO"}}, "9: deployments[0].api_key: The environment variable NO is"),
        ({"api_key": {"file": "/no"}}, "9: deployments[0].api_key: The file /no cannot be read"),
        ({"api_key": {"stored": "ab"}}, "9: deployments[0].api_key: No key with the fingerprint"),
        ({"api_key": {"env": "N-O", "stored": "OLD"}}, "10: deployments[0].api_key.env: Not the"),
        ({"api_key": {"file": "a\0b", "stored": "OLD"}}, "10: deployments[0].api_key.file: No co"),
        ({"api_key": {"env": "SPACED"}}, "9: deployments[0].api_key: An API key has 1 to 2,000"),
    ],
    ids=str,
)
def test_rules_of_the_models_are_told_with_their_lines(changes: dict[str, Any], words: str) -> None:
    make_deployment(name="old", api_key="stored", endpoints=[ENDPOINT])
    if key := changes.get("api_key"):
        fingerprints = {"OLD": fingerprint_of("old")}
        changes = {"api_key": {name: fingerprints.get(text, text) for name, text in key.items()}}

    found = refusals(entry(**changes), environ={"SPACED": "sk-secret word"})

    assert len(found) == 1
    assert found[0].startswith(words)
    assert "sk-secret" not in found[0]


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (
            {"duo_chat": "gpu2"},
            "10: features.duo_chat: no deployment is named 'gpu2'. Did you mean",
        ),
        ({"duo_chat": {"answered_by": "gpu1", "prompt_version": "~99.0"}}, "10: features.duo_chat"),
        ({"duo_chat": ["gpu1", "gpu1"]}, "10: features.duo_chat: A deployment is named twice"),
        (
            {"code_completions": "mistral"},
            "10: features.code_completions: Code Completion does not support Mistral 7B",
        ),
    ],
)
def test_rules_of_the_features_are_told_with_their_lines(
    features: dict[str, Any], words: str
) -> None:
    make_deployment(name="mistral", family="mistral-7b")

    [found] = refusals(entry(), **features)

    assert found.startswith(words)


def test_all_problems_are_told_at_once() -> None:
    found = refusals(entry(family="x"), entry("gpu2", api_key={"env": "NO"}), duo_chat="gpu3")

    assert [line.partition(":")[0] for line in found] == ["4", "15", "18"]


def test_family_that_a_feature_not_named_refuses_is_told_at_the_deployment() -> None:
    apply(entry("gpu1"), code_completions="gpu1")

    [found] = refusals(entry("gpu1", family="mistral-7b"))

    assert found.startswith("4: deployments[0].family: Code Completion uses this deployment")


def test_pruned_deployment_cannot_be_chosen() -> None:
    apply(entry("gpu1"), entry("gpu2"), duo_chat="gpu2")

    [found] = refusals(entry("gpu1"), prune=True, duo_chat="gpu2")

    assert found.startswith("10: features.duo_chat: no deployment is named 'gpu2'")


# --- Keys ----------------------------------------------------------------------------------------


def test_changed_key_is_taken_and_told_by_its_fingerprint() -> None:
    apply(entry(api_key={"env": "KEY_A"}))
    before = fingerprint_of("gpu1")

    outcome = apply(entry(api_key={"env": "KEY_A"}), environ={"KEY_A": "another-key"})

    [change] = outcome.changes
    assert change.fields == {
        "api_key": (
            {"env": "KEY_A", "stored": before},
            {"env": "KEY_A", "stored": fingerprint_of("gpu1")},
        )
    }
    assert key_of("gpu1") == "another-key"


def test_key_that_is_not_named_is_removed() -> None:
    apply(entry(api_key={"env": "KEY_A"}))

    apply(entry())

    assert key_of("gpu1") is None
    assert ModelDeployment.objects.get().api_key_env == ""


def test_stored_key_stands_in_for_a_reference_that_cannot_be_read() -> None:
    apply(entry(api_key={"env": "KEY_A"}))
    reference = {"env": "KEY_A", "stored": fingerprint_of("gpu1")}

    outcome = apply(entry(api_key=reference), environ={})

    assert outcome.changes == ()
    assert key_of("gpu1") == ENVIRON["KEY_A"]


def test_reference_that_can_be_read_comes_before_the_stored_key() -> None:
    apply(entry(api_key={"env": "KEY_A"}))
    reference = {"env": "KEY_B", "stored": fingerprint_of("gpu1")}

    apply(entry(api_key=reference))

    assert key_of("gpu1") == ENVIRON["KEY_B"]


def test_stored_key_does_not_go_to_another_host() -> None:
    make_deployment(name="gpu1", api_key="typed-in", endpoints=[ENDPOINT])
    reference = {"stored": fingerprint_of("gpu1")}

    [found] = refusals(entry(endpoints=["http://10.9.9.9/v1"], api_key=reference))

    assert "was entered for other hosts: give {env: NAME} or {file: PATH} for these" in found


def test_key_given_anew_may_go_to_another_host() -> None:
    apply(entry(api_key={"env": "KEY_A"}))

    apply(entry(endpoints=["http://10.9.9.9/v1"], api_key={"env": "KEY_A"}))

    assert key_of("gpu1") == ENVIRON["KEY_A"]


def test_stored_key_follows_a_deployment_to_its_new_name() -> None:
    make_deployment(name="old", api_key="typed-in", endpoints=[ENDPOINT])
    reference = {"stored": fingerprint_of("old")}

    apply(entry("new", api_key=reference), prune=True)

    assert key_of("new") == "typed-in"


def test_key_that_cannot_be_decrypted_is_replaced() -> None:
    apply(entry(api_key={"env": "KEY_A"}))
    ModelDeployment.objects.update(api_key_ciphertext="nonsense")

    apply(entry(api_key={"env": "KEY_A"}))

    assert key_of("gpu1") == ENVIRON["KEY_A"]


# --- Who manages what ----------------------------------------------------------------------------


def test_what_the_file_names_is_marked_and_the_rest_is_not() -> None:
    make_deployment(name="other")

    outcome = apply(entry("gpu1"), duo_chat="gpu1")

    assert ModelDeployment.objects.get(name="gpu1").is_managed_by_file
    assert not ModelDeployment.objects.get(name="other").is_managed_by_file
    assert setting_of(Feature.DUO_CHAT).is_managed_by_file
    assert not setting_of(Feature.CODE_COMPLETIONS).is_managed_by_file
    assert outcome.notes == ("Managed by file from now on: gpu1, duo_chat.",)


def test_what_the_file_no_longer_names_is_released() -> None:
    apply(entry("gpu1"), entry("gpu2"), duo_chat="gpu1")

    outcome = apply(entry("gpu1"))

    assert outcome.changes == ()
    assert outcome.notes == (
        "No longer in the file, kept, and managed in the web from now on: gpu2, duo_chat.",
    )
    assert not ModelDeployment.objects.get(name="gpu2").is_managed_by_file
    record = AuditRecord.objects.get(revision=None, changes__taken=[None, []])
    assert record.changes["released"] == [None, ["gpu2", "duo_chat"]]


# --- Restoring -----------------------------------------------------------------------------------


def test_old_revision_is_restored_whole() -> None:
    apply(entry("gpu1", api_key={"env": "KEY_A"}), entry("gpu2"), duo_chat="gpu1")
    first = revision_of(1)
    apply(entry("gpu1", api_key={"env": "KEY_A"}, context_tokens=512), prune=True)

    outcome = restore_document(document_of(first.document), Attribution("eve", Origin.COMMAND))

    assert stored() == first.document
    assert outcome.notes == ()
    newest = newest_revision()
    assert newest
    assert (newest.number, newest.digest, newest.author) == (3, first.digest, "eve")
    assert key_of("gpu1") == ENVIRON["KEY_A"]


@pytest.mark.parametrize(
    "now",
    [
        {"api_key": {"env": "KEY_B"}},
        {"api_key": {"env": "KEY_A"}, "endpoints": ["http://10.9.9.9/v1"]},
    ],
    ids=["another key", "another host"],
)
def test_deployment_whose_key_is_gone_is_restored_without_and_told(now: dict[str, Any]) -> None:
    apply(entry("gpu1", api_key={"env": "KEY_A"}))
    apply(entry("gpu1", **now))

    outcome = restore_document(document_of(revision_of(1).document), OPS)

    [note] = outcome.notes
    assert note.startswith("gpu1 is restored without its API key.")
    assert key_of("gpu1") is None
    assert stored()["deployments"] == [entry("gpu1")]


def test_rehearsal_tells_what_a_rule_of_today_refuses_and_changes_nothing() -> None:
    make_deployment(name="gpu1")
    document = revision_of(1).document
    document["deployments"][0]["family"] = "of-an-older-version"

    with pytest.raises(DocumentInvalid, match="deployments.0..family: is not known"):
        rehearse_restore(document_of(document), OPS)
    good = rehearse_restore(document_of(revision_of(1).document), OPS)

    assert good.changes == ()
    assert Revision.objects.count() == 1
