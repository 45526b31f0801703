"""A whole night with a model whose server and whose replies fail in every known way, in a fifth of all answers."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.model.faults import FaultKind
from actors.model.rehearsal import RehearsalServer
from actors.model.script import parse_script
from store import crew, incidents, tasks
from store.states import ProjectState, TaskState
from tests.support.nights import CONFIG, PROJECT, WORDS, Night
from tests.support.script_words import Reply, Scene, call, reply
from tests.support.waiting import eventually

SHARE = 0.2
SEEDS = (3, 4, 7, 8, 9)  # which requests are hit; the same ones every time
LIMITS = """\
[model.limits]
connect_s = 2.0
first_token_s = 1.0
idle_s = 1.0
total_s = 20.0
"""


def script(seed: int) -> dict[str, Any]:
    """Everyone says every word three times, as a spoilt reply counts as said; and that is harmless thrice."""
    shares = [{"kind": kind.value, "share": SHARE / len(FaultKind)} for kind in FaultKind]
    return {"seed": seed, "scene": [*_manager(), *(_engineer(word) for word in WORDS)], "fault": shares}


def _thrice(replies: list[Reply]) -> list[Reply]:
    return [again for once in replies for again in (once, once, once)]


def _engineer(word: str) -> Scene:
    number = WORDS.index(word) + 1
    module = f"def {word}():\n    return {number}\n"
    replies = [
        reply("I look.", call("shell", command=f"ls; cat test_{word}.py")),
        reply("I write it.", call("write_file", path=f"{word}.py", content=module)),
        reply("I hand it in.", call("submit_task", summary=f"{word} returns its number")),
    ]
    return {"role": "engineer", "when_regex": rf"Your task \d+: .*\b{word}\b", "reply": _thrice(replies)}


def _manager() -> list[Scene]:
    plan = [
        call("assign_task", title=f"Write {word}", description=f"{word}() in {word}.py", role="engineer")
        for word in WORDS
    ]
    finish = reply("The end.", call("finish_project", summary="Both are merged."))
    # Planning is said once: the crew asks for what is not planned, and a second plan would be more tasks.
    return [
        {"role": "project_manager", "when": "You manage the project", "reply": [reply("Two.", *plan), reply("So.")]},
        {"role": "project_manager", "when": "No task covers", "reply": [reply("Two.", *plan), reply("So.")]},
        {"role": "project_manager", "when_regex": "No task is open any more|Call finish_project", "reply": [finish]},
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
    for seed in SEEDS:
        with RehearsalServer(parse_script(script(seed))) as server:
            _play(tmp_path / f"night-{seed}", server.url)
            faults.update(str(row.fault) for row in server.served if row.fault)
            replies += len(server.served)
    print(f"\n{time.monotonic() - began:.0f} s, {replies} replies, {dict(faults)}")
    assert sum(faults.values()) >= 0.1 * replies
    assert len(faults) >= 12, f"only {sorted(faults)}"


def _play(folder: Path, url: str) -> None:
    night = FaultyNight(folder, url)
    folder.mkdir()
    night.prepare()
    try:
        night.start()
        eventually(lambda: _is_finished(night), f"the project in {folder.name} ends", within_s=60)
        rows = tasks.of_project(night.store, PROJECT)
        assert {row["deliverable"] for row in rows if row["state"] == TaskState.MERGED} == {1, 2}
        assert {row["state"] for row in rows} == {TaskState.MERGED}
        # Bad replies are the model's everyday: nobody crashed, was thought hung, or lost a message over one.
        counts = incidents.counts(night.store)
        assert not {"agent_restarted", "agent_hung", "dead_letter", "agent_quarantined"} & set(counts)
    finally:
        night.close()


def _is_finished(night: Night) -> bool:
    night.watch_over()
    return bool(crew.project(night.store, PROJECT)["state"] == ProjectState.FINISHED)
