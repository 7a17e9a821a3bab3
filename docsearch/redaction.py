"""What of a question may be kept: its plain words. Pure.

Names of people and of projects are plain words too and stay; so keeping questions is opt-in.
"""

import re

MAX_QUESTION_CHARS = 300
#: Stands for what was left out.
LEFT_OUT = "[…]"

#: Code and logs that were pasted in.
_FENCED = re.compile(r"```.*?(?:```|$)|`[^`]*`", re.DOTALL)
_AFTER_SECRET = re.compile(
    r"\b(pass(?:word|phrase|code)|secret|token|key|pin)(s?\s*(?:is\b|are\b|[:=])\s*)\S+",
    re.IGNORECASE,
)
#: Letters, with hyphens, apostrophes and one slash inside, as in "CI/CD" and "don't".
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*(?:/[^\W\d_]+)?")
_LONGEST_WORD = 24
#: "JavaScript" has one change from small to capital, a random key many.
_MOST_CHANGES = 2
_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_AROUND_WORDS = "\"'“”‘’()[]{}<>«»,.;:!?*"


def redact(question: str) -> str:
    """Return the plain words of a question, in a row; all else is `LEFT_OUT`.

    Numbers, addresses, paths, names with digits, keys and code are left out, and what follows
    "password is" and the like. Empty if no word is left.
    """
    text = _FENCED.sub(f" {LEFT_OUT} ", question[: 10 * MAX_QUESTION_CHARS])
    text = _AFTER_SECRET.sub(rf"\1\2{LEFT_OUT}", text)
    kept: list[str] = []
    for piece in text.split():
        word = LEFT_OUT if piece == LEFT_OUT else _plain(piece.strip(_AROUND_WORDS))
        if word and not (word == LEFT_OUT and kept[-1:] == [LEFT_OUT]):
            kept.append(word)
    if all(word == LEFT_OUT for word in kept):
        return ""
    return _whole_words(" ".join(kept))


def _plain(word: str) -> str:
    if not word:
        return ""
    is_plain = (
        _WORD.fullmatch(word)
        and all(part.isalpha() and len(part) <= _LONGEST_WORD for part in re.split(r"\W", word))
        and len(_CHANGE.findall(word)) <= _MOST_CHANGES
    )
    return word if is_plain else LEFT_OUT


def _whole_words(text: str) -> str:
    if len(text) <= MAX_QUESTION_CHARS:
        return text
    return text[: MAX_QUESTION_CHARS + 1].rpartition(" ")[0]
