"""Failover between an agent's model hosts.

An agent stays with its host, whose prefix cache holds its prompt. If that host is down the agent uses the next one,
and returns after a delay of its own once the first is up, so that not all agents return at the same moment.
"""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from actors import log
from actors.model.errors import ModelError, ModelMissing, ModelUnavailable
from actors.model.hosts.breaker import State
from actors.model.hosts.host import BreakerOpen, ChatRequest, HostReply, ModelHost
from actors.model.protocol import Limits
from store.shared.backoff import Backoff

RETURN_AFTER_S = 60.0
SKIP_MISSING_S = 300.0  # how long a host without the model comes last
RETRY = Backoff(first_s=0.5, max_s=30.0)
POLL_S = 0.25  # how often a waiting agent checks the breakers


class HostPool:
    """The model hosts of one agent. `hosts[0]` is its preferred one, chosen by its name to spread the load."""

    def __init__(self, agent: str, urls: Sequence[str], run_folder: Path, limits: Limits, slots: int) -> None:
        """`urls` are the crew's hosts, at least one; `slots` is per host, 0 to learn the number."""
        number = zlib.crc32(agent.encode())
        first = number % len(urls)
        self.hosts = [ModelHost(url, run_folder, limits, slots) for url in [*urls[first:], *urls[:first]]]
        self._agent = agent
        self._failures = 0  # requests in a row that no host answered
        self._current = 0
        self._left_preferred_at: float | None = None
        self._return_after_s = RETURN_AFTER_S * (1 + number % 100 / 100)
        self._missing_until: dict[str, float] = {}

    def chat(self, request: ChatRequest, new_stream: Callable[[], Callable[[str], None]]) -> HostReply:
        """Send the request to the agent's current host, or to the next one that answers.

        `new_stream` is called before each attempt and returns the function that receives its text. If no host
        answers, raises the last error that a host returned, or `BreakerOpen` if no host was tried.
        """
        self._return_to_preferred()
        last: ModelUnavailable | ModelMissing | None = None
        for number in self._in_order():
            host = self.hosts[number]
            try:
                reply = host.chat(request, new_stream())
            except ModelMissing as error:
                self._missing_until[host.url] = time.monotonic() + SKIP_MISSING_S
                last = error
            except ModelUnavailable as error:
                last = error if last is None or not isinstance(error, BreakerOpen) else last
            else:
                self._failures = 0
                self._switch_to(number)
                return reply
        assert last is not None, "there is at least one host"
        raise last

    def wait_to_retry(self, error: ModelError, cancelled: threading.Event) -> None:
        """Wait before the next attempt after `error`, longer after each failure in a row.

        Returns early when `cancelled` is set, or when all breakers were open and one of them no longer is.
        """
        self._failures += 1
        pause_s = RETRY.pause_s(self._failures, random.random())
        log.event(
            "WARNING" if self._failures == 1 else "INFO",
            "model_missing" if isinstance(error, ModelMissing) else "model_unavailable",
            actor=self._agent,
            reason=str(error),
            failures=self._failures,
            pause_s=round(pause_s, 1),
        )
        if isinstance(error, ModelUnavailable) and self.is_paused():
            self._wait_for_breakers(cancelled)
        else:
            cancelled.wait(pause_s)

    def close(self) -> None:
        """Close the kept connections; an agent between two turns holds none."""
        for host in self.hosts:
            host.client.close()

    def is_paused(self) -> bool:
        """Whether the breakers of all hosts are open or half open."""
        return all(host.breaker.state() is not State.CLOSED for host in self.hosts)

    def retry_in_s(self) -> float:
        """Seconds until a request to some host may be tried; 0 if now."""
        soonest = min(host.breaker.health().retry_at for host in self.hosts)
        return max(0.0, soonest - time.time())

    def _wait_for_breakers(self, cancelled: threading.Event) -> None:
        """Wait until a breaker permits a probe, or another agent's probe has closed one."""
        deadline = time.monotonic() + max(self.retry_in_s(), POLL_S) * random.uniform(1.0, 1.25)
        while time.monotonic() < deadline and self.is_paused():
            if cancelled.wait(POLL_S * random.uniform(0.5, 1.0)):
                return

    def _in_order(self) -> list[int]:
        """The hosts to try: the current one first, those without the model last."""
        now = time.monotonic()
        order = [*range(self._current, len(self.hosts)), *range(self._current)]
        return sorted(order, key=lambda number: self._missing_until.get(self.hosts[number].url, 0) > now)

    def _switch_to(self, number: int) -> None:
        if number != self._current:
            log.warning("host_changed", host=self.hosts[number].url, previous=self.hosts[self._current].url)
            self._current = number
            self._left_preferred_at = None if number == 0 else time.monotonic()

    def _return_to_preferred(self) -> None:
        """Return to the preferred host if it has been up again for long enough."""
        if self._left_preferred_at is None:
            return
        if time.monotonic() - self._left_preferred_at < self._return_after_s:
            return
        if self.hosts[0].breaker.state() is State.CLOSED:
            self._switch_to(0)
