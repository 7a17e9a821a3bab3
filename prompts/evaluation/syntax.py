"""Whether text parses as code of a language. Pure; the grammars come as wheels."""

from functools import cache

import tree_sitter_c
import tree_sitter_c_sharp
import tree_sitter_cpp
import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_kotlin
import tree_sitter_php
import tree_sitter_python
import tree_sitter_ruby
import tree_sitter_rust
import tree_sitter_scala
import tree_sitter_typescript
from tree_sitter import Language, Parser

#: By the language ids of the wire; each returns the pointer its package exports.
GRAMMARS = {
    "c": tree_sitter_c.language,
    "cpp": tree_sitter_cpp.language,
    "csharp": tree_sitter_c_sharp.language,
    "go": tree_sitter_go.language,
    "java": tree_sitter_java.language,
    "js": tree_sitter_javascript.language,
    "kotlin": tree_sitter_kotlin.language,
    "php": tree_sitter_php.language_php,
    "python": tree_sitter_python.language,
    "ruby": tree_sitter_ruby.language,
    "rust": tree_sitter_rust.language,
    "scala": tree_sitter_scala.language,
    "ts": tree_sitter_typescript.language_typescript,
}


@cache
def _language(name: str) -> Language:
    return Language(GRAMMARS[name]())


def parses_as(language: str, code: str) -> bool:
    """Tell whether `code` is a whole text of `language`, one of `GRAMMARS`, and not nothing."""
    root = Parser(_language(language)).parse(code.encode("utf-8", "surrogatepass")).root_node
    return root.named_child_count > 0 and not root.has_error
