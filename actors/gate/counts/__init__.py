"""Reads what a test runner printed: how many tests passed, failed or were skipped, and which failed.

For commands whose runner leaves no result file. `lines` splits the output into the lines of each package of a
monorepo. One module per family of runners reads them: `python`, `rust`, `go`, `javascript`, `tap` (also
node --test), `jvm` (Maven, Gradle), `ruby`, `php`, `dotnet`, `native` (CTest, Meson, GoogleTest) and `others`.
Each has `counts(lines)` and `failing(lines)`. `nothing` recognises words for "no test ran"; `result` holds the
value they return. A command that runs several runners gets the sum. Everything here is pure, works line by
line in linear time, and imports only the standard library.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from types import ModuleType

from actors.gate.counts import (
    dotnet,
    go,
    javascript,
    jvm,
    native,
    nothing,
    others,
    php,
    python,
    ruby,
    rust,
    tap,
)
from actors.gate.counts.lines import by_package, clean_lines
from actors.gate.counts.result import TestCounts, total_of

__all__ = ["TestCounts", "failing_names", "parse_counts", "reason_for_none"]

_FAMILIES = (python, rust, go, javascript, tap, jvm, ruby, php, dotnet, native, others)
_NODE_TEST = re.compile(r"(?:> )?.{0,200}\bnode\b.{0,200} --test\b")


def parse_counts(output: str, command: str = "", without: Collection[str] = ()) -> TestCounts | None:
    """The counts in a runner's output, or None if there are none. "No tests ran" gives zeros.

    `without` names families (modules of this package) to leave out, because they left a result file.
    """
    lines = clean_lines(output)
    found: list[TestCounts] = []
    for package in by_package(lines):
        known = [counts for family in _families(without) for counts in family.counts(package)]
        # Beside a result file, a line with numbers is most likely another form of its summary.
        found += known or ([] if without else [*others.unknown(package)])
    if not found and any(_NODE_TEST.match(line) for line in (command, *lines[:50])):
        return tap.counts_of_dots(lines)
    return total_of(found) if found else None


def failing_names(output: str, without: Collection[str] = ()) -> tuple[str, ...]:
    """Names of the failing tests that the output lists, sorted. Empty if the runner does not name them."""
    names = {
        name.strip()
        for package in by_package(clean_lines(output))
        for family in _families(without)
        for name in family.failing(package)
    }
    return tuple(sorted(names))


def reason_for_none(output: str) -> str | None:
    """Why no test ran, if the output says in words that there was none to run."""
    return nothing.reason_for_none(clean_lines(output))


def _families(without: Collection[str]) -> list[ModuleType]:
    return [family for family in _FAMILIES if family.__name__.rpartition(".")[2] not in without]
