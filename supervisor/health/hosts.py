"""The model hosts as `status` shows them: which answer, the slots in use, and the state of the breaker.

The state is read from the files and locks of the crew's run folder, and from one connection attempt per host.
Imports little, for the same reason as `status.py`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actors.home import Home, model_folder
from store import crew, facts
from store.engine import Store
from supervisor.health.status import iso

CONNECT_TIMEOUT_S = 0.3


def known(store: Store) -> list[str] | None:
    """The URLs that the latest supervisor was configured with; None if none was ever started."""
    return facts.get(store, facts.MODEL_HOSTS)


def without_crew(urls: Sequence[str]) -> list[dict[str, Any]]:
    """Each host while no crew runs. Slots and breaker are None, because nothing uses the host."""
    return [{"url": url, "state": state, "slots": None, "breaker": None} for url, state in _states(urls)]


def of_running_crew(urls: Sequence[str], home: Home, store: Store) -> list[dict[str, Any]]:
    """Each host of a running crew with its slots, the agents that use or wait for one, and its breaker."""
    slots = facts.get(store, facts.MODEL_SLOTS) or 0
    return [
        {"url": url, "state": state, "slots": _slots(store, folder, slots), "breaker": _breaker(folder)}
        for url, state in _states(urls)
        for folder in [model_folder(home.run, url)]
    ]


def _slots(store: Store, folder: Path, configured: int) -> dict[str, Any]:
    from actors.model.hosts.slots import Slots  # here: only a running crew has slots to show

    usage = Slots(folder, configured).usage()
    return {
        "total": usage.slots,
        "in_use": len(usage.in_use_by),
        "in_use_by": list(usage.in_use_by),
        "waiting": _of_tickets(store, usage.waiting) if usage.waiting else [],
    }


def _of_tickets(store: Store, tickets: Sequence[str]) -> list[str]:
    """The agents' names. Tickets have `_` in place of dots."""
    names = {row.name.replace(".", "_"): row.name for row in crew.all_agents(store)}
    return [names.get(ticket, ticket) for ticket in tickets]


def _breaker(folder: Path) -> dict[str, Any]:
    from actors.model.hosts.breaker import Breaker, State

    health = Breaker(folder).health()
    state = health.state(time.time())
    return {
        "state": state.value,
        "until": iso(health.retry_at) if state is State.OPEN else None,
        "reason": health.reason if state is not State.CLOSED else None,
    }


def _states(urls: Sequence[str]) -> list[tuple[str, str]]:
    """Whether each host accepts connections. All are tried in parallel, each for at most 0.3 s.

    No request is sent: a busy server answers late, and importing httpx would take longer than the rest.
    """
    states = ["down"] * len(urls)

    def check(index: int) -> None:
        states[index] = "up" if _accepts(urls[index]) else "down"

    threads = [threading.Thread(target=check, args=(index,), daemon=True) for index in range(len(urls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * CONNECT_TIMEOUT_S)
    return list(zip(urls, states, strict=True))


def _accepts(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", port), CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
