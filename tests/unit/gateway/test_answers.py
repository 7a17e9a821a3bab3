"""Answers that a prompt's contract judges: through the handler, as a caller meets them."""

import time
from typing import Any

import httpx
import orjson
import pytest
import structlog.testing

from feature_config.catalogue import Feature
from gateway.answers import Question, with_inputs
from gateway.exchange import Exchange
from gateway.gates import Candidate
from gateway.inbound.handler import GatewayHandler
from gateway.routing.fleet import Fleet
from gateway.routing.line import Lane
from prompts.errors import OutputInvalid
from selfhosted_models.families import ModelFamily
from tests.unit.gateway.asgi import Answer, Client
from tests.unit.gateway.parts import ModelServer, door, prompts, runtime, serving, snapshot
from tests.unit.gateway.signing import headers, mint

REVIEWERS = "/v1/prompts/suggested_reviewers"
INPUTS = {
    "candidates": [{"username": "dana", "commits": 12}, {"username": "kim", "commits": 3}],
    "changed_files": ["geo.py"],
}
GOOD = '{"reviewers": [{"username": "dana", "reason": "She wrote geo.py."}]}'
FENCED = f"Here you are:\n```json\n{GOOD}\n```"
BROKEN = '{"reviewers": [{"username": "dana"}]}'
STRANGERS = '{"reviewers": [{"username": "mallory", "reason": "hunter2"}]}'
SCOPES = ["suggest_reviewers", "forecast_value_stream", "ask_issue", "measure_comment_temperature"]


def says(text: str, **usage: int) -> httpx.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    body: dict[str, Any] = {"choices": [{**choice, "finish_reason": "stop"}]}
    return httpx.Response(200, json=body | ({"usage": usage} if usage else {}))


def general(**changes: Any) -> Any:
    return serving("house", family=ModelFamily.GENERAL, serving_format="openai_chat", **changes)


async def ask(
    server: ModelServer,
    path: str = REVIEWERS,
    inputs: Any = INPUTS,
    *,
    context_tokens: int | None = None,
    **body: Any,
) -> Answer:
    routes = {feature: ["house"] for feature in Feature}
    serves = snapshot([general(context_tokens=context_tokens)], routes)
    client = Client(GatewayHandler(runtime(server, serves)))
    return await client.post(path, headers(mint(scopes=SCOPES)), json={"inputs": inputs, **body})


def asked(server: ModelServer) -> list[Any]:
    """Return the messages of each request the model server got."""
    return [orjson.loads(request.content)["messages"] for request in server.requests]


async def test_object_leaves_without_what_stood_around_it() -> None:
    server = ModelServer(says(FENCED))

    answer = await ask(server)

    assert (answer.status, answer.json) == (200, GOOD)
    assert len(server.requests) == 1


async def test_strangers_are_left_out_of_the_reviewers() -> None:
    kim = {"username": "kim", "reason": "She knows it."}
    both = {"reviewers": [{"username": "mallory", "reason": "x"}, kim]}

    answer = await ask(ModelServer(says(orjson.dumps(both).decode())))

    assert orjson.loads(answer.json) == {"reviewers": [kim]}


@pytest.mark.parametrize("first", [BROKEN, STRANGERS, "I cannot say.", ""])
async def test_model_is_asked_once_more_with_what_is_wrong(first: str) -> None:
    server = ModelServer(says(first), says(FENCED))

    answer = await ask(server)

    assert (answer.status, answer.json) == (200, GOOD)
    before, after = asked(server)
    assert after[: len(before)] == before
    assert after[-2]["content"] == (first or "(nothing)")
    assert "That answer cannot be used: " in after[-1]["content"]


async def test_second_bad_answer_is_refused_and_never_passed_on() -> None:
    server = ModelServer(says(STRANGERS))

    with structlog.testing.capture_logs() as logs:
        answer = await ask(server)

    assert len(server.requests) == 2
    assert answer.status == 421
    assert answer.json["code"] == "output_invalid"
    assert answer.json["detail"] == "502: Bad Gateway"
    assert "nobody who is among the candidates" in answer.json["message"]
    assert "mallory" not in answer.text
    assert "mallory" not in str(logs)
    assert "hunter2" not in str(logs)
    (warning,) = (event for event in logs if event["event"] == "answer.invalid")
    assert (warning["deployment"], warning["log_level"]) == ("house", "warning")
    assert logs[-1]["outcome"] == "output_invalid"


async def test_tokens_of_both_answers_are_counted() -> None:
    server = ModelServer(
        says(BROKEN, prompt_tokens=300, completion_tokens=20),
        says(GOOD, prompt_tokens=350, completion_tokens=25),
    )

    with structlog.testing.capture_logs() as logs:
        await ask(server)

    finished = logs[-1]
    assert (finished["input_tokens"], finished["output_tokens"]) == (650, 45)


async def test_without_room_for_a_second_question_it_is_refused_at_once() -> None:
    server = ModelServer(says(BROKEN))
    needed = asked_tokens(INPUTS)

    answer = await ask(server, context_tokens=2 * needed + 4)

    assert (answer.status, len(server.requests)) == (421, 1)


def asked_tokens(inputs: Any) -> int:
    definition = prompts().find("suggested_reviewers", ["general"])
    return with_inputs(inputs)(Candidate(general(), definition)).input_tokens


@pytest.mark.parametrize(("age_s", "requests"), [(0, 2), (56, 1)])
async def test_model_is_not_asked_again_when_the_time_of_the_request_is_up(
    age_s: float, requests: int
) -> None:
    exchange = Exchange("req-1", "POST")
    server = ModelServer(says(BROKEN))

    async def answers_late(request: httpx.Request) -> httpx.Response:
        exchange.started_at = time.monotonic() - age_s
        return await server(request)

    definition = prompts().find("suggested_reviewers", ["general"])
    candidates = (Candidate(general(), definition),)
    question = Question(
        Fleet(door(answers_late)), exchange, candidates, with_inputs(INPUTS), Lane.CHAT
    )

    with pytest.raises(OutputInvalid):
        await question.fetch()

    assert len(server.requests) == requests


async def test_second_question_that_fails_tells_its_own_error() -> None:
    server = ModelServer(says(BROKEN), httpx.Response(500))

    answer = await ask(server)

    assert (answer.status, answer.json["code"]) == (421, "upstream_rejected")


async def test_stream_is_one_whole_piece() -> None:
    answer = await ask(ModelServer(says("Sure: {"), says(FENCED)), stream=True)

    assert (answer.status, answer.text) == (200, GOOD)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert len(answer.parts) == 1


async def test_bad_answer_to_a_stream_still_has_its_status() -> None:
    answer = await ask(ModelServer(says(BROKEN)), stream=True)

    assert (answer.status, answer.json["code"]) == (421, "output_invalid")


async def test_forecast_has_points_with_an_interval() -> None:
    point = '{"date": "2024-03-01", "value": 4, "low": 3, "high": 5.5}'
    server = ModelServer(says(f'{{"forecast": [{point}], "reason": "steady"}}'))
    series = [{"date": "2024-01-01", "value": 3}, {"date": "2024-02-01", "value": 4}]

    answer = await ask(
        server, "/v1/prompts/value_stream_forecasting", {"metric": "deploys", "series": series}
    )

    assert answer.status == 200
    assert orjson.loads(answer.json)["forecast"] == [orjson.loads(point)]


async def test_reader_goes_on_where_gitlab_has_begun() -> None:
    whole = '{"ResourceIdentifierType": "iid", "ResourceIdentifier": "42"}'

    answers = [
        await ask(ModelServer(says(text)), "/v1/prompts/chat/issue_reader", {"input": "#42?"})
        for text in (whole, whole.removeprefix('{"ResourceIdentifierType": "'))
    ]

    assert [answer.json for answer in answers] == ['iid", "ResourceIdentifier": "42"}'] * 2


async def test_comment_temperature_stays_in_its_tags() -> None:
    server = ModelServer(says('{"rating": 1, "issues": []}'))

    answer = await ask(server, "/v1/prompts/measure_comment_temperature", {"content": "Fine."})

    assert answer.json == (
        '<temperature_rating>\n{"rating": 1, "issues": []}\n</temperature_rating>'
    )


# --- The digest of the prompt --------------------------------------------------------------------


async def test_digest_of_the_prompt_is_in_the_response_and_the_log() -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await ask(ModelServer(says(GOOD)))

    digest = prompts().find("suggested_reviewers", ["general"]).digest
    assert answer.headers["x-gitlab-duo-prompt-digest"] == digest
    assert logs[-1]["prompt_digest"] == digest


async def test_response_without_a_prompt_has_no_digest() -> None:
    answer = await ask(ModelServer(says(GOOD)), inputs={})

    assert answer.status == 422
    assert "x-gitlab-duo-prompt-digest" not in answer.headers
