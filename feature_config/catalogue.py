"""The closed list of GitLab Duo features: titles, support levels, scopes and prompt ids.

Code owns it; the database only refers to feature ids. `tests/unit/feature_config/test_catalogue.py`
holds the whole matrix written out a second time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from feature_config.support import SupportLevel
from selfhosted_models.families import FAMILIES, ModelFamily


class Feature(StrEnum):
    """The ids stored in the database, in configuration documents and in prompt folders."""

    DUO_CHAT = "duo_chat"
    CODE_COMPLETIONS = "code_completions"
    CODE_GENERATIONS = "code_generations"
    GIT_SUGGESTIONS = "git_suggestions"
    DISCUSSION_SUMMARY = "discussion_summary"
    ISSUE_DESCRIPTION_GENERATION = "issue_description_generation"
    TEST_GENERATION = "test_generation"
    MR_TEMPLATE_POPULATION = "mr_template_population"
    SUGGESTED_REVIEWERS = "suggested_reviewers"
    MERGE_REQUEST_SUMMARY = "merge_request_summary"
    CODE_REVIEW_SUMMARY = "code_review_summary"
    VULNERABILITY_EXPLANATION = "vulnerability_explanation"
    VULNERABILITY_RESOLUTION = "vulnerability_resolution"
    CODE_EXPLANATION = "code_explanation"
    ROOT_CAUSE_ANALYSIS = "root_cause_analysis"
    VALUE_STREAM_FORECASTING = "value_stream_forecasting"


@dataclass(frozen=True, slots=True)
class FeatureFacts:
    """What is fixed about a feature.

    Attributes:
        title: The name shown to people.
        default_elsewhere: The model that answers it on GitLab's own service.
        unit_primitive: The token scope that permits it.
        wire_prompt_id: The prompt id GitLab uses for it; None where the prompt is ours alone, and
            answers to the feature's own id.
        levels: Support level by family, all six of them.
    """

    title: str
    default_elsewhere: str
    unit_primitive: str
    wire_prompt_id: str | None
    levels: Mapping[ModelFamily, SupportLevel]


_LETTERS = {
    "S": SupportLevel.SUPPORTED,
    "N": SupportLevel.NOT_SUPPORTED,
    "E": SupportLevel.TO_BE_EVALUATED,
}


def _facts(
    title: str, default_elsewhere: str, levels: str, unit_primitive: str, prompt_id: str | None
) -> FeatureFacts:
    """Read `levels`, one letter per family in the order of `ModelFamily`."""
    by_family = {
        family: _LETTERS[letter] for family, letter in zip(ModelFamily, levels, strict=True)
    }
    return FeatureFacts(
        title, default_elsewhere, unit_primitive, prompt_id, MappingProxyType(by_family)
    )


# The letters' columns: Mistral 7B, Mixtral 8x7B and 8x22B, CodeGemma 7B and 2B, general.
# fmt: off
FEATURES: Mapping[Feature, FeatureFacts] = MappingProxyType({
    Feature.DUO_CHAT: _facts(
        "GitLab Duo Chat", "Anthropic Claude-3", "EEEEEE", "duo_chat", "chat/react"),
    Feature.CODE_COMPLETIONS: _facts(
        "Code Completion", "Vertex code-gecko", "NNNSSE", "complete_code",
        "code_suggestions/completions"),
    Feature.CODE_GENERATIONS: _facts(
        "Code Generation", "Anthropic Claude-3", "SSSEEE", "generate_code",
        "code_suggestions/generations"),
    Feature.GIT_SUGGESTIONS: _facts(
        "Git Suggestions", "Vertex codechat-bison", "EEEEEE", "glab_ask_git_command",
        "glab_ask_git_command"),
    Feature.DISCUSSION_SUMMARY: _facts(
        "Discussion Summary", "Vertex text-bison", "EEEEEE", "summarize_comments",
        "chat/summarize_comments"),
    Feature.ISSUE_DESCRIPTION_GENERATION: _facts(
        "Issue Description Generation", "Anthropic Claude-2", "EEEEEE",
        "generate_issue_description", "generate_description"),
    Feature.TEST_GENERATION: _facts(
        "Test Generation", "Anthropic Claude-2", "EEEEEE", "write_tests", "chat/write_tests"),
    Feature.MR_TEMPLATE_POPULATION: _facts(
        "MR template population", "Vertex text-bison", "EEEEEE",
        "fill_merge_request_template", None),
    Feature.SUGGESTED_REVIEWERS: _facts(
        "Suggested Reviewers", "GitLab in-house", "EEEEEE", "suggest_reviewers", None),
    Feature.MERGE_REQUEST_SUMMARY: _facts(
        "Merge request summary", "Vertex text-bison", "EEEEEE",
        "summarize_new_merge_request", "summarize_new_merge_request"),
    Feature.CODE_REVIEW_SUMMARY: _facts(
        "Code review summary", "Vertex text-bison", "EEEEEE", "summarize_review",
        "summarize_review"),
    Feature.VULNERABILITY_EXPLANATION: _facts(
        "Vulnerability explanation", "Vertex text-bison, Anthropic", "NEEEEE",
        "explain_vulnerability", "chat/explain_vulnerability"),
    Feature.VULNERABILITY_RESOLUTION: _facts(
        "Vulnerability resolution", "Vertex code-bison", "EEEEEE", "resolve_vulnerability",
        "resolve_vulnerability"),
    Feature.CODE_EXPLANATION: _facts(
        "Code explanation", "Vertex codechat-bison", "EEEEEE", "explain_code",
        "chat/explain_code"),
    Feature.ROOT_CAUSE_ANALYSIS: _facts(
        "Root cause analysis", "Vertex text-bison", "EEEEEE", "troubleshoot_job",
        "chat/troubleshoot_job"),
    Feature.VALUE_STREAM_FORECASTING: _facts(
        "Value stream forecasting", "GitLab in-house", "EEEEEE", "forecast_value_stream", None),
})
# fmt: on


#: The features as people look for them: where in GitLab they show.
FEATURE_GROUPS: Mapping[str, tuple[Feature, ...]] = MappingProxyType(
    {
        "Code Suggestions": (Feature.CODE_COMPLETIONS, Feature.CODE_GENERATIONS),
        "GitLab Duo Chat": (
            Feature.DUO_CHAT,
            Feature.CODE_EXPLANATION,
            Feature.TEST_GENERATION,
            Feature.ROOT_CAUSE_ANALYSIS,
            Feature.VULNERABILITY_EXPLANATION,
        ),
        "Merge requests": (
            Feature.MERGE_REQUEST_SUMMARY,
            Feature.CODE_REVIEW_SUMMARY,
            Feature.MR_TEMPLATE_POPULATION,
            Feature.SUGGESTED_REVIEWERS,
        ),
        "Issues": (Feature.DISCUSSION_SUMMARY, Feature.ISSUE_DESCRIPTION_GENERATION),
        "Elsewhere": (
            Feature.VULNERABILITY_RESOLUTION,
            Feature.GIT_SUGGESTIONS,
            Feature.VALUE_STREAM_FORECASTING,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class WirePrompt:
    """A prompt that GitLab asks for by id.

    Attributes:
        prompt: Its folder under `prompts/definitions/`: a feature id, or a name of its own.
        feature: The feature whose choice of model answers it; None for the connection check.
        unit_primitive: The token scope that permits it.
    """

    prompt: str
    feature: Feature | None
    unit_primitive: str


#: Prompt ids beside those of the features themselves: (id, feature, unit primitive). The folder of
#: one is its id in one word, without `chat`.
_FURTHER_WIRE_PROMPTS = (
    ("chat/fix_code", Feature.DUO_CHAT, "fix_code"),
    ("chat/refactor_code", Feature.DUO_CHAT, "refactor_code"),
    ("chat/issue_reader", Feature.DUO_CHAT, "ask_issue"),
    ("chat/epic_reader", Feature.DUO_CHAT, "ask_epic"),
    ("chat/merge_request_reader", Feature.DUO_CHAT, "ask_merge_request"),
    ("chat/commit_reader", Feature.DUO_CHAT, "duo_chat"),
    ("chat/build_reader", Feature.DUO_CHAT, "ask_build"),
    ("categorize_question", Feature.DUO_CHAT, "duo_chat"),
    ("generate_commit_message", Feature.GIT_SUGGESTIONS, "generate_commit_message"),
    ("measure_comment_temperature", Feature.DISCUSSION_SUMMARY, "measure_comment_temperature"),
    ("model_configuration/check", None, "complete_code"),
)

#: Every prompt id of the wire, with the folder, feature and scope it stands for.
WIRE_PROMPTS: Mapping[str, WirePrompt] = MappingProxyType(
    {
        facts.wire_prompt_id or feature.value: WirePrompt(
            feature.value, feature, facts.unit_primitive
        )
        for feature, facts in FEATURES.items()
    }
    # The feature's own folder holds the plain conversation; the agent's prompt stands beside it.
    | {"chat/react": WirePrompt("chat_react", Feature.DUO_CHAT, "duo_chat")}
    | {
        prompt_id: WirePrompt(prompt_id.replace("/", "_").removeprefix("chat_"), feature, scope)
        for prompt_id, feature, scope in _FURTHER_WIRE_PROMPTS
    }
)

#: The id of each prompt by its folder; that of the plain conversation, which no id stands for, is
#: the model name of the OpenAI paths.
PROMPT_IDS: Mapping[str, str] = MappingProxyType(
    {Feature.DUO_CHAT.value: Feature.DUO_CHAT.value}
    | {wire_prompt.prompt: prompt_id for prompt_id, wire_prompt in WIRE_PROMPTS.items()}
)


def own_prompts(feature: Feature) -> tuple[str, ...]:
    """Return the folders of what a feature itself asks; its further prompts are not among them.

    Two for the chat: a plain conversation, and the agent's.
    """
    facts = FEATURES[feature]
    wire_prompt = WIRE_PROMPTS[facts.wire_prompt_id or feature.value]
    return tuple(dict.fromkeys((feature.value, wire_prompt.prompt)))


#: The cells that cannot be chosen, as (feature, family).
NOT_SUPPORTED_CELLS: tuple[tuple[Feature, ModelFamily], ...] = tuple(
    (feature, family)
    for feature, facts in FEATURES.items()
    for family, level in facts.levels.items()
    if not level.is_selectable
)


def support_level(feature: Feature, family: ModelFamily) -> SupportLevel:
    """Return the support level of one cell of the matrix."""
    return FEATURES[feature].levels[family]


def describe_level(feature: Feature, family: ModelFamily) -> str:
    """Return the level in words for people, e.g. `supported` or `not on the supported list`."""
    if not FAMILIES[family].is_on_supported_list:
        return "not on the supported list"
    return support_level(feature, family).words
