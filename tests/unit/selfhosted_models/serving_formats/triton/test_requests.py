import pytest

from selfhosted_models.errors import EndpointRefused
from selfhosted_models.serving_formats.triton.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import asked


def test_request_in_full() -> None:
    text = asked(text="def area(", temperature=0.5, top_p=0.9, stop=("\n\n",))

    request = FORMAT.build_request(make_serving(model_identifier="ensemble"), text, stream=True)

    assert request.path == "/v2/models/ensemble/generate_stream"
    assert request.body == {
        "text_input": "def area(",
        "max_tokens": 64,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_words": ["\n\n"],
        "exclude_input_in_output": True,
        "stream": True,
    }


def test_request_that_does_not_stream_goes_to_generate() -> None:
    request = FORMAT.build_request(make_serving(), asked(text="a"), stream=False)

    assert request.path == "/v2/models/some-model/generate"


@pytest.mark.parametrize("name", ["../secrets", "a/../../b", "..", "a?b=c", "a#b", "a%2f.."])
def test_model_name_never_leaves_its_segment(name: str) -> None:
    serving = make_serving(model_identifier=name)

    with pytest.raises(EndpointRefused):
        FORMAT.build_request(serving, asked(text="a"), stream=False)
