"""A whole night with a model whose server and whose replies fail in every known way, in over a fifth of all answers."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.rehearsal.faults import FaultKind
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from store import crew, incidents, tasks
from store.states import ProjectState, TaskState
from tests.support.nights import CONFIG, PROJECT, WORDS, Night
from tests.support.script_words import Reply, Scene, call, reply
from tests.support.waiting import eventually

NIGHTS = 5
PLACES = 9  # of faults in one script
CERTAIN = 8  # the first of them: what is said there is said in every night
LIMITS = """\
[model.limits]
connect_s = 2.0
first_token_s = 1.0
idle_s = 1.0
total_s = 20.0
"""


def dealt(night: int) -> list[FaultKind]:
    """One kind for each place, in order: the nights go through all kinds again and again."""
    kinds = list(FaultKind)
    return [kinds[(night * PLACES + place) % len(kinds)] for place in range(PLACES)]


def script(night: int) -> dict[str, Any]:
    """Everyone says every word three times, as a spoilt reply counts as said; and that is harmless thrice.

    The first of the three is spoilt, so no chance decides which faults a night has: all of these replies are
    requested in every night. Only the orchestrator's depends on the time, as check-ins do.
    """
    kinds = dealt(night)
    engineers = [_engineer(word, kinds[2 + 3 * at : 5 + 3 * at]) for at, word in enumerate(WORDS)]
    check_in = {
        "role": "orchestrator",
        "when": "heck-in",
        "reply": _thrice([reply("All is well.")], kinds[CERTAIN:]),
    }
    return {"scene": [*_manager(kinds[:2]), *engineers, check_in]}


def _thrice(replies: list[Reply], kinds: list[FaultKind]) -> list[Reply]:
    spoilt = [_spoilt(once, kind) for once, kind in zip(replies, kinds, strict=True)]
    return [said for bad, good in zip(spoilt, replies, strict=True) for said in (bad, good, good)]


def _spoilt(said: Reply, kind: FaultKind) -> Reply:
    return {**said, "fault": kind.value}


def _engineer(word: str, kinds: list[FaultKind]) -> Scene:
    number = WORDS.index(word) + 1
    module = f"def {word}():\n    return {number}\n"
    replies = [
        reply("I look.", call("shell", command=f"ls; cat test_{word}.py")),
        reply("I write it.", call("write_file", path=f"{word}.py", content=module)),
        reply("I hand it in.", call("submit_task", summary=f"{word} returns its number")),
    ]
    return {
        "role": "engineer",
        "when_regex": rf"Your task \d+: .*\b{word}\b",
        "reply": _thrice(replies, kinds),
    }


def _manager(kinds: list[FaultKind]) -> list[Scene]:
    plan = [
        call("assign_task", title=f"Write {word}", description=f"{word}() in {word}.py", role="engineer")
        for word in WORDS
    ]
    start = [_spoilt(reply("Two.", *plan), kinds[0]), reply("So.")]
    finish = _thrice([reply("The end.", call("finish_project", summary="Both are merged."))], kinds[1:])
    # Planning is said once: the crew asks for what is not planned, and a second plan would be more tasks.
    return [
        {"role": "project_manager", "when": "You manage the project", "reply": start},
        {"role": "project_manager", "when": "No task covers", "reply": [reply("Two.", *plan), reply("So.")]},
        {"role": "project_manager", "when_regex": "No task is open any more|Call finish_project", "reply": finish},
    ]  # fmt: skip


@dataclass
class FaultyNight(Night):
    """A `Night` that does not wait ten minutes for a hung server."""

    def prepare(self) -> None:
        super().prepare()
        config = CONFIG.format(url=self.url, tmux="false").replace("intensity = 100", "intensity = 3")
        (self.home.path / "nightcrew.toml").write_text(config + LIMITS)


def test_nights_with_every_fault_in_a_fifth_of_the_replies_end_with_all_merged(tmp_path: Path) -> None:
    began = time.monotonic()
    faults: Counter[str] = Counter()
    replies = 0
    for night in range(NIGHTS):
        with RehearsalServer(parse_script(script(night))) as server:
            _play(tmp_path / f"night-{night}", server.url)
            _await_served(server, {kind.value for kind in dealt(night)[:CERTAIN]})
            faults.update(str(row.fault) for row in server.served if row.fault)
            replies += len(server.served)
    print(f"\n{time.monotonic() - began:.0f} s, {replies} replies, {dict(faults)}")
    assert sum(faults.values()) >= 0.2 * replies
    assert set(faults) == {kind.value for kind in FaultKind}


def _await_served(server: RehearsalServer, kinds: set[str]) -> None:
    """A request is counted a moment after its answer has ended, and some end after the night."""
    eventually(lambda: kinds <= {row.fault for row in server.served}, f"each of {kinds} was served")


def _play(folder: Path, url: str) -> None:
    night = FaultyNight(folder, url)
    folder.mkdir()
    night.prepare()
    try:
        night.start()
        eventually(lambda: _is_finished(night), f"the project in {folder.name} ends", within_s=60)
        rows = tasks.of_project(night.store, PROJECT)
        assert {row.deliverable for row in rows if row.state == TaskState.MERGED} == {1, 2}
        assert {row.state for row in rows} == {TaskState.MERGED}
        # Bad replies are the model's everyday: nobody crashed, was thought hung, or lost a message over one.
        counts = incidents.counts(night.store)
        assert not {"agent_restarted", "agent_hung", "dead_letter", "agent_quarantined"} & set(counts)
    finally:
        night.close()


def _is_finished(night: Night) -> bool:
    night.watch_over()
    return bool(crew.project(night.store, PROJECT).state == ProjectState.FINISHED)
