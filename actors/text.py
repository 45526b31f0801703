"""Text from agents, made harmless for a terminal. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Whole sequences go, so that coloured output of a build reads as plain text. An unterminated string sequence
# (OSC, DCS, APC, PM, SOS) must not swallow the rest of the text: it ends at the line's end at the latest.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|(?:\x1b[\]P_^Xk]|[\x9d\x90\x9f\x9e\x98])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c|(?=\n)|$)"
    r"|\x1b[ -/]+[0-~]|\x1b[0-~]"  # two- and three-byte escapes
)
_NEWLINES = re.compile(r"\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_HARMFUL = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"  # what is left of C0 and C1
    r"|[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"  # bidi, invisible
    r"|[\U000e0000-\U000e007f]"  # invisible tags
    r"|[\ud800-\udfff]"  # lone surrogates cannot be written as UTF-8
)
_PLAIN = re.compile(r"[\n\t -~]*")


def strip_controls(text: str) -> str:
    """The text without anything a terminal would act on; of the controls only newline and tab remain.

    Escape sequences vanish; other control, bidi and invisible characters are shown by name (`<U+202E>`), so
    that a line cannot look other than it is.
    """
    if _PLAIN.fullmatch(text):  # nearly all text; ten times cheaper than the three passes below
        return text
    text = _NEWLINES.sub("\n", _SEQUENCES.sub("", text))
    return _HARMFUL.sub(_name, text)


def one_line(text: str, max_chars: int = 120) -> str:
    """The text on one line, for headers and arguments; shortened with an ellipsis."""
    line = " ".join(strip_controls(text).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def _name(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures, one column each
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'a' or 'b'?`, ready to end a sentence with; empty where nothing is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=2, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {' or '.join(repr(by_folded[match]) for match in close)}?"
