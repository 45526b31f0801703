"""A crew with a single slot, with a host that is down, and with a server that cuts its prompts."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actors.rehearsal import stream
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from store import crew, history, incidents, tasks
from store.entries import ReplyBody, ReplyCost
from store.rows import Agent
from store.states import Activity, EntryKind, TaskState
from tests.support.nights import CONFIG, PROJECT, Night, script
from tests.support.waiting import eventually


@dataclass
class HostsNight(Night):
    """A `Night` with other hosts or slots. `changes` are replacements in the text of its configuration."""

    changes: tuple[tuple[str, str], ...] = ()

    def prepare(self) -> None:
        self.folder.mkdir()
        super().prepare()
        config = CONFIG.format(url=self.url, tmux="false")
        for old, new in self.changes:
            assert old in config
            config = config.replace(old, new)
        (self.home.path / "nightcrew.toml").write_text(config)

    def assert_merged(self) -> None:
        assert {row.state for row in tasks.of_project(self.store, PROJECT)} == {TaskState.MERGED}

    def costs(self) -> list[ReplyCost]:
        rows = history.since(self.store, 0, most=10_000)
        return [row.body.cost for row in rows if isinstance(row.body, ReplyBody)]


def test_an_agent_that_waits_for_the_only_slot_shows_it_and_is_not_unresponsive(tmp_path: Path) -> None:
    told = script()
    for scene in told["scene"]:
        if scene["role"] == "engineer":
            scene["reply"][0]["delay_ms"] = 2_500
    with RehearsalServer(parse_script(told)) as server:
        limited = ("[work]", "[model.limits]\ntotal_s = 30\n[work]")
        night = HostsNight(
            tmp_path / "night", server.url, changes=(limited, ("[model]", "[model]\nslots = 1"))
        )
        night.prepare()
        try:
            night.start()

            def waiter() -> Agent | None:
                team = crew.all_agents(night.store, project=PROJECT)
                return next((row for row in team if row.activity == Activity.WAITING), None)

            row = eventually(waiter, "somebody waits for the slot", within_s=30)
            assert row is not None
            assert row.deadline_at is not None
            assert row.activity_since is not None
            assert row.deadline_at - row.activity_since > 300, "its wait is longer than a request's limit"
            night.play()
            night.assert_merged()
            queued = [cost.queue_ms or 0.0 for cost in night.costs()]
            assert max(queued) > 1_000
            assert "agent_hung" not in incidents.counts(night.store)
        finally:
            night.close()


def test_a_host_that_is_down_costs_no_work_while_another_answers(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can have it
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with RehearsalServer(parse_script(script())) as server:
            hosts = (f'hosts = ["{server.url}"]', f'hosts = ["{away}", "{server.url}"]')
            night = HostsNight(tmp_path / "night", server.url, changes=(hosts,))
            night.prepare()
            try:
                night.play()
                night.assert_merged()
                assert "model_unavailable" not in incidents.counts(night.store)
            finally:
                night.close()


def test_a_server_that_cuts_prompts_is_reported_once_per_context_and_stops_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = stream._done

    def cut(*arguments: Any) -> stream.Line:
        line = honest(*arguments)
        return stream.Line({**line.fields, "prompt_eval_count": 11})

    monkeypatch.setattr(stream, "_done", cut)
    with RehearsalServer(parse_script(script())) as server:
        night = HostsNight(tmp_path / "night", server.url)
        night.prepare()
        try:
            night.play()
            night.assert_merged()
            told = [row for row in incidents.listed(night.store) if row.kind == "prompt_cut"]
            assert {row.agent for row in told} >= {"pm.night", "engineer-1.night", "engineer-2.night"}
            rows = history.since(night.store, 0, most=10_000)
            contexts = sum(row.kind is EntryKind.SYSTEM for row in rows)
            assert len(told) <= contexts
            assert told[0].detail["reported_tokens"] == 11
            assert told[0].needs_human
        finally:
            night.close()
