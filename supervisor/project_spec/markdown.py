"""The lines of a spec with their markdown structure: headings, code fences, rules.

markdown-it finds the blocks. Lists are left to `items.py`, because people write many marks that are no
markdown: `(1)`, `a)`, `•`, `[ ]`.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

# A fence that is never closed is ignored, which takes another pass. A file with more of them than this is
# no text that a person wrote, and its last one counts as closed at the end.
MAX_OPEN_FENCES = 8

_BULLETED_FENCE = re.compile(r"\s*[-*+]\s+(?=```|~~~)")
_INVISIBLE = re.compile(r"[\u200b\u200e\u200f\ufeff]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file. `number` counts from 1.

    `is_code`: a code fence, or a line inside one. `level` and `title` are those of a markdown heading; `level`
    is 0 for all other lines. `is_rule`: a horizontal line, or the underline of a heading.
    """

    number: int
    text: str
    is_code: bool = False
    is_rule: bool = False
    level: int = 0
    title: str = ""

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    @property
    def is_hashed(self) -> bool:
        """Whether the line begins with `#`, as opposed to an underlined heading."""
        return self.text.lstrip().startswith("#")


def clean_lines(text: str) -> list[str]:
    """The file's lines without comments, tabs, invisible characters and the indentation of the whole."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text).replace("\u00a0", " ").expandtabs(4)
    return [line.rstrip() for line in textwrap.dedent(_without_comments(text)).split("\n")]


def _without_comments(text: str) -> str:
    """The text with each HTML comment replaced by the line breaks in it. An open comment stays as it is."""
    parts: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        parts += (text[position:start], "\n" * text.count("\n", start, end))
        position = end + 3
    return "".join((*parts, text[position:]))


def classify(raw: Sequence[str]) -> list[Line]:
    """The lines in order, each with what it is in markdown. A fence that is never closed hides no line."""
    source = [_without_bullet(line) for line in raw]
    tokens, dropped = _blocks(source)
    lines = [Line(number, line) for number, line in enumerate(raw, start=1)]
    for position in dropped:
        lines[position] = Line(position + 1, "")
    for index, token in enumerate(tokens):
        if token.map is None:
            continue
        first, end = token.map
        match token.type:
            case "fence":
                lines[first:end] = [Line(line.number, line.text, is_code=True) for line in lines[first:end]]
            case "hr":
                lines[first] = Line(first + 1, raw[first], is_rule=True)
            case "heading_open":
                _mark_heading(lines, token, tokens[index + 1].content)
    return [line if line.is_code or line.is_hashed else _as_rule(line) for line in lines]


def _blocks(source: list[str]) -> tuple[list[Token], list[int]]:
    """The tokens of all blocks, and the positions of the opening fences that were ignored as never closed."""
    dropped: list[int] = []
    for remaining in reversed(range(MAX_OPEN_FENCES + 1)):
        tokens: list[Token] = []
        parser = _parser()
        parser.block.parse("\n".join((*source, "")), parser, {}, tokens)
        fence = tokens[-1] if tokens and tokens[-1].type == "fence" else None
        if fence is None or fence.map is None or _is_closed(fence) or not remaining:
            break
        # No later line closes this fence, so none closes a later fence of the same or a longer mark either.
        first = fence.map[0]
        for position in range(first, len(source)):
            mark = fence_mark(source[position])
            if mark.startswith(fence.markup):
                source[position] = ""
                dropped.append(position)
    return tokens, dropped


@functools.cache
def _parser() -> MarkdownIt:
    """Finds only the blocks that are used here, so that the time is linear in the length of the text."""
    return MarkdownIt("zero").enable(["fence", "heading", "lheading", "hr"])


def _is_closed(fence: Token) -> bool:
    assert fence.map is not None
    first, end = fence.map
    return fence.content.count("\n") < end - first - 1


def _without_bullet(line: str) -> str:
    """A fence may stand behind a bullet, which is replaced by spaces here."""
    found = _BULLETED_FENCE.match(line)
    return " " * found.end() + line[found.end() :] if found else line


def fence_mark(line: str) -> str:
    """The backticks or tildes that a fence line begins with; empty for any other line."""
    bare = line.strip()
    mark = bare[: len(bare) - len(bare.lstrip(bare[:1]))]
    is_fence = mark.startswith(("```", "~~~")) and "`" not in bare[len(mark) :]
    return mark if is_fence else ""


def _mark_heading(lines: list[Line], token: Token, title: str) -> None:
    """Mark the line of a `#` heading, or the last line above an underline."""
    assert token.map is not None
    first, end = token.map
    is_underlined = not token.markup.startswith("#")
    position = end - 2 if is_underlined else first
    line = lines[position]
    if not title or line.indent > 3 or (is_underlined and len(lines[end - 1].text.strip()) < 2):
        return
    title = title.rpartition("\n")[2].strip()
    lines[position] = Line(line.number, line.text, level=int(token.tag[1]), title=title)
    if is_underlined:
        lines[end - 1] = Line(end, lines[end - 1].text, is_rule=True)


def _as_rule(line: Line) -> Line:
    """A line of equal signs alone, or of two dashes, is taken for a rule too."""
    bare = line.text.strip()
    is_rule = len(bare) > 1 and set(bare) in ({"="}, {"-"})
    return Line(line.number, line.text, is_rule=True) if is_rule else line
