from selfhosted_models.serving_formats.base import CompletionChunk
from selfhosted_models.serving_formats.openai_chat.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import ASK, SYSTEM, asked


def test_request_in_full() -> None:
    talk = asked(SYSTEM, ASK, temperature=0.5, top_p=0.9, stop=("</s>", "[INST]"))

    request = FORMAT.build_request(make_serving(), talk, stream=True)

    assert request.path == "/chat/completions"
    assert request.body == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is a runner?"},
        ],
        "n": 1,
        "max_tokens": 64,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["</s>", "[INST]"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_usage_of_a_stream_is_not_asked_for_where_that_may_be_refused() -> None:
    serving = make_serving(reports_stream_usage=False)

    request = FORMAT.build_request(serving, asked(ASK), stream=True)

    assert request.body is not None
    assert "stream_options" not in request.body


def test_only_the_first_choice_counts() -> None:
    body = b'{"choices":[{"message":{"content":"first"}},{"message":{"content":"second"}}]}'

    assert FORMAT.parse_body(body) == CompletionChunk("first", is_last=True)


def test_event_with_the_role_alone_has_no_text() -> None:
    data = b'{"choices":[{"delta":{"role":"assistant","content":null},"finish_reason":null}]}'

    assert FORMAT.parse_event(data) == CompletionChunk("")
