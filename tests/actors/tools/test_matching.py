"""Tolerant matching: which differences are ignored, what is refused, and that the rest stays unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tools.matching import Absent, Ambiguous, Found, find_edit


def _apply(text: str, old: str, new: str, newline: str = "\n") -> str:
    found = find_edit(text, old, new, newline)
    assert isinstance(found, Found), found
    return text[: found.start] + found.replacement + text[found.end :]


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        pytest.param("a = 1\n", "1", "2", "a = 2\n", id="exact part of a line"),
        pytest.param("a  \nb\n", "a\nb", "a\nc", "a  \nc\n", id="trailing whitespace, kept where unchanged"),
        pytest.param("say “hi”\n", 'say "hi"', "say hello", "say hello\n", id="typographic quotes"),
        pytest.param(
            "class A:\n    def f(self):\n        return 1\n",
            "def f(self):\n    return 1",
            "def f(self):\n    x = 1\n    if x:\n        return 2",
            "class A:\n    def f(self):\n        x = 1\n        if x:\n            return 2\n",
            id="indentation missing",
        ),
        pytest.param(
            "if a:\n\tb()\n\tc()\n", "    b()\n    c()", "    b()\n    if x:\n        d()",
            "if a:\n\tb()\n\tif x:\n\t\td()\n", id="spaces for tabs",
        ),
        pytest.param("f()\n  g()\nh", "\n    g()\n", "\n    k()\n", "f()\n  k()\nh", id="blank lines around"),
        pytest.param("a\nb", "  b  ", "  c  ", "a\nc  ", id="last line without an end"),
        pytest.param("a\n  b\nc\n", "b \n", "", "a\nc\n", id="lines taken out"),
    ],
)  # fmt: skip
def test_unique_match_is_found_and_indented_like_the_file(
    text: str, old: str, new: str, expected: str
) -> None:
    assert _apply(text, old, new) == expected


def test_line_ends_of_the_file_win() -> None:
    assert _apply("a\r\nb\r\nc\r\n", "a\nb", "x\ny", "\r\n") == "x\r\ny\r\nc\r\n"


def test_two_matching_places_are_refused_at_every_tolerance() -> None:
    assert find_edit("x\ny\nx\n", "x", "z", "\n") == Ambiguous((1, 3))
    assert find_edit("  x\ny\n    x\n", "\tx", "z", "\n") == Ambiguous((1, 3))
    assert isinstance(find_edit("aaa", "aa", "b", "\n"), Ambiguous), "overlapping places are two"


def test_nearest_lines_are_offered() -> None:
    found = find_edit(
        "import os\n\ndef total(items):\n    return sum(items)\n", "def total(xs):\n    return s", "", "\n"
    )
    assert isinstance(found, Absent)
    assert "def total(items):" in found.nearest
    assert find_edit("", "abc", "", "\n") == Absent(1, ())


_LINES = st.lists(
    st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=12), max_size=8
)


@given(before=_LINES, passage=_LINES, after=_LINES, old=_LINES, new=_LINES, crlf=st.booleans())
def test_any_text_can_be_matched_and_the_rest_is_untouched(
    before: list[str], passage: list[str], after: list[str], old: list[str], new: list[str], crlf: bool
) -> None:
    newline = "\r\n" if crlf else "\n"
    text = newline.join([*before, *passage, *after])
    for wanted in ("\n".join(passage), "\n".join(old), "\n".join(f"  {line} " for line in passage)):
        if not wanted.strip():
            continue
        found = find_edit(text, wanted, "\n".join(new), newline)
        if isinstance(found, Found):
            assert 0 <= found.start < found.end <= len(text)
