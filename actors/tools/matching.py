"""Find the passage that a model wants to replace: exactly, or else with increasing tolerance. Pure functions.

Ignores differences in line ends, then in typographic quotes and dashes, trailing whitespace, indentation. Each
step must find exactly one place. Lines that the edit does not change keep the file's own characters.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass

_TYPOGRAPHIC = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f", " "),
    }
)
_WORD = re.compile(r"\w+|[^\w\s]")
_ANCHOR_LINES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """Replace `text[start:end]` by `replacement`. `how`: the difference that was ignored; empty if none."""

    start: int
    end: int
    replacement: str
    how: str


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The passage appears more than once. `lines`: the numbers of the lines, from 1."""

    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """The passage does not appear. `nearest`: the most similar lines; `first_line`: their first number."""

    first_line: int
    nearest: tuple[str, ...]


def find_edit(text: str, old: str, new: str, newline: str) -> Found | Ambiguous | Absent:
    """Find `old` in `text`, and what replaces it. `old` must not be empty; `newline` is the file's."""
    for candidate in dict.fromkeys((old, _with_ends(old, newline))):
        exact = _unique(text, text, candidate, _with_ends(new, newline), "")
        if exact is not None:
            return exact
    plain_old = _with_ends(old, newline).translate(_TYPOGRAPHIC)
    quoted = _unique(
        text, text.translate(_TYPOGRAPHIC), plain_old, _with_ends(new, newline), "quotes or dashes"
    )
    if quoted is not None:
        return quoted
    levels: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("trailing whitespace", lambda line: line.rstrip()),
        ("indentation", lambda line: line.strip()),
        ("indentation and quotes", lambda line: line.strip().translate(_TYPOGRAPHIC)),
    )
    file_lines, old_lines = _lines(text), _trimmed(old)
    if not old_lines:
        return Absent(1, ())
    for how, key in levels:
        starts = _windows([key(line) for line in _bare(file_lines)], [key(line) for line in old_lines])
        if len(starts) > 1:
            return Ambiguous(tuple(start + 1 for start in starts))
        if starts:
            return _by_lines(file_lines, starts[0], old_lines, new, newline, how)
    return _nearest(_bare(file_lines), old_lines)


def _with_ends(text: str, newline: str) -> str:
    return text if newline == "\n" else text.replace("\r\n", "\n").replace("\n", newline)


def _unique(text: str, searched: str, old: str, new: str, how: str) -> Found | Ambiguous | None:
    start = searched.find(old)
    if start < 0:
        return None
    starts = [start]
    while (start := searched.find(old, start + 1)) >= 0:
        starts.append(start)
    if len(starts) > 1:
        return Ambiguous(tuple(text.count("\n", 0, place) + 1 for place in starts))
    return Found(starts[0], starts[0] + len(old), new, how)


def _lines(text: str) -> list[str]:
    """The lines with their ends. Unlike splitlines() it does not split at form feeds and the like."""
    *ended, last = text.split("\n")
    return [line + "\n" for line in ended] + ([last] if last else [])


def _bare(lines: list[str]) -> list[str]:
    return [line.rstrip("\r\n") for line in lines]


def _trimmed(text: str) -> list[str]:
    """The lines of the text, without empty ones at the start and the end."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _windows(lines: list[str], wanted: list[str]) -> list[int]:
    size = len(wanted)
    starts = [i for i, line in enumerate(lines[: len(lines) - size + 1]) if line == wanted[0]]
    return [start for start in starts if lines[start : start + size] == wanted]


def _by_lines(
    file_lines: list[str], at: int, old_lines: list[str], new: str, newline: str, how: str
) -> Found:
    matched = file_lines[at : at + len(old_lines)]
    new_lines = _trimmed(new)
    indents = {
        _indent(old): _indent(line)
        for old, line in zip(old_lines, _bare(matched), strict=True)
        if old.strip()
    }
    end = next((line[len(line.rstrip("\r\n")) :] for line in matched if line.endswith("\n")), newline)
    result: list[str] = []
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(
        None, old_lines, new_lines, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            result += matched[i1:i2]
        else:
            result += [_reindented(line, indents) + end for line in new_lines[j1:j2]]
    # Only the last line may have no line end; it has none if the last matched line has none.
    result = [line if line.endswith("\n") else line + end for line in result]
    if result and not matched[-1].endswith("\n"):
        result[-1] = result[-1].rstrip("\r\n")
    start = sum(len(line) for line in file_lines[:at])
    return Found(start, start + sum(len(line) for line in matched), "".join(result), how)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _reindented(line: str, indents: dict[str, str]) -> str:
    """The line with the file's indentation: of the same level in the match, or of the nearest outer one."""
    indent = _indent(line)
    if not line.strip() or indent in indents:
        return (indents.get(indent, "") + line[len(indent) :]) if line.strip() else ""
    outer = [known for known in indents if indent.startswith(known)]
    if outer:
        known = max(outer, key=len)
        rest = indent[len(known) :]
        if "\t" in "".join(indents.values()) and "\t" not in rest:
            rest = "\t" * max(1, round(len(rest) / 4))
        return indents[known] + rest + line[len(indent) :]
    # Less indented than all of the old text: shift it as the file's least indented line is shifted.
    shallow = min(indents, key=len, default="")
    shift = len(indents.get(shallow, "")) - len(shallow)
    width = max(0, len(indent) + shift)
    return (indents.get(shallow, "")[:1] or " ") * width + line[len(indent) :]


def _nearest(lines: list[str], old_lines: list[str]) -> Absent:
    wanted = [set(_WORD.findall(line)) for line in old_lines[:_ANCHOR_LINES]]
    words = [set(_WORD.findall(line)) for line in lines]
    best, best_score = 0, 0.0
    for start in range(len(lines)):
        pairs = zip(words[start : start + len(wanted)], wanted, strict=False)
        score = sum(len(have & want) / len(have | want) for have, want in pairs if have and want)
        if score > best_score:
            best, best_score = start, score
    if best_score == 0.0:
        return Absent(1, ())
    first = max(0, best - 2)
    return Absent(first + 1, tuple(lines[first : best + min(len(old_lines), 20) + 2]))
