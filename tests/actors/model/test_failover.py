"""Several hosts: staying, failing over, resting, coming home. Real loopback servers, real lock files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.model import failover
from actors.model.breaker import State
from actors.model.errors import ModelUnavailable
from actors.model.failover import HostResting, Lines, Question
from actors.model.protocol import ChatMessage, Limits, ModelOptions
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from tests.support.waiting import eventually

SCRIPT = parse_script({"scene": [{"reply": [{"text": "Yes."}]}]})
BUSY = parse_script(
    {"scene": [{"reply": [{"text": "Yes."}]}], "fault": [{"kind": "503", "share": 1.0, "times": 1000}]}
)
OPTIONS = ModelOptions("qwen3-coder:30b")


def question(who: str = "e1", text: str = "Hello") -> Question:
    return Question(
        who=who,
        brief=False,
        messages=[ChatMessage("user", text)],
        tools=(),
        options=OPTIONS,
        cancelled=threading.Event(),
        on_wait=lambda _waited_s: None,
        on_slot=lambda: None,
    )


def silent() -> Callable[[str], None]:
    return lambda _text: None


@dataclass
class Hosts:
    """Two servers and lines to them; `other` is the one that `who` does not begin with."""

    folder: Path
    servers: list[RehearsalServer]
    made: list[Lines] = field(default_factory=list)

    def lines(self, who: str = "e1", urls: Sequence[str] = ()) -> Lines:
        urls = urls or [server.url for server in self.servers]
        self.made.append(Lines(who, urls, self.folder, Limits(connect_s=1.0, first_token_s=2.0), 2))
        return self.made[-1]

    def home_of(self, found: Lines) -> RehearsalServer:
        return next(server for server in self.servers if server.url == found.all[0].url)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with ExitStack() as stack:
        hosts = Hosts(tmp_path, [stack.enter_context(RehearsalServer(SCRIPT)) for _ in range(2)])
        yield hosts
        for lines_ in hosts.made:
            lines_.hang_up()


def test_an_agent_stays_with_its_host(hosts: Hosts) -> None:
    found = hosts.lines()
    assert {found.ask(question(), silent).host for _ in range(4)} == {found.all[0].url}


def test_agents_are_spread_over_the_hosts(hosts: Hosts) -> None:
    homes = [hosts.lines(f"engineer-{number}.shop").all[0].url for number in range(20)]
    assert len(set(homes)) == 2


def test_a_host_that_dies_is_left_at_once_and_not_asked_again_by_anybody(hosts: Hosts) -> None:
    found = hosts.lines()
    hosts.home_of(found).stop()
    assert found.ask(question(), silent).host == found.all[1].url
    assert found.all[0].breaker.state() is not State.CLOSED
    other = hosts.lines("e1")  # another process of the same agent's name: the same home
    other.all[0].breaker.failed("down", unreachable=True, began_at=time.time() + 1)
    started = time.monotonic()
    assert other.ask(question(), silent).host == found.all[1].url
    assert time.monotonic() - started < 1.0


def test_with_all_hosts_resting_nothing_is_sent(hosts: Hosts) -> None:
    found = hosts.lines()
    for line in found.all:
        line.breaker.failed("down", unreachable=True, began_at=time.time())
    with pytest.raises(HostResting, match="down"):
        found.ask(question(), silent)
    assert found.all_rest()
    assert found.next_try_s() <= 0.5
    assert not any(server.served for server in hosts.servers)


def test_a_host_that_is_back_is_tried_by_one_and_then_open_to_all(hosts: Hosts) -> None:
    found = hosts.lines()
    for line in found.all:
        line.breaker.failed("down", unreachable=True, began_at=time.time())
    eventually(lambda: found.next_try_s() == 0, "the rest is over")
    assert found.ask(question(), silent).reply.text == "Yes."
    assert sum(line.breaker.state() is State.CLOSED for line in found.all) == 1
    assert not found.all_rest()


def test_a_failing_host_rests_after_three_failures(tmp_path: Path) -> None:
    with RehearsalServer(BUSY) as server:
        found = Lines("e1", [server.url], tmp_path, Limits(first_token_s=2.0), 2)
        for _ in range(3):
            with pytest.raises(ModelUnavailable, match="503"):
                found.ask(question(), silent)
        with pytest.raises(HostResting):
            found.ask(question(), silent)
        assert len(server.served) == 3


def test_an_agent_goes_home_some_time_after_home_is_back(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hosts.lines()
    found.all[0].breaker.failed("down", unreachable=True, began_at=time.time())
    assert found.ask(question(), silent).host == found.all[1].url
    found.all[0].breaker.succeeded()
    assert found.ask(question(), silent).host == found.all[1].url, "its prefix is warm there now"
    monkeypatch.setattr(found, "_away_since", time.monotonic() - 2 * failover.HOME_AGAIN_S)
    assert found.ask(question(), silent).host == found.all[0].url


def test_a_host_without_the_model_is_passed_over(tmp_path: Path) -> None:
    without = parse_script({"models": ["another"], "scene": [{"reply": [{"text": "Yes."}]}]})
    with RehearsalServer(SCRIPT) as good, RehearsalServer(without) as bad:
        for who in ("e1", "e2", "e3"):
            found = Lines(who, [good.url, bad.url], tmp_path, Limits(first_token_s=2.0), 2)
            assert found.ask(question(who), silent).host == good.url
            found.hang_up()


def test_a_recovered_host_meets_no_thundering_herd(hosts: Hosts) -> None:
    """Twelve agents whose hosts were away: at first one request in all, and never more than the slots."""
    urls = [hosts.servers[0].url]
    herd = [hosts.lines(f"e{number}", urls) for number in range(12)]
    herd[0].all[0].breaker.failed("down", unreachable=True, began_at=time.time())
    eventually(lambda: herd[0].next_try_s() == 0, "the rest is over")
    refused: list[str] = []
    start = threading.Barrier(len(herd))

    def ask(found: Lines, who: str) -> None:
        start.wait()
        try:
            found.ask(question(who, who), silent)
        except HostResting:
            refused.append(who)

    threads = [threading.Thread(target=ask, args=(found, f"e{n}")) for n, found in enumerate(herd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    # The server notes an answer when it is out, and so a moment after the asker has it.
    served = hosts.servers[0].served
    eventually(lambda: len(refused) + len(served) == len(herd), "each was refused or served")
    assert hosts.servers[0].served, "nobody tried"
