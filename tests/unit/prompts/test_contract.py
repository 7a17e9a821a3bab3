import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from prompts.contract import AnswerContract
from prompts.errors import OutputInvalid
from prompts.registry import PromptRegistry
from prompts.render import render
from prompts.samples import SAMPLES

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["kind", "items"],
    "properties": {
        "kind": {"type": "string", "enum": ["iid", "url"]},
        "items": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    },
}
GOOD = '{"kind": "iid", "items": [{"name": "a"}]}'


def contract(**changes: Any) -> AnswerContract:
    return AnswerContract(Draft202012Validator(SCHEMA), **changes)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\nThat is {{all}}.",
        f"Here you are: {GOOD} I hope it helps.",
        f'As in {{"kind": "<kind>", "items": []}}, I say:\n{GOOD}',
        f"{{not json}} {GOOD}",
        f'{GOOD}{{"kind": "url", "items": []}}',
    ],
)
def test_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert contract().accept(text, {}) == GOOD


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it holds no whole JSON object"),
        ("I would rather not.", "it holds no whole JSON object"),
        ("[1, 2]", "it holds no whole JSON object"),
        ('{"kind": "iid", "items": [', "it holds no whole JSON object"),
        ('{"kind": "iid", "items": [NaN]}', "it holds no whole JSON object"),
        ('{"kind": "iid", "items": [], "n": 1e999}', "it holds no whole JSON object"),
        ('{"n": ' * 5000, "it holds no whole JSON object"),
        ("{}", 'the object does not fit {"required": ["kind", "items"]}'),
        ('{"kind": "secret", "items": []}', 'kind does not fit {"enum": ["iid", "url"]}'),
        (
            '{"kind": "iid", "items": [{"name": 1}, {}]}',
            'items.1 does not fit {"required": ["name"]}',
        ),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(text: str, problem: str) -> None:
    with pytest.raises(OutputInvalid) as caught:
        contract().accept(text, {})

    assert caught.value.problem == problem


def test_message_repeats_nothing_the_model_wrote() -> None:
    with pytest.raises(OutputInvalid) as caught:
        contract().accept('{"kind": "hunter2", "items": ["hunter2"]}', {})

    assert "hunter2" not in caught.value.safe_message


@pytest.mark.parametrize(
    "text",
    [
        'iid", "items": [{"name": "a"}]}',
        'iid",\n  "items": [{"name": "a"}]\n}\n```\nDone.',
        GOOD,
        f"```json\n{GOOD}\n```",
        '{"items": [{"name": "a"}], "kind": "iid"}',
    ],
)
def test_answer_goes_on_where_the_prompt_has_begun_it(text: str) -> None:
    accepted = contract(begun_with="kind").accept(text, {})

    assert accepted == 'iid", "items": [{"name": "a"}]}'


def test_tag_stands_around_the_object() -> None:
    accepted = contract(tag="rating").accept(f"Sure! <rating>{GOOD}</rating>", {})

    assert accepted == f"<rating>\n{GOOD}\n</rating>"


def test_rule_has_the_last_word() -> None:
    def rule(answer: dict[str, Any], inputs: Any) -> dict[str, Any]:
        if inputs["wanted"] != answer["kind"]:
            raise OutputInvalid("kind is another")
        return {"kind": answer["kind"]}

    judged = contract(rule=rule)

    assert judged.accept(GOOD, {"wanted": "iid"}) == '{"kind": "iid"}'
    with pytest.raises(OutputInvalid, match="kind is another"):
        judged.accept(GOOD, {"wanted": "url"})


def test_half_a_surrogate_pair_stays_escaped() -> None:
    accepted = contract().accept('{"kind": "iid", "items": [{"name": "\\ud800"}]}', {})

    assert accepted.encode() == b'{"kind": "iid", "items": [{"name": "\\ud800"}]}'


@given(st.text(alphabet='{}[]",:\\ \nabc0', max_size=200))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    try:
        accepted = contract().accept(text, {})
    except OutputInvalid:
        return
    Draft202012Validator(SCHEMA).validate(json.loads(accepted))


# --- The contracts that are shipped --------------------------------------------------------------

DAY = "2024-0{}-01"
POINT = {"value": 3.2, "low": 2, "high": 4.5}
ANSWERS: dict[str, Any] = {
    "suggested_reviewers": {"reviewers": [{"username": "dana", "reason": "She wrote geo.py."}]},
    "value_stream_forecasting": {
        "forecast": [{"date": DAY.format(3), **POINT}, {"date": DAY.format(4), **POINT}],
        "reason": "It has been steady.",
    },
    "categorize_question": {
        "category": "Git",
        "detailed_category": "adding a runner",
        "labels": [],
        "language": "en",
    },
    "evaluation_judge": {"reason": "It says so.", "is_met": True},
    "measure_comment_temperature": {"rating": 2, "issues": ["\u201cfool\u201d: leave it out"]},
    **dict.fromkeys(
        ("issue_reader", "epic_reader", "merge_request_reader", "commit_reader", "build_reader"),
        {"ResourceIdentifierType": "url", "ResourceIdentifier": "https://gitlab.example.com/x"},
    ),
}


def test_every_json_prompt_has_a_contract_that_takes_a_good_answer(
    registry: PromptRegistry,
) -> None:
    held = [definition for definition in registry if definition.contract]
    assert {definition.prompt for definition in held} == set(ANSWERS)
    for definition in held:
        contract, answer = definition.contract, ANSWERS[definition.prompt]
        assert contract is not None
        inputs = render(definition, SAMPLES).inputs

        accepted = contract.accept(json.dumps(answer), inputs)

        whole = contract.opening + accepted
        if contract.tag:
            whole = whole.removeprefix(f"<{contract.tag}>").removesuffix(f"</{contract.tag}>")
        assert json.loads(whole) == answer, definition


def test_contracts_refuse_an_object_of_another_prompt(registry: PromptRegistry) -> None:
    for definition in registry:
        if definition.contract is None:
            continue
        foreign = [ANSWERS[name] for name in ANSWERS if ANSWERS[name] != ANSWERS[definition.prompt]]
        for answer in foreign:
            with pytest.raises(OutputInvalid):
                definition.contract.accept(json.dumps(answer), render(definition, SAMPLES).inputs)


def test_prompt_ends_with_what_its_contract_says_is_begun(registry: PromptRegistry) -> None:
    for definition in registry:
        if definition.contract is None:
            continue
        completion = render(definition, SAMPLES).completion
        end = completion.text or completion.messages[-1].content
        opening = definition.contract.opening

        begins_a_value = end.endswith('": "')
        assert begins_a_value == bool(opening), definition
        assert "".join(end.split()).endswith("".join(opening.split())), definition
