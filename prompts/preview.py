"""What would be asked of a model, shown without asking it. Pure."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from feature_config.catalogue import PROMPT_IDS, WIRE_PROMPTS, Feature
from prompts.errors import PromptMissing
from prompts.registry import PromptRegistry, variants_for
from prompts.render import RenderedPrompt, render
from selfhosted_models.families import ModelFamily


def prompt_of(name: str) -> str:
    """Return the folder of a prompt by a feature's id, or by the id GitLab calls it by.

    Raises:
        PromptMissing: There is none of this name.
    """
    if name in tuple(Feature):
        return name
    if name not in WIRE_PROMPTS:
        raise PromptMissing(name, ())
    return WIRE_PROMPTS[name].prompt


def preview(
    registry: PromptRegistry,
    prompt: str,
    family: ModelFamily,
    inputs: Mapping[str, Any],
    *,
    wire_name: str | None = None,
    context_tokens: int | None = None,
    constraint: str | None = None,
    pin: str | None = None,
) -> dict[str, Any]:
    """Return a prompt as it would be sent, ready for JSON.

    Args:
        registry: Where it is.
        prompt: Its folder.
        family: Of the model; for a deployment, its family.
        inputs: As a caller sends them.
        wire_name: Of the model, where it has a variant of its own.
        context_tokens: Of the deployment; None when not known.
        constraint: On the version, the caller's.
        pin: On the version, the admin's.

    Raises:
        PromptError: There is no such prompt or version, or the inputs do not fit it.
    """
    definition = registry.find(prompt, variants_for(family, wire_name), constraint, pin)
    return _document(render(definition, inputs, context_tokens=context_tokens), context_tokens)


def lines_of(shown: Mapping[str, Any]) -> list[str]:
    """Return a preview as people read it: what it is, then what is asked."""
    facts = {name: value for name, value in shown.items() if name not in {"messages", "text"}}
    lines = [f"{name}: {_told(value)}" for name, value in facts.items()]
    messages = shown.get("messages", [{"role": "text", "content": shown.get("text")}])
    for message in messages:
        lines += ["", f"--- {message['role']}", *message["content"].splitlines()]
    return lines


def difference_of(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return what differs between two previews, in lines as `diff -u` writes them."""
    before, after = (f"{item['variant']} {item['version']}" for item in (one, other))
    return list(difflib.unified_diff(lines_of(one), lines_of(other), before, after, lineterm=""))


def _told(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _document(rendered: RenderedPrompt, context_tokens: int | None) -> dict[str, Any]:
    definition, completion = rendered.definition, rendered.completion
    if definition is None:
        raise ValueError("what a caller wrote has no preview")
    asked: dict[str, Any] = {"text": completion.text}
    if completion.text is None:
        asked = {"messages": [asdict(message) for message in completion.messages]}
    return {
        "prompt_id": PROMPT_IDS.get(definition.prompt, definition.prompt),
        "variant": definition.variant,
        "version": definition.version,
        "digest": definition.digest,
        "title": definition.title,
        "output": definition.output.value,
        **asked,
        "parameters": {**asdict(completion.sampling), "stop": list(completion.sampling.stop)},
        "budget": {
            "input_tokens": rendered.input_tokens,
            "limit_tokens": rendered.limit_tokens,
            "context_tokens": context_tokens,
        },
        "cut_inputs": list(rendered.cut_inputs),
    }
