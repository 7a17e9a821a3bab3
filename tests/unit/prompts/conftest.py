from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from prompts.definition import PromptDefinition
from prompts.loader import LoadedPrompts, load_definitions
from prompts.registry import PromptRegistry

#: The shortest definition there is.
SMALL = "title: Small\ntext: hello\nparameters: {max_output_tokens: 8}\n"

WriteFiles = Callable[[Mapping[str, str]], Path]
DefineOne = Callable[..., PromptDefinition]


@pytest.fixture(scope="session")
def shipped() -> LoadedPrompts:
    return load_definitions()


@pytest.fixture(scope="session")
def registry(shipped: LoadedPrompts) -> PromptRegistry:
    return shipped.registry


@pytest.fixture
def small() -> str:
    return SMALL


@pytest.fixture
def write_files(tmp_path: Path) -> WriteFiles:
    """Write files into a folder of definitions and return the folder."""

    def write(files: Mapping[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def define(write_files: WriteFiles) -> DefineOne:
    """Load a folder that holds one definition, and return it."""

    def load(source: str, partials: Mapping[str, str] | None = None) -> PromptDefinition:
        root = write_files({"duo_chat/general/1.0.0.yml": source, **(partials or {})})
        loaded = load_definitions(root)
        assert loaded.problems == ()
        return loaded.registry.find("duo_chat", ["general"])

    return load
