"""Decide what must change in tmux so that every wanted window exists. Pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# `@nightcrew` marks the pane that shows a file. A pane that a person splits off inherits only `@agent`.
# Names that people choose come last, so that a `|` in them cannot shift the other fields.
PANE_FORMAT = "|".join(
    f"#{{{field}}}"
    for field in (
        "@nightcrew",
        "session_id",
        "window_id",
        "pane_id",
        "pane_dead",
        "window_index",
        "@agent",
        "session_name",
        "window_name",
    )
)
# Not allowed in an agent's name: it is put between single quotes in tmux commands, and `|` separates fields.
_UNSAFE_AGENT = re.compile(r"['\"\\#|;%{}\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A wanted window: the agent whose file it shows, its session and its name."""

    session: str
    window: str
    agent: str
    file: Path

    def __post_init__(self) -> None:
        if not self.agent or _UNSAFE_AGENT.search(self.agent):
            raise ValueError(
                f"agent name {self.agent!r} cannot be used in tmux: it must not be empty or contain quotes, "
                "backslashes, braces, control characters or any of # | ; %"
            )

    @property
    def mark(self) -> str:
        """Identifies this window among all others, including those that people opened."""
        key = "\0".join((self.session, self.window, self.agent, str(self.file)))
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Pane:
    """One pane of the tmux server. `mark` is empty for a pane that a person opened."""

    mark: str
    session_id: str
    window_id: str
    pane_id: str
    dead: bool
    window_index: str
    agent: str
    session_name: str
    window_name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes to make. False if there are none.

    - `create`: windows that do not exist.
    - `revive`: panes whose command has ended, as (pane id, window).
    - `kill_window_ids`: windows to close, as (window id, agent).
    - `session_names`: the sessions that exist.
    """

    create: tuple[WindowSpec, ...] = ()
    revive: tuple[tuple[str, WindowSpec], ...] = ()
    kill_window_ids: tuple[tuple[str, str], ...] = ()
    session_names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.create or self.revive or self.kill_window_ids)


def tmux_name(name: str) -> str:
    """The name with characters replaced that tmux forbids (`.`, `:`) or expands (`#`)."""
    return re.sub(r"[^\w\- ]", "_", name).strip() or "_"


def parse_panes(lines: Iterable[str]) -> list[Pane]:
    """Parse the output of `list-panes -a -F PANE_FORMAT`."""
    panes = []
    for line in lines:
        fields = line.split("|", 8)
        if len(fields) == 9:
            mark, session_id, window_id, pane_id, dead, *rest = fields
            panes.append(Pane(mark, session_id, window_id, pane_id, dead == "1", *rest))
    return panes


def plan(wanted: Sequence[WindowSpec], panes: Sequence[Pane]) -> Plan:
    """The changes after which each wanted window exists once. Windows that people opened stay."""
    specs = {spec.mark: spec for spec in wanted}
    seen: set[str] = set()
    revive, kill = [], []
    for pane in panes:
        if not pane.mark:
            continue
        spec = specs.get(pane.mark)
        if spec is None or pane.mark in seen:
            kill.append((pane.window_id, pane.agent))
            continue
        seen.add(pane.mark)
        if pane.dead:
            revive.append((pane.pane_id, spec))
    create = tuple(spec for mark, spec in specs.items() if mark not in seen)
    return Plan(create, tuple(revive), tuple(kill), frozenset(pane.session_name for pane in panes))
