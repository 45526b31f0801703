"""A SIGKILL at every boundary of a message's and a step's life, in the real process that gets there.

Whatever instant it is, the night ends as if nothing had happened: every task merged once, every message
handled once in effect, no command run twice blindly, the repository sound.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import history, tasks
from store.states import EntryKind, TaskState
from supervisor.trials.audit import audit
from tests.support.nights import PROJECT, WORDS, Night, scripted_model

ENGINEER, MANAGER, GATE = f"engineer-1.{PROJECT}", f"pm.{PROJECT}", f"gate.{PROJECT}"
# Killed there, the command was on its way and nobody saw its end.
IN_DOUBT = {"command_held", "tool_started", "tool_running"}


@dataclass(frozen=True, slots=True)
class Instant:
    """The `count`-th time that `who` comes by a failpoint; `what` is the test's title."""

    what: str
    who: str
    name: str
    count: int = 1


def _each(who: str, titles: dict[str, str]) -> list[Instant]:
    short = who.split(".")[0].removesuffix("-1")
    instants = []
    for place, title in titles.items():
        name, _, count = place.partition("@")
        instants.append(Instant(f"{short}_{title}", who, name, int(count or 1)))
    return instants


# fmt: off
INSTANTS = [
    *_each(ENGINEER, {
        "forked": "just_forked",
        "recovered": "recovered_and_not_yet_ready",
        "claimed": "has_claimed_its_task",
        "before_model_call": "is_about_to_ask_the_model",
        "before_model_call@3": "is_about_to_ask_the_model_a_third_time",
        "model_answered": "has_an_answer_that_is_not_written",
        "model_answered@4": "has_the_last_answer_that_is_not_written",
        "reply_written": "has_written_the_answer",
        "intent_written": "has_written_its_intent_to_run_a_command",
        "intent_written@2": "has_written_its_intent_to_write_a_file",
        "intent_written@3": "has_written_its_intent_to_edit_a_file",
        "command_held": "has_prepared_a_command_and_not_let_it_run",
        "tool_started": "has_just_started_a_command",
        "tool_running": "is_in_the_middle_of_a_command",
        "command_over": "saw_the_command_end_and_kept_no_record",
        "tool_ended": "has_an_exit_record_but_no_outcome",
        "tool_ended@2": "has_written_a_file_but_no_outcome",
        "tool_ended@3": "has_edited_a_file_but_no_outcome",
        "outcome_written": "has_written_the_outcome_of_a_command",
        "outcome_written@3": "has_written_the_outcome_of_an_edit",
        "work_staged": "has_staged_its_work",
        "commit_made": "has_made_a_commit_that_no_branch_holds",
        "commit_referenced": "has_moved_its_branch_to_the_commit",
        "crew_tool_decided": "has_committed_its_work_and_not_submitted",
        "wake_sent": "has_submitted_and_woken_the_gate",
    }),
    *_each(MANAGER, {
        "claimed": "has_claimed_the_briefing",
        "model_answered": "has_a_plan_that_is_not_written",
        "reply_written": "has_written_its_plan",
        "crew_tool_decided": "has_not_committed_the_first_task",
        "crew_tool_decided@2": "has_not_committed_the_second_task",
        "wake_sent": "has_assigned_a_task_and_woken_others",
        "crew_tool_decided@3": "has_not_committed_the_end_of_the_project",
    }),
    *_each(GATE, {
        "claimed": "has_claimed_a_submission",
        "trees_merged": "has_merged_the_trees",
        "merge_made": "has_made_a_merge_that_no_branch_holds",
        "tool_running": "is_in_the_middle_of_a_check",
        "checks_over": "has_run_the_checks",
        "reference_moved": "has_moved_the_branch_to_the_merge",
        "merge_tagged": "has_tagged_the_merge",
        "handled": "has_not_committed_the_merge",
        "before_commit@4": "is_in_the_transaction_of_the_merge",
        "acknowledged": "has_committed_the_merge",
        "reference_moved@2": "has_moved_the_branch_to_the_second_merge",
    }),
    *_each("timer", {
        "timer_due": "has_seen_a_timer_due",
        "timer_due@2": "has_seen_the_second_timer_due",
        "before_commit@2": "is_in_the_transaction_of_a_firing",
        "timer_fired": "has_fired",
        "timer_fired@2": "has_fired_a_second_time",
    }),
    *_each("orchestrator", {
        "claimed": "has_claimed_a_check_in",
        "reply_written": "has_answered_a_check_in",
    }),
    *_each("zygote", {
        "before_fork@4": "is_about_to_fork_an_agent",
        "after_fork@4": "has_forked_an_agent_and_not_said_so",
    }),
    *_each("tmux", {
        "line_drawn": "has_drawn_a_line",
        "windows_arranged": "has_arranged_its_windows",
    }),
    *_each("supervisor", {
        "before_commit@8": "is_in_a_transaction",
        "generation_raised": "has_raised_the_first_generation",
        "generation_raised@5": "has_raised_an_engineers_generation",
        "child_forked": "has_forked_the_first_child_and_not_recorded_it",
        "child_forked@5": "has_forked_an_engineer_and_not_recorded_it",
        "child_recorded@5": "has_recorded_an_engineers_process",
        "child_ready_seen@3": "has_seen_a_child_ready",
        "order_taken": "has_taken_an_order_and_not_carried_it_out",
        "child_exit_seen": "has_seen_a_child_exit",
    }),
]
# fmt: on
# Every other commit of an engineer's life is hit from inside, the others from outside; all of both with --all.
COMMITS = [
    pytest.param(
        Instant(f"engineer_{where}_{n}", ENGINEER, name, n),
        marks=[] if n % 2 == parity else [pytest.mark.slow],
    )
    for where, name, parity in (("in_transaction", "before_commit", 0), ("after_commit", "after_commit", 1))
    for n in range(1, 13)
]


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    with scripted_model() as url:
        yield url


@pytest.fixture
def night(tmp_path: Path, model: str) -> Iterator[Night]:
    night = Night(tmp_path, model)
    yield night
    night.close()


@pytest.mark.parametrize("instant", [*INSTANTS, *COMMITS], ids=lambda instant: instant.what)
def test_kill_at(instant: Instant, night: Night) -> None:
    night.tmux = instant.who == "tmux"
    night.arm(instant.who, instant.name, instant.count)
    night.prepare()
    night.play()
    assert night.marker.exists(), "nobody came by this instant"
    killed = json.loads(night.marker.read_text())
    assert killed["who"] == instant.who
    assert night.starts == (2 if instant.who == "supervisor" else 1)
    assert night.stop() == 0
    _assert_nothing_was_lost_or_doubled(night, instant)


def _assert_nothing_was_lost_or_doubled(night: Night, instant: Instant) -> None:
    found = audit(night.store)
    assert not found.findings
    rows = tasks.of_project(night.store, PROJECT)
    assert [row.state for row in rows] == [TaskState.MERGED] * 2
    assert all(row.attempts == 0 and row.verified for row in rows)
    branch = f"nightcrew/{PROJECT}/integration"
    results = [e for e in history.since(night.store, 0, most=10_000) if e.kind is EntryKind.TOOL_RESULT]
    unknown = [e for e in results if "Outcome unknown" in e.body.text]
    assert len(unknown) == (instant.name in IN_DOUBT and instant.who == ENGINEER)
    for number, word in enumerate(WORDS, 1):
        assert night.git("show", f"{branch}:{word}.py") == f"def {word}():\n    return {number}\n"
        runs = night.git("log", "-1", "--format=", "--patch", branch, "--", f"evidence-{word}.txt")
        listed = night.git("ls-tree", "--name-only", branch, f"evidence-{word}.txt").split()
        ran = night.git("show", f"{branch}:evidence-{word}.txt") if listed else ""
        assert ran == "ran\n" or (ran == "" and unknown), runs
    assert night.git("status", "--porcelain") == ""
    assert night.git("rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
