import pytest

from feature_config.catalogue import WIRE_PROMPTS, Feature
from prompts.errors import InputMissing, PromptMissing, VersionUnsatisfied
from prompts.preview import preview, prompt_of
from prompts.registry import PromptRegistry
from prompts.samples import SAMPLES
from selfhosted_models.families import ModelFamily

GENERAL = ModelFamily.GENERAL


def test_chat_is_shown_with_all_that_would_be_sent(registry: PromptRegistry) -> None:
    shown = preview(registry, "suggested_reviewers", GENERAL, SAMPLES, context_tokens=4096)

    definition = registry.find("suggested_reviewers", ["general"])
    assert [message["role"] for message in shown["messages"]] == ["system", "user"]
    assert "username: dana" in shown["messages"][1]["content"]
    assert "text" not in shown
    assert shown["prompt_id"] == "suggested_reviewers"
    assert (shown["variant"], shown["version"]) == ("general", "1.0.0")
    assert shown["digest"] == definition.digest
    assert shown["parameters"] == {
        "max_output_tokens": 1024,
        "temperature": 0.0,
        "top_p": None,
        "stop": [],
    }
    assert shown["budget"]["limit_tokens"] == 4096 - 1024
    assert 0 < shown["budget"]["input_tokens"] < 4096
    assert shown["cut_inputs"] == []


def test_text_is_shown_as_the_one_text(registry: PromptRegistry) -> None:
    shown = preview(registry, "code_completions", ModelFamily.CODEGEMMA_2B, SAMPLES)

    assert shown["text"].startswith("<|fim_prefix|>")
    assert "messages" not in shown
    assert shown["prompt_id"] == "code_suggestions/completions"
    assert shown["budget"]["context_tokens"] is None


def test_wire_name_has_its_own_variant(registry: PromptRegistry) -> None:
    shown = preview(registry, "code_completions", GENERAL, SAMPLES, wire_name="codellama")

    assert shown["variant"] == "codellama"


def test_what_is_cut_is_named(registry: PromptRegistry) -> None:
    inputs = {"extracted_diff": "+ x = 1\n" * 10_000}

    shown = preview(registry, "merge_request_summary", GENERAL, inputs, context_tokens=4096)

    assert shown["cut_inputs"] == ["extracted_diff"]
    assert shown["budget"]["input_tokens"] <= shown["budget"]["limit_tokens"]


def test_what_cannot_be_filled_is_told(registry: PromptRegistry) -> None:
    with pytest.raises(InputMissing, match="extracted_diff"):
        preview(registry, "merge_request_summary", GENERAL, {})
    with pytest.raises(VersionUnsatisfied):
        preview(registry, "merge_request_summary", GENERAL, SAMPLES, pin="9.0.0")


def test_features_and_ids_resolve(registry: PromptRegistry) -> None:
    for name in (*Feature, *WIRE_PROMPTS):
        assert registry.has(prompt_of(name))
    assert prompt_of("chat/explain_code") == "code_explanation"
    with pytest.raises(PromptMissing, match=r"There is no prompt 'poetry'\.$"):
        prompt_of("poetry")
