"""How formats are found, shown on the one that the documentation tells how to add."""

import importlib
import re
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from selfhosted_models.models import serving_format_choices
from selfhosted_models.serving_formats.base import Ability, ServingFormat
from selfhosted_models.serving_formats.registry import SERVING_FORMATS, discover
from tests.factories import make_serving
from tests.unit.selfhosted_models.serving_formats.wire import ASK, Wire, asked, hear

ROOT = Path(__file__).parents[4]
TABLE = ROOT / "docs" / "serving-formats.md"
RECIPE = ROOT / "docs" / "adding-a-serving-format.md"
_FILE = re.compile(r"^`([^`]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_formats_are_those_of_the_configuration_document() -> None:
    assert set(SERVING_FORMATS) == {
        *("openai_chat", "openai_text", "tgi", "ollama", "llamacpp", "mistral_fim", "triton")
    }


def test_each_format_is_known_by_the_name_of_its_folder() -> None:
    for key, serving_format in SERVING_FORMATS.items():
        assert serving_format.key == key
        assert type(serving_format).__module__.split(".")[-2] == key


def test_admins_choose_among_all_of_them_by_title() -> None:
    choices = serving_format_choices()

    assert sorted(choices) == sorted((key, item.title) for key, item in SERVING_FORMATS.items())
    assert choices == sorted(choices, key=lambda choice: choice[1].casefold())


def test_documentation_says_what_each_format_can_do() -> None:
    header, rows = _rows_below("fill_in_middle")

    documented = {
        row[0].strip("`"): {name for name, cell in zip(header, row, strict=True) if cell == "yes"}
        for row in rows
    }
    assert documented == {key: set(item.abilities) for key, item in SERVING_FORMATS.items()}
    assert set(header[1:]) == set(Ability)


def _rows_below(column: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of the table that has this column."""
    lines = iter(TABLE.read_text().splitlines())
    header = next(_cells(line) for line in lines if f" {column} |" in line)
    next(lines)
    return header, [_cells(line) for line in takewhile(bool, lines)]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The files that the documentation lists, below a folder of their own."""
    for name, text in _FILE.findall(RECIPE.read_text()):
        path = tmp_path / "recipe" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path / "recipe"
    for name in [name for name in sys.modules if name.partition(".")[0] == "recipe"]:
        del sys.modules[name]


def test_documented_format_is_found_and_works(recipe: Path) -> None:
    package = "recipe.selfhosted_models.serving_formats"
    folder = recipe / "selfhosted_models" / "serving_formats"

    (found,) = discover(package, [str(folder)]).values()

    wire: Wire = importlib.import_module(
        f"recipe.tests.unit.selfhosted_models.serving_formats.{found.key}.wire"
    ).WIRE
    assert isinstance(found, ServingFormat)
    assert found.build_request(make_serving(), asked(ASK), stream=True).body
    heard = hear(found, wire.media_type, [wire.stream])
    assert (heard.text, heard.is_whole) == ("Grüße, 世界 🦊", True)
    assert found.parse_body(wire.body).text == heard.text


def test_documentation_lists_every_file_to_touch(recipe: Path) -> None:
    files = {str(path.relative_to(recipe)) for path in recipe.rglob("*.py")}

    assert files == {
        "selfhosted_models/serving_formats/parrot/__init__.py",
        "selfhosted_models/serving_formats/parrot/format.py",
        "tests/unit/selfhosted_models/serving_formats/parrot/wire.py",
        "tests/unit/selfhosted_models/serving_formats/parrot/test_requests.py",
    }
