"""From a document to a prompt definition: the keys of the format, and what each may hold."""

import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from prompts.answer_rules import ANSWER_RULES
from prompts.contract import AnswerContract
from prompts.control_tokens import ControlTokens
from prompts.definition import (
    Conversation,
    FillInMiddleTemplate,
    FillTemplate,
    InputSpec,
    InputType,
    Keep,
    MessageTemplate,
    Output,
    PromptDefinition,
    TruncationRule,
)
from prompts.documents import Document
from prompts.errors import InputInvalid
from prompts.inputs import check_input, texts_in
from prompts.section import Section
from prompts.templates import Templates
from selfhosted_models.serving_formats.base import Role, Sampling

_KEEPS_OF = {
    InputType.STRING: (Keep.START, Keep.END),
    InputType.LIST: (Keep.START, Keep.END),
    InputType.MESSAGES: (Keep.NEWEST,),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Which definition a file holds: the parts of its path."""

    prompt: str
    variant: str
    version: str


def parse_definition(
    identity: Identity, document: Document, templates: Templates, family_tokens: tuple[str, ...]
) -> PromptDefinition:
    """Read a whole definition, its base already merged in.

    Args:
        identity: What it is.
        document: What it says.
        templates: Compiles its templates.
        family_tokens: Control tokens of the variant, besides those the document names.

    Raises:
        DefinitionInvalid: Something in it is unknown, missing or wrong.
    """
    section = Section(document)
    section.allow(
        *("title", "inputs", "messages", "text", "fill_in_middle", "parameters"),
        *("budget_tokens", "truncation", "control_tokens", "output", "answer"),
    )
    section.require("title", "parameters")
    if ("messages" in section.data) == ("text" in section.data):
        section.fail("needs either 'messages' or 'text', and not both")
    tokens = ControlTokens((*family_tokens, *check_control_tokens(section, "control_tokens")))
    inputs = MappingProxyType(
        {name: _input(name, item) for name, item in section.named_sections("inputs")}
    )
    parts = _Parts(inputs, templates)
    output = section.choice("output", Output, Output.TEXT)
    return PromptDefinition(
        prompt=identity.prompt,
        variant=identity.variant,
        version=identity.version,
        title=section.text("title"),
        inputs=inputs,
        messages=tuple(parts.message(item) for item in section.sections("messages")),
        text=parts.template(section, "text") if "text" in section.data else None,
        fill_in_middle=(
            parts.fill_in_middle(section.section("fill_in_middle"))
            if "fill_in_middle" in section.data
            else None
        ),
        sampling=_sampling(section.section("parameters")),
        budget_tokens=section.count("budget_tokens"),
        truncation=tuple(_truncation(item, inputs) for item in section.sections("truncation")),
        control_tokens=tokens,
        output=output,
        contract=_contract(section, output),
        digest=_digest(document, parts.partials, tokens),
    )


class _Parts:
    """Compiles what is sent, and remembers the partials it took."""

    def __init__(self, inputs: Mapping[str, InputSpec], templates: Templates) -> None:
        self.inputs = inputs
        self.templates = templates
        self.partials: dict[str, str] = {}

    def template(self, section: Section, key: str) -> FillTemplate:
        source = section.text(key)
        if key == "template":  # naming a partial is the same as including it
            source = "{% include " + json.dumps(source) + " %}"
        compiled = self.templates.compile(source, self.inputs.keys(), section.place_of(key))
        self.partials |= compiled.partials
        return compiled.fill

    def fill_in_middle(self, section: Section) -> FillInMiddleTemplate:
        section.allow("prefix", "suffix")
        section.require("prefix", "suffix")
        return FillInMiddleTemplate(
            self.template(section, "prefix"), self.template(section, "suffix")
        )

    def message(self, section: Section) -> MessageTemplate | Conversation:
        if "from" in section.data:
            return self._conversation(section)
        section.allow("role", "template", "content")
        section.require("role")
        role = section.data["role"]
        if role not in get_args(Role):
            section.fail(f"must be one of {', '.join(get_args(Role))}", "role")
        if ("template" in section.data) == ("content" in section.data):
            section.fail("needs either 'template' or 'content', and not both")
        key = "template" if "template" in section.data else "content"
        return MessageTemplate(role, self.template(section, key))

    def _conversation(self, section: Section) -> Conversation:
        section.allow("from")
        name = section.text("from")
        if name not in self.inputs or self.inputs[name].type is not InputType.MESSAGES:
            section.fail("must name an input of type messages", "from")
        return Conversation(name)


def check_control_tokens(section: Section, key: str) -> tuple[str, ...]:
    """Return a list of control tokens, each fit to be neutralised."""
    tokens = section.texts(key)
    for position, token in enumerate(tokens):
        if len(token) < 2 or any(character in string.whitespace for character in token):
            section.fail("must have two characters or more and no white space", key, position)
    return tokens


def _input(name: str, section: Section) -> InputSpec:
    section.allow("type", "required", "default", "max_chars", "max_items", "max_value")
    if not name.isidentifier():
        section.fail("an input's name is letters, digits and underscores")
    spec = InputSpec(
        name=name,
        type=section.choice("type", InputType, InputType.STRING),
        is_required=section.flag("required"),
        default=section.data.get("default"),
        max_chars=section.count("max_chars"),
        max_items=section.count("max_items"),
        max_value=section.count("max_value"),
    )
    _check_limits(spec, section)
    if spec.default is not None:
        if spec.is_required:
            section.fail("what is required needs no default", "default")
        try:
            check_input(spec, spec.default)
        except InputInvalid as error:
            section.fail(error.why, "default")
    return spec


def _check_limits(spec: InputSpec, section: Section) -> None:
    is_integer = spec.type is InputType.INTEGER
    if spec.max_items is not None and (is_integer or spec.type is InputType.STRING):
        section.fail(f"an input of type {spec.type} has no items", "max_items")
    if is_integer and spec.max_chars is not None:
        section.fail("an integer has no characters", "max_chars")
    if not is_integer and spec.max_value is not None:
        section.fail("only an integer has a value to limit", "max_value")
    if is_integer and not spec.is_required and spec.default is None:
        section.fail("an integer that is not required needs a default")


def _contract(section: Section, output: Output) -> AnswerContract | None:
    if output is not Output.JSON:
        if "answer" in section.data:
            section.fail("only an output of json has one", "answer")
        return None
    section.require("answer")
    answer = section.section("answer")
    answer.allow("schema", "begun_with", "tag", "rule")
    answer.require("schema")
    schema = answer.section("schema")
    try:
        Draft202012Validator.check_schema(schema.data)
    except SchemaError as error:
        schema.fail(f"is not a JSON Schema: {error.message}", *error.absolute_path)
    if {"$ref", "$dynamicRef"} & set(texts_in(schema.data)):
        schema.fail("references are not followed: write out what they stand for")
    begun_with = answer.text("begun_with") if "begun_with" in answer.data else None
    if begun_with is not None and not _is_text_always(schema.data, begun_with):
        answer.fail("must be a key that the schema requires, of type string", "begun_with")
    rule = answer.text("rule") if "rule" in answer.data else None
    if rule is not None and rule not in ANSWER_RULES:
        answer.fail(f"must be one of {', '.join(ANSWER_RULES)}", "rule")
    return AnswerContract(
        Draft202012Validator(schema.data),
        begun_with=begun_with,
        tag=answer.text("tag") if "tag" in answer.data else None,
        rule=ANSWER_RULES[rule] if rule else None,
    )


def _is_text_always(schema: Mapping[str, Any], key: str) -> bool:
    value = schema.get("properties", {}).get(key)
    is_text = isinstance(value, dict) and value.get("type") == "string"
    return is_text and key in schema.get("required", ())


def _sampling(parameters: Section) -> Sampling:
    parameters.allow("temperature", "top_p", "max_output_tokens", "stop")
    max_output_tokens = parameters.count("max_output_tokens")
    if max_output_tokens is None:
        parameters.fail("the key 'max_output_tokens' is missing")
    return Sampling(
        max_output_tokens=max_output_tokens,
        temperature=parameters.number("temperature", 0, 2),
        top_p=parameters.number("top_p", 0, 1),
        stop=parameters.texts("stop"),
    )


def _truncation(section: Section, inputs: Mapping[str, InputSpec]) -> TruncationRule:
    section.allow("input", "keep", "at_most_tokens")
    section.require("input", "keep")
    name = section.text("input")
    if name not in inputs:
        section.fail(f"'{name}' is not an input", "input")
    keep = section.choice("keep", Keep, Keep.START)
    options = _KEEPS_OF.get(inputs[name].type, ())
    if keep not in options:
        allowed = f"can keep {' or '.join(options)}" if options else "cannot be cut"
        section.fail(f"an input of type {inputs[name].type} {allowed}", "keep")
    return TruncationRule(name, keep, section.count("at_most_tokens"))


def _digest(document: Document, templates: Mapping[str, str], tokens: ControlTokens) -> str:
    """Return a name for everything that decides what is sent to a model."""
    whole = {"definition": document.data, "templates": templates, "control_tokens": tokens.tokens}
    canonical = json.dumps(whole, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
