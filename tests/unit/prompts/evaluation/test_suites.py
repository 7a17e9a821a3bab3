"""The suites that are shipped: every case can be passed, and by no idle answer."""

from collections.abc import Iterator

import pytest

from feature_config.catalogue import Feature
from prompts.evaluation.loader import shipped_suites
from prompts.evaluation.scoring import score
from prompts.evaluation.suite import Case, GivenAnswer, Outcome, Suite
from prompts.inputs import texts_in
from prompts.loader import shipped_prompts
from prompts.render import render
from selfhosted_models.families import ModelFamily

SUITES = shipped_suites().suites
PAIRS = [(suite, case) for suite in SUITES for case in suite.cases]
CASES = [pytest.param(suite, case, id=f"{suite.name}-{case.id}") for suite, case in PAIRS]
RUN = [
    pytest.param(suite, case, id=f"{suite.name}-{case.id}")
    for suite, case in PAIRS
    if "passes" in {check.scorer for check in case.checks}
]
LEAST_CASES = 12
#: Features whose answers are code, or about code.
CODE_FEATURES = {
    *("code_completions", "code_generations", "test_generation", "code_explanation"),
    *("vulnerability_explanation", "vulnerability_resolution"),
}
LEAST_LANGUAGES = 5
OFF_TOPIC = [
    "Lisbon has mild winters, and the best time to visit its old town is in spring.",
    "```python\ndef hello(name):\n    print(f'Hello, {name}!')\n```",
    "print('hello')",
    '{"weather": "sunny", "degrees": 21}',
    "Sorry, I cannot help with that.",
    "#### Root cause\n\nIt rains.\n\n#### Example fix\n\nTake an umbrella.",
]


def prompts_of(suite: Suite, case: Case) -> Iterator[str]:
    """Yield all that is sent: to a model that chats, and to one that goes on with a text."""
    for family in (ModelFamily.GENERAL, ModelFamily.CODEGEMMA_2B):
        definition = shipped_prompts().registry.find(suite.feature, [family])
        completion = render(definition, case.inputs).completion
        messages = [message.content for message in completion.messages]
        yield completion.text or "\n".join(messages)


def problems(case: Case, text: str, prompt: str) -> list[Outcome]:
    outcomes = score(case, GivenAnswer(text, prompt), allows_execution=False)
    return [outcome for outcome in outcomes if outcome.problem]


def echoes_of(case: Case, prompt: str) -> Iterator[str]:
    texts = [text for value in case.inputs.values() for text in texts_in(value)]
    yield from texts
    yield " ".join(texts)
    yield "\n".join(texts)
    yield "```\n" + "\n".join(texts) + "\n```"
    yield prompt
    yield prompt[len(prompt) // 2 :]


def test_every_feature_has_a_suite_with_enough_cases() -> None:
    assert shipped_suites().problems == ()
    assert {suite.feature for suite in SUITES} == set(Feature)
    assert {suite.name for suite in SUITES} == set(Feature)
    assert [suite.name for suite in SUITES if len(suite.cases) < LEAST_CASES] == []


def test_code_is_in_several_languages() -> None:
    for feature in CODE_FEATURES:
        told = {language_of(case) for suite, case in PAIRS if suite.feature == feature} - {""}
        assert len(told) >= LEAST_LANGUAGES, (feature, told)


def language_of(case: Case) -> str:
    """Return the language of a case by its inputs, "" if they do not tell it."""
    name = str(case.inputs.get("file_name") or case.inputs.get("filename") or "")
    info = str(case.inputs.get("language_info", ""))
    told = info.partition("written in ")[2].split()
    return name.rpartition(".")[2] or (told[0].rstrip(".") if told else "")


def test_every_answer_has_a_bound_on_its_time() -> None:
    for suite in SUITES:
        for case in suite.cases:
            assert "answers_within_s" in {check.scorer for check in case.checks}, case.id


@pytest.mark.parametrize(("suite", "case"), CASES)
def test_case_has_a_reference_that_passes(suite: Suite, case: Case) -> None:
    assert case.reference
    for prompt in prompts_of(suite, case):
        assert problems(case, case.reference, prompt) == []


@pytest.mark.parametrize(("suite", "case"), CASES)
def test_case_refuses_an_empty_an_echoed_and_an_off_topic_answer(suite: Suite, case: Case) -> None:
    for prompt in prompts_of(suite, case):
        idle = ["", " \n", "```\n```", *echoes_of(case, prompt), *OFF_TOPIC]

        assert [text for text in idle if not problems(case, text, prompt)] == []


@pytest.mark.parametrize(("suite", "case"), RUN)
def test_reference_passes_the_tests_that_are_run(suite: Suite, case: Case) -> None:
    outcomes = score(case, GivenAnswer(case.reference), allows_execution=True)

    assert [outcome.problem for outcome in outcomes if outcome.scorer == "passes"] == [""]


def test_code_is_not_run_unless_that_is_allowed() -> None:
    _, runs = RUN[0].values
    assert isinstance(runs, Case)

    outcomes = score(runs, GivenAnswer("raise SystemExit(1)"), allows_execution=False)

    (skipped,) = (outcome for outcome in outcomes if outcome.scorer == "passes")
    assert skipped.is_skipped
    assert not skipped.problem
