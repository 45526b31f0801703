"""Splits the lines of a spec's section into items: bullets, numbers, letters, checkboxes, paragraphs."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.project_spec.markdown import Line

_DASHES = "\u2013\u2014"
_BULLET = re.compile(rf"^(?:[-*+•·‣◦▪●○➤►→{_DASHES}]\s+(?:\[[ xX]?\]\s+)?|\[[ xX]?\]\s+)")
_NUMBER = re.compile(
    r"^(?:\*\*|__)?"
    r"(?:\(?\d{1,3}(?:\.\d{1,3})*[.):]|\((?:[a-zA-Z]|[ivx]{1,4})\)|(?:[a-zA-Z]|[ivx]{1,4})[.)]|#\d{1,3}[.):]?"
    r"|[A-Z]{1,2}\d{1,3}[.):])(?:\*\*|__)?\s+"
)
_TICKED = re.compile(r"^(?:[-*+•]\s+|\d{1,3}[.)]\s+)?\[[xX]\]\s")
_GROUP = re.compile(r"^(?:\*\*|__)?([A-ZÀ-ÖØ-Þ][\w/&-]*(?: [\w/&-]+){0,2})(?:\*\*|__)?:(?:\*\*|__)?$")
_RUNS_ON = re.compile(r"(?:,|\b(?:and|or|that|which|the|a|an|of|to|with|for|in|by))$")


@dataclass(frozen=True, slots=True)
class Items:
    """A section's items with their continuation lines.

    `loose` are lines that belong to no item. `ticked` are the items that were marked as done (`[x]`).
    """

    items: tuple[str, ...]
    loose: tuple[str, ...] = ()
    ticked: tuple[str, ...] = ()


def is_marked(text: str) -> bool:
    """Whether the line begins with a bullet, a number or a checkbox."""
    return bool(_BULLET.match(text.strip() + " ") or _NUMBER.match(text.strip() + " "))


def without_mark(text: str) -> str:
    """The line without its bullet, number and checkbox."""
    bare = text.strip()
    for pattern in (_BULLET, _NUMBER, _BULLET):
        found = pattern.match(bare)
        if not found:
            continue
        opening = next((mark for mark in ("**", "__") if bare.startswith(mark)), "")
        closed_in_number = opening and opening in found[0][2:]
        bare = (opening if opening and not closed_in_number else "") + bare[found.end() :]
    return bare.strip()


def split_items(lines: Sequence[Line]) -> Items:
    """The items of a list section, in order."""
    starts, groups = _starts(lines)
    if not starts:
        return Items(tuple(_unmarked(lines)))
    items: list[list[str]] = []
    loose: list[str] = []
    group, after_blank, is_open = "", False, False
    least = min(lines[position].indent for position in starts)
    for position, line in enumerate(lines):
        if position in groups:
            group, is_open = groups[position], False
        elif position in starts:
            items.append([(f"{group}: " if group else "") + starts[position]])
            is_open = True
        elif line.text.strip():
            is_open = is_open and not (after_blank and line.indent <= least and not line.is_code)
            (items[-1] if is_open else loose).append(line.text)
        elif is_open:
            items[-1].append("")
        after_blank = not line.text
    ticked = [starts[position] for position in starts if _TICKED.match(lines[position].text.strip())]
    return Items(tuple(_joined(item) for item in items), tuple(loose), tuple(ticked))


def _starts(lines: Sequence[Line]) -> tuple[dict[int, str], dict[int, str]]:
    """The positions where items begin, with their first line, and where groups begin, with their title."""
    text = {position: line for position, line in enumerate(lines) if not line.is_code and line.text}
    headings = {
        position: line.title.strip("*_ ")
        for position, line in text.items()
        if line.level > 1 and line.is_hashed
    }
    marked = {p: line for p, line in text.items() if p not in headings and is_marked(line.text)}
    numbered = {p: without_mark(title) for p, title in headings.items() if is_marked(title)}
    if numbered or (headings and not marked):
        return numbered or headings, {}
    if not marked:
        return {}, {}
    least = min(line.indent for line in marked.values())
    level = {p: line for p, line in marked.items() if line.indent == least}
    if _NUMBER.match(lines[min(level)].text.strip()):
        # "1. Login" with its details as "- ..." below, not indented: only the numbers begin items.
        level = {p: line for p, line in level.items() if not _BULLET.match(line.text.strip())}
    groups = {
        p: found[1]
        for p, line in text.items()
        if p not in marked and line.indent <= least and (found := _GROUP.match(line.text.strip()))
    }
    groups |= {p: title.rstrip(":") for p, title in headings.items()}
    return {p: without_mark(line.text) for p, line in level.items()}, groups


def _unmarked(lines: Sequence[Line]) -> list[str]:
    """Items without marks: paragraphs, if there are several and one has more than a line, else lines."""
    paragraphs: list[list[Line]] = [[]]
    for line in lines:
        if line.text or line.is_code:
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    paragraphs = [paragraph for paragraph in paragraphs if paragraph]
    is_prose = len(paragraphs) > 1 and any(len(paragraph) > 1 for paragraph in paragraphs)
    if is_prose or any(line.is_code for line in lines):
        return [_joined([line.text for line in paragraph]) for paragraph in paragraphs]
    items: list[list[str]] = []
    for line in (line for paragraph in paragraphs for line in paragraph):
        runs_on = items and _RUNS_ON.search(items[-1][-1]) and line.text.lstrip()[:1].islower()
        if items and (runs_on or line.indent > paragraphs[0][0].indent):
            items[-1].append(line.text)
        else:
            items.append([line.text.strip()])
    return [_joined(item) for item in items]


def _joined(lines: list[str]) -> str:
    rest = textwrap.dedent("\n".join(lines[1:]))
    return f"{lines[0].strip()}\n{rest}".strip()
