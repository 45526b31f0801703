"""Several hosts: staying, failing over, pausing, returning. Real loopback servers, real lock files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors.model.errors import ModelUnavailable
from actors.model.hosts import failover
from actors.model.hosts.breaker import State
from actors.model.hosts.failover import HostPool
from actors.model.hosts.host import BreakerOpen, ChatRequest
from actors.model.protocol import ChatMessage, Limits, ModelOptions
from actors.rehearsal.script import parse_script
from actors.rehearsal.server import RehearsalServer
from tests.support.waiting import eventually

SCRIPT = parse_script({"scene": [{"reply": [{"text": "Yes."}]}]})
BUSY = parse_script(
    {"scene": [{"reply": [{"text": "Yes."}]}], "fault": [{"kind": "503", "share": 1.0, "times": 1000}]}
)
OPTIONS = ModelOptions("qwen3-coder:30b")


def request(agent: str = "e1", text: str = "Hello") -> ChatRequest:
    return ChatRequest(
        agent=agent,
        is_brief=False,
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
    """Two servers, and the pools of agents that use them."""

    folder: Path
    servers: list[RehearsalServer]
    made: list[HostPool] = field(default_factory=list)

    def pool(self, agent: str = "e1", urls: Sequence[str] = ()) -> HostPool:
        urls = urls or [server.url for server in self.servers]
        self.made.append(HostPool(agent, urls, self.folder, Limits(connect_s=1.0, first_token_s=2.0), 2))
        return self.made[-1]

    def preferred_by(self, pool: HostPool) -> RehearsalServer:
        return next(server for server in self.servers if server.url == pool.hosts[0].url)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with ExitStack() as stack:
        hosts = Hosts(tmp_path, [stack.enter_context(RehearsalServer(SCRIPT)) for _ in range(2)])
        yield hosts
        for pool in hosts.made:
            pool.close()


def test_an_agent_stays_with_its_host(hosts: Hosts) -> None:
    pool = hosts.pool()
    assert {pool.chat(request(), silent).host for _ in range(4)} == {pool.hosts[0].url}


def test_agents_are_spread_over_the_hosts(hosts: Hosts) -> None:
    preferred = [hosts.pool(f"engineer-{number}.shop").hosts[0].url for number in range(20)]
    assert len(set(preferred)) == 2


def test_a_host_that_dies_gets_no_further_requests(hosts: Hosts) -> None:
    pool = hosts.pool()
    hosts.preferred_by(pool).stop()
    assert pool.chat(request(), silent).host == pool.hosts[1].url
    assert pool.hosts[0].breaker.state() is not State.CLOSED
    other = hosts.pool("e1")  # another process of the same agent: the same preferred host
    other.hosts[0].breaker.record_failure("down", unreachable=True, started_at=time.time() + 1)
    started = time.monotonic()
    assert other.chat(request(), silent).host == pool.hosts[1].url
    assert time.monotonic() - started < 1.0


def test_with_all_breakers_open_nothing_is_sent(hosts: Hosts) -> None:
    pool = hosts.pool()
    for host in pool.hosts:
        host.breaker.record_failure("down", unreachable=True, started_at=time.time())
    with pytest.raises(BreakerOpen, match="down"):
        pool.chat(request(), silent)
    assert pool.is_paused()
    assert pool.retry_in_s() <= 0.5
    assert not any(server.served for server in hosts.servers)


def test_a_host_that_is_up_again_is_probed_by_one_agent_and_then_open_to_all(hosts: Hosts) -> None:
    pool = hosts.pool()
    for host in pool.hosts:
        host.breaker.record_failure("down", unreachable=True, started_at=time.time())
    eventually(lambda: pool.retry_in_s() == 0, "the pause is over")
    assert pool.chat(request(), silent).reply.text == "Yes."
    assert sum(host.breaker.state() is State.CLOSED for host in pool.hosts) == 1
    assert not pool.is_paused()


def test_breaker_opens_after_three_failures(tmp_path: Path) -> None:
    with RehearsalServer(BUSY) as server:
        pool = HostPool("e1", [server.url], tmp_path, Limits(first_token_s=2.0), 2)
        for _ in range(3):
            with pytest.raises(ModelUnavailable, match="503"):
                pool.chat(request(), silent)
        with pytest.raises(BreakerOpen):
            pool.chat(request(), silent)
        assert len(server.served) == 3


def test_an_agent_returns_to_its_preferred_host_a_while_after_that_is_up(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = hosts.pool()
    pool.hosts[0].breaker.record_failure("down", unreachable=True, started_at=time.time())
    assert pool.chat(request(), silent).host == pool.hosts[1].url
    pool.hosts[0].breaker.record_success()
    assert pool.chat(request(), silent).host == pool.hosts[1].url, "that host has its prompt cached now"
    monkeypatch.setattr(pool, "_left_preferred_at", time.monotonic() - 2 * failover.RETURN_AFTER_S)
    assert pool.chat(request(), silent).host == pool.hosts[0].url


def test_a_host_without_the_model_is_skipped(tmp_path: Path) -> None:
    without = parse_script({"models": ["another"], "scene": [{"reply": [{"text": "Yes."}]}]})
    with RehearsalServer(SCRIPT) as good, RehearsalServer(without) as bad:
        for agent in ("e1", "e2", "e3"):
            pool = HostPool(agent, [good.url, bad.url], tmp_path, Limits(first_token_s=2.0), 2)
            assert pool.chat(request(agent), silent).host == good.url
            pool.close()


def test_a_recovered_host_meets_no_thundering_herd(hosts: Hosts) -> None:
    """Twelve agents whose host was down: one request in total at first, and never more than the slots."""
    urls = [hosts.servers[0].url]
    herd = [hosts.pool(f"e{number}", urls) for number in range(12)]
    herd[0].hosts[0].breaker.record_failure("down", unreachable=True, started_at=time.time())
    eventually(lambda: herd[0].retry_in_s() == 0, "the pause is over")
    refused: list[str] = []
    start = threading.Barrier(len(herd))

    def ask(pool: HostPool, agent: str) -> None:
        start.wait()
        try:
            pool.chat(request(agent, agent), silent)
        except BreakerOpen:
            refused.append(agent)

    threads = [threading.Thread(target=ask, args=(pool, f"e{n}")) for n, pool in enumerate(herd)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    # The server notes an answer when it is out, and so a moment after the asker has it.
    served = hosts.servers[0].served
    eventually(lambda: len(refused) + len(served) == len(herd), "each was refused or served")
    assert hosts.servers[0].served, "nobody tried"


def test_waiting_after_an_outage_ends_when_another_agents_probe_closes_a_breaker(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = hosts.pool()
    for host in pool.hosts:
        host.breaker.record_failure("down", unreachable=True, started_at=time.time())
    monkeypatch.setattr(pool, "retry_in_s", lambda: 60.0)
    threading.Timer(0.3, pool.hosts[1].breaker.record_success).start()
    started = time.monotonic()
    pool.wait_to_retry(ModelUnavailable("down"), threading.Event())
    assert time.monotonic() - started < 10.0
    assert not pool.is_paused()


def test_waiting_after_an_outage_ends_when_it_is_cancelled(hosts: Hosts) -> None:
    cancelled = threading.Event()
    cancelled.set()
    started = time.monotonic()
    hosts.pool().wait_to_retry(ModelUnavailable("down"), cancelled)
    assert time.monotonic() - started < 0.2
