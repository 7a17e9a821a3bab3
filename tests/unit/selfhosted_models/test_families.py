import pytest

from selfhosted_models.families import (
    FAMILIES,
    WIRE_NAMES,
    ModelFamily,
    family_of_wire_name,
    fits_wire_name,
    guess_family,
)


@pytest.mark.parametrize(
    ("wire_name", "family"),
    [
        ("mistral", "mistral-7b"),
        ("mixtral", "mixtral-8x7b-instruct"),
        ("codegemma", "codegemma-7b-it"),
        ("codegemma_7b", "codegemma-7b-it"),
        ("codegemma_2b", "codegemma-2b"),
        ("general", "general"),
        ("codestral", "general"),
        ("codellama", "general"),
        ("deepseekcoder", "general"),
        ("llama3", "general"),
        ("gpt", "general"),
        ("claude_3", "general"),
        ("qwen2p5-coder-7b", "general"),
        ("qwen-of-next-year", "general"),
    ],
)
def test_wire_name_stands_for_a_family(wire_name: str, family: str) -> None:
    assert family_of_wire_name(wire_name) == family


@pytest.mark.parametrize("wire_name", ["", "Mistral", "mistral-7b", "bloom", "a-qwen"])
def test_unknown_wire_name_stands_for_none(wire_name: str) -> None:
    assert family_of_wire_name(wire_name) is None
    assert not any(fits_wire_name(family, wire_name) for family in ModelFamily)


@pytest.mark.parametrize(
    ("wire_name", "families"),
    [
        ("mistral", {"mistral-7b"}),
        ("mixtral", {"mixtral-8x7b-instruct", "mixtral-8x22b"}),
        ("codegemma", {"codegemma-7b-it", "codegemma-2b"}),
        ("codegemma_7b", {"codegemma-7b-it"}),
        ("codegemma_2b", {"codegemma-2b"}),
        ("gpt", {"general"}),
        ("qwen-of-next-year", {"general"}),
    ],
)
def test_wire_name_fits_the_families_it_may_mean(wire_name: str, families: set[str]) -> None:
    assert {family for family in ModelFamily if fits_wire_name(family, wire_name)} == families


def test_every_wire_name_stands_for_a_family_it_fits() -> None:
    for wire_name in WIRE_NAMES:
        family = family_of_wire_name(wire_name)

        assert family is not None
        assert fits_wire_name(family, wire_name)


def test_only_general_is_off_the_supported_list() -> None:
    listed = [family.value for family, facts in FAMILIES.items() if facts.is_on_supported_list]

    assert listed == [
        "mistral-7b",
        "mixtral-8x7b-instruct",
        "mixtral-8x22b",
        "codegemma-7b-it",
        "codegemma-2b",
    ]
    assert list(FAMILIES) == list(ModelFamily)


def test_only_general_is_trusted_with_a_system_role() -> None:
    assert [family for family, facts in FAMILIES.items() if facts.has_system_role] == ["general"]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b"),
        ("mistral:7b-instruct-q4_0", "mistral-7b"),
        ("mistral", "mistral-7b"),
        ("mistral:latest", "mistral-7b"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b-instruct"),
        ("mixtral:8x22b", "mixtral-8x22b"),
        ("google/codegemma-7b-it", "codegemma-7b-it"),
        ("codegemma", "codegemma-7b-it"),
        ("codegemma:2b", "codegemma-2b"),
        ("codegemma-1.1-2b", "codegemma-2b"),
        ("mistral-small-24b", "general"),
        ("mistral-nemo", "general"),
        ("Qwen2.5-Coder-7B", "general"),
        ("", "general"),
    ],
)
def test_a_served_name_speaks_of_a_family(name: str, family: str) -> None:
    assert guess_family(name) == family
