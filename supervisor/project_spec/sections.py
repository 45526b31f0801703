"""Splits the lines of a spec into sections, in the many ways people write headings.

What the sections mean is decided in `parse.py`; how a list is split into items, in `items.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from supervisor.project_spec.items import is_marked, without_mark
from supervisor.project_spec.markdown import Line, classify, clean_lines, fence_mark

SECTIONS = ("PROJECT", "GOAL", "CONSTRAINTS", "DELIVERABLES", "SUCCESS CRITERIA", "CHECKS", "SETUP")
LISTS = ("CONSTRAINTS", "DELIVERABLES", "SUCCESS CRITERIA")
COMMANDS = ("CHECKS", "SETUP")
MAX_TITLE_CHARS = 60  # longer text is never the name of a section

_KNOWN = {name.lower(): name for name in SECTIONS} | {
    "project name": "PROJECT",
    "goals": "GOAL",
    "objective": "GOAL",
    "objectives": "GOAL",
    "constraint": "CONSTRAINTS",
    "deliverable": "DELIVERABLES",
    "success criterion": "SUCCESS CRITERIA",
    "acceptance criteria": "SUCCESS CRITERIA",
    "definition of done": "SUCCESS CRITERIA",
    "check": "CHECKS",
    "set up": "SETUP",
}
_NOTES = frozenset(
    ("note", "notes", "background", "context", "references", "links", "out of scope", "non-goals")
)
_EMPHASISED = re.compile(r"^(\*{1,3}|_{1,3})(?=\S)(.+?)\1\s*(:?)\s*(.*)$")
_LABEL = re.compile(r"[^\W\d_][\w '/&-]{1,40}")


@dataclass(slots=True)
class Section:
    """A heading and the lines under it. `name` is one of SECTIONS, else the words of the unknown heading.

    `number` is the heading's line, 0 for the text before the first heading. `level` is its markdown level, 0
    for a heading without markdown.
    """

    name: str
    number: int
    level: int = 0
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Heading:
    """The words of a heading, the value behind its colon, and its markdown level (0 without markdown)."""

    title: str
    value: str = ""
    level: int = 0

    @property
    def known(self) -> str | None:
        """The section of SECTIONS that the words name, in any case and with any decoration around them."""
        if len(self.title) > MAX_TITLE_CHARS:
            return None
        words = re.sub(r"[\s_-]+", " ", self.title).lower()
        return _KNOWN.get(re.sub(r"^\W+|\W+$", "", words))


def split_sections(text: str) -> list[Section]:
    """The sections in the order of the file. The first has no name and holds the text before the others."""
    sections = [Section("", 0)]
    bulleted = False
    for line in classify(_unwrapped(clean_lines(text))):
        heading = None if line.is_code else _heading(line, sections[-1])
        # A list of "- GOAL: ..." is read as headings only if the file begins with it, else as content.
        if heading is None and not line.is_code and (len(sections) == 1 or bulleted) and is_marked(line.text):
            heading = _plain(without_mark(line.text))
            bulleted |= heading is not None
        if heading is not None:
            sections.append(Section(heading.known or heading.title, line.number, heading.level))
            if heading.value:
                sections[-1].lines.append(Line(line.number, heading.value))
        elif not line.is_rule:
            sections[-1].lines.append(line)
    return sections


def _unwrapped(raw: Sequence[str]) -> list[str]:
    """The lines without a code fence around the whole file. A fence around code alone stays."""
    lines = list(raw)
    written = [position for position, line in enumerate(lines) if line]
    if len(written) < 3:
        return lines
    first, last = written[0], written[-1]
    mark = fence_mark(lines[first])
    if not mark or not lines[last].strip().startswith(mark) or lines[last].strip(mark[0] + " "):
        return lines
    inner = lines[first + 1 : last]
    if any(fence_mark(line) for line in inner) and not any(_plain(line.strip()) for line in inner):
        return lines
    lines[first] = lines[last] = ""
    return lines


def _heading(line: Line, current: Section) -> _Heading | None:
    if line.level and not is_marked(line.text):
        heading = _split_title(line.title, line.level)
        if heading.known or (line.is_hashed and not _belongs_to(current, line.level)):
            return heading
        if line.is_hashed:
            return None
        if line.level == 1:
            return heading
    bare = line.text.strip()
    if not bare or line.indent > 3:
        return None
    if bare.startswith("#"):
        # Not markdown without a space, but "#Goal" is clear enough.
        heading = _split_title(bare.lstrip("#"), len(bare) - len(bare.lstrip("#")))
        return heading if heading.known else None
    return _plain(bare) or _unknown(bare, current)


def _belongs_to(current: Section, level: int) -> bool:
    """Whether an unknown `#` heading is part of the section: a group or item of a list, or a shell comment."""
    if current.name in COMMANDS and level == 1 != current.level:
        return True
    return current.name in LISTS and 0 < current.level < level


def _unknown(text: str, current: Section) -> _Heading | None:
    """`OUT OF SCOPE: ...` in capitals, or one of the usual words for notes."""
    title, value = _label(text) or ("", "")
    if current.name not in COMMANDS and len(title) > 2 and title.isupper():
        return _Heading(title, value)
    if text.endswith(":") and text[:-1].strip("*_ ").lower() in _NOTES:
        return _Heading(text[:-1].strip("*_ "))
    return None


def _plain(text: str) -> _Heading | None:
    """`Goal: value`, `**Goal:** value` or a lone `GOAL`, if the name is a known one."""
    if found := _EMPHASISED.match(text):
        inner, colon, value = _bare(found[2]), found[3], found[4]
        if colon or inner.endswith(":") or not value:
            heading = _Heading(inner.rstrip(": "), value)
            if heading.known:
                return heading
    if label := _label(text):
        heading = _Heading(*label)
        return heading if heading.known else None
    heading = _Heading(text)
    return heading if heading.known and text[0].isupper() else None


def _label(text: str) -> tuple[str, str] | None:
    """The words before a colon and the text behind it, if the words may be a heading."""
    title, colon, value = text.partition(":")
    if not colon or value[:1].strip() or not _LABEL.fullmatch(title.rstrip()):
        return None
    return title.rstrip(), value.strip()


def _split_title(title: str, level: int) -> _Heading:
    """The text of a markdown heading, which may have its value behind a colon: `## Goal: ...`."""
    if heading := _plain(without_mark(title)):
        return replace(heading, level=level)
    return _Heading(_bare(title).rstrip(": "), level=level)


def _bare(title: str) -> str:
    return without_mark(title.strip("*_ ")).strip("*_ ")
