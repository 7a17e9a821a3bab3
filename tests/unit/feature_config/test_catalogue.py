"""The catalogue against the tables of the product's design, written out a second time."""

import pytest

from feature_config.catalogue import (
    FEATURE_GROUPS,
    FEATURES,
    NOT_SUPPORTED_CELLS,
    WIRE_PROMPTS,
    Feature,
    describe_level,
    support_level,
)
from feature_config.support import SupportLevel
from selfhosted_models.families import ModelFamily

COLUMNS = (
    "mistral-7b",
    "mixtral-8x7b-instruct",
    "mixtral-8x22b",
    "codegemma-7b-it",
    "codegemma-2b",
    "general",
)

MATRIX = """
duo_chat                        E E E E E E
code_completions                N N N S S E
code_generations                S S S E E E
git_suggestions                 E E E E E E
discussion_summary              E E E E E E
issue_description_generation    E E E E E E
test_generation                 E E E E E E
mr_template_population          E E E E E E
suggested_reviewers             E E E E E E
merge_request_summary           E E E E E E
code_review_summary             E E E E E E
vulnerability_explanation       N E E E E E
vulnerability_resolution        E E E E E E
code_explanation                E E E E E E
root_cause_analysis             E E E E E E
value_stream_forecasting        E E E E E E
"""

#: Title, default model elsewhere, token scope, prompt id of the wire (- where it is ours alone).
FACTS = """
duo_chat | GitLab Duo Chat | Anthropic Claude-3 | duo_chat | chat/react
code_completions | Code Completion | Vertex code-gecko | complete_code | code_suggestions/completions
code_generations | Code Generation | Anthropic Claude-3 | generate_code | code_suggestions/generations
git_suggestions | Git Suggestions | Vertex codechat-bison | glab_ask_git_command | glab_ask_git_command
discussion_summary | Discussion Summary | Vertex text-bison | summarize_comments | chat/summarize_comments
issue_description_generation | Issue Description Generation | Anthropic Claude-2 | generate_issue_description | generate_description
test_generation | Test Generation | Anthropic Claude-2 | write_tests | chat/write_tests
mr_template_population | MR template population | Vertex text-bison | fill_merge_request_template | -
suggested_reviewers | Suggested Reviewers | GitLab in-house | suggest_reviewers | -
merge_request_summary | Merge request summary | Vertex text-bison | summarize_new_merge_request | summarize_new_merge_request
code_review_summary | Code review summary | Vertex text-bison | summarize_review | summarize_review
vulnerability_explanation | Vulnerability explanation | Vertex text-bison, Anthropic | explain_vulnerability | chat/explain_vulnerability
vulnerability_resolution | Vulnerability resolution | Vertex code-bison | resolve_vulnerability | resolve_vulnerability
code_explanation | Code explanation | Vertex codechat-bison | explain_code | chat/explain_code
root_cause_analysis | Root cause analysis | Vertex text-bison | troubleshoot_job | chat/troubleshoot_job
value_stream_forecasting | Value stream forecasting | GitLab in-house | forecast_value_stream | -
"""  # noqa: E501

#: Prompt id, folder of its definitions, feature whose choice answers it, token scope. The last
#: three ids are ours, all others of the wire.
WIRE = """
chat/explain_code               code_explanation                code_explanation              explain_code
chat/fix_code                   fix_code                        duo_chat                      fix_code
chat/refactor_code              refactor_code                   duo_chat                      refactor_code
chat/write_tests                test_generation                 test_generation               write_tests
chat/summarize_comments         discussion_summary              discussion_summary            summarize_comments
chat/troubleshoot_job           root_cause_analysis             root_cause_analysis           troubleshoot_job
chat/explain_vulnerability      vulnerability_explanation       vulnerability_explanation     explain_vulnerability
chat/issue_reader               issue_reader                    duo_chat                      ask_issue
chat/epic_reader                epic_reader                     duo_chat                      ask_epic
chat/merge_request_reader       merge_request_reader            duo_chat                      ask_merge_request
chat/commit_reader              commit_reader                   duo_chat                      duo_chat
chat/build_reader               build_reader                    duo_chat                      ask_build
chat/react                      chat_react                      duo_chat                      duo_chat
code_suggestions/completions    code_completions                code_completions              complete_code
code_suggestions/generations    code_generations                code_generations              generate_code
model_configuration/check       model_configuration_check       -                             complete_code
generate_commit_message         generate_commit_message         git_suggestions               generate_commit_message
summarize_new_merge_request     merge_request_summary           merge_request_summary         summarize_new_merge_request
summarize_review                code_review_summary             code_review_summary           summarize_review
resolve_vulnerability           vulnerability_resolution        vulnerability_resolution      resolve_vulnerability
glab_ask_git_command            git_suggestions                 git_suggestions               glab_ask_git_command
generate_description            issue_description_generation    issue_description_generation  generate_issue_description
categorize_question             categorize_question             duo_chat                      duo_chat
measure_comment_temperature     measure_comment_temperature     discussion_summary            measure_comment_temperature
mr_template_population          mr_template_population          mr_template_population        fill_merge_request_template
suggested_reviewers             suggested_reviewers             suggested_reviewers           suggest_reviewers
value_stream_forecasting        value_stream_forecasting        value_stream_forecasting      forecast_value_stream
"""  # noqa: E501

LEVELS = {"S": "supported", "N": "not_supported", "E": "to_be_evaluated"}

ROWS = [line.split() for line in MATRIX.strip().splitlines()]
CELLS = [
    (feature, family, LEVELS[letter])
    for feature, *letters in ROWS
    for family, letter in zip(COLUMNS, letters, strict=True)
]


@pytest.mark.parametrize(("feature", "family", "level"), CELLS)
def test_cell_has_the_level_of_the_design(feature: str, family: str, level: str) -> None:
    assert support_level(Feature(feature), ModelFamily(family)) == level


def test_matrix_has_sixteen_rows_of_six_cells() -> None:
    in_code = {
        (feature.value, family.value)
        for feature, facts in FEATURES.items()
        for family in facts.levels
    }

    assert in_code == {(feature, family) for feature, family, _ in CELLS}
    assert len(in_code) == 16 * 6


def test_only_four_cells_cannot_be_chosen() -> None:
    assert set(NOT_SUPPORTED_CELLS) == {
        ("code_completions", "mistral-7b"),
        ("code_completions", "mixtral-8x7b-instruct"),
        ("code_completions", "mixtral-8x22b"),
        ("vulnerability_explanation", "mistral-7b"),
    }


@pytest.mark.parametrize("line", FACTS.strip().splitlines())
def test_feature_has_the_facts_of_the_design(line: str) -> None:
    feature, *expected = line.split(" | ")

    facts = FEATURES[Feature(feature)]

    told = [facts.title, facts.default_elsewhere, facts.unit_primitive, facts.wire_prompt_id or "-"]
    assert told == expected


def test_every_feature_has_facts_written_out() -> None:
    written = [line.split(" | ")[0] for line in FACTS.strip().splitlines()]

    assert written == [feature.value for feature in Feature] == list(FEATURES)


@pytest.mark.parametrize("line", WIRE.strip().splitlines())
def test_wire_prompt_stands_for_folder_feature_and_scope(line: str) -> None:
    prompt_id, *expected = line.split()

    prompt = WIRE_PROMPTS[prompt_id]

    assert [prompt.prompt, prompt.feature or "-", prompt.unit_primitive] == expected


def test_there_is_no_wire_prompt_beside_those_listed() -> None:
    assert set(WIRE_PROMPTS) == {line.split()[0] for line in WIRE.strip().splitlines()}


@pytest.mark.parametrize(
    ("level", "words", "is_selectable"),
    [
        (SupportLevel.SUPPORTED, "supported", True),
        (SupportLevel.TO_BE_EVALUATED, "to be evaluated", True),
        (SupportLevel.NOT_SUPPORTED, "not supported", False),
    ],
)
def test_level_says_itself_and_whether_it_can_be_chosen(
    level: SupportLevel, words: str, *, is_selectable: bool
) -> None:
    assert (level.words, level.is_selectable) == (words, is_selectable)


def test_general_is_shown_as_off_the_supported_list_everywhere() -> None:
    shown = {describe_level(feature, ModelFamily.GENERAL) for feature in Feature}

    assert shown == {"not on the supported list"}


def test_a_listed_family_is_shown_with_its_level() -> None:
    shown = describe_level(Feature.CODE_GENERATIONS, ModelFamily.CODEGEMMA_2B)

    assert shown == "to be evaluated"


def test_every_feature_is_in_one_group() -> None:
    grouped = [feature for features in FEATURE_GROUPS.values() for feature in features]

    assert sorted(grouped) == sorted(Feature)
