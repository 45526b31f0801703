"""What must change in tmux so that it shows what is wanted. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# `@nightcrew` marks the pane that shows a file; a pane that a person split off inherits `@agent`, but not it.
# What people can name freely comes last: a `|` in it must not shift the fields before.
ROW_FORMAT = "|".join(
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
# Between the single quotes of a tmux command; `|` separates the fields of a row.
_UNSAFE_AGENT = re.compile(r"['\"\\#|;%{}\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A window that should exist: which agent's file it shows, in which session, under which name."""

    session: str
    window: str
    agent: str
    file: Path

    def __post_init__(self) -> None:
        if not self.agent or _UNSAFE_AGENT.search(self.agent):
            raise ValueError(
                f"agent name {self.agent!r} cannot be used in tmux: it must not be empty or hold quotes, "
                "backslashes, braces, control characters or any of # | ; %"
            )

    @property
    def mark(self) -> str:
        """What tells this window from any other, and from a person's own."""
        key = "\0".join((self.session, self.window, self.agent, str(self.file)))
        return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Row:
    """One pane of the running server. `mark` is empty for a pane that is not ours."""

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
    """The difference. `revive` pairs a dead pane's id with its window, `kill_window_ids` a window's id with
    its agent; `session_names` are those that exist: a window's session is made only if it must be.
    """

    create: tuple[WindowSpec, ...] = ()
    revive: tuple[tuple[str, WindowSpec], ...] = ()
    kill_window_ids: tuple[tuple[str, str], ...] = ()
    session_names: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.create or self.revive or self.kill_window_ids)


def tmux_name(name: str) -> str:
    """The name as tmux can hold and target it: it forbids `.` and `:` and expands `#`."""
    return re.sub(r"[^\w\- ]", "_", name).strip() or "_"


def parse_rows(lines: Iterable[str]) -> list[Row]:
    """Rows of `list-panes -a -F ROW_FORMAT`."""
    rows = []
    for line in lines:
        fields = line.split("|", 8)
        if len(fields) == 9:
            mark, session_id, window_id, pane_id, dead, *rest = fields
            rows.append(Row(mark, session_id, window_id, pane_id, dead == "1", *rest))
    return rows


def plan(wanted: Sequence[WindowSpec], rows: Sequence[Row]) -> Plan:
    """What to do so that each wanted window exists once and alive. Windows of people's own are left alone."""
    specs = {spec.mark: spec for spec in wanted}
    seen: set[str] = set()
    revive, kill = [], []
    for row in rows:
        if not row.mark:
            continue
        spec = specs.get(row.mark)
        if spec is None or row.mark in seen:
            kill.append((row.window_id, row.agent))
            continue
        seen.add(row.mark)
        if row.dead:
            revive.append((row.pane_id, spec))
    create = tuple(spec for mark, spec in specs.items() if mark not in seen)
    return Plan(create, tuple(revive), tuple(kill), frozenset(row.session_name for row in rows))
