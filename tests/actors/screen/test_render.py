"""Rows as text: readable, complete, and harmless whatever agents write."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.screen.render import render_entry, render_live, strip_controls
from actors.text import COLOURS
from store.entries import (
    Body,
    Call,
    Entry,
    MaskBody,
    MessageBody,
    NoteBody,
    NudgeBody,
    ReplyBody,
    ReplyCost,
    SummaryBody,
    SystemBody,
    ToolResultBody,
)

AT = datetime(2025, 11, 3, 22, 0, 0, tzinfo=UTC)
OURS = re.compile(r"\x1b\[(?:1;)?38;5;\d+m|\x1b\[0m")
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

spicy = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b\x9b\x9d\x90\x07\x08\r\n\t[]P;?0123mJHK\\\u202e\u2066\u200f\ud800\U000e0041"),
    ),
    max_size=60,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | spicy,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(spicy, inner, max_size=3),
    max_leaves=6,
)
numbers = st.none() | st.integers()
bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(SystemBody, spicy),
    st.builds(MessageBody, spicy, spicy, spicy),
    st.builds(
        ReplyBody,
        spicy,
        st.lists(st.builds(Call, spicy, st.dictionaries(spicy, anything, max_size=3)), max_size=3).map(tuple),
        cost=st.builds(ReplyCost, numbers, numbers, numbers, total_ms=st.none() | st.floats()),
    ),
    st.builds(ToolResultBody, st.integers(), st.integers(), spicy, spicy, st.booleans()),
    st.builds(NudgeBody, spicy, spicy),
    st.builds(SummaryBody, spicy, st.integers(), st.just(()), st.integers(), st.integers()),
    st.builds(MaskBody, st.integers()),
    st.builds(NoteBody, spicy),
)


def entry(body: Body, agent: str = "eng-1") -> Entry:
    return Entry(1, agent, body, None, None, AT.timestamp())


def plain(text: str) -> str:
    return OURS.sub("", text)


@given(spicy)
def test_stripped_text_holds_no_control_but_newline_and_tab(text: str) -> None:
    stripped = strip_controls(text)
    assert not FORBIDDEN.search(stripped)
    assert strip_controls(stripped) == stripped
    assert not FORBIDDEN.search(render_live(text))


@given(bodies, spicy)
@settings(deadline=None)
def test_no_body_can_bring_in_an_escape_or_break_the_rendering(body: Body, agent: str) -> None:
    text = render_entry(entry(body, agent))
    assert not FORBIDDEN.search(plain(text))
    assert text.endswith("\n")
    text.encode("utf-8")


@given(st.text(st.characters(blacklist_categories=("C", "Z"))))
def test_ordinary_text_of_any_script_is_kept(text: str) -> None:
    assert strip_controls(text) == text


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("\x1b[31mred\x1b[0m \x1b[1;4mbold\x1b[m", "red bold"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended\nnext line", "\nnext line"),
        ("\x1b(Bx\x1b7y\x1bcz", "xyz"),
        ("nul\x00 bell\x07 back\x08", "nul␀ bell␇ back␈"),
        ("user\u202egpj.exe", "user<U+202E>gpj.exe"),
        ("half\ud83d", "half<U+D83D>"),
        ("👩\u200d🔬 stays", "👩\u200d🔬 stays"),
    ],
)
def test_control_codes_become_plain_text(text: str, stripped: str) -> None:
    assert strip_controls(text) == stripped


def test_each_kind_starts_with_the_local_time_and_says_what_it_is() -> None:
    local = f"{AT.astimezone():%H:%M:%S}"
    shown = {
        "instructions": entry(SystemBody("be good")),
        "✉ from pm · task_assigned": entry(MessageBody("pm", "task_assigned", "do it")),
        "● eng-1": entry(ReplyBody("I will")),
        "✓ shell": entry(ToolResultBody(1, 0, "shell", "done", ok=True)),
        "✗ shell": entry(ToolResultBody(1, 0, "shell", "failed", ok=False)),
        "nudge": entry(NudgeBody("go on", "loop")),
        "summary": entry(SummaryBody("so far", 1, (), 2, 2)),
        "note": entry(NoteBody("by the way")),
    }
    for title, row in shown.items():
        first, second = plain(render_entry(row)).splitlines()
        assert first.startswith(local)
        assert title in first
        assert second == row.body.text


def test_reply_shows_its_calls_and_what_it_cost() -> None:
    calls = (
        Call("shell", {"command": "pytest -q", "timeout_s": 60}),
        Call("write_file", {"path": "a.py", "content": "one\ntwo\n" * 20}),
    )
    cost = ReplyCost(prompt_tokens=900, cached_tokens=800, generated_tokens=41, total_ms=1234.5)
    reply = entry(ReplyBody(" \nRunning.\n", calls, cost=cost))
    lines = plain(render_entry(reply)).splitlines()
    assert lines[1:4] == [
        "Running.",
        '→ shell(command="pytest -q", timeout_s=60)',
        '→ write_file(path="a.py", content=…)',
    ]
    assert lines[4:7] == ["  content:", "one", "two"]
    assert any("lines hidden" in line for line in lines)
    assert lines[-1] == "  900 prompt tokens (800 cached) · 41 generated · 1.2 s"
    assert plain(render_entry(reply, full=True)).count("one\ntwo\n") == 20


def test_long_tool_output_keeps_head_and_tail_and_says_how_to_see_the_rest() -> None:
    text = "\n".join(f"line {number}" for number in range(1000))
    lines = plain(render_entry(entry(ToolResultBody(1, 0, "shell", text, ok=True)))).splitlines()[1:]
    assert len(lines) == 41
    assert (lines[0], lines[-1]) == ("line 0", "line 999")
    assert lines[20] == "… 960 lines hidden; all of it: nightcrew history eng-1 --full"
    whole = plain(render_entry(entry(ToolResultBody(1, 0, "shell", text, ok=True)), full=True)).splitlines()[
        1:
    ]
    assert "\n".join(whole) == text


def test_one_logical_line_stays_one_line_and_an_endless_one_is_cut() -> None:
    (line,) = plain(render_entry(entry(MessageBody("pm", "", "word " * 300)))).splitlines()[1:]
    assert line == "word " * 300
    (line,) = plain(render_entry(entry(ToolResultBody(1, 0, "t", "x" * 9_000, ok=True)))).splitlines()[1:]
    assert line == "x" * 2_000 + " … 7000 characters hidden"


@pytest.mark.parametrize("colour", COLOURS)
def test_colour_is_readable_on_black_and_on_white(colour: str) -> None:
    index = COLOURS[colour]
    levels = (0, 95, 135, 175, 215, 255)
    if index >= 232:
        rgb = [8 + 10 * (index - 232)] * 3
    else:
        rgb = [levels[(index - 16) // 36], levels[(index - 16) // 6 % 6], levels[(index - 16) % 6]]
    linear = [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert (luminance + 0.05) / 0.05 >= 3
    assert 1.05 / (luminance + 0.05) >= 3
