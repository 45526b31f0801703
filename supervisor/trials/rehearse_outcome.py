"""The outcome of a rehearsal, as JSON and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: of which process, during what, and how long until work went on."""

    who: str
    doing: str
    recovered_ms: int


@dataclass(slots=True)
class Outcome:
    """The results. `ok` means: all tasks are merged, nothing was lost or done twice, and nothing is stuck."""

    merged: int = 0
    tasks: int = 0
    refused: int = 0
    check_ins: int = 0
    deaths: list[Kill] = field(default_factory=list)
    repeated_requests: int = 0
    repeated_tools: int = 0
    unknown_outcomes: int = 0
    checks_passed: bool = False
    windows: int = 0
    findings: list[str] = field(default_factory=list)
    branch: str = ""
    repository: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return (
            self.merged == self.tasks == 3
            and self.checks_passed
            and self.refused >= 1
            and self.check_ins >= 1
            and len(self.deaths) == 2
            and self.repeated_tools == 0
            and not self.findings
        )

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "scripted_model": True, **asdict(self)}


def summary(outcome: Outcome) -> str:
    """The text for people, printed at the end."""
    repeated = _count(outcome.repeated_requests, "model request")
    lines = [
        "",
        f"{outcome.merged} of {outcome.tasks} tasks merged into {outcome.branch}"
        f" ({outcome.refused} refused and repaired, {_count(outcome.check_ins, 'check-in')} sent)",
        f"checks, run again on the merged branch: {'passed' if outcome.checks_passed else 'FAILED'}",
    ]
    lines += [
        f"killed: {kill.who} ({kill.doing}); work went on after {kill.recovered_ms} ms"
        for kill in outcome.deaths
    ]
    lines += [
        f"{repeated} sent again after a kill, {_count(outcome.repeated_tools, 'tool call')} run twice, "
        f'{outcome.unknown_outcomes} reported to the model as "outcome unknown"',
        "audit: "
        + ("problems found:" if outcome.findings else "nothing lost, nothing done twice, nothing stuck"),
        *(f"  - {finding}" for finding in outcome.findings),
        f"The rehearsal {'passed' if outcome.ok else 'FAILED'} ({outcome.seconds} s).",
    ]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
