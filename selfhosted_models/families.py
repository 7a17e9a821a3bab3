"""Model families: the model lines that prompts target. A closed list, referred to by id."""

import re
from dataclasses import dataclass
from enum import StrEnum


class ModelFamily(StrEnum):
    """The ids stored in the database, in configuration documents and in prompt folders."""

    MISTRAL_7B = "mistral-7b"
    MIXTRAL_8X7B_INSTRUCT = "mixtral-8x7b-instruct"
    MIXTRAL_8X22B = "mixtral-8x22b"
    CODEGEMMA_7B_IT = "codegemma-7b-it"
    CODEGEMMA_2B = "codegemma-2b"
    GENERAL = "general"


@dataclass(frozen=True, slots=True)
class FamilyFacts:
    """What is true of a family wherever it is served.

    Attributes:
        title: The name shown to people.
        wire_names: The names GitLab uses for it (`model_metadata.name`, `model_name`).
        has_system_role: Whether its chat template takes a system message. Without one, the system
            text is folded into the first user turn.
        is_on_supported_list: False for models chosen at the admin's own judgement.
    """

    title: str
    wire_names: tuple[str, ...]
    has_system_role: bool = True
    is_on_supported_list: bool = True


#: Every name GitLab sends for a model line that has no family of its own here.
GENERAL_WIRE_NAMES = (
    "general",
    "codestral",
    "codellama",
    "deepseekcoder",
    "llama3",
    "gpt",
    "claude_3",
    "claude_3.5",
    "gemini",
    "qwen",
    "qwen2p5-coder-7b",
)

FAMILIES: dict[ModelFamily, FamilyFacts] = {
    ModelFamily.MISTRAL_7B: FamilyFacts("Mistral 7B", ("mistral",), has_system_role=False),
    ModelFamily.MIXTRAL_8X7B_INSTRUCT: FamilyFacts(
        "Mixtral 8x7B Instruct", ("mixtral",), has_system_role=False
    ),
    ModelFamily.MIXTRAL_8X22B: FamilyFacts("Mixtral 8x22B", ("mixtral",), has_system_role=False),
    ModelFamily.CODEGEMMA_7B_IT: FamilyFacts(
        "CodeGemma 7B IT", ("codegemma", "codegemma_7b"), has_system_role=False
    ),
    ModelFamily.CODEGEMMA_2B: FamilyFacts(
        "CodeGemma 2B", ("codegemma_2b", "codegemma"), has_system_role=False
    ),
    ModelFamily.GENERAL: FamilyFacts(
        "General (OpenAI-compatible)", GENERAL_WIRE_NAMES, is_on_supported_list=False
    ),
}

WIRE_NAMES: frozenset[str] = frozenset(
    name for facts in FAMILIES.values() for name in facts.wire_names
)


def family_of_wire_name(wire_name: str) -> ModelFamily | None:
    """Return the family a wire name stands for when no deployment was matched, None if unknown.

    A name that fits several families means the first of them in the catalogue: `mixtral` is
    Mixtral 8x7B Instruct and `codegemma` is CodeGemma 7B IT. Every `qwen…` name is accepted,
    because GitLab sends one name per Qwen release.
    """
    for family, facts in FAMILIES.items():
        if wire_name in facts.wire_names:
            return family
    return ModelFamily.GENERAL if wire_name.startswith("qwen") else None


def fits_wire_name(family: ModelFamily, wire_name: str) -> bool:
    """Tell whether GitLab may call a model of `family` by `wire_name`."""
    if wire_name in FAMILIES[family].wire_names:
        return True
    return family is ModelFamily.GENERAL and wire_name.startswith("qwen")


#: What is in the names people serve models by; the first that is found decides.
_MODEL_NAMES = (
    (re.compile(r"code-?gemma.*\b2b"), ModelFamily.CODEGEMMA_2B),
    (re.compile(r"code-?gemma"), ModelFamily.CODEGEMMA_7B_IT),
    (re.compile(r"mixtral.*8x22b"), ModelFamily.MIXTRAL_8X22B),
    (re.compile(r"mixtral"), ModelFamily.MIXTRAL_8X7B_INSTRUCT),
    # Mistral's other sizes (small, nemo, large) are other models; Ollama's plain name is the 7B.
    (re.compile(r"mistral.*\b7b|^mistral(:latest|:instruct)?$"), ModelFamily.MISTRAL_7B),
)


def guess_family(model_identifier: str) -> ModelFamily:
    """Return the family a served model's name speaks of; `general` where it speaks of none."""
    name = model_identifier.lower()
    found = (family for pattern, family in _MODEL_NAMES if pattern.search(name))
    return next(found, ModelFamily.GENERAL)
