"""Calls in the text are found in every form, and only real calls run."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.model.parsing.calls import extract
from actors.model.protocol import Reply, ToolCall
from tests.actors.model.parsing.corpus import CASES, LS_JSON, LS_XML, TOOLS, Case

_TYPES = {"string": str, "integer": int, "number": int | float, "boolean": bool}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_output_of_the_corpus_becomes_what_it_must(case: Case) -> None:
    taken = extract(Reply(case.content, case.parsed, case.done_reason), TOOLS)
    assert [(call.name, call.arguments) for call in taken.calls] == [
        (name, dict(arguments)) for name, arguments in case.calls
    ]
    if case.problem is None:
        assert taken.problems == ()
    else:
        (problem,) = taken.problems
        assert case.problem in problem
    if case.text is not None:
        assert taken.text == case.text
    if not case.calls and not case.parsed and not case.problem:
        assert taken.text == case.content


def test_corpus_has_sixty_outputs_with_names_of_their_own() -> None:
    assert len({(case.name, case.content) for case in CASES}) == len(CASES) >= 60


def test_argument_that_does_not_exist_is_left_out_with_a_note() -> None:
    reply = Reply("", (ToolCall("shell", {"command": "ls", "cwd": "src"}),))
    (call,) = extract(reply, TOOLS).calls
    assert call.arguments == {"command": "ls"}
    assert call.notes == (
        "shell: argument 'cwd' does not exist and was left out. It takes command, [timeout_s].",
    )


def test_places_of_good_and_bad_calls_count_all_calls_of_the_reply() -> None:
    taken = extract(Reply("", (ToolCall("fly", {}), ToolCall("crew_status", {}))), TOOLS)
    assert [item.index for item in taken.rejected] == [0]
    assert [call.index for call in taken.calls] == [1]


def test_reply_without_anything_is_empty_and_one_with_a_problem_is_not() -> None:
    assert extract(Reply(" \n"), TOOLS).is_empty
    assert not extract(Reply("<tool_call>"), TOOLS).is_empty


_FRAGMENTS = (
    "<tool_call>", "</tool_call>", "<function=shell>", "<function=", "</function>", "<parameter=command>",
    "<parameter=path>", "</parameter>", "<function=write_file>", "```", "```json\n", "~~~", "\n", " ", "`",
    '{"name": "shell", "arguments": ', '{"command": "ls"}', "}", "{", "[", "]", ",", '"', "\\", "null",
    "I will.", ":", LS_XML, LS_JSON, "<|im_end|>", "\x00", "\u2028", "\ud800", "é", "name", "tool_calls",
)  # fmt: skip
_soup = st.lists(st.sampled_from(_FRAGMENTS) | st.text(max_size=8), max_size=25).map("".join)
_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_names = st.sampled_from([spec.name for spec in TOOLS]) | st.text(max_size=10)
_keys = st.sampled_from(["command", "path", "content", "arguments", "timeout_s", "whole"]) | st.text(
    max_size=5
)
_calls = st.builds(ToolCall, _names, st.dictionaries(_keys, _json, max_size=4))


@settings(max_examples=600, deadline=None)
@given(_soup, st.lists(_calls, max_size=3), st.sampled_from(["stop", "length", ""]))
def test_no_reply_whatever_raises_or_yields_a_call_that_does_not_fit_its_tool(
    text: str, parsed: list[ToolCall], done_reason: str
) -> None:
    taken = extract(Reply(text, tuple(parsed), done_reason), TOOLS)
    specs = {spec.name: spec for spec in TOOLS}
    for call in taken.calls:
        assert call.name in text or call.name in {item.name for item in parsed}
        declared = {parameter.name: parameter for parameter in specs[call.name].parameters}
        assert set(call.arguments) <= set(declared)
        assert {name for name, p in declared.items() if p.required} <= set(call.arguments)
        for name, value in call.arguments.items():
            assert isinstance(value, _TYPES[declared[name].type])
    assert len(taken.rejected) <= len(taken.problems)


@settings(max_examples=300, deadline=None)
@given(_soup, st.sampled_from(["See this:", "Example:", "You would write"]))
def test_call_in_a_code_block_within_prose_never_runs(soup: str, words: str) -> None:
    prose = "".join(c for c in soup if c not in "`~<{[")
    for example in (LS_XML, LS_JSON):
        assert extract(Reply(f"{words} {prose}\n```\n{example}\n```\n"), TOOLS).calls == ()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.text(max_size=20))
def test_value_of_a_leaked_call_arrives_unchanged(content: str, path: str) -> None:
    leaked = json.dumps({"name": "write_file", "arguments": {"path": path, "content": content}})
    (call,) = extract(Reply(leaked), TOOLS).calls
    assert call.arguments == {"path": path, "content": content}


@pytest.mark.parametrize(
    "piece",
    ['{"a\n', "[\n{", "<tool_call>\n", "<function=shell>\n", "```\n", '{"name": "shell", "arguments": {\n',
     "<function=shell><parameter=command>\n", "</parameter> ", "[" , " ", "</tool_call>\n<function=x>"],
)  # fmt: skip
def test_long_texts_made_to_confuse_are_read_in_a_moment(piece: str) -> None:
    text = piece * (190_000 // len(piece))
    started_s = time.perf_counter()
    extract(Reply(text), TOOLS)
    assert time.perf_counter() - started_s < 5
