import pytest

from gateway.languages import detect_language

#: Language, its extensions, its editor ids. Source: wire contract, section 6.4.
TABLE = [
    ("c", "c h", "c"),
    ("cpp", "cpp hpp c++ h++ cc hh C H", "cpp"),
    ("csharp", "cs", "csharp"),
    ("go", "go", "go"),
    ("java", "java", "java"),
    ("js", "js jsx", "javascript javascriptreact"),
    ("php", "php php3 php4 php5 phps phpt", "php"),
    ("python", "py", "python"),
    ("ruby", "rb", "ruby"),
    ("rust", "rs", "rust"),
    ("scala", "scala", "scala"),
    ("ts", "ts tsx", "typescript typescriptreact"),
    ("kotlin", "kt kts", "kotlin"),
]
BY_EXTENSION = [(language, ext) for language, exts, _ in TABLE for ext in exts.split()]
BY_EDITOR = [(language, name) for language, _, names in TABLE for name in names.split()]


@pytest.mark.parametrize(("language", "extension"), BY_EXTENSION)
def test_extension_tells_the_language(language: str, extension: str) -> None:
    assert detect_language(f"src/app.v2.{extension}", None) == language


@pytest.mark.parametrize(("language", "editor_id"), BY_EDITOR)
def test_editor_tells_what_the_name_does_not(language: str, editor_id: str) -> None:
    assert detect_language("Makefile", editor_id) == language


def test_extension_wins_over_the_editor() -> None:
    assert detect_language("app.tsx", "python") == "ts"


@pytest.mark.parametrize(
    ("file_name", "editor_id"),
    [
        ("", None),
        ("app", ""),
        ("app.PY", None),
        ("app.", None),
        (".py", None),
        ("py", None),
        ("app.txt", "plaintext"),
        ("app", "Python"),
        ("a/b.py/c", None),
    ],
)
def test_unknown_language_is_empty(file_name: str, editor_id: str | None) -> None:
    assert detect_language(file_name, editor_id) == ""
