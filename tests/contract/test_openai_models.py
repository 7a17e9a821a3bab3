"""What `model` may be for an OpenAI client, and what is asked of it."""

from typing import Any

import pytest

from tests.contract.house import SCOPES, House, Model, new_model
from tests.fakes.model_server import Script

MODELS = "/openai/v1/models"
CHAT = "/openai/v1/chat/completions"
COMPLETIONS = "/openai/v1/completions"
DIRECTLY = "use_deployments_directly"

TURN = {"role": "user", "content": "Hi"}


@pytest.fixture
def chat(registering: House) -> Model:
    """The model that answers `duo_chat`."""
    return new_model(registering.models, "chat")


@pytest.fixture
def gemma(registering: House) -> Model:
    """The model that answers `code_completions`."""
    return new_model(registering.models, "gemma")


def listed(house: House, *scopes: str) -> list[str]:
    response = house.client.get(MODELS, headers=house.headers(house.gitlab.mint(scopes)))
    assert response.status_code == 200
    assert response.json()["object"] == "list"
    return [model["id"] for model in response.json()["data"]]


@pytest.mark.parametrize(
    ("scopes", "usable"),
    [
        (("duo_chat", "complete_code"), ["duo_chat", "code_completions"]),
        (("complete_code",), ["code_completions"]),
        (("generate_code",), []),  # nothing is assigned to it
        (("summarize_comments",), []),  # inactive
        ((DIRECTLY,), ["deployment:chat", "deployment:gemma", "deployment:mixtral"]),
        ((), []),
    ],
)
def test_models_are_those_that_would_answer_this_token(
    registering: House, scopes: tuple[str, ...], usable: list[str]
) -> None:
    assert sorted(listed(registering, *scopes)) == sorted(usable)


def test_operator_can_issue_a_token_for_deployments(registering: House) -> None:
    token = registering.gateway.manage("issue_token", "--user", "me", "--scopes", DIRECTLY).strip()
    headers = registering.headers(token, x_gitlab_global_user_id="me")

    response = registering.client.get(MODELS, headers=headers)

    assert "deployment:chat" in [model["id"] for model in response.json()["data"]]


def test_listed_model_has_openais_members(registering: House) -> None:
    response = registering.client.get(MODELS, headers=registering.headers())

    (model, *_) = response.json()["data"]
    assert model == {
        "id": "duo_chat",
        "object": "model",
        "created": 0,
        "owned_by": "selfhosted-duo",
    }


@pytest.mark.parametrize("model", ["duo_chat", "deployment:chat"])
def test_one_model_is_told_alone(registering: House, model: str) -> None:
    token = registering.gitlab.mint(("duo_chat", DIRECTLY))

    response = registering.client.get(f"{MODELS}/{model}", headers=registering.headers(token))

    assert (response.status_code, response.json()["id"]) == (200, model)


@pytest.mark.parametrize("model", ["code_generations", "deployment:mixtral", "gpt-4", "a/b"])
def test_model_that_this_token_may_not_use_is_404(registering: House, model: str) -> None:
    token = registering.gitlab.mint(("duo_chat", "generate_code"))

    response = registering.client.get(f"{MODELS}/{model}", headers=registering.headers(token))

    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_usable"


def test_a_turn_that_only_called_tools_is_taken(registering: House, chat: Model) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    turns = [TURN, {"role": "assistant", "content": None, "tool_calls": [call]}, TURN]

    response = registering.post(CHAT, {"model": "duo_chat", "messages": turns})

    assert response.status_code == 200
    assert [turn["role"] for turn in chat.last.json["messages"]][-3:] == [
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize("turn", [{"role": "user", "content": None}, {"role": "system"}])
def test_other_turns_need_their_content(registering: House, turn: dict[str, Any]) -> None:
    response = registering.post(CHAT, {"model": "duo_chat", "messages": [turn]})

    assert response.status_code == 400
    assert "content" in response.json()["error"]["message"]


def test_code_is_filled_in_with_the_prompt_of_the_models_family(
    registering: House, gemma: Model
) -> None:
    gemma.answers(Script(chunks=("a + b",), usage=(9, 3)))
    body = {"model": "code_completions", "prompt": "def add(a, b):\n    return ", "suffix": "\n\n"}

    response = registering.post(COMPLETIONS, body, x_request_id="corr-42")

    answer = response.json()
    assert response.status_code == 200
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "id": "cmpl-corr-42",
        "object": "text_completion",
        "model": "code_completions",
        "choices": [{"index": 0, "text": "a + b", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
    assert gemma.last.json["prompt"] == (
        "<|fim_prefix|>def add(a, b):\n    return <|fim_suffix|>\n\n<|fim_middle|>"
    )
    assert gemma.last.headers["authorization"] == "Bearer stored-key-of-gemma"


@pytest.mark.parametrize("suffix", [{}, {"suffix": None}, {"suffix": ""}])
def test_code_without_a_suffix_is_filled_in_at_its_end(
    registering: House, gemma: Model, suffix: dict[str, Any]
) -> None:
    registering.post(COMPLETIONS, {"model": "code_completions", "prompt": "x = ", **suffix})

    assert gemma.last.json["prompt"] == "<|fim_prefix|>x = <|fim_suffix|><|fim_middle|>"


def test_completion_is_streamed_with_its_usage(registering: House, gemma: Model) -> None:
    gemma.answers(Script(chunks=("a", " + b"), usage=(9, 3)))
    body = {"model": "code_completions", "prompt": "x = ", "stream": True}

    response = registering.post(COMPLETIONS, {**body, "stream_options": {"include_usage": True}})

    first, second, end, usage, done, rest = response.text.split("\n\n")
    assert '"object":"text_completion"' in first
    assert '"text":"a","logprobs":null,"finish_reason":null' in first
    assert '"text":" + b"' in second
    assert '"text":"","logprobs":null,"finish_reason":"stop"' in end
    assert '"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3' in usage
    assert (done, rest) == ("data: [DONE]", "")


def test_usage_of_a_stream_is_told_only_if_asked_for(registering: House, gemma: Model) -> None:
    body = {"model": "code_completions", "prompt": "x = ", "stream": True}

    assert '"usage"' not in registering.post(COMPLETIONS, body).text


def test_other_features_complete_the_callers_own_text(registering: House, chat: Model) -> None:
    response = registering.post(COMPLETIONS, {"model": "duo_chat", "prompt": ["Once upon"]})

    assert response.status_code == 200
    assert chat.last.json["messages"] == [{"role": "user", "content": "Once upon"}]
    assert chat.last.json["max_tokens"] == 2048
    assert "temperature" not in chat.last.json


def test_deployment_is_asked_by_its_name_what_the_caller_wrote(
    registering: House, chat: Model
) -> None:
    token = registering.token(DIRECTLY)
    messages = [{"role": "developer", "content": "Be brief."}, TURN]

    response = registering.post(
        CHAT, {"model": "deployment:chat", "messages": messages, "top_p": 0.5}, token=token
    )

    assert (response.status_code, response.json()["model"]) == (200, "deployment:chat")
    assert chat.last.json["model"] == "chat-model"
    assert chat.last.json["messages"] == [{"role": "system", "content": "Be brief."}, TURN]
    assert (chat.last.json["top_p"], chat.last.json["max_tokens"]) == (0.5, 2048)


@pytest.mark.parametrize(
    ("suffix", "prompt"),
    [(None, "x = "), (" + 1", "<|fim_prefix|>x = <|fim_suffix|> + 1<|fim_middle|>")],
)
def test_deployment_fills_in_only_between_two_texts(
    registering: House, gemma: Model, suffix: str | None, prompt: str
) -> None:
    body = {"model": "deployment:gemma", "prompt": "x = ", "suffix": suffix}

    response = registering.post(COMPLETIONS, body, token=registering.token(DIRECTLY))

    assert response.status_code == 200
    assert gemma.last.json["prompt"] == prompt


@pytest.mark.parametrize("name", ["gemma", "nothing"])
def test_deployment_without_the_scope_is_403_whether_or_not_it_exists(
    registering: House, name: str
) -> None:
    body = {"model": f"deployment:{name}", "messages": [TURN]}

    response = registering.post(CHAT, body, token=registering.token(*SCOPES))

    assert (response.status_code, response.json()["error"]["code"]) == (403, "scope_denied")
    assert DIRECTLY in response.json()["error"]["message"]


def test_unknown_deployment_is_404(registering: House) -> None:
    body = {"model": "deployment:nothing", "prompt": "x"}

    response = registering.post(COMPLETIONS, body, token=registering.token(DIRECTLY))

    assert (response.status_code, response.json()["error"]["code"]) == (404, "deployment_unknown")


def test_code_completion_does_not_chat_and_says_where_it_is(registering: House) -> None:
    response = registering.post(CHAT, {"model": "code_completions", "messages": [TURN]})

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "not_a_chat_model")
    assert COMPLETIONS in error["message"]


def test_inactive_feature_is_403_and_not_to_be_retried(registering: House) -> None:
    body = {"model": "discussion_summary", "messages": [TURN]}

    response = registering.post(CHAT, body, token=registering.token("summarize_comments"))

    assert (response.status_code, response.json()["error"]["code"]) == (403, "feature_inactive")
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "param", "changes"),
    [
        (CHAT, "n", {"n": 2}),
        (CHAT, "logprobs", {"logprobs": True}),
        (CHAT, "tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (CHAT, "functions", {"functions": [{"name": "f"}]}),
        (CHAT, "response_format", {"response_format": {"type": "json_object"}}),
        (CHAT, "max_tokens", {"max_tokens": 0}),
        (CHAT, "messages", {"messages": [TURN] * 257}),
        (CHAT, "messages.0.role", {"messages": [{"role": "tool", "content": "x"}]}),
        (
            CHAT,
            "messages.0.content",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        ),
        (
            CHAT,
            "messages.0.content",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]},
        ),
        (COMPLETIONS, "n", {"n": 0}),
        (COMPLETIONS, "best_of", {"best_of": 3}),
        (COMPLETIONS, "logprobs", {"logprobs": 5}),
        (COMPLETIONS, "echo", {"echo": True}),
        (COMPLETIONS, "prompt", {"prompt": ["a", "b"]}),
        (COMPLETIONS, "prompt", {"prompt": [[1, 2]]}),
        (COMPLETIONS, "suffix", {"model": "duo_chat", "suffix": "x"}),
    ],
)
def test_what_is_not_offered_is_a_400_that_names_it(
    registering: House, path: str, param: str, changes: dict[str, Any]
) -> None:
    good = {"model": "duo_chat", "messages": [TURN], "prompt": "x"}

    response = registering.post(path, good | changes)

    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert response.headers["x-should-retry"] == "false"


def test_image_is_refused_in_words(registering: House) -> None:
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {}}]

    response = registering.post(
        CHAT, {"model": "duo_chat", "messages": [{"role": "user", "content": content}]}
    )

    assert "only parts of type text are understood, not image_url" in response.text


def test_members_that_ask_for_nothing_are_taken(registering: House) -> None:
    nothing = {
        "n": 1,
        "tools": [],
        "functions": None,
        "logprobs": False,
        "response_format": {"type": "text"},
        "stream": None,
        "stream_options": None,
        "stop": None,
        "max_tokens": None,
    }

    response = registering.post(CHAT, {"model": "duo_chat", "messages": [TURN], **nothing})

    assert response.status_code == 200


def test_members_that_are_not_known_reach_no_model_server(registering: House, chat: Model) -> None:
    unknown = {
        "api_base": "http://10.9.9.9/v1",
        "api_key": "sk-mine",
        "extra_headers": {"X": "y"},
        "logit_bias": {"1": 100},
        "guided_json": {},
        "user": "me",
        "best_of": 1000,
    }

    response = registering.post(CHAT, {"model": "duo_chat", "messages": [TURN], **unknown})

    assert response.status_code == 200
    assert chat.last.json.keys() == {
        "model",
        "messages",
        "max_tokens",
        "n",
        "temperature",
        "stream",
    }


@pytest.mark.parametrize(
    ("wanted", "sent"), [(5, 5), (2048, 2048), (1_000_000, 2048), (None, 2048)]
)
@pytest.mark.parametrize("member", ["max_tokens", "max_completion_tokens"])
def test_more_output_than_the_prompt_allows_is_cut_down(
    registering: House, chat: Model, member: str, wanted: int | None, sent: int
) -> None:
    registering.post(CHAT, {"model": "duo_chat", "messages": [TURN], member: wanted})

    assert chat.last.json["max_tokens"] == sent


def test_output_of_a_callers_own_text_has_a_limit(registering: House, chat: Model) -> None:
    registering.post(COMPLETIONS, {"model": "duo_chat", "prompt": "x", "max_tokens": 100_000})

    assert chat.last.json["max_tokens"] == 8192


def test_text_parts_are_joined(registering: House, chat: Model) -> None:
    content = [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "you"}]

    registering.post(CHAT, {"model": "duo_chat", "messages": [{**TURN, "content": content}]})

    assert chat.last.json["messages"][-1]["content"] == "Hello, you"
