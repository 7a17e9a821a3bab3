"""What callers send, checked against what a prompt takes. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from prompts.control_tokens import ControlTokens
from prompts.definition import InputSpec, InputType, PromptDefinition
from prompts.errors import InputInvalid, InputMissing
from selfhosted_models.serving_formats.base import Message, Role

_ROLES = get_args(Role)
#: Of an integer sent as text.
MAX_DIGITS = 9


def accept_inputs(definition: PromptDefinition, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a safe value for every input of a definition; what it does not know is left out.

    Raises:
        InputMissing: A required input was not sent.
        InputInvalid: One has the wrong type, or is too long.
    """
    specs = definition.inputs.values()
    missing = [spec.name for spec in specs if spec.is_required and spec.name not in inputs]
    if missing:
        raise InputMissing(missing)
    values = {spec.name: check_input(spec, inputs.get(spec.name, spec.default)) for spec in specs}
    return {name: _neutralise(value, definition.control_tokens) for name, value in values.items()}


def check_input(spec: InputSpec, value: Any) -> Any:
    """Return a value in the form templates get it; None is the empty value of its type.

    Raises:
        InputInvalid: It has the wrong type, or is too long.
    """
    if spec.type is InputType.INTEGER:
        return _integer(spec, value)
    checked = _of_type(spec, value)
    if any("\0" in text for text in texts_in(checked)):
        raise InputInvalid(spec.name, "holds a NUL character, so it is binary data and not text")
    if spec.max_items is not None and len(checked) > spec.max_items:
        raise InputInvalid(spec.name, f"has {len(checked)} items, more than {spec.max_items}")
    if spec.max_chars is not None:
        chars = sum(len(text) for text in texts_in(checked))
        if chars > spec.max_chars:
            raise InputInvalid(spec.name, f"has {chars} characters, more than {spec.max_chars}")
    return checked


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a value, however deep."""
    match value:
        case str():
            yield value
        case Message():
            yield value.content
        case Mapping():
            for key, item in value.items():
                yield from texts_in(key)
                yield from texts_in(item)
        case list() | tuple():
            for item in value:
                yield from texts_in(item)


def _of_type(spec: InputSpec, value: Any) -> Any:
    match spec.type, value:
        case InputType.STRING, None:
            return ""
        case InputType.STRING, str():
            return value
        case InputType.STRING, int() | float() if not isinstance(value, bool):
            return str(value)  # GitLab sends some ids and counts as numbers
        case InputType.LIST, None:
            return ()
        case InputType.LIST, list() | tuple():
            return tuple(value)
        case InputType.LIST, str():
            return (value,) if value else ()  # GitLab sends some lists joined into one text
        case InputType.OBJECT, None:
            return {}
        case InputType.OBJECT, Mapping():
            return value
        case InputType.MESSAGES, None | list() | tuple():
            return _messages(spec, value or ())
        case _:
            raise InputInvalid(spec.name, f"must be of type {spec.type}")


def _integer(spec: InputSpec, value: Any) -> int:
    if value is None:  # an integer has no empty value
        value = spec.default
    if isinstance(value, str) and value.isdecimal() and len(value) <= MAX_DIGITS:
        value = int(value)
    is_within = isinstance(value, int) and value >= 1 and not isinstance(value, bool)
    if not is_within or (spec.max_value is not None and value > spec.max_value):
        most = "" if spec.max_value is None else f" to {spec.max_value}"
        raise InputInvalid(spec.name, f"must be a whole number from 1{most}")
    return int(value)


def _messages(spec: InputSpec, items: Any) -> tuple[Message, ...]:
    if spec.is_required and not items:
        raise InputInvalid(spec.name, "must have at least one message")
    return tuple(_message(spec.name, position, item) for position, item in enumerate(items))


def _message(name: str, position: int, item: Any) -> Message:
    match item:
        case Message():
            return item
        case {"role": role, "content": str() | None as content} if role in _ROLES:
            return Message(role, content or "")
        case _:
            roles = ", ".join(_ROLES)
            why = f"must have a role ({roles}) and a text as content in message {position + 1}"
            raise InputInvalid(name, why)


def _neutralise(value: Any, control_tokens: ControlTokens) -> Any:
    if isinstance(value, tuple):
        return tuple(_neutralise(item, control_tokens) for item in value)
    if isinstance(value, Message):
        return Message(value.role, control_tokens.neutralise_text(value.content))
    return control_tokens.neutralise(value)
