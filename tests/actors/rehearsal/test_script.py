"""A script defines the answers of the scripted model, and its mistakes are reported with their place."""

from __future__ import annotations

import json
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.rehearsal import script as script_module
from actors.rehearsal.answers import DONE, Answer, ChatRequest, answer_to, read_request
from actors.rehearsal.faults import Fault, FaultKind, choose_fault
from actors.rehearsal.script import ScriptError, load_script, parse_script

_TOML = r"""
title = "Two fixes"

[[scene]]
role = "engineer"
when_regex = 'Task (?P<task>t\d+)'

[[scene.reply]]
text = "I read {task}."
calls = [{ tool = "read_file", arguments = { path = "{task}.py", start_line = 1 } }]

[[scene.reply]]
capture = '(?P<lines>\d+) lines'
text = "It has {lines} lines; f'{name}' and {x: 1} stay."
calls = [{ tool = "submit_task", arguments = { summary = "{task} by {@agent}, {@role}", list = ["{task}"] } }]

[[scene]]
role = "engineer"
when = "The checks failed"

[[scene.reply]]
text = "I repair it."

[[scene]]
agent = "qa-1"

[[scene.reply]]
text = "Looks good."
delay_ms = 5
token_delay_ms = 1
"""


def _script(tmp_path: Path) -> Any:
    path = tmp_path / "script.toml"
    path.write_text(_TOML, encoding="utf-8")
    return load_script(path)


def _request(*messages: tuple[str, str], role: str = "engineer", agent: str = "engineer-1") -> ChatRequest:
    system = ("system", f"role: {role}\nYou write code.\nagent: {agent}\n")
    told = [{"role": who, "content": text} for who, text in (system, *messages)]
    return read_request({"messages": told})


BRIEFING = ("user", "Task t3: fix the slug")


def test_role_and_agent_are_read_from_the_system_message(tmp_path: Path) -> None:
    request = _request(BRIEFING, role="project_manager", agent="pm-1")
    assert (request.role, request.agent) == ("project_manager", "pm-1")
    assert read_request({"messages": [{"role": "system", "content": "You are role: qa"}]}).role == ""


def test_briefing_selects_its_scene_and_fills_the_captured_values(tmp_path: Path) -> None:
    said = answer_to(_script(tmp_path), _request(BRIEFING))
    assert said.text == "I read t3."
    assert said.calls == (("read_file", {"path": "t3.py", "start_line": 1}),)


def test_each_assistant_message_moves_on_by_one_reply_and_then_it_is_done(tmp_path: Path) -> None:
    script = _script(tmp_path)
    told = [BRIEFING, ("assistant", "I read t3."), ("tool", "12 lines")]
    said = answer_to(script, _request(*told))
    assert said.text == "It has 12 lines; f'{name}' and {x: 1} stay."
    assert said.calls == (("submit_task", {"summary": "t3 by engineer-1, engineer", "list": ["t3"]}),)
    last = answer_to(script, _request(*told, ("assistant", "x"), ("tool", "ok")))
    assert (last.text, last.calls) == (DONE, ())


def test_value_that_was_not_captured_stays_as_it_is_written(tmp_path: Path) -> None:
    said = answer_to(_script(tmp_path), _request(BRIEFING, ("assistant", "x"), ("tool", "nothing")))
    assert "{lines} lines" in said.text


def test_later_user_message_that_fits_starts_its_scene_and_a_nudge_does_not(tmp_path: Path) -> None:
    script = _script(tmp_path)
    told = [BRIEFING, ("assistant", "a"), ("tool", "9 lines"), ("user", "Please go on.")]
    assert answer_to(script, _request(*told)).text.startswith("It has 9 lines")
    assert answer_to(script, _request(*told, ("user", "The checks failed: x"))).text == "I repair it."


def test_scene_for_an_agent_is_for_that_agent_only(tmp_path: Path) -> None:
    script = _script(tmp_path)
    said = answer_to(script, _request(("user", "anything"), role="qa", agent="qa-1"))
    assert (said.text, said.delay_ms, said.token_delay_ms) == ("Looks good.", 5, 1)
    gap = answer_to(script, _request(("user", "anything"), role="qa", agent="qa-2"))
    assert "no scene for role qa, agent qa-2" in gap.text
    assert gap.calls == ()


def test_same_request_always_gets_the_same_answer_to(tmp_path: Path) -> None:
    script = _script(tmp_path)
    answers: list[Answer] = [answer_to(script, _request(BRIEFING)) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]


def test_example_in_the_documentation_is_a_valid_script() -> None:
    lines = (script_module.__doc__ or "").splitlines()
    shown = textwrap.dedent("\n".join(line for line in lines if line.startswith("    ") or not line))
    if not shown.strip():  # Python 3.13 takes the indentation off docstrings
        pytest.skip("the documentation's example cannot be told from its text")
    said = answer_to(parse_script(tomllib.loads(shown)), _request(("user", "Task t3: fix slugify")))
    assert said.calls == (("read_file", {"path": "slug.py"}),)


def test_json_script_is_read_like_a_toml_script(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps({"scene": [{"reply": [{"text": "hi"}]}]}))
    assert answer_to(load_script(path), _request(("user", "x"))).text == "hi"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "not list"),
        ({"scenes": []}, "unknown key 'scenes'; did you mean 'scene'?"),
        ({"scene": [{"reply": [{"txt": "x"}]}]}, "scene 1, reply 1: unknown key 'txt'; did you mean 'text'?"),
        ({"scene": [{"reply": [{"calls": [{"tool": "x", "args": {}}]}]}]}, "calls 1: unknown key 'args'"),
        ({"scene": [{"reply": []}]}, "scene 1, reply: Tuple should have at least 1 item"),
        ({"scene": [{"reply": [{"calls": [{}]}]}]}, "scene 1, reply 1, calls 1, tool: Field required"),
        ({"scene": [{"when": "a", "when_regex": "b", "reply": [{}]}]}, "both `when` and `when_regex`"),
        ({"scene": [{"when_regex": "(", "reply": [{}]}]}, "not a valid regular expression"),
        ({"scene": [{"reply": [{"delay_ms": -1}]}]}, "delay_ms"),
        ({"fault": [{"kind": "burn"}]}, "fault 1, kind: Input should be '500'"),
        ({"fault": [{"kind": "500", "share": 0.7}, {"kind": "hang", "share": 0.7}]}, "add up to 1.4"),
    ],
)
def test_mistake_in_a_script_is_shown_with_its_place(data: object, words: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(data, source="night.toml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("night.toml: ")


def test_script_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="cannot be read"):
        load_script(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("= =")
    with pytest.raises(ScriptError, match=r"bad\.toml is not valid TOML"):
        load_script(bad)


_messages = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["system", "user", "assistant", "tool"]) | st.none(),
            "content": st.text(max_size=30) | st.none() | st.integers(),
        },
    )
    | st.none(),
    max_size=6,
)


@given(_messages)
def test_no_request_raises(messages: list[Any]) -> None:
    script = parse_script({"scene": [{"when_regex": "(?P<a>x)", "reply": [{"text": "{a}", "capture": "y"}]}]})
    assert isinstance(answer_to(script, read_request({"messages": messages})).text, str)


# --- faults ---


def _hit(digest: str, seen: int = 0, *faults: Fault, role: str = "engineer") -> FaultKind | None:
    return choose_fault(faults, seed=1, request_hash=digest, times_seen=seen, role=role, agent="a")


def test_fault_hits_its_share_of_requests_and_the_same_ones_every_time() -> None:
    fault = Fault(kind=FaultKind.HANG, share=0.2)
    first = [_hit(str(number), 0, fault) for number in range(2000)]
    assert 0.17 < sum(hit is not None for hit in first) / 2000 < 0.23
    assert first == [_hit(str(number), 0, fault) for number in range(2000)]


def test_repeated_request_gets_through_after_the_faults_times() -> None:
    fault = Fault(kind=FaultKind.BUSY, times=2)
    assert [_hit("x", seen, fault) for seen in range(4)] == [FaultKind.BUSY, FaultKind.BUSY, None, None]


def test_faults_share_the_requests_among_themselves_and_keep_to_their_role() -> None:
    faults = (Fault(kind=FaultKind.HANG, share=0.5), Fault(kind=FaultKind.DROP, share=0.5, role="qa"))
    kinds = {_hit(str(number), 0, *faults, role="qa") for number in range(200)}
    assert kinds == {FaultKind.HANG, FaultKind.DROP}
    kinds = {_hit(str(number), 0, *faults) for number in range(200)}
    assert kinds == {FaultKind.HANG, None}
