"""How text becomes words. The index and the query go through the same functions.

`VERSION` is stored in every index; an index cleaned by other rules is refused, since its words
would not be those of the query. Raise it with any change to what this module returns.
"""

import re
import unicodedata
from functools import lru_cache

import snowballstemmer

VERSION = 2

#: FTS5 stems what `words` returns, and the words of a query the same way.
TOKENIZER = "porter unicode61 remove_diacritics 2"

#: Longer runs of letters are data (keys, hashes, base64), not words.
MAX_WORD_CHARS = 40

_WORD = re.compile(r"[^\W_]+")
_STEMMER = snowballstemmer.stemmer("porter")

_SHORTCODE_TEXT = re.compile(r"\{\{<\s*\w[^<>\n]*?\b(?:title|name)=\"([^\"\n]*)\"[^<>\n]*>\}\}")
_SHORTCODE = re.compile(r"\{\{[<%][^<>\n]*[%>]\}\}")
#: As GitLab's Markdown and template engines pull in another file.
_INCLUDE = re.compile(
    r"^::include\{[^{}\n]*\}\s*$|(?<!\{)\{%-?\s*include\b[^{}\n]*%\}", re.MULTILINE
)
_ATTRIBUTES = re.compile(r"\{:[^{}\n]*\}")
_CONTENTS = re.compile(r"^\s*\[(?:\[_?TOC_?\]|TOC)\]\s*$", re.IGNORECASE | re.MULTILINE)

_ALERT = re.compile(r"^\s*>\s*\[!\w+\]", re.MULTILINE)
_REFERENCE = re.compile(r"^ {0,3}\[[^\]\[\n]+\]:[ \t]*\S.*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]\[\n]*)\](?:\([^()\n]*\)|\[[^\]\[\n]*\])")
_ADDRESS = re.compile(r"\b(?:https?|ssh|git)://[^\s<>\"')\]]+", re.IGNORECASE)
_IMAGE_TEXT = re.compile(r"<img\b[^<>\n]*\balt=\"([^\"<>\n]*)\"[^<>\n]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>\n]*>", re.IGNORECASE)


def words(text: str) -> list[str]:
    """Return the words of plain `text`: NFKC, lower case, letters and digits only, in order."""
    normal = unicodedata.normalize("NFKC", text).lower()
    return [word for word in _WORD.findall(normal) if len(word) <= MAX_WORD_CHARS]


@lru_cache(maxsize=2000)
def stem(word: str) -> str:
    """Return what `word` has in common with its other forms, by the rules FTS5 stems by."""
    stemmed: str = _STEMMER.stemWord(word)
    return stemmed


def without_markers(markdown: str) -> str:
    """Return `markdown` without what only a site generator reads.

    That is shortcodes, attributes, includes and [TOC].
    """
    text = markdown
    if "{" in text:
        text = _SHORTCODE_TEXT.sub(r"\1", text)
        text = _ATTRIBUTES.sub("", _SHORTCODE.sub("", _INCLUDE.sub("", text)))
    return _CONTENTS.sub("", text) if "[" in text else text


def plain_text(markdown: str) -> str:
    """Return the part of `markdown` that is language: link texts, not their targets or tags."""
    text = markdown
    if "[" in text:
        text = _REFERENCE.sub("", _ALERT.sub("", text))
        text = _LINK.sub(r"\1", _LINK.sub(r"\1", text))  # twice: an image inside a link
    if "://" in text:
        text = _ADDRESS.sub(" ", text)
    return _TAG.sub(" ", _IMAGE_TEXT.sub(r"\1", text)) if "<" in text else text
