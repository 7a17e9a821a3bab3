import pytest

from prompts.evaluation.syntax import GRAMMARS, parses_as

SNIPPETS = {
    "c": "int main(void) { return 0; }",
    "cpp": "class A { public: A() = default; };",
    "csharp": "class A { int X => 1; }",
    "go": "package a\n\nfunc F() int { return 1 }",
    "java": "class A { int f() { return 1; } }",
    "js": "const f = async (x) => await x;",
    "kotlin": "fun f(x: Int): Int = x + 1",
    "php": "<?php\nfunction f(int $x): int { return $x; }",
    "python": "def f(x):\n    return x\n",
    "ruby": "def f(x)\n  x + 1\nend",
    "rust": "fn f(x: i32) -> i32 { x }",
    "scala": "object A { def f(x: Int): Int = x }",
    "ts": "function f(x: number): number { return x; }",
}


@pytest.mark.parametrize("language", GRAMMARS)
def test_code_of_every_language_is_told_from_broken_code(language: str) -> None:
    code = SNIPPETS[language]

    assert parses_as(language, code)
    assert not parses_as(language, code + "\n((( {{{")
    assert not parses_as(language, "")
    assert not parses_as(language, "  \n")


def test_half_a_surrogate_pair_is_no_error_of_ours() -> None:
    assert parses_as("python", "x = '\ud800'") in {True, False}
