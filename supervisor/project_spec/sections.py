"""Splits the text of a spec into sections, in the many ways people write headings.

What the sections mean is `spec_file.py`'s; what the items of a list are, `spec_items.py`'s.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field, replace

from supervisor.project_spec.items import LINE_RULE, Line, is_marked, without_mark

SECTIONS = ("PROJECT", "GOAL", "CONSTRAINTS", "DELIVERABLES", "SUCCESS CRITERIA", "CHECKS")
LISTS = ("CONSTRAINTS", "DELIVERABLES", "SUCCESS CRITERIA")

_KNOWN = {name.lower(): name for name in SECTIONS} | {
    "project name": "PROJECT",
    "projekt": "PROJECT",
    "goals": "GOAL",
    "objective": "GOAL",
    "objectives": "GOAL",
    "ziel": "GOAL",
    "constraint": "CONSTRAINTS",
    "einschränkungen": "CONSTRAINTS",
    "deliverable": "DELIVERABLES",
    "ergebnisse": "DELIVERABLES",
    "success criterion": "SUCCESS CRITERIA",
    "acceptance criteria": "SUCCESS CRITERIA",
    "definition of done": "SUCCESS CRITERIA",
    "erfolgskriterien": "SUCCESS CRITERIA",
    "check": "CHECKS",
    "prüfungen": "CHECKS",
}
_NOTES = frozenset(
    ("note", "notes", "background", "context", "references", "links", "out of scope", "non-goals")
)
_HASHES = re.compile(r"^ {0,3}(#{1,6})\s*(\S.*?)\s*#*$")
_UNDERLINE = re.compile(r"^ {0,3}(={2,}|-{2,})$")
_FENCE = re.compile(r"^\s*(?:[-*+]\s+)?(`{3,}|~{3,})([^`]*)$")
_BOLD = re.compile(r"^(\*{1,3}|_{1,3})(?=\S)(.+?)\1\s*(:?)\s*(.*)$")
_SHOUTED = re.compile(r"^([A-ZÄÖÜ][A-ZÄÖÜ0-9 /&_-]{2,40}):(?:\s+(.*)|)$")
_NAMED = re.compile(r"^([^\W\d_][\w '/&-]{1,40}?)\s*:(?:\s+(.*)|)$")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(slots=True)
class Section:
    """A heading and the lines under it. `name` is one of SECTIONS, else what the unknown heading says."""

    name: str
    number: int
    level: int = 0
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Heading:
    """The words of a heading line, the value behind its colon, its markdown level (0 where plain)."""

    title: str
    value: str = ""
    level: int = 0

    @property
    def known(self) -> str | None:
        words = re.sub(r"[\s_-]+", " ", self.title).lower()
        return _KNOWN.get(re.sub(r"^\W+|\W+$", "", words))


def split_sections(text: str) -> list[Section]:
    """The sections in the order of the file; the first is unnamed and holds what stands before them."""
    sections = [Section("", 0)]
    lines = _lines(text)
    bulleted = False
    for line, following in zip(lines, [*lines[1:], Line(0, "")], strict=True):
        heading = None if line.is_code else _heading(line.text, following.text, sections[-1])
        # A list of "- GOAL: ..." is taken for headings only if the file begins so: else it is content.
        if heading is None and not line.is_code and (len(sections) == 1 or bulleted) and is_marked(line.text):
            heading = _plain(without_mark(line.text))
            bulleted |= heading is not None
        if heading is not None:
            sections.append(Section(heading.known or heading.title, line.number, heading.level))
            if heading.value:
                sections[-1].lines.append(Line(line.number, heading.value))
        elif line.is_code or not (LINE_RULE.match(line.text) or _UNDERLINE.match(line.text)):
            sections[-1].lines.append(line)
    return sections


def _heading(text: str, following: str, current: Section) -> _Heading | None:
    if found := _HASHES.match(text):
        return _hashed(text, len(found[1]), found[2], current)
    if not text.strip() or text.startswith("    "):
        return None
    bare = text.strip()
    if (underline := _UNDERLINE.match(following)) and not is_marked(text):
        underlined = _split_title(bare, 1 if underline[1].startswith("=") else 2)
        if underlined.known or underlined.level == 1:
            return underlined
    if heading := _plain(bare):
        return heading
    if current.name != "CHECKS" and (shouted := _SHOUTED.match(bare)):
        return _Heading(shouted[1].strip(), shouted[2] or "")
    if bare.endswith(":") and bare[:-1].strip("*_ ").lower() in _NOTES:
        return _Heading(bare[:-1].strip("*_ "))
    return None


def _hashed(text: str, level: int, title: str, current: Section) -> _Heading | None:
    """A `#` heading. Unknown ones inside a list are its groups or items; inside CHECKS, shell comments."""
    heading = _split_title(title, level)
    if heading.known:
        return heading
    is_comment = current.name == "CHECKS" and level == 1 != current.level
    is_inside = current.name in LISTS and 0 < current.level < level
    if is_comment or is_inside or not text.lstrip()[level:].startswith(" "):
        return None
    return _Heading(_bare(title).rstrip(":"), level=level)


def _plain(text: str) -> _Heading | None:
    """`Goal: value`, `**Goal:** value` or a lone `GOAL`, if the name is a known one."""
    if bold := _BOLD.match(text):
        inner, colon, value = _bare(bold[2]), bold[3], bold[4]
        if colon or inner.endswith(":") or not value:
            heading = _Heading(inner.rstrip(": "), value)
            if heading.known:
                return heading
    if named := _NAMED.match(text):
        heading = _Heading(named[1], named[2] or "")
        return heading if heading.known else None
    heading = _Heading(text)
    return heading if heading.known and text[0].isupper() else None


def _split_title(title: str, level: int) -> _Heading:
    """A markdown heading's text, which may carry its value: `## Goal: ...`."""
    if heading := _plain(without_mark(title)):
        return replace(heading, level=level)
    return _Heading(_bare(title).rstrip(": "), level=level)


def _bare(title: str) -> str:
    return without_mark(title.strip("*_ ")).strip("*_ ")


def _lines(text: str) -> list[Line]:
    """The file's lines without tabs, comments and the fence or indentation around the whole, code marked."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"[\u200b\u200e\u200f\ufeff]", "", text).replace("\u00a0", " ").expandtabs(4)
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    raw = [line.rstrip() for line in textwrap.dedent(text).split("\n")]
    written = [number for number, line in enumerate(raw) if line]
    if len(written) > 2 and _FENCE.match(raw[written[0]]) and _closes(raw[written[0]], raw[written[-1]]):
        inner = raw[written[0] + 1 : written[-1]]
        if not any(_FENCE.match(line) for line in inner) or any(
            _plain(line.strip() or "-") for line in inner
        ):
            raw[written[0]] = raw[written[-1]] = ""
    return _with_code_marked(raw)


def _with_code_marked(raw: list[str]) -> list[Line]:
    """Fences and what they hold are code; one that is never closed is dropped, to hide nothing."""
    lines: list[Line] = []
    closing = -1
    for position, text in enumerate(raw):
        if position <= closing:
            lines.append(Line(position + 1, text, is_code=True))
        elif _FENCE.match(text):
            rest = range(position + 1, len(raw))
            closing = next((later for later in rest if _closes(text, raw[later])), -1)
            lines.append(Line(position + 1, text, is_code=True) if closing > 0 else Line(position + 1, ""))
        else:
            lines.append(Line(position + 1, text))
    return lines


def _closes(opening: str, line: str) -> bool:
    opened, found = _FENCE.match(opening), _FENCE.match(line)
    return bool(opened and found and not found[2].strip() and found[1].startswith(opened[1]))
