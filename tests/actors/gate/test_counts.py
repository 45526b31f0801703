"""Counts and names are read from what runners really print."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.gate.counts import TestCounts, failing_names, parse_counts, reason_for_none
from tests.actors.git.user_repository import run_in_shell, write

GO = "--- FAIL: TestBad (0.00s)\n    --- FAIL: TestBad/sub_one (0.00s)\n    x: no\nFAIL\nFAIL\tx/a\t0.003s\n"
GO_BROKEN = "# x/c [x/c.test]\nc/c_test.go:3:27: undefined: undefined\nFAIL\tx/c [build failed]\nFAIL\n"
GO_VERBOSE = (
    "=== RUN   TestOk\n--- PASS: TestOk (0.00s)\n=== RUN   TestSkip\n    a_test.go:5: later\n"
    "--- SKIP: TestSkip (0.00s)\nPASS\nok  \tx/a\t0.002s\n?   \tx/b\t[no test files]\n"
)
CARGO = (
    "running 3 tests\ntest tests::ig ... ignored\ntest tests::ok ... ok\ntest tests::bad ... FAILED\n\n"
    "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.07s\n\n"
    "   Doc-tests x\n\nrunning 0 tests\n\n"
    "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
)
NODE_TAP = (
    "TAP version 13\n# Subtest: ok\nok 1 - ok\nnot ok 2 - bad one\nok 3 - sk # SKIP\nok 4 - td # TODO\n1..4\n"
)
NODE_SUMMARY = (
    "{0} tests 4\n{0} suites 0\n{0} pass 1\n{0} fail 1\n{0} cancelled 0\n{0} skipped 1\n{0} todo 1\n"
)
JEST = (
    "FAIL ./sum.test.js\n  \u25cf sum \u203a adds\n\n    expect(received)\n\nTest Suites: 1 failed, 1 total\n"
    "Tests:       1 failed, 1 skipped, 2 passed, 4 total\nSnapshots:   0 total\nTime:        0.5 s\n"
)
VITEST = (
    " FAIL  sum.test.ts > sum > adds\n Test Files  1 failed | 1 passed (2)\n"
    "      Tests  1 failed | 2 passed | 1 skipped (4)\n   Duration  310ms\n"
)
MOCHA = (
    "  sum\n    \u2714 adds\n    1) fails\n\n\n  1 passing (5ms)\n"
    "  2 pending\n  1 failing\n\n  1) sum\n       fails:\n"
)
MAVEN = "[INFO] Tests run: 2, Failures: 0\n[ERROR] Tests run: 5, Failures: 1, Errors: 1, Skipped: 1\n"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("===== 3 passed in 0.01s =====", TestCounts(3)),
        ("3 passed in 0.01s", TestCounts(3)),
        (
            "= 1 failed, 2 passed, 1 skipped, 2 xfailed, 1 xpassed, 3 warnings in 61.20s (0:01:01) =",
            TestCounts(3, 1, 3),
        ),
        (
            "\x1b[31m=== \x1b[1m1 failed\x1b[0m, \x1b[32m2 passed\x1b[0m, 1 error in 0.3s ===\x1b[0m",
            TestCounts(2, 1, 0, 1),
        ),
        ("no tests ran in 0.00s", TestCounts()),
        ("2 deselected in 0.01s", TestCounts()),
        ("1 error in 0.10s", TestCounts(errors=1)),
        ("3 passed in 0.01s\n4 passed, 1 failed in 2s", TestCounts(7, 1)),
        ("Ran 3 tests in 0.001s\n\nOK\n", TestCounts(3)),
        (
            "Ran 6 tests in 0.001s\n\nFAILED (failures=1, errors=2, skipped=1, expected failures=1)\n",
            TestCounts(1, 1, 2, 2),
        ),
        ("Ran 0 tests in 0.000s\n\nOK\n", TestCounts()),
        ("Ran 0 tests in 0.000s\n\nNO TESTS RAN\n", TestCounts()),
        (CARGO, TestCounts(1, 1, 1)),
        ("     Summary [   0.005s] 4 tests run: 3 passed, 1 failed, 2 skipped", TestCounts(3, 1, 2)),
        (GO, TestCounts(0, 1)),
        (GO_BROKEN, TestCounts(errors=1)),
        (GO_VERBOSE, TestCounts(1, 0, 1)),
        ("ok  \tx/a\t0.003s\nok  \tx/b\t(cached)\n", TestCounts(2)),
        ("?   \tx/b\t[no test files]\n", TestCounts()),
        ("ok  \tx/a\t0.003s [no tests to run]\n", TestCounts()),
        (NODE_TAP, TestCounts(1, 1, 2)),
        (NODE_TAP + NODE_SUMMARY.format("#"), TestCounts(1, 1, 2)),
        (NODE_SUMMARY.format("\u2139"), TestCounts(1, 1, 2)),
        (JEST, TestCounts(2, 1, 1)),
        (VITEST, TestCounts(2, 1, 1)),
        (MOCHA, TestCounts(1, 1, 2)),
        ("  0 passing (1ms)\n", TestCounts()),
        (MAVEN, TestCounts(2, 1, 1, 1)),
        ("Passed!  - Failed: 0", None),
        ("summary: 12 tests passed, 1 failed, 2 ignored", TestCounts(12, 1, 2)),
        ("All 3 files compiled", None),
        ("Found 2 errors in 1 file", None),
        ("", None),
    ],
)  # fmt: skip
def test_counts_are_read(output: str, expected: TestCounts | None) -> None:
    assert parse_counts(output) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "FAILED tests/test_a.py::test_x[1-a - b] - AssertionError: no\nERROR tests/test_b.py\n"
            "ERROR    root:x.py:3 logged\nFAILED  odd\n",
            ("tests/test_a.py::test_x[1-a", "tests/test_b.py"),
        ),
        ("FAIL: test_x (m.Case.test_x)\nERROR: test_b (unittest.loader._FailedTest.test_b)\n",
         ("test_b (unittest.loader._FailedTest.test_b)", "test_x (m.Case.test_x)")),
        (CARGO, ("tests::bad",)),
        (GO + GO_BROKEN, ("TestBad", "TestBad/sub_one", "x/c [build failed]")),
        (NODE_TAP, ("bad one",)),
        ("\u2716 bad (0.25ms)\n", ("bad",)),
        (JEST, ("sum \u203a adds",)),
        (VITEST, ("sum.test.ts > sum > adds",)),
        ("3 passed", ()),
    ],
)  # fmt: skip
def test_failing_tests_are_named(output: str, expected: tuple[str, ...]) -> None:
    assert failing_names(output) == expected


@pytest.mark.parametrize(
    "output",
    [
        "No tests found, exiting with code 1",
        "No test files found, exiting with code 0",
        "make: Nothing to be done for 'test'.",
        "collected 0 items",
    ],
)
def test_words_for_no_tests_are_understood(output: str) -> None:
    assert reason_for_none(output) == "no tests ran"
    assert reason_for_none("12 tests ran") is None


def test_real_pytest_is_read_with_every_kind_of_outcome(tmp_path: Path) -> None:
    body = (
        "import pytest\ndef test_ok(): pass\ndef test_bad(): assert 0\n"
        "@pytest.mark.skip\ndef test_skip(): pass\n@pytest.mark.xfail\ndef test_x(): assert 0\n"
        "@pytest.fixture\ndef broken(): raise OSError\ndef test_error(broken): pass\n"
    )
    write(tmp_path, {"test_all.py": body, "test_import.py": "import nowhere\n", "pytest.ini": "[pytest]\n"})
    run = run_in_shell(
        f"{sys.executable} -m pytest -q -p no:cacheprovider --continue-on-collection-errors", tmp_path, 60
    )
    assert parse_counts(run.output) == TestCounts(1, 1, 2, 2)
    assert failing_names(run.output) == ("test_all.py::test_bad", "test_all.py::test_error", "test_import.py")


def test_real_unittest_is_read_with_every_kind_of_outcome(tmp_path: Path) -> None:
    body = (
        "import unittest\nclass C(unittest.TestCase):\n"
        "    def test_ok(self): pass\n    def test_bad(self): self.fail()\n    def test_error(self): 1 / 0\n"
        "    @unittest.skip('x')\n    def test_skip(self): pass\n"
        "    @unittest.expectedFailure\n    def test_x(self): self.fail()\n"
    )
    write(tmp_path, {"test_all.py": body, "test_import.py": "import nowhere\n"})
    run = run_in_shell(f"{sys.executable} -m unittest discover -v", tmp_path, 60)
    assert parse_counts(run.output) == TestCounts(1, 1, 2, 2)
    assert len(failing_names(run.output)) == 3


@given(st.text(alphabet=st.sampled_from("=- 0123456789passedfailokntRu\n\t#:.,()|\x1b[")))
def test_no_output_whatever_breaks_the_reading(text: str) -> None:
    counts = parse_counts(text)
    assert counts is None or min(counts.passed, counts.failed, counts.skipped, counts.errors) >= 0
    failing_names(text)
    reason_for_none(text)
