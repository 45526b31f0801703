"""Text for people: made harmless for a terminal, coloured, shortened, and names matched. Pure functions."""

from __future__ import annotations

import difflib
import heapq
import re
from collections.abc import Iterable
from itertools import pairwise

# Remove whole escape sequences, so that coloured output of a build becomes plain text. An unterminated string
# sequence (OSC, DCS, APC, PM, SOS) ends at the end of its line, so that it cannot hide the rest of the text.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]P_^Xk]|[\x9d\x90\x9f\x9e\x98])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|(?=\n)|$)"
    r"|\x1b[ -/]+[0-~]|\x1b[0-~]"  # two- and three-byte escapes
)
_NEWLINES = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_HARMFUL = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"  # the remaining control characters of C0 and C1
    r"|[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"  # bidi, invisible
    r"|[\U000e0000-\U000e007f]"  # invisible tags
    r"|[\ud800-\udfff]"  # lone surrogates cannot be written as UTF-8
)
_PLAIN = re.compile(r"[\n\t -~]*")

# 256-colour indices of middling brightness: contrast at least 3 on white and on black (a test computes it).
COLOURS = {"grey": 244, "blue": 33, "green": 29, "magenta": 133, "orange": 130, "red": 160, "teal": 31}

_COMPARED = 50
_COMPARED_CHARS = 64


def strip_controls(text: str) -> str:
    """The text without anything that a terminal would act on, except newline and tab.

    Removes escape sequences. Shows other control, bidirectional and invisible characters by their code
    (`<U+202E>`), so that a line cannot look different from what it is.
    """
    if _PLAIN.fullmatch(text):  # true for nearly all text, and ten times faster than the three passes below
        return text
    text = _NEWLINES.sub("\n", _SEQUENCES.sub("", text))
    return _HARMFUL.sub(_name, text)


def one_line(text: str, max_chars: int = 120) -> str:
    """The text on one line without control characters, cut to `max_chars` with an ellipsis."""
    line = " ".join(strip_controls(text).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def _name(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures, one column each
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


def paint(colour: str, text: str, *, bold: bool = False) -> str:
    """Our own colour around one line of text that is already harmless."""
    return f"\x1b[{'1;' if bold else ''}38;5;{COLOURS[colour]}m{text}\x1b[0m"


def similar(name: str, known: Iterable[str], *, most: int = 2, cutoff: float = 0.6) -> list[str]:
    """At most `most` of the names in `known` that look like `name`, the most similar first.

    `cutoff` is difflib's ratio, from 0 (nothing in common) to 1 (equal). The cost is bounded: a comparison takes up
    to half a millisecond, so only the `_COMPARED` names that share most pairs of letters are compared.
    """
    wanted = name[:_COMPARED_CHARS].casefold()
    by_folded = {known_name[:_COMPARED_CHARS].casefold(): known_name for known_name in known}
    folded: Iterable[str] = by_folded
    if len(by_folded) > _COMPARED:
        pairs = set(map("".join, pairwise(wanted)))
        folded = heapq.nlargest(_COMPARED, by_folded, key=lambda other: _share(pairs, other, len(wanted)))
    return [by_folded[close] for close in difflib.get_close_matches(wanted, list(folded), most, cutoff)]


def did_you_mean(name: str, known: Iterable[str], *, most: int = 2) -> str:
    """`; did you mean 'a' or 'b'?`, to append to an error; empty if no known name is similar."""
    close = similar(name, known, most=most)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def _share(pairs: set[str], other: str, length: int) -> float:
    """How much of two names is in common, at a fiftieth of a comparison's cost."""
    return sum(pair in other for pair in pairs) / (length + len(other))
