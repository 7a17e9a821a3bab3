from dataclasses import replace

import pytest

from selfhosted_models.serving_formats.base import CompletionChunk, FillInMiddle, Usage
from selfhosted_models.serving_formats.ollama.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import ASK, SYSTEM, asked

GAP = FillInMiddle("def area(", "\nprint(area(2))")


def test_chat_request_in_full() -> None:
    talk = asked(SYSTEM, ASK, temperature=0.5, top_p=0.9, stop=("</s>",))

    request = FORMAT.build_request(make_serving(context_tokens=8192), talk, stream=True)

    assert request.path == "/api/chat"
    assert request.body == {
        "model": "some-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is a runner?"},
        ],
        "options": {
            "num_predict": 64,
            "num_ctx": 8192,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["</s>"],
        },
        "stream": True,
    }


def test_text_is_sent_past_the_models_template() -> None:
    text = replace(asked(text="<PRE>def area(<SUF><MID>"), fill_in_middle=GAP)

    request = FORMAT.build_request(make_serving(fills_in_middle=True), text, stream=False)

    assert request.path == "/api/generate"
    assert request.body == {
        "model": "some-model",
        "prompt": "<PRE>def area(<SUF><MID>",
        "raw": True,
        "options": {"num_predict": 64},
        "stream": False,
    }


def test_gap_is_sent_as_prompt_and_suffix_where_the_server_fills_it() -> None:
    code = replace(asked(ASK), fill_in_middle=GAP)

    request = FORMAT.build_request(make_serving(fills_in_middle=True), code, stream=False)

    assert request.path == "/api/generate"
    assert request.body == {
        "model": "some-model",
        "prompt": "def area(",
        "suffix": "\nprint(area(2))",
        "options": {"num_predict": 64},
        "stream": False,
    }


def test_gap_is_asked_for_in_a_chat_where_nothing_is_known() -> None:
    request = FORMAT.build_request(
        make_serving(), replace(asked(ASK), fill_in_middle=GAP), stream=False
    )

    assert request.path == "/api/chat"


def test_answer_to_a_text_is_read() -> None:
    piece = b'{"model":"m","response":"Hel","done":false}'
    end = b'{"response":"","done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":4}'

    assert FORMAT.parse_event(piece) == CompletionChunk("Hel")
    assert FORMAT.parse_event(end) == CompletionChunk("", "stop", Usage(7, 4), is_last=True)


def test_end_of_a_chat_may_come_without_a_message() -> None:
    end = b'{"model":"m","done":true,"prompt_eval_count":-7}'

    assert FORMAT.parse_event(end) == CompletionChunk("", "stop", Usage(None, None), is_last=True)


@pytest.mark.parametrize("body", [b'{"models":[]}', b'{"models":[{"name":"some-model"}]}'])
def test_context_of_a_model_that_is_not_loaded_is_not_known(body: bytes) -> None:
    assert FORMAT.find_context(make_serving()).read(body) is None
