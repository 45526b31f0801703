"""The outcomes of all tests of one command, by test id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from actors.gate.counts.result import TestCounts

Outcome = Literal["passed", "failed", "error", "skipped"]
_ORDER: tuple[Outcome, ...] = ("skipped", "passed", "failed", "error")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,16}")
MAX_TESTS = 100_000


@dataclass(frozen=True, slots=True)
class TestOutcomes:
    """The content of the result files of one command.

    - `tests`: outcome by id. `runners`: which runners left a complete file. `unfinished`: which
      runners started but left an incomplete one.
    - `replaced`: functions of the runner that were monkeypatched during the run. `shadowing`: modules of the
      project that hid an installed one. `settings`: files of the project that the runner loaded as plugins; paths
      are relative to the project's root.
    """

    __test__ = False  # the name makes pytest take it for a test class

    tests: Mapping[str, Outcome] = field(default_factory=dict)
    runners: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    shadowing: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def having(self, *outcomes: Outcome) -> tuple[str, ...]:
        """The ids of the tests that ended so, sorted."""
        return tuple(sorted(test for test, outcome in self.tests.items() if outcome in outcomes))

    @property
    def counts(self) -> TestCounts:
        """The number of tests by outcome."""
        found = list(self.tests.values())
        return TestCounts(
            found.count("passed"), found.count("failed"), found.count("skipped"), found.count("error")
        )


def merged(parts: Iterable[TestOutcomes]) -> TestOutcomes:
    """The outcomes of several files. A test that is in two of them has the worse outcome."""
    tests: dict[str, Outcome] = {}
    found = list(parts)
    for part in found:
        for test, outcome in part.tests.items():
            name = _ADDRESS.sub("0x", test)
            known = tests.get(name)
            if known is None or _ORDER.index(outcome) > _ORDER.index(known):
                tests[name] = outcome
    return TestOutcomes(
        tests,
        runners=_union(part.runners for part in found),
        unfinished=_union(part.unfinished for part in found),
        replaced=_union(part.replaced for part in found),
        shadowing=_union(part.shadowing for part in found),
        settings=_union(part.settings for part in found),
    )


def _union(parts: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({name for part in parts for name in part}))
