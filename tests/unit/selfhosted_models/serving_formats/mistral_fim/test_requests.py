from dataclasses import replace

from selfhosted_models.serving_formats.base import FillInMiddle
from selfhosted_models.serving_formats.mistral_fim.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import ASK, SYSTEM, asked


def test_gap_is_sent_as_prompt_and_suffix() -> None:
    gap = FillInMiddle("def area(", "\nprint(area(2))")
    code = replace(asked(ASK, temperature=0.0, stop=("\n\n",)), fill_in_middle=gap)

    request = FORMAT.build_request(make_serving(), code, stream=True)

    assert request.path == "/fim/completions"
    assert request.body == {
        "model": "some-model",
        "prompt": "def area(",
        "suffix": "\nprint(area(2))",
        "max_tokens": 64,
        "temperature": 0.0,
        "stop": ["\n\n"],
        "stream": True,
    }


def test_text_without_a_gap_is_sent_as_prompt() -> None:
    request = FORMAT.build_request(make_serving(), asked(text="def area("), stream=False)

    assert request.path == "/fim/completions"
    assert request.body == {
        "model": "some-model",
        "prompt": "def area(",
        "max_tokens": 64,
        "stream": False,
    }


def test_chat_goes_to_the_chat_of_the_same_server() -> None:
    request = FORMAT.build_request(make_serving(), asked(SYSTEM, ASK), stream=False)

    assert request.path == "/chat/completions"
    assert request.body is not None
    assert [message["role"] for message in request.body["messages"]] == ["system", "user"]
