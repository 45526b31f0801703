"""Processes that are alive and do not run are found and killed, also when they hold the write lock."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from actors.runtime.wake import WakeSocket
from store import incidents
from store.engine.writers_lock import holding
from store.failpoints import VARIABLE
from supervisor.process.launch import Process
from supervisor.process.unresponsive import LOCK_LIMIT_S, STOPPED_LIMIT_S, UnresponsiveSearch, is_stopped
from supervisor.process.watch import ChildExited, Watch
from tests.support import stores
from tests.support.crews import Crew, is_alive, send_signal
from tests.support.waiting import eventually

PATIENCE_S = STOPPED_LIMIT_S + 10.0


def test_an_actor_stopped_inside_a_transaction_is_killed_and_others_write_again(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor's own actor is among those who wait for the store."""
    marker = tmp_path / "stopped"
    monkeypatch.setenv(VARIABLE, f"stuck:before_commit:3:SIGSTOP:{marker}")
    crew.up()
    crew.want("stuck", "other")
    pid = crew.running("stuck")
    crew.running("other")
    asked = crew.tell("stuck", "say I am back")
    eventually(marker.exists, "the actor is stopped inside its transaction")
    holder = eventually(lambda: holding(crew.home.store), "somebody holds the lock")
    assert holder is not None
    assert holder.pid == pid
    eventually(lambda: not is_alive(pid), "it is killed", within_s=PATIENCE_S)
    assert crew.ask("other", "say I was not kept waiting") == "I was not kept waiting"
    assert crew.answer(asked) == "I am back"
    hung = [row.agent for row in incidents.listed(crew.store) if row.kind == "agent_hung"]
    assert hung == ["stuck"]


def test_idle_actor_that_was_stopped_is_replaced(crew: Crew) -> None:
    crew.up()
    crew.want("idle")
    send_signal(crew.running("idle"), signal.SIGSTOP)
    crew.running("idle", generation=2, within_s=PATIENCE_S)
    assert crew.ask("idle", "say here") == "here"


def test_only_a_process_stopped_for_the_whole_limit_is_unresponsive(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    search = UnresponsiveSearch(tmp_path / "crew.db")
    try:
        assert search.find([child.pid], 0.0) == []
        os.kill(child.pid, signal.SIGSTOP)
        eventually(lambda: is_stopped(child.pid), "it is stopped")
        assert search.find([child.pid], 1.0) == []
        assert search.find([child.pid], STOPPED_LIMIT_S) == []
        os.kill(child.pid, signal.SIGCONT)
        eventually(lambda: not is_stopped(child.pid), "it goes on")
        assert search.find([child.pid], 6.0) == []
        os.kill(child.pid, signal.SIGSTOP)
        eventually(lambda: is_stopped(child.pid), "it is stopped again")
        assert search.find([child.pid], 7.0) == []
        assert [found.pid for found in search.find([child.pid], 7.1 + STOPPED_LIMIT_S)] == [child.pid]
    finally:
        child.kill()
        child.wait()
    assert search.find([child.pid], 99.0) == []


def test_writers_that_take_turns_are_not_taken_for_one_that_holds_on(tmp_path: Path) -> None:
    store = stores.open_store(tmp_path / "crew.db")
    search = UnresponsiveSearch(store.path)
    try:
        for turn in range(4):
            with store.write():
                assert search.find([], turn * LOCK_LIMIT_S) == []
            assert holding(store.path) is None
        with store.write():
            assert search.find([], 100.0) == []
            (found,) = search.find([], 100.1 + LOCK_LIMIT_S)
            assert found.pid == os.getpid()
    finally:
        store.close()


def test_the_end_of_a_child_may_be_seen_in_any_order(tmp_path: Path) -> None:
    """Its closed line and its exit come in one look; whichever is first, it has ended once."""
    for order in (("line", "exit"), ("exit", "line")):
        child = subprocess.Popen(["true"])
        ours, theirs = socket.socketpair()
        process = Process("a", 1, child.pid, ours, os.pidfd_open(child.pid))
        wake = WakeSocket(tmp_path, "watch")
        told: list[object] = []
        watch = Watch(wake, UnresponsiveSearch(tmp_path / "crew.db"), tell=told.append)
        try:
            theirs.close()
            ours.setblocking(False)
            child.wait()
            watch._register(process)
            keys = watch._selector.get_map()
            assert process.pidfd is not None
            seen = {"line": keys[ours.fileno()].data, "exit": keys[process.pidfd].data}
            for what in order:
                seen[what]()
            assert told == [ChildExited("a", child.pid)]
        finally:
            process.reap()
            watch._selector.close()
            wake.close()
