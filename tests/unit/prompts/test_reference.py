from feature_config.catalogue import WIRE_PROMPTS, Feature
from prompts.reference import prompt_rows, reference_page
from prompts.registry import PromptRegistry
from selfhosted_models.families import ModelFamily
from tests.services import REPOSITORY


def test_page_in_the_docs_is_up_to_date(registry: PromptRegistry) -> None:
    written = (REPOSITORY / "docs" / "prompts.md").read_text(encoding="utf-8")

    assert written == reference_page(registry), "run `make docs`"


def test_rows_cover_every_feature_and_family(registry: PromptRegistry) -> None:
    rows = prompt_rows(registry, only_features=True)

    cells = {(row["feature"], row["family"]) for row in rows}
    assert cells == {(feature, family) for feature in Feature for family in ModelFamily}
    assert all(row["version"] and row["prompt_id"] for row in rows)


def test_further_prompts_are_rows_on_demand(registry: PromptRegistry) -> None:
    rows = prompt_rows(registry, only_features=False)

    assert {row["prompt_id"] for row in rows} == {*WIRE_PROMPTS, "duo_chat"}
    owners = {row["prompt_id"]: row["feature"] for row in rows}
    assert owners["chat/fix_code"] == "duo_chat"
    assert owners["model_configuration/check"] is None


def test_page_tells_versions_inputs_and_outputs(registry: PromptRegistry) -> None:
    page = reference_page(registry)

    assert "| Code Completion | (1.0.0) | (1.0.0) | (1.0.0) | 1.0.0 | 1.0.0 | 1.0.0 |" in page
    reviewers = next(line for line in page.splitlines() if "| `suggested_reviewers` |" in line)
    assert "**`candidates`** list ≤ 500" in reviewers
    assert "`limit` integer ≤ 20 | json |" in reviewers
    assert "Code Completion (`code_completions`): claude_3 |" in page
