from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.schemas.code import CompletionRequest, GenerationRequest
from gateway.schemas.openai import ChatCompletionRequest
from gateway.schemas.prompts import PromptRequest
from selfhosted_models.families import WIRE_NAMES

FILE = {"file_name": "a.py", "content_above_cursor": "", "content_below_cursor": ""}
COUNTS = {"requests": 1, "accepts": 1, "errors": 0}
ITEM = {"type": "file", "name": "a.py", "content": "x"}
MODEL = {"name": "mistral", "provider": "openai", "endpoint": "http://gpu1:8000/v1"}
CHAT = {"model": "duo_chat", "messages": [{"role": "user", "content": "Hi"}]}

SCHEMAS: dict[str, tuple[TypeAdapter[Any], dict[str, Any]]] = {
    "completion": (TypeAdapter(CompletionRequest), {"prompt_version": 2, "current_file": FILE}),
    "generation": (
        TypeAdapter(GenerationRequest),
        {"prompt_version": 2, "current_file": FILE, "prompt": ""},
    ),
    "prompt": (TypeAdapter(PromptRequest), {"inputs": {}}),
    "chat": (TypeAdapter(ChatCompletionRequest), CHAT),
}


def read(schema: str, **changes: Any) -> Any:
    adapter, body = SCHEMAS[schema]
    return adapter.validate_python({**body, **changes})


def faults(schema: str, **changes: Any) -> list[tuple[str, tuple[Any, ...]]]:
    """Return type and place of each fault, as the wire shows them below `body`."""
    with pytest.raises(ValidationError) as caught:
        read(schema, **changes)
    return [(fault["type"], fault["loc"]) for fault in caught.value.errors()]


def file(**changes: Any) -> dict[str, Any]:
    return {**FILE, **changes}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_unknown_members_are_passed_over(schema: str) -> None:
    read(schema, anything={"at": ["all"]}, stream=False)


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("sent", ["true", "True", "yes", 1])
def test_bools_are_read_from_text(schema: str, sent: object) -> None:
    assert read(schema, stream=sent).stream is True


@pytest.mark.parametrize(("field", "sent"), [("project_id", "41"), ("choices_count", " 3 ")])
def test_ints_are_read_from_text(field: str, sent: str) -> None:
    assert getattr(read("completion", **{field: sent}), field) == int(sent)


@pytest.mark.parametrize("schema", ["completion", "generation"])
@pytest.mark.parametrize(
    ("version", "fault"),
    [
        (None, "union_tag_invalid"),
        ("2", "union_tag_invalid"),
        (0, "union_tag_invalid"),
        (4, "union_tag_invalid"),
        ([], "union_tag_invalid"),
    ],
)
def test_version_must_be_one_of_three_numbers(schema: str, version: object, fault: str) -> None:
    assert faults(schema, prompt_version=version) == [(fault, ())]


def test_absent_version_is_told_apart() -> None:
    adapter, _ = SCHEMAS["completion"]

    with pytest.raises(ValidationError) as caught:
        adapter.validate_python({"current_file": FILE})

    assert [fault["type"] for fault in caught.value.errors()] == ["union_tag_not_found"]


AT_THE_LIMIT: list[tuple[str, dict[str, Any]]] = [
    ("completion", {"current_file": file(file_name="x" * 255)}),
    ("completion", {"current_file": file(file_name=f"  {'x' * 255}  ")}),
    ("completion", {"current_file": file(language_identifier="x" * 255)}),
    ("completion", {"current_file": file(content_above_cursor="x" * 100_000)}),
    ("completion", {"current_file": file(content_below_cursor="\u00e9" * 100_000)}),
    ("completion", {"project_path": "x" * 255}),
    ("completion", {"model_name": "x" * 50}),
    ("completion", {"telemetry": [COUNTS] * 10}),
    ("completion", {"telemetry": [{**COUNTS, "lang": "x" * 50, "experiments": []}]}),
    ("completion", {"context": [ITEM] * 100}),
    ("completion", {"context": [{**ITEM, "type": "x" * 1024, "name": "x" * 1024}]}),
    ("completion", {"context": [{**ITEM, "content": "x" * 500_000}]}),
    ("prompt", {"model_metadata": {**MODEL, "name": "x" * 255, "identifier": "x" * 255}}),
    ("chat", {"messages": CHAT["messages"] * 256}),  # type: ignore[operator]
    ("chat", {"temperature": 2, "top_p": 1, "max_tokens": 8192, "stop": ["x" * 225] * 4}),
]

OVER_THE_LIMIT: list[tuple[str, dict[str, Any], str, tuple[Any, ...]]] = [
    (
        "completion",
        {"current_file": file(file_name="x" * 256)},
        "string_too_long",
        (2, "current_file", "file_name"),
    ),
    (
        "completion",
        {"current_file": file(content_above_cursor="x" * 100_001)},
        "string_too_long",
        (2, "current_file", "content_above_cursor"),
    ),
    ("completion", {"project_path": "x" * 256}, "string_too_long", (2, "project_path")),
    ("completion", {"model_name": "x" * 51}, "string_too_long", (2, "model_name")),
    ("completion", {"telemetry": [COUNTS] * 11}, "too_long", (2, "telemetry")),
    ("completion", {"telemetry": [{}]}, "missing", (2, "telemetry", 0, "requests")),
    ("completion", {"context": [ITEM] * 101}, "too_long", (2, "context")),
    (
        "completion",
        {"context": [{**ITEM, "content": "x" * 500_001}]},
        "string_too_long",
        (2, "context", 0, "content"),
    ),
    ("completion", {"model_provider": "openai"}, "literal_error", (2, "model_provider")),
    ("completion", {"prompt": ["x"]}, "string_type", (2, "prompt")),
    ("generation", {"prompt": None}, "string_type", (2, "prompt")),
    ("generation", {"prompt_version": 3, "prompt": "x"}, "list_type", (3, "prompt")),
    ("prompt", {"inputs": []}, "dict_type", ("inputs",)),
    ("prompt", {"prompt_version": 1}, "string_type", ("prompt_version",)),
    (
        "prompt",
        {"model_metadata": {**MODEL, "endpoint": ""}},
        "url_parsing",
        ("model_metadata", "endpoint"),
    ),
    (
        "prompt",
        {"model_metadata": {**MODEL, "endpoint": "http://h/" + "x" * 255}},
        "url_too_long",
        ("model_metadata", "endpoint"),
    ),
    (
        "prompt",
        {"model_metadata": {"name": "mistral", "endpoint": "http://h"}},
        "missing",
        ("model_metadata", "provider"),
    ),
    ("chat", {"messages": []}, "too_short", ("messages",)),
    ("chat", {"messages": CHAT["messages"] * 257}, "too_long", ("messages",)),  # type: ignore[operator]
    ("chat", {"messages": [{"role": "tool"}]}, "literal_error", ("messages", 0, "role")),
    ("chat", {"temperature": 2.1}, "less_than_equal", ("temperature",)),
    ("chat", {"max_tokens": 0}, "greater_than_equal", ("max_tokens",)),
    ("chat", {"stop": ["a"] * 5}, "too_long", ("stop",)),
    ("chat", {"stop": ""}, "string_too_short", ("stop", 0)),
]


@pytest.mark.parametrize(("schema", "changes"), AT_THE_LIMIT)
def test_value_at_its_limit_is_accepted(schema: str, changes: dict[str, Any]) -> None:
    read(schema, **changes)


@pytest.mark.parametrize(("schema", "changes", "fault", "place"), OVER_THE_LIMIT)
def test_value_over_its_limit_is_told_with_its_place(
    schema: str, changes: dict[str, Any], fault: str, place: tuple[Any, ...]
) -> None:
    assert (fault, place) in faults(schema, **changes)


@pytest.mark.parametrize("provider", ["litellm", "codestral"])
@pytest.mark.parametrize("schema", ["completion", "generation"])
@pytest.mark.parametrize("name", [*sorted(WIRE_NAMES), "qwen3", "qwen2p5-coder-32b"])
def test_every_wire_name_is_accepted(schema: str, provider: str, name: str) -> None:
    found = read(schema, model_provider=provider, model_name=f" {name} ")

    assert found.model_name == name


@pytest.mark.parametrize(
    ("schema", "use_case"),
    [("completion", "code completions"), ("generation", "code generations")],
)
def test_unknown_model_name_is_refused_in_the_contracts_words(schema: str, use_case: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(schema, model_provider="litellm", model_name="gizmo")

    (fault,) = caught.value.errors()
    assert fault["loc"] == (2, "model_name")
    assert fault["msg"] == (
        f"Value error, model gizmo is not supported by use case {use_case} and provider litellm"
    )


@pytest.mark.parametrize("provider", [None, "vertex-ai", "anthropic", "fireworks_ai"])
def test_name_of_a_vendors_model_is_not_checked(provider: str | None) -> None:
    assert read("completion", model_provider=provider, model_name="gizmo").model_name == "gizmo"


def test_absent_members_have_their_defaults() -> None:
    found = read("completion")

    assert (found.stream, found.choices_count, found.telemetry, found.context) == (False, 0, [], [])
    assert (found.prompt, found.model_name, found.model_endpoint) == (None, None, None)


def test_prompt_of_the_third_version_is_a_list_of_messages() -> None:
    found = read("generation", prompt_version=3, prompt=[{"role": "user", "content": "Hi"}])

    assert [(item.role, item.content) for item in found.prompt] == [("user", "Hi")]


@pytest.mark.parametrize(
    ("content", "joined"),
    [
        ("Hi", "Hi"),
        ([{"type": "text", "text": "H"}, {"type": "text", "text": "i"}], "Hi"),
        ([], ""),
    ],
)
def test_text_parts_of_a_message_are_joined(content: object, joined: str) -> None:
    found = read("chat", messages=[{"role": "user", "content": content}])

    assert found.messages[0].content == joined


@pytest.mark.parametrize("content", [None, 7, [{"type": "image_url", "image_url": {}}], ["Hi"]])
def test_other_content_of_a_message_is_refused(content: object) -> None:
    found = faults("chat", messages=[{"role": "user", "content": content}])

    assert [place for _, place in found] == [("messages", 0, "content")]


@pytest.mark.parametrize(("stop", "read_as"), [(None, ()), ("a", ("a",)), (["a", "b"], ("a", "b"))])
def test_stop_may_be_one_text_or_several(stop: object, read_as: tuple[str, ...]) -> None:
    assert read("chat", stop=stop).stop == read_as
