"""The translators, against bodies and events as model servers send them."""

from typing import Any

import orjson
import pytest

from selfhosted_models.errors import UpstreamProtocolError, UpstreamRejected
from selfhosted_models.families import ModelFamily
from selfhosted_models.secrets import Secret
from selfhosted_models.serving_formats.base import (
    Completion,
    CompletionChunk,
    ErrorReported,
    FormatError,
    Message,
    Sampling,
    ServingFormat,
    Usage,
)
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from selfhosted_models.serving_formats.turns import as_text, fold_system
from tests.factories import make_serving

CHAT = SERVING_FORMATS["openai_chat"]
TEXT = SERVING_FORMATS["openai_text"]
both_formats = pytest.mark.parametrize("serving_format", [CHAT, TEXT], ids=["chat", "text"])

SAMPLING = Sampling(max_output_tokens=64)
SYSTEM = Message("system", "Be brief.")
ASK = Message("user", "What is a runner?")
ANSWER = Message("assistant", "An agent")
AGAIN = Message("user", "More?")


def completion(*messages: Message, text: str | None = None, **sampling: Any) -> Completion:
    return Completion(Sampling(**{"max_output_tokens": 64, **sampling}), messages, text)


def body(choice: object, **members: Any) -> bytes:
    return orjson.dumps({"id": "x", "choices": [choice], **members})


def piece(serving_format: ServingFormat, text: Any, **members: Any) -> dict[str, Any]:
    """Return a streamed choice that says `text`."""
    said = {"delta": {"content": text}} if serving_format is CHAT else {"text": text}
    return {"index": 0, **said, **members}


def whole(serving_format: ServingFormat, text: Any, **members: Any) -> dict[str, Any]:
    """Return a choice that says `text` in one body."""
    said = {"message": {"content": text}} if serving_format is CHAT else {"text": text}
    return {"index": 0, **said, **members}


def test_registry_knows_each_format_by_its_key() -> None:
    assert [(key, item.key) for key, item in SERVING_FORMATS.items()] == [
        ("openai_chat", "openai_chat"),
        ("openai_text", "openai_text"),
    ]


def test_chat_request_in_full() -> None:
    asked = completion(SYSTEM, ASK, temperature=0.5, top_p=0.9, stop=("</s>", "[INST]"))

    request = CHAT.build_request(make_serving(has_system_role=True), asked, stream=True)

    assert request.path == "/chat/completions"
    assert request.body == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is a runner?"},
        ],
        "max_tokens": 64,
        "n": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["</s>", "[INST]"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_text_request_in_full() -> None:
    asked = completion(text="def area(", temperature=0.0, stop=("<|file_separator|>",))

    request = TEXT.build_request(make_serving(), asked, stream=True)

    assert request.path == "/completions"
    assert request.body == {
        "model": "some-model",
        "prompt": "def area(",
        "max_tokens": 64,
        "n": 1,
        "temperature": 0.0,
        "stop": ["<|file_separator|>"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@both_formats
def test_headers_say_what_is_taken_and_carry_the_key(serving_format: ServingFormat) -> None:
    serving = make_serving(api_key=Secret("sk-1"))

    assert serving_format.headers(serving, stream=True) == {
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Authorization": "Bearer sk-1",
    }
    assert serving_format.headers(serving, stream=False)["Accept"] == "application/json"


@both_formats
def test_no_key_sends_no_header_for_it(serving_format: ServingFormat) -> None:
    assert "Authorization" not in serving_format.headers(make_serving(), stream=True)


@both_formats
def test_what_is_not_set_is_left_to_the_server(serving_format: ServingFormat) -> None:
    request = serving_format.build_request(make_serving(), completion(ASK), stream=False)

    assert not {"temperature", "top_p", "stop"} & set(request.body)


@both_formats
def test_request_that_does_not_stream_never_asks_to(serving_format: ServingFormat) -> None:
    request = serving_format.build_request(make_serving(), completion(ASK), stream=False)

    assert request.body.get("stream", False) is False


@both_formats
def test_request_is_json(serving_format: ServingFormat) -> None:
    asked = completion(SYSTEM, ASK, temperature=0.1, stop=("x",))

    request = serving_format.build_request(make_serving(), asked, stream=True)

    assert orjson.loads(orjson.dumps(request.body)) == request.body


def test_chat_folds_the_system_text_for_a_model_without_that_role() -> None:
    serving = make_serving(has_system_role=False)

    request = CHAT.build_request(serving, completion(SYSTEM, ASK), stream=False)

    assert request.body["messages"] == [
        {"role": "user", "content": "Be brief.\n\nWhat is a runner?"}
    ]


@pytest.mark.parametrize("has_system_role", [True, False])
def test_chat_sends_one_text_as_one_user_message(*, has_system_role: bool) -> None:
    serving = make_serving(has_system_role=has_system_role)

    request = CHAT.build_request(serving, completion(text="<PRE>a<SUF>b"), stream=False)

    assert request.body["messages"] == [{"role": "user", "content": "<PRE>a<SUF>b"}]


def test_chat_message_never_holds_turn_tokens_of_ours() -> None:
    serving = make_serving(family=ModelFamily.MISTRAL_7B, has_system_role=False)

    request = CHAT.build_request(serving, completion(SYSTEM, ASK, ANSWER, AGAIN), stream=False)

    assert "[INST]" not in str(request.body)
    assert "</s>" not in str(request.body)


def test_text_sends_turns_in_the_template_of_the_family() -> None:
    serving = make_serving(family=ModelFamily.MISTRAL_7B)

    request = TEXT.build_request(serving, completion(ASK), stream=False)

    assert request.body["prompt"] == "<s>[INST] What is a runner? [/INST]"


def test_text_that_is_empty_is_sent_as_it_is() -> None:
    request = TEXT.build_request(make_serving(), completion(text=""), stream=False)

    assert request.body["prompt"] == ""


@pytest.mark.parametrize(
    ("messages", "folded"),
    [
        ([ASK], [ASK]),
        ([SYSTEM, ASK], [Message("user", "Be brief.\n\nWhat is a runner?")]),
        (
            [SYSTEM, ASK, ANSWER, AGAIN],
            [Message("user", "Be brief.\n\nWhat is a runner?"), ANSWER, AGAIN],
        ),
        ([SYSTEM, SYSTEM, ASK], [Message("user", "Be brief.\n\nBe brief.\n\nWhat is a runner?")]),
        ([ASK, SYSTEM], [Message("user", "Be brief.\n\nWhat is a runner?")]),
        ([SYSTEM], [Message("user", "Be brief.")]),
        ([SYSTEM, ANSWER], [Message("user", "Be brief."), ANSWER]),
        ([Message("system", ""), ASK], [ASK]),
        ([], []),
    ],
    ids=[
        "no system text",
        "one",
        "a longer talk",
        "two",
        "late",
        "alone",
        "before an answer",
        "empty",
        "nothing",
    ],
)
def test_system_text_goes_into_the_first_user_turn(
    messages: list[Message], folded: list[Message]
) -> None:
    assert list(fold_system(messages)) == folded


MISTRAL_TALK = "<s>[INST] Be brief.\n\nWhat is a runner? [/INST] An agent</s>[INST] More? [/INST]"
GEMMA_TALK = (
    "<bos><start_of_turn>user\nBe brief.\n\nWhat is a runner?<end_of_turn>\n"
    "<start_of_turn>model\nAn agent<end_of_turn>\n"
    "<start_of_turn>user\nMore?<end_of_turn>\n"
    "<start_of_turn>model\n"
)
PLAIN_TALK = (
    "Be brief.\n\nUser: What is a runner?\n\nAssistant: An agent\n\nUser: More?\n\nAssistant:"
)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("mistral-7b", MISTRAL_TALK),
        ("mixtral-8x7b-instruct", MISTRAL_TALK),
        ("mixtral-8x22b", MISTRAL_TALK),
        ("codegemma-7b-it", GEMMA_TALK),
        ("codegemma-2b", PLAIN_TALK),
        ("general", PLAIN_TALK),
    ],
)
def test_talk_is_written_in_the_template_of_the_family(family: str, text: str) -> None:
    assert as_text([SYSTEM, ASK, ANSWER, AGAIN], ModelFamily(family)) == text


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("mistral-7b", "<s>[INST] What is a runner? [/INST] An agent"),
        (
            "codegemma-7b-it",
            "<bos><start_of_turn>user\nWhat is a runner?<end_of_turn>\n"
            "<start_of_turn>model\nAn agent",
        ),
        ("general", "User: What is a runner?\n\nAssistant: An agent"),
    ],
)
def test_last_answer_is_left_open_for_the_model_to_go_on(family: str, text: str) -> None:
    assert as_text([ASK, ANSWER], ModelFamily(family)) == text


@both_formats
def test_whole_body_is_read(serving_format: ServingFormat) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
    choice = whole(serving_format, "An agent.", finish_reason="stop")

    answer = serving_format.parse_body(body(choice, usage=usage))

    assert answer == CompletionChunk("An agent.", "stop", Usage(7, 4))


@both_formats
@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "eos_token"])
def test_finish_reason_is_passed_on_as_it_is(serving_format: ServingFormat, reason: str) -> None:
    choice = whole(serving_format, "", finish_reason=reason)

    assert serving_format.parse_body(body(choice)).finish_reason == reason


@both_formats
def test_body_that_says_little_is_still_read(serving_format: ServingFormat) -> None:
    answer = serving_format.parse_body(body(whole(serving_format, None)))

    assert answer == CompletionChunk("", None, None)


@both_formats
def test_only_the_first_choice_counts(serving_format: ServingFormat) -> None:
    choices = [whole(serving_format, "first"), whole(serving_format, "second")]

    answer = serving_format.parse_body(orjson.dumps({"choices": choices}))

    assert answer.text == "first"


@both_formats
def test_event_with_text_is_read(serving_format: ServingFormat) -> None:
    data = body(piece(serving_format, "Hel", finish_reason=None))

    assert serving_format.parse_event(data) == CompletionChunk("Hel")


@both_formats
def test_last_event_says_why_the_answer_ended(serving_format: ServingFormat) -> None:
    data = body(piece(serving_format, "", finish_reason="length"))

    assert serving_format.parse_event(data) == CompletionChunk("", "length")


@both_formats
def test_event_with_usage_alone_is_read(serving_format: ServingFormat) -> None:
    data = orjson.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4}})

    assert serving_format.parse_event(data) == CompletionChunk("", None, Usage(7, 4))


@both_formats
def test_done_carries_nothing(serving_format: ServingFormat) -> None:
    assert serving_format.parse_event(b"[DONE]") is None


def test_chat_event_with_the_role_alone_has_no_text() -> None:
    data = body({"index": 0, "delta": {"role": "assistant"}, "finish_reason": None})

    assert CHAT.parse_event(data) == CompletionChunk("")


@both_formats
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 7}, Usage(7, None)),
        ({"prompt_tokens": -1, "completion_tokens": 4}, Usage(None, 4)),
        ({"prompt_tokens": True, "completion_tokens": False}, Usage(None, None)),
        ({"prompt_tokens": 7.5, "completion_tokens": "4"}, Usage(None, None)),
        ({"prompt_tokens": None, "completion_tokens": [4]}, Usage(None, None)),
        ({}, Usage(None, None)),
        (None, None),
        ([7, 4], None),
        (11, None),
    ],
    ids=str,
)
def test_token_counts_are_natural_numbers_or_not_given(
    serving_format: ServingFormat, usage: object, expected: Usage | None
) -> None:
    answer = serving_format.parse_body(body(whole(serving_format, "a"), usage=usage))

    assert answer.usage == expected
    assert answer.text == "a"


MARK = "zebra-7"  # must not come back in a message
BAD_DOCUMENTS = {
    "empty": b"",
    "text": MARK.encode(),
    "cut off": b'{"choices": [{"text": "' + MARK.encode(),
    "HTML": f"<html>{MARK}</html>".encode(),
    "not UTF-8": b'{"choices": "\xff' + MARK.encode() + b'"}',
    "too deep": b"[" * 5_000,
    "not a number": b'{"choices": NaN}',
    "a list": orjson.dumps([MARK]),
    "a string": orjson.dumps(MARK),
    "null": b"null",
    "error object": orjson.dumps({"error": {"message": MARK, "code": 400}}),
    "error text": orjson.dumps({"error": MARK}),
    "error beside choices": orjson.dumps({"choices": [], "error": {"message": MARK}}),
    "no choices": orjson.dumps({"object": MARK}),
    "choices null": orjson.dumps({"choices": None, "object": MARK}),
    "choices an object": orjson.dumps({"choices": {"0": MARK}}),
    "choice a string": orjson.dumps({"choices": [MARK]}),
    "choice null": orjson.dumps({"choices": [None], "object": MARK}),
}


def refusal(serving_format: ServingFormat, document: bytes, *, is_event: bool) -> str:
    """Return the message with which a body or an event is refused."""
    parse = serving_format.parse_event if is_event else serving_format.parse_body
    with pytest.raises(FormatError) as caught:
        parse(document)
    return str(caught.value)


@both_formats
@pytest.mark.parametrize("is_event", [True, False], ids=["event", "body"])
@pytest.mark.parametrize("name", BAD_DOCUMENTS)
def test_bad_document_is_refused_without_quoting_it(
    serving_format: ServingFormat, name: str, *, is_event: bool
) -> None:
    message = refusal(serving_format, BAD_DOCUMENTS[name], is_event=is_event)

    assert message
    assert MARK not in message


@both_formats
@pytest.mark.parametrize("is_event", [True, False], ids=["event", "body"])
@pytest.mark.parametrize(
    ("reported", "status", "is_overloaded", "is_retryable"),
    [
        ({"type": "overloaded_error", "message": MARK}, 503, True, True),
        ({"type": "overloaded_error", "code": 429}, 429, True, True),
        ({"type": "BadRequestError", "code": 400, "message": MARK}, 400, False, False),
        ({"code": 503}, 503, False, True),
        ({"code": "context_length_exceeded"}, 500, False, True),
        ({"code": 200}, 500, False, True),
        ({"code": True}, 500, False, True),
        ({"code": 10**15}, 500, False, True),
        (MARK, 500, False, True),
    ],
    ids=str,
)
def test_error_in_place_of_an_answer_says_whether_to_ask_again(
    serving_format: ServingFormat,
    reported: object,
    status: int,
    *,
    is_overloaded: bool,
    is_retryable: bool,
    is_event: bool,
) -> None:
    parse = serving_format.parse_event if is_event else serving_format.parse_body

    with pytest.raises(ErrorReported) as caught:
        parse(orjson.dumps({"error": reported}))

    error = caught.value.of_hop("The model server of gpu1", serving_format.title)
    assert isinstance(error, UpstreamRejected)
    assert (error.status, error.is_overloaded) == (status, is_overloaded)
    assert error.retryable is is_retryable
    assert error.safe_message.startswith("The model server of gpu1 sent an error")
    assert MARK not in error.safe_message


def test_answer_of_another_format_names_both_sides() -> None:
    error = FormatError("not JSON").of_hop("The model server of gpu1", CHAT.title)

    assert isinstance(error, UpstreamProtocolError)
    assert error.safe_message == (
        f"The model server of gpu1 sent not JSON, which is not {CHAT.title}: "
        "check its serving format."
    )


@both_formats
def test_whole_answer_to_a_request_to_stream_is_read(serving_format: ServingFormat) -> None:
    data = body(whole(serving_format, "All of it.", finish_reason="stop"))

    assert serving_format.parse_event(data) == CompletionChunk("All of it.", "stop")


@both_formats
@pytest.mark.parametrize("is_event", [True, False], ids=["event", "body"])
@pytest.mark.parametrize("text", [7, [MARK], {"a": MARK}, True], ids=str)
def test_text_of_a_wrong_type_is_refused(
    serving_format: ServingFormat, text: object, *, is_event: bool
) -> None:
    make = piece if is_event else whole

    message = refusal(serving_format, body(make(serving_format, text)), is_event=is_event)

    assert message == "text or finish reason of a wrong type"


@both_formats
@pytest.mark.parametrize("is_event", [True, False], ids=["event", "body"])
@pytest.mark.parametrize("reason", [7, [MARK], {"a": MARK}], ids=str)
def test_finish_reason_of_a_wrong_type_is_refused(
    serving_format: ServingFormat, reason: object, *, is_event: bool
) -> None:
    make = piece if is_event else whole
    choice = make(serving_format, "a", finish_reason=reason)

    message = refusal(serving_format, body(choice), is_event=is_event)

    assert message == "text or finish reason of a wrong type"


@both_formats
def test_body_without_any_choice_is_refused(serving_format: ServingFormat) -> None:
    message = refusal(serving_format, orjson.dumps({"choices": []}), is_event=False)

    assert message == "no choice"


@pytest.mark.parametrize("is_event", [True, False], ids=["event", "body"])
@pytest.mark.parametrize("said", [None, MARK, [MARK]], ids=str)
def test_chat_choice_without_a_message_is_refused(said: object, *, is_event: bool) -> None:
    choice = {"message": said, "delta": said}

    assert refusal(CHAT, body(choice), is_event=is_event) == "a choice without a message"


def test_usage_of_a_stream_is_not_asked_for_where_that_may_be_refused() -> None:
    serving = make_serving(reports_stream_usage=False)

    request = CHAT.build_request(serving, completion(ASK), stream=True)

    assert "stream_options" not in request.body
