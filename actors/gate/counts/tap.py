"""`node --test`, and any runner that writes TAP (testanything.org)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from actors.gate.counts.result import TestCounts

_NODE_SUMMARY = re.compile(r"^[#\u2139] (pass|fail|cancelled|skipped|todo) (\d+)$", re.MULTILINE)
_TAP_START = re.compile(r"^(?:TAP version \d+|1\.\.\d+)\b", re.MULTILINE)
_TAP_RESULT = re.compile(r"^(ok|not ok)\b(.*)$", re.MULTILINE)
_DIRECTIVE = re.compile(r"# *(?:skip|todo)", re.IGNORECASE)
_FAILING = (
    re.compile(r"^not ok (?:\d+ )?(?:- )?((?:(?! # ?(?:TODO|SKIP)).)+)$", re.MULTILINE | re.IGNORECASE),
    re.compile(r"^ *✖ (.+?) \([\d.]+ms\)$", re.MULTILINE),  # node --test, its default reporter
)


def counts(text: str) -> Iterator[TestCounts]:
    """Node's summary if there is one, else the sum of the TAP lines."""
    summary = _NODE_SUMMARY.findall(text)
    if summary:
        yield _node(summary)
    elif _TAP_START.search(text):
        yield _tap(text)


def failing(text: str) -> Iterator[str]:
    """Names of failing tests."""
    for pattern in _FAILING:
        yield from pattern.findall(text)


def _node(summary: list[tuple[str, str]]) -> TestCounts:
    number: dict[str, int] = {}
    for word, count in summary:
        number[word] = number.get(word, 0) + int(count)
    failed = number.get("fail", 0) + number.get("cancelled", 0)
    return TestCounts(number.get("pass", 0), failed, number.get("skipped", 0) + number.get("todo", 0))


def _tap(text: str) -> TestCounts:
    results = _TAP_RESULT.findall(text)
    excused = [bool(_DIRECTIVE.search(rest)) for _, rest in results]
    passed = sum(word == "ok" and not skip for (word, _), skip in zip(results, excused, strict=True))
    return TestCounts(passed, len(results) - passed - sum(excused), sum(excused))
