"""Formats the gate's result for the engineer who submitted: what passed, what failed, what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from actors.gate.checks import CheckReport, CheckResult
from actors.gate.verdict import Verdict

MAX_OUTPUT_CHARACTERS = 6_000


def passed_text(verdict: Verdict, report: CheckReport) -> str:
    """The text for a merge that passed, with the notes for the morning report."""
    return "\n".join(["The checks passed.", *_lines(report), *_listed("Note", verdict.notes)])


def failed_text(verdict: Verdict, report: CheckReport) -> str:
    """The reasons for a refusal, and the end of the output of each check that did not pass."""
    parts = ["NOT MERGED. Reasons:", *(f"- {block}" for block in verdict.blocks), "", *_lines(report)]
    parts += _listed("Note", verdict.notes)
    shown = [result for result in report.results if result.outcome != "passed"]
    for result in shown:
        parts += [
            "",
            f"End of the output of `{result.command}`:",
            _end(result, MAX_OUTPUT_CHARACTERS // len(shown)),
        ]
    parts += ["", "Next: fix the problems above, run the checks yourself, then submit again."]
    return "\n".join(parts)


def conflict_text(files: Sequence[str], messages: Sequence[str]) -> str:
    """The files that conflict with work merged in the meantime, and how to resolve them."""
    parts = ["NOT MERGED: your change conflicts with work that was merged in the meantime, in:"]
    parts += [f"- {name}" for name in files]
    parts += list(messages)
    parts.append(
        "Next: open each file, find the lines from <<<<<<< to >>>>>>>, keep the correct parts of both sides, "
        "delete the marker lines, run the checks, then submit again."
    )
    return "\n".join(parts)


def _lines(report: CheckReport) -> list[str]:
    return [
        f"[{result.outcome.replace('_', ' ')}] `{result.command}`: {result.reason}, {result.duration_s:.1f} s"
        for result in report.results
    ]


def _listed(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"{title}: {sentence}" for sentence in sentences]


def _end(result: CheckResult, limit: int) -> str:
    text = result.output.strip()
    return text if len(text) <= limit else "…" + text[-limit:]
