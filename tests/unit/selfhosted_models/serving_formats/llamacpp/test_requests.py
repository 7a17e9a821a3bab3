from dataclasses import replace

import pytest

from selfhosted_models.serving_formats.base import FillInMiddle
from selfhosted_models.serving_formats.llamacpp.format import FORMAT
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import ASK, asked

GAP = FillInMiddle("def area(", "\nprint(area(2))")


def test_request_in_full() -> None:
    text = asked(text="def area(", temperature=0.5, top_p=0.9, stop=("\n\n",))

    request = FORMAT.build_request(make_serving(), text, stream=True)

    assert request.path == "/completion"
    assert request.body == {
        "model": "some-model",
        "prompt": "def area(",
        "n_predict": 64,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["\n\n"],
        "stream": True,
    }


def test_gap_goes_to_infill_where_the_server_fills_it() -> None:
    code = replace(asked(ASK), fill_in_middle=GAP)

    request = FORMAT.build_request(make_serving(fills_in_middle=True), code, stream=False)

    assert request.path == "/infill"
    assert request.body == {
        "model": "some-model",
        "input_prefix": "def area(",
        "input_suffix": "\nprint(area(2))",
        "n_predict": 64,
        "stream": False,
    }


@pytest.mark.parametrize("fills_in_middle", [True, False])
def test_text_in_the_familys_own_tokens_is_continued(*, fills_in_middle: bool) -> None:
    text = replace(asked(text="<PRE>def area(<SUF><MID>"), fill_in_middle=GAP)

    request = FORMAT.build_request(
        make_serving(fills_in_middle=fills_in_middle), text, stream=False
    )

    assert request.path == "/completion"
    assert request.body is not None
    assert request.body["prompt"] == "<PRE>def area(<SUF><MID>"


@pytest.mark.parametrize(("flag", "reason"), [("stopped_limit", "length"), ("stopped_eos", "stop")])
def test_older_servers_say_by_flags_why_they_ended(flag: str, reason: str) -> None:
    chunk = FORMAT.parse_event(b'{"content":"","stop":true,"%s":true}' % flag.encode())

    assert (chunk.finish_reason, chunk.is_last) == (reason, True)
