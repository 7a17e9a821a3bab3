from pathlib import Path

from prompts.checks import check_definitions, error_of
from prompts.loader import DefinitionProblem


def test_shipped_definitions_pass() -> None:
    assert check_definitions() == []


def test_problem_becomes_an_error_that_names_file_and_line() -> None:
    problem = DefinitionProblem(Path("duo_chat/general/1.0.0.yml"), 3, "is wrong")

    error = error_of(problem)

    assert error.id == "prompts.E001"
    assert error.msg == "duo_chat/general/1.0.0.yml:3: is wrong"
    assert error.hint
