"""The outcome of a drill, as JSON and as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """The results: counts of findings, and the times from a kill until the actor was ready again."""

    seed: int
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    fsck: int = 0
    recovery_ms_p50: float | None = None
    recovery_ms_p99: float | None = None
    done: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    timed: int = 0
    supervisor_ms_p50: float | None = None
    stopped_ms_p50: float | None = None
    projects: int = 0
    merged: int = 0
    unknown_outcomes: int = 0
    findings: list[str] = field(default_factory=list)
    home_on_tmpfs: bool = False
    folder: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        names = ("kills", "lost", "doubled", "stuck", "recovery_ms_p50", "recovery_ms_p99", "fsck")
        rest = [name for name in self.__slots__ if name not in names]
        return {name: getattr(self, name) for name in (*names, *rest)} | {"ok": self.ok}


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that a `share` of all values does not exceed, with one decimal; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def summary(outcome: Outcome) -> str:
    """The text for people, printed at the end."""
    done = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in outcome.done.items())
    lines = [
        "",
        f"{outcome.kills} kills, seed {outcome.seed} ({done})",
        f"{outcome.merged} tasks merged in {outcome.projects} projects; "
        f'{outcome.unknown_outcomes} commands reported to the model as "outcome unknown"',
        f"from kill to ready: p50 {outcome.recovery_ms_p50} ms, p99 {outcome.recovery_ms_p99} ms "
        f"({outcome.timed} measured{', home on tmpfs' if outcome.home_on_tmpfs else ''}); "
        f"supervisor: p50 {outcome.supervisor_ms_p50} ms; stopped: p50 {outcome.stopped_ms_p50} ms",
        f"lost {outcome.lost}, done twice {outcome.doubled}, stuck {outcome.stuck}, "
        f"damaged repositories {outcome.fsck}",
        *(f"  - {finding}" for finding in outcome.findings),
    ]
    if outcome.skipped:
        lines.append(f"skipped: {', '.join(outcome.skipped)} (needs root on Linux, for a small file system)")
    if outcome.folder:
        lines.append(f"the drill's files: {outcome.folder}")
    lines.append(f"The drill {'passed' if outcome.ok else 'FAILED'} ({outcome.seconds} s).")
    return "\n".join(lines)
