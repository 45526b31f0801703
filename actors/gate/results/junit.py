"""Reads JUnit XML and Visual Studio's TRX, as written by code that is not trusted."""

from __future__ import annotations

from xml.parsers import expat

from actors.gate.results.outcomes import MAX_TESTS, Outcome, TestOutcomes

_TRX_OUTCOMES: dict[str, Outcome] = {"Passed": "passed", "NotExecuted": "skipped", "Failed": "failed"}
_MAX_DEPTH = 100


def read_junit(data: bytes, runner: str) -> TestOutcomes:
    """The outcomes in one file. One that cannot be read, or has a DOCTYPE, counts as unfinished."""
    reader = _Reader()
    try:
        reader.read(data)
    except (expat.ExpatError, _Refused, ValueError):
        return TestOutcomes(unfinished=(runner,))
    return TestOutcomes(reader.tests, (runner,))


class _Refused(Exception):
    """The file uses what a result file has no need for."""


class _Reader:
    def __init__(self) -> None:
        self.tests: dict[str, Outcome] = {}
        self._test: str | None = None
        self._depth = 0

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        # Without a DOCTYPE there are no entities, so nothing can be expanded or fetched.
        parser.StartDoctypeDeclHandler = self._refuse
        parser.Parse(data, True)

    def _refuse(self, *_: object) -> None:
        raise _Refused

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH or len(self.tests) > MAX_TESTS:
            raise _Refused
        name = element.rpartition(":")[2]
        if name == "testcase":
            self._test = self._add(
                f"{attributes.get('classname', '')}.{attributes.get('name', '')}", "passed"
            )
        elif name == "UnitTestResult":
            outcome = _TRX_OUTCOMES.get(attributes.get("outcome", ""), "failed")
            self._add(attributes.get("testName", ""), outcome)
        elif self._test is not None and name in ("failure", "error", "skipped"):
            outcomes: dict[str, Outcome] = {"failure": "failed", "error": "error", "skipped": "skipped"}
            self.tests[self._test] = outcomes[name]

    def _end(self, element: str) -> None:
        self._depth -= 1
        if element.rpartition(":")[2] == "testcase":
            self._test = None

    def _add(self, name: str, outcome: Outcome) -> str:
        name, number = name[:500], 1
        while (unique := name if number == 1 else f"{name} #{number}") in self.tests:
            number += 1
        self.tests[unique] = outcome
        return unique
