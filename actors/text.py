"""Text for people: made harmless for a terminal, shortened, and names matched. Pure functions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

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


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'a' or 'b'?`, to append to an error; empty if no known name is similar."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=2, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {' or '.join(repr(by_folded[match]) for match in close)}?"
