"""Programming languages, told by file name or editor. Source: wire contract, section 6.4."""

from pathlib import PurePosixPath

#: Language id -> (file extensions, editor ids). Extensions are case-sensitive: `C` is C++.
_LANGUAGES: dict[str, tuple[str, str]] = {
    "c": ("c h", "c"),
    "cpp": ("cpp hpp c++ h++ cc hh C H", "cpp"),
    "csharp": ("cs", "csharp"),
    "go": ("go", "go"),
    "java": ("java", "java"),
    "js": ("js jsx", "javascript javascriptreact"),
    "php": ("php php3 php4 php5 phps phpt", "php"),
    "python": ("py", "python"),
    "ruby": ("rb", "ruby"),
    "rust": ("rs", "rust"),
    "scala": ("scala", "scala"),
    "ts": ("ts tsx", "typescript typescriptreact"),
    "kotlin": ("kt kts", "kotlin"),
}
_BY_EXTENSION = {ext: name for name, (exts, _) in _LANGUAGES.items() for ext in exts.split()}
_BY_EDITOR_ID = {key: name for name, (_, keys) in _LANGUAGES.items() for key in keys.split()}


def detect_language(file_name: str, editor_id: str | None) -> str:
    """Return the language id, "" if unknown; the extension wins over the editor's word."""
    extension = PurePosixPath(file_name).suffix.removeprefix(".")
    return _BY_EXTENSION.get(extension) or _BY_EDITOR_ID.get(editor_id or "", "")
