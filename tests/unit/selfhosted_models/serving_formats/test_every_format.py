"""What holds for every serving format, shown on the wire examples of its own test folder."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfhosted_models.framing import MAX_EVENT_BYTES, EventTooLarge
from selfhosted_models.secrets import Secret
from selfhosted_models.serving_formats.base import (
    Ability,
    CompletionChunk,
    ErrorReported,
    FillInMiddle,
    FormatError,
    Message,
    ServingFormat,
)
from selfhosted_models.serving_formats.registry import SERVING_FORMATS
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import (
    ASK,
    GREETING,
    MARK,
    SYSTEM,
    Heard,
    Wire,
    asked,
    hear,
    refusal,
)

HERE = __name__.rpartition(".")[0]
WIRES: dict[str, Wire] = {key: import_module(f"{HERE}.{key}.wire").WIRE for key in SERVING_FORMATS}
EXAMPLES = [(SERVING_FORMATS[key], wire) for key, wire in WIRES.items()]
#: Of the others' streams, the end of the connection is the only end.
WITH_AN_END = [
    key for key, item in SERVING_FORMATS.items() if Ability.FINISH_REASON in item.abilities
]
FINISH_REASONS = {None, "stop", "length", "content_filter", "tool_calls"}

each_format = pytest.mark.parametrize("serving_format", SERVING_FORMATS.values(), ids=WIRES)
each_example = pytest.mark.parametrize(("serving_format", "wire"), EXAMPLES, ids=WIRES)
events_and_bodies = pytest.mark.parametrize("is_event", [True, False], ids=["event", "body"])


def whole(wire: Wire) -> Heard:
    return Heard(GREETING, wire.finish_reason, wire.stream_usage, is_whole=True)


# --- Streams ----------------------------------------------------------------------------------


@each_example
def test_stream_is_read(serving_format: ServingFormat, wire: Wire) -> None:
    assert hear(serving_format, wire.media_type, [wire.stream]) == whole(wire)


@each_example
@given(data=st.data())
def test_stream_cut_anywhere_with_any_line_ends_is_read(
    serving_format: ServingFormat, wire: Wire, data: st.DataObject
) -> None:
    line_end = data.draw(st.sampled_from([b"\n", b"\r", b"\r\n"]))
    stream = wire.stream.replace(b"\n", line_end)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    edges = [0, *places, len(stream)]
    parts = [stream[start:end] for start, end in zip(edges, edges[1:], strict=False)]

    assert hear(serving_format, wire.media_type, parts) == whole(wire)


@each_example
def test_stream_of_single_bytes_is_read(serving_format: ServingFormat, wire: Wire) -> None:
    parts = [wire.stream[place : place + 1] for place in range(len(wire.stream))]

    assert hear(serving_format, wire.media_type, parts) == whole(wire)


@each_example
def test_comments_and_empty_lines_are_passed_over(
    serving_format: ServingFormat, wire: Wire
) -> None:
    filler = b": keep-alive\n\n" if wire.media_type == "text/event-stream" else b"\n"

    parts = [filler, *(line + b"\n" for line in wire.stream.split(b"\n")), filler]

    assert hear(serving_format, wire.media_type, parts) == whole(wire)


@each_example
def test_stream_without_an_end_is_known_to_have_broken_off(
    serving_format: ServingFormat, wire: Wire
) -> None:
    half = wire.stream[: wire.stream.rindex(b"\n", 0, wire.stream.index("世界".encode()))]

    heard = hear(serving_format, wire.media_type, [half])

    assert heard.text == "Grüße, "
    assert heard.is_whole is (Ability.FINISH_REASON not in serving_format.abilities)


@pytest.mark.parametrize("key", WITH_AN_END)
@pytest.mark.parametrize("after", ["the same again", "noise"])
def test_nothing_after_the_end_is_read(key: str, after: str) -> None:
    serving_format, wire = SERVING_FORMATS[key], WIRES[key]
    more = wire.stream if after == "the same again" else b"data: <html>\n\n<html>\n"

    assert hear(serving_format, wire.media_type, [wire.stream, more]) == whole(wire)


@each_example
def test_whole_body_in_answer_to_a_request_to_stream_is_read(
    serving_format: ServingFormat, wire: Wire
) -> None:
    heard = hear(serving_format, "application/json", [wire.body])

    assert heard == Heard(GREETING, wire.body_finish_reason, wire.body_usage, is_whole=True)


@each_format
def test_body_and_events_are_bounded(serving_format: ServingFormat) -> None:
    for media_type in serving_format.framings:
        with pytest.raises(EventTooLarge):
            hear(serving_format, media_type, [b"data: " + b"a" * MAX_EVENT_BYTES])


@each_example
def test_answer_ends_before_a_stop_sequence(serving_format: ServingFormat, wire: Wire) -> None:
    """Servers that cut by themselves are believed; the others' answers are cut here."""
    heard = hear(serving_format, wire.media_type, [wire.stream], stop=("世界", "nowhere"))

    does_server = Ability.STOP_SEQUENCES in serving_format.abilities
    assert heard.text == (GREETING if does_server else "Grüße, ")
    assert heard.is_whole


# --- Bodies -----------------------------------------------------------------------------------


@each_example
def test_body_is_read(serving_format: ServingFormat, wire: Wire) -> None:
    assert serving_format.parse_body(wire.body) == CompletionChunk(
        GREETING, wire.body_finish_reason, wire.body_usage, is_last=True
    )


# --- Errors -----------------------------------------------------------------------------------


@each_example
@events_and_bodies
def test_error_in_place_of_an_answer_says_whether_to_ask_again(
    serving_format: ServingFormat, wire: Wire, *, is_event: bool
) -> None:
    assert any(is_overloaded for _, _, is_overloaded in wire.errors)
    for document, status, is_overloaded in wire.errors:
        error = refusal(serving_format, document, is_event=is_event)

        assert isinstance(error, ErrorReported)
        assert (error.status, error.is_overloaded) == (status, is_overloaded)
        assert MARK not in str(error.of_hop("gpu1", serving_format.title))


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
    "an empty object": b"{}",
    "another object": orjson.dumps({"object": MARK}),
}


@each_format
@events_and_bodies
@pytest.mark.parametrize("name", BAD_DOCUMENTS)
def test_bad_document_is_refused_without_quoting_it(
    serving_format: ServingFormat, name: str, *, is_event: bool
) -> None:
    error = refusal(serving_format, BAD_DOCUMENTS[name], is_event=is_event)

    assert str(error)
    assert MARK not in str(error)


@each_example
@events_and_bodies
def test_json_of_another_shape_is_refused_without_quoting_it(
    serving_format: ServingFormat, wire: Wire, *, is_event: bool
) -> None:
    for document in wire.not_of_this_format:
        assert MARK not in str(refusal(serving_format, document, is_event=is_event))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def places_in(document: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in a JSON document."""
    steps: Iterable[tuple[Any, Any]] = ()
    if isinstance(document, dict):
        steps = document.items()
    elif isinstance(document, list):
        steps = enumerate(document)
    return [way, *(place for step, value in steps for place in places_in(value, (*way, step)))]


def with_value_at(document: Any, way: tuple[Any, ...], value: Any) -> Any:
    if not way:
        return value
    changed = document.copy()
    changed[way[0]] = with_value_at(document[way[0]], way[1:], value)
    return changed


def events_of(serving_format: ServingFormat, wire: Wire) -> list[Any]:
    splitter = serving_format.framings[wire.media_type]()
    events = [*splitter.feed(wire.stream), *splitter.flush()]
    return [orjson.loads(event) for event in events if event != b"[DONE]"]


@each_example
@given(data=st.data())
def test_any_value_in_any_place_is_read_or_refused(
    serving_format: ServingFormat, wire: Wire, data: st.DataObject
) -> None:
    """Neither a crash nor nonsense comes of JSON of the wrong shape, negative counts included."""
    document = data.draw(
        st.sampled_from([*events_of(serving_format, wire), orjson.loads(wire.body)])
    )
    way = data.draw(st.sampled_from(places_in(document)))
    broken = orjson.dumps(with_value_at(document, way, data.draw(JSON)))

    for parse in (serving_format.parse_event, serving_format.parse_body):
        try:
            chunk = parse(broken)
        except FormatError:
            continue
        assert isinstance(chunk.text, str)
        assert chunk.finish_reason in FINISH_REASONS
        if chunk.usage is not None:
            counts = (chunk.usage.input_tokens, chunk.usage.output_tokens)
            assert all(count is None or count >= 0 for count in counts)


# --- What a server says of itself -------------------------------------------------------------


@each_example
def test_models_are_listed(serving_format: ServingFormat, wire: Wire) -> None:
    inquiry = serving_format.list_models()

    assert (inquiry is not None) is (Ability.MODEL_LIST in serving_format.abilities)
    if inquiry is not None:
        assert wire.models is not None
        body, names = wire.models
        assert inquiry.read(body) == names


@each_example
def test_context_is_found(serving_format: ServingFormat, wire: Wire) -> None:
    inquiry = serving_format.find_context(make_serving())

    assert (inquiry is not None) is (Ability.CONTEXT in serving_format.abilities)
    if inquiry is not None:
        assert wire.context is not None
        body, tokens = wire.context
        assert inquiry.read(body) == tokens


@each_example
@given(data=st.data())
def test_anything_a_server_says_of_itself_is_read_or_refused(
    serving_format: ServingFormat, wire: Wire, data: st.DataObject
) -> None:
    inquiries = (serving_format.list_models(), serving_format.find_context(make_serving()))
    for inquiry, told in zip(inquiries, (wire.models, wire.context), strict=True):
        if inquiry is None or told is None:
            continue
        document = orjson.loads(told[0])
        way = data.draw(st.sampled_from(places_in(document)))
        broken = orjson.dumps(with_value_at(document, way, data.draw(JSON)))
        try:
            found = inquiry.read(broken)
        except FormatError:
            continue
        assert found is None or isinstance(found, int | tuple)
        if isinstance(found, int):
            assert found >= 0


# --- Requests ---------------------------------------------------------------------------------

COMPLETIONS = {
    "chat": asked(SYSTEM, ASK),
    "text": asked(text="<PRE>a<SUF>b<MID>"),
    "all set": asked(ASK, temperature=0.5, top_p=0.9, stop=("</s>",)),
}


@each_format
@pytest.mark.parametrize("name", COMPLETIONS)
@pytest.mark.parametrize("stream", [True, False])
def test_request_is_json_to_a_plain_path(
    serving_format: ServingFormat, name: str, *, stream: bool
) -> None:
    request = serving_format.build_request(make_serving(), COMPLETIONS[name], stream=stream)

    assert request.method == "POST"
    assert orjson.loads(orjson.dumps(request.body)) == request.body
    assert request.path.startswith("/")
    assert not {"?", "#", "%", "\\"} & set(request.path)
    assert not {"", ".", ".."} & set(request.path[1:].split("/"))


@each_format
def test_request_that_does_not_stream_never_asks_to(serving_format: ServingFormat) -> None:
    request = serving_format.build_request(make_serving(), asked(ASK), stream=False)

    assert request.body is not None
    assert request.body.get("stream", False) is False
    assert "stream" not in request.path


@each_format
def test_what_is_not_set_is_left_to_the_server(serving_format: ServingFormat) -> None:
    request = serving_format.build_request(make_serving(), asked(ASK), stream=False)

    sent = orjson.dumps(request.body)
    assert not any(name in sent for name in (b"temperature", b"top_p", b'"stop', b"stop_words"))


@each_format
def test_turn_tokens_of_ours_are_never_inside_a_chat_message(serving_format: ServingFormat) -> None:
    serving = make_serving(family="mistral-7b", has_system_role=False)
    talk = asked(SYSTEM, ASK, Message("assistant", "An agent"), Message("user", "More?"))

    request = serving_format.build_request(serving, talk, stream=False)

    assert request.body is not None
    if "messages" in request.body:
        assert b"[INST]" not in orjson.dumps(request.body)
        assert request.body["messages"][0] == {
            "role": "user",
            "content": "Be brief.\n\nWhat is a runner?",
        }
    else:
        assert b"[INST]" in orjson.dumps(request.body)


@each_format
def test_native_fill_in_middle_takes_the_place_of_a_chat_where_it_works(
    serving_format: ServingFormat,
) -> None:
    gap = FillInMiddle("def area(", ")\n")
    completion = asked(ASK)
    completion = type(completion)(completion.sampling, completion.messages, fill_in_middle=gap)

    serving = make_serving(fills_in_middle=True)
    request = serving_format.build_request(serving, completion, stream=False)

    is_native = b"What is a runner?" not in orjson.dumps(request.body)
    assert is_native is (Ability.FILL_IN_MIDDLE in serving_format.abilities)


@each_format
def test_headers_say_what_is_taken_and_carry_the_key(serving_format: ServingFormat) -> None:
    headers = serving_format.headers(make_serving(api_key=Secret("sk-1")), stream=True)

    assert headers == {
        "Content-Type": "application/json",
        "Accept": next(iter(serving_format.framings)),
        "Authorization": "Bearer sk-1",
    }


@each_format
def test_no_key_sends_no_header_for_it(serving_format: ServingFormat) -> None:
    headers = serving_format.headers(make_serving(), stream=False)

    assert headers == {"Content-Type": "application/json", "Accept": "application/json"}
