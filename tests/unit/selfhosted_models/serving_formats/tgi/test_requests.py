from typing import Any

import pytest

from selfhosted_models.serving_formats.base import CompletionChunk
from selfhosted_models.serving_formats.tgi.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import asked


def test_request_in_full() -> None:
    text = asked(text="def area(", temperature=0.5, top_p=0.9, stop=("\n\n",))

    request = FORMAT.build_request(make_serving(), text, stream=True)

    assert request.path == "/generate_stream"
    assert request.body == {
        "inputs": "def area(",
        "parameters": {
            "max_new_tokens": 64,
            "details": True,
            "return_full_text": False,
            "do_sample": True,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["\n\n"],
        },
    }


@pytest.mark.parametrize(
    ("sampling", "sent"),
    [
        ({"temperature": 0.0, "top_p": 0.9}, {"do_sample": False}),
        ({"temperature": 1.0, "top_p": 1.0}, {"do_sample": True, "temperature": 1.0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"top_p": 0.0}, {}),
        ({"stop": tuple("abcde")}, {"stop": ["a", "b", "c", "d"]}),
    ],
    ids=str,
)
def test_nothing_is_sent_that_the_server_refuses(
    sampling: dict[str, Any], sent: dict[str, Any]
) -> None:
    request = FORMAT.build_request(make_serving(), asked(text="a", **sampling), stream=False)

    assert request.path == "/generate"
    assert request.body is not None
    always = {"max_new_tokens": 64, "details": True, "return_full_text": False}
    assert request.body["parameters"] == always | sent


def test_special_token_is_no_text() -> None:
    data = b'{"token":{"id":2,"text":"</s>","special":true},"generated_text":null,"details":null}'

    assert FORMAT.parse_event(data) == CompletionChunk("")
