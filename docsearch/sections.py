"""A page of Markdown taken apart into sections, as readers and links see them."""

import re
from dataclasses import dataclass, field

from docsearch import cleaning

_FENCE = re.compile(r"[ \t>]*(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)$")
_UNDERLINE = re.compile(r"(=+|-{2,})[ \t]*$")
_NOT_A_PARAGRAPH = re.compile(r"[ \t]*(?:[-*+>|#<]|\d+[.)]|$)| {4}")
_BOILERPLATE = re.compile(r"\s*\{\{<\s*(/?)(details|history)\s*>\}\}")
_FRONT_MATTER = re.compile(
    r"---[ \t]*\n(?=[\w-]+[ \t]*:)(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL
)
_FIELD = re.compile(r"^(title|redirect_to):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_MOVED = re.compile(
    r"\b(?:document|documentation|page|guide|content)\b[^.]{0,40}\bmoved\b|\bmoved to:? \[",
    re.IGNORECASE,
)
_NOT_IN_ANCHOR = re.compile(r"[^\w\- ]")

MAX_FRONT_MATTER_CHARS = 20_000
#: A stub says where its page went, and little else.
MAX_STUB_WORDS = 60


@dataclass(slots=True)
class Section:
    """What stands under one heading.

    Attributes:
        level: 1 to 6; 0 for what stands before the first heading.
        heading: Its plain text.
        trail: The headings it stands under and its own, outermost first, without the page's title.
        anchor: As GitLab makes it of the heading; "" at the top of the page.
        lines: Its Markdown as a reader sees it, heading included.
        indexed_lines: Those that say what it is about; without the heading.
    """

    level: int
    heading: str
    trail: tuple[str, ...]
    anchor: str
    lines: list[str] = field(default_factory=list)
    indexed_lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `is_stub` when it only says where its content went."""

    title: str
    sections: tuple[Section, ...]
    is_stub: bool


def parse_page(text: str, *, fallback_title: str) -> Page:
    """Take a page apart.

    Args:
        text: The file's text, with any line ends, with or without front matter.
        fallback_title: For a page that has neither a title in its front matter nor a heading.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    front_matter, body = _split_front_matter(text)
    sections = _split(body)
    title = front_matter.get("title") or next(
        (section.heading for section in sections if section.heading), fallback_title
    )
    is_stub = "redirect_to" in front_matter or _is_stub(body)
    return Page(title=title, sections=tuple(sections), is_stub=is_stub)


def _split(body: str) -> list[Section]:
    lines = body.split("\n")
    last_end = max((at for at, line in enumerate(lines) if "-->" in line), default=-1)
    splitter = _Splitter()
    for at, line in enumerate(lines):
        splitter.feed(line, may_open_comment=at <= last_end)
    return [section for section in splitter.sections if any(map(str.strip, section.lines))]


def _split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """Front matter stands at the very start or not at all: a rule further down is a rule."""
    found = _FRONT_MATTER.match(text, 0, MAX_FRONT_MATTER_CHARS)
    if not found:
        return {}, text
    fields = {name: value.strip("'\"") for name, value in _FIELD.findall(found[1])}
    return {name: value for name, value in fields.items() if value}, text[found.end() :]


def _is_stub(body: str) -> bool:
    beginning = body[:2000]
    return bool(_MOVED.search(beginning)) and len(cleaning.words(beginning)) <= MAX_STUB_WORDS


class _Splitter:
    """Reads a page line by line. Code fences hold no headings, comments and shortcodes."""

    def __init__(self) -> None:
        self.sections = [Section(level=0, heading="", trail=(), anchor="")]
        self._fence = ""
        self._is_in_comment = False
        self._is_in_boilerplate = False
        self._above: list[tuple[int, str]] = []
        self._anchors: dict[str, int] = {}

    def feed(self, line: str, *, may_open_comment: bool) -> None:
        if self._fence:
            self._in_code(line)
            return
        if "<!--" in line or self._is_in_comment:
            line = self._without_comments(line, may_open=may_open_comment)
        if fence := _FENCE.match(line):
            self._fence = fence[1]
            self._add(line)
        elif heading := _HEADING.match(line):
            self._begin(len(heading[1]), heading[2].rstrip().rstrip("#").rstrip(), [line])
        elif _UNDERLINE.match(line) and (text := self._lone_line()):
            self._begin(1 if line[0] == "=" else 2, text, [text, line])
        elif boilerplate := _BOILERPLATE.match(line):
            self._is_in_boilerplate = not boilerplate[1]
        else:
            self._add(cleaning.without_markers(line))

    def _in_code(self, line: str) -> None:
        self._add(line)
        closing = _FENCE.match(line)
        if closing and closing[1].startswith(self._fence) and line.rstrip().endswith(closing[1]):
            self._fence = ""

    def _without_comments(self, line: str, *, may_open: bool) -> str:
        """What is never closed, or stands in `code`, is text."""
        kept = []
        while line:
            if self._is_in_comment:
                _, end, line = line.partition("-->")
                self._is_in_comment = not end
                continue
            text, start, line = line.partition("<!--")
            kept.append(text)
            if start and may_open and not text.endswith("`"):
                self._is_in_comment = True
            else:
                kept.append(start)
        return "".join(kept)

    def _lone_line(self) -> str:
        """Return, and take back, the line just added if it is a paragraph of its own."""
        lines = self.sections[-1].lines
        if not lines or _NOT_A_PARAGRAPH.match(lines[-1]) or (len(lines) > 1 and lines[-2].strip()):
            return ""
        self.sections[-1].indexed_lines.pop()
        return lines.pop().strip()

    def _begin(self, level: int, heading: str, lines: list[str]) -> None:
        heading = " ".join(cleaning.plain_text(cleaning.without_markers(heading)).split())
        heading = heading.replace("`", "").replace("**", "")
        is_title = len(self.sections) == 1 and level == 1
        while self._above and self._above[-1][0] >= level:
            self._above.pop()
        if not is_title:
            self._above.append((level, heading))
        trail = tuple(text for _, text in self._above)
        anchor = "" if is_title else self._anchor(heading)
        self._is_in_boilerplate = False
        self.sections.append(Section(level, heading, trail, anchor, lines))

    def _anchor(self, heading: str) -> str:
        """Source: GitLab's documentation of Markdown, header IDs and links."""
        anchor = _NOT_IN_ANCHOR.sub("", heading.lower()).replace(" ", "-")
        anchor = re.sub(r"-{2,}", "-", anchor)
        count = self._anchors.get(anchor, 0)
        self._anchors[anchor] = count + 1
        return f"{anchor}-{count}" if count else anchor

    def _add(self, line: str) -> None:
        section = self.sections[-1]
        section.lines.append(line)
        if not self._is_in_boilerplate:
            section.indexed_lines.append(line)
