from selfhosted_models.serving_formats.base import CompletionChunk, Usage
from selfhosted_models.serving_formats.openai_text.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import asked


def test_request_in_full() -> None:
    text = asked(text="def area(", temperature=0.0, stop=("<|file_separator|>",))

    request = FORMAT.build_request(make_serving(), text, stream=True)

    assert request.path == "/completions"
    assert request.body == {
        "model": "some-model",
        "prompt": "def area(",
        "n": 1,
        "max_tokens": 64,
        "temperature": 0.0,
        "stop": ["<|file_separator|>"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_event_with_usage_alone_is_read() -> None:
    data = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":-4}}'

    assert FORMAT.parse_event(data) == CompletionChunk("", usage=Usage(7, None))
