"""Each family's own shapes, monorepos, and output made to mislead or to take long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.gate.checks import CheckRun, judge
from actors.gate.counts import TestCounts, failing_names, parse_counts, reason_for_none
from actors.gate.counts.lines import HEAD_CHARACTERS, TAIL_CHARACTERS

TURBO = "@a/api:test:       Tests  3 failed | 9 passed (12)\n@a/web:test:       Tests  12 passed (12)\n"
PNPM = "packages/api test:       Tests  3 failed | 9 passed (12)\npackages/web test:       Tests  12 passed (12)\n"
LERNA = "lerna notice cli v8\n@a/api: Tests:       3 failed, 9 passed, 12 total\nweb: Tests:  12 passed, 12 total\n"
YARN = "[@a/api]: Tests:       3 failed, 9 passed, 12 total\n[@a/web]: Tests:       12 passed, 12 total\n"
INTERLEAVED = (
    "a:test: Ran 3 tests in 0.1s\nb:test: Ran 5 tests in 0.1s\na:test: OK\nb:test: FAILED (failures=1)\n"
)
JEST_UNLOADED = (
    "FAIL src/a.test.js\n  \u25cf Test suite failed to run\n\n    Cannot find module './a'\n\nPASS src/b.test.js\n"
    "Test Suites: 1 failed, 1 passed, 2 total\nTests:       3 passed, 3 total\n"
)
VITEST_UNLOADED = (
    " \u276f a.test.ts (0 test)\n\u23af\u23af\u23af Failed Suites 1 \u23af\u23af\u23af\n\n"
    " FAIL  a.test.ts [ a.test.ts ]\n"
    "Error: Failed to load url ./a\n\n Test Files  1 failed | 1 passed (2)\n      Tests  3 passed (3)\n"
)
BUN = " 5 pass\n 1 fail\n 2 skip\n 1 error\n 9 expect() calls\nRan 8 tests across 2 files. [10.00ms]\n"
PLAYWRIGHT = (
    "Running 7 tests using 2 workers\n  1 failed\n    [chromium] \u203a a.spec.ts:3:5 \u203a adds \u2500\u2500\u2500\n"
    "  1 flaky\n    [chromium] \u203a b.spec.ts:1:1 \u203a x\n  1 skipped\n  4 passed (3.2s)\n"
)
AVA = "  \u2500\n\n  1 test failed\n  2 tests passed\n  1 test skipped\n  1 uncaught exception\n"
DENO = "FAILED | 3 passed (2 steps) | 1 failed | 2 ignored (15ms)\n"
MOCHA_JSON = (
    '{\n  "stats": {\n    "suites": 1,\n    "passes": 2,\n    "pending": 1,\n    "failures": 1\n  }\n}\n'
)
VITEST_JSON = (
    '{"numTotalTests":4,"numPassedTests":3,"numFailedTests":1,"numPendingTests":0,"numTodoTests":0,'
    '"testResults":[{"status":"failed","assertionResults":[],"name":"a.test.ts"}]}' + " " * 1_500
)
VITEST_JUNIT = (
    '<?xml version="1.0"?>\n<testsuites name="vitest tests" tests="3">\n'
    '<testsuite name="a" tests="3" failures="1" errors="0" skipped="1">\n'
)
GO_JSON = (
    '{"Time":"2026-01-01T00:00:00Z","Action":"run","Package":"x/a","Test":"TestOk"}\n'
    '{"Time":"2026-01-01T00:00:00Z","Action":"output","Package":"x/a","Test":"TestOk","Output":"--- PASS: TestOk\\n"}\n'
    '{"Time":"2026-01-01T00:00:00Z","Action":"pass","Package":"x/a","Test":"TestOk","Elapsed":0}\n'
    '{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"x/a","Test":"TestBad","Elapsed":0}\n'
    '{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"x/a","Elapsed":0.1}\n'
    '{"Time":"2026-01-01T00:00:00Z","Action":"fail","Package":"x/b","FailedBuild":"x/b"}\n'
)
GO_MAIN_FAILS = "=== RUN   TestOk\n--- PASS: TestOk (0.00s)\nPASS\nexit status 1\nFAIL\tx/a\t0.002s\n"
REACTOR = (
    "[INFO] Tests run: 2, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.1 s -- in a.ATest\n"
    "[INFO] Tests run: 2, Failures: 0, Errors: 0, Skipped: 0\n"
    "[ERROR] Tests run: 3, Failures: 1, Errors: 0, Skipped: 1, Time elapsed: 0.1 s <<< FAILURE! -- in b.BTest\n"
    "[ERROR]   BTest.adds:12 expected: <1> but was: <2>\n[ERROR] Tests run: 3, Failures: 1, Errors: 0, Skipped: 1\n"
)
GRADLE = (
    "> Task :test FAILED\n"
    "AppTest > adds() PASSED\n"
    "AppTest > fails() FAILED\n"
    "\n"
    "3 tests completed, 1 failed, 1 skipped\n"
)
GRADLE_LOGGED = (
    "> Task :app:compileTestJava NO-SOURCE\n"
    "> Task :app:test\n"
    "AppTest > adds() PASSED\n"
    "AppTest > later() SKIPPED\n"
)
DOTNET = (
    "Failed!  - Failed:     1, Passed:     3, Skipped:     1, Total:     5, Duration: 5 ms - a.dll (net8.0)\n"
    "Passed!  - Failed:     0, Passed:     2, Skipped:     0, Total:     2, Duration: 5 ms - b.dll (net8.0)\n"
)
VSTEST = "Test Run Failed.\nTotal tests: 5\n     Passed: 3\n     Failed: 1\n    Skipped: 1\n Total time: 1 Seconds\n"
CTEST = (
    "50% tests passed, 2 tests failed out of 5\n\nThe following tests did not run:\n\t  3 - later (Skipped)\n\n"
    "The following tests FAILED:\n\t  2 - bad (Failed)\n\t  4 - gone (Not Run)\n"
)
MESON = (
    "Ok:                 3   \nExpected Fail:      1   \nFail:               1   \nUnexpected Pass:    0   \n"
    "Skipped:            1   \nTimeout:            1   \n"
)
GTEST = (
    "[==========] 4 tests from 1 test suite ran. (0 ms total)\n"
    "[  PASSED  ] 2 tests.\n"
    "[  SKIPPED ] 1 test, listed below:\n"
    "[  FAILED  ] 1 test, listed below:\n"
    "[  FAILED  ] A.Bad\n"
)
CARGO_QUIT = (
    "running 3 tests\n"
    "hello\n"
    "\n"
    "running 2 tests\n"
    "test a ... ok\n"
    "test b ... ok\n"
    "\n"
    "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n"
)
XCTEST = (
    "Test Suite 'A' failed\n"
    "\t Executed 2 tests, with 1 failure (0 unexpected) in 0.1 (0.1) seconds\n"
    "Test Suite 'All tests' failed\n"
    "\t Executed 5 tests, with 1 test skipped and 1 failure (0 unexpected) in 0.2 (0.2) seconds\n"
)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("2 failed, 2 subtests passed in 0.02s", TestCounts(0, 2, repeats=True)),
        ("1 passed, 3 subtests passed in 0.02s", TestCounts(1, repeats=True)),
        ("Ran 1 test in 0.001s\n\nFAILED (failures=3)\n", TestCounts(0, 1)),
        ("Ran 0 tests in 0.001s\n\nFAILED (errors=1)\n", TestCounts(errors=1)),
        ("Ran 3 tests in 0.1s\n\n\n\nPASSED (successes=3)\n", TestCounts(3)),
        (TURBO, TestCounts(21, 3)),
        (PNPM, TestCounts(21, 3)),
        (LERNA, TestCounts(21, 3)),
        (YARN, TestCounts(21, 3)),
        (INTERLEAVED, TestCounts(7, 1)),
        (JEST_UNLOADED, TestCounts(3, errors=1)),
        (JEST_UNLOADED.replace("FAIL src", "Summary of all failing tests\nFAIL src"), TestCounts(3, errors=1)),
        (VITEST_UNLOADED, TestCounts(3, errors=1)),
        ("      Tests  no tests\n", TestCounts()),
        (BUN, TestCounts(5, 1, 2, 1)),
        (" 6 pass\n 4 fail\nRan 10 tests across 2 files.\n", TestCounts(6, 4)),
        (" 0 pass\n 0 fail\n 1 error\nRan 0 tests across 1 file.\n", TestCounts(errors=1)),
        (PLAYWRIGHT, TestCounts(5, 1, 1)),
        ("  1 failed\n  4 passed (3s)\n", TestCounts(4, 1)),
        (AVA, TestCounts(2, 1, 1, 1)),
        (DENO, TestCounts(3, 1, 2)),
        ("5 specs, 1 failure, 1 pending spec\n", TestCounts(3, 1, 1)),
        (MOCHA_JSON, TestCounts(2, 1, 1)),
        (VITEST_JSON, TestCounts(3, 1, 0, 1)),
        (VITEST_JUNIT, TestCounts(1, 1, 1)),
        ("<!-- tests 3 -->\n<!-- pass 2 -->\n<!-- fail 1 -->\n", TestCounts(2, 1)),
        ("TAP version 13\n1..5\nok 1 - a\nnot ok 2 - b\n", TestCounts(1, 1, 0, 1)),
        ("All tests successful.\nFiles=2, Tests=5,  0 wallclock secs\nResult: PASS\n", TestCounts(5)),
        (GO_JSON, TestCounts(1, 1, 0, 1)),
        (GO_MAIN_FAILS, TestCounts(1, 0, 0, 1)),
        ("DONE 5 tests, 1 skipped, 1 failure in 0.1s\n", TestCounts(3, 1, 1)),
        (REACTOR, TestCounts(3, 1, 1)),
        (GRADLE, TestCounts(1, 1, 1)),
        (GRADLE_LOGGED, TestCounts(1, 0, 1)),
        ("[         0 tests found      ]\n[         0 tests successful ]\n", TestCounts()),
        ("[info] Passed: Total 3, Failed 0, Errors 0, Passed 3\n", TestCounts(3)),
        ("5 examples, 1 failure, 1 pending\n", TestCounts(3, 1, 1)),
        ("0 examples, 0 failures, 1 error occurred outside of examples\n", TestCounts(errors=1)),
        ("4 runs, 9 assertions, 1 failures, 1 errors, 1 skips\n", TestCounts(1, 1, 1, 1)),
        ("2 doctests, 3 tests, 1 failure, 1 skipped\n", TestCounts(3, 1, 1)),
        ("OK (3 tests, 5 assertions)\n", TestCounts(3)),
        ("Tests: 3, Assertions: 2, Failures: 1.\n", TestCounts(2, 1)),
        ("Tests: 5, Assertions: 2, Errors: 1, Failures: 1, Skipped: 1.\n", TestCounts(2, 1, 1, 1)),
        (DOTNET, TestCounts(5, 1, 1)),
        (VSTEST, TestCounts(3, 1, 1)),
        (CTEST, TestCounts(2, 2, 1)),
        ("100% tests passed, 0 tests failed out of 3\n", TestCounts(3)),
        (MESON, TestCounts(3, 2, 2)),
        (GTEST, TestCounts(2, 1, 1)),
        ("All tests passed (9 assertions in 3 test cases)\n", TestCounts(3)),
        ("test cases: 3 | 2 passed | 1 failed\n", TestCounts(2, 1)),
        (CARGO_QUIT, TestCounts(2, errors=1)),
        (XCTEST, TestCounts(3, 1, 1)),
        ("00:01 +3 ~1 -1: Some tests failed.\n", TestCounts(3, 1, 1)),
        ("2 successes / 1 failure / 0 errors / 1 pending : 0.1 seconds\n", TestCounts(2, 1, 1)),
        ("part one: 3 passed, 1 failed\npart two: 4 passed\n", TestCounts(7, 1)),
    ],
)  # fmt: skip
def test_counts_of_every_family_are_read(output: str, expected: TestCounts) -> None:
    assert parse_counts(output) == expected


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (JEST_UNLOADED, ("src/a.test.js",)),
        (VITEST_UNLOADED, ("a.test.ts",)),
        (PLAYWRIGHT, ("a.spec.ts:3:5 \u203a adds", "b.spec.ts:1:1 \u203a x")),
        (GO_JSON, ("x/a.TestBad",)),
        (REACTOR, ("BTest.adds",)),
        (GRADLE, ("AppTest > fails()",)),
        (CTEST, ("bad", "gone")),
        (GTEST, ("A.Bad",)),
        ("rspec ./spec/a_spec.rb:3 # A adds\n", ("./spec/a_spec.rb:3",)),
        ("1) App\\ATest::testAdds\n", ("App\\ATest::testAdds",)),
        ("SUBFAILED[i=1] t.py::test_x - assert 0\nSUBFAILED(i=2) t.py::test_x - assert 0\n", ("t.py::test_x",)),
    ],
)  # fmt: skip
def test_failing_tests_of_every_family_are_named(output: str, expected: tuple[str, ...]) -> None:
    assert failing_names(output) == expected


@pytest.mark.parametrize(
    ("command", "output", "says"),
    [
        ("make test", "make: 'test' is up to date.\n", ".PHONY"),
        ("make check", "make[1]: 'check' is up to date.\n", ".PHONY"),
        ("gradle test", "> Task :test NO-SOURCE\n\nBUILD SUCCESSFUL in 3s\n", "executed no test task"),
        (
            "gradle test",
            "> Task :compileTestJava\n> Task :app:test UP-TO-DATE\nBUILD SUCCESSFUL\n",
            "executed no",
        ),
        ("gradle test", "> Task :test FROM-CACHE\nBUILD SUCCESSFUL in 3s\n", "executed no test task"),
        ("vendor/bin/phpunit", "PHPUnit 9.6\n\nNo tests executed!\n", "no tests ran"),
        (
            "vendor/bin/phpunit",
            'No tests found in class "T".\n\nWARNINGS!\nTests: 1, Assertions: 0, Warnings: 1.\n',
            "no tests ran",
        ),
        ("rspec", "No examples found.\n\n0 examples, 0 failures\n", "no tests ran"),
        ("rake test", "0 runs, 0 assertions, 0 failures, 0 errors, 0 skips\n", "no tests ran"),
        ("meson test", "No tests defined.\n", "no tests ran"),
        ("ctest", "No tests were found!!!\n", "no tests ran"),
        ("nox", "nox > Session tests-3.11 skipped: no interpreter\n", "every session was skipped"),
        ("tox", "  py311: SKIP (0.01 seconds)\n  py312: SKIP (0.01 seconds)\n", "every session was skipped"),
        ("mvn test", "[INFO] Tests are skipped.\nBUILD SUCCESS\n", "no tests ran"),
        ("gotestsum", "DONE 0 tests in 0.1s\n", "no tests ran"),
        (
            "swift test",
            "\t Executed 0 tests, with 0 failures (0 unexpected) in 0.0 (0.0) seconds\n",
            "no tests ran",
        ),
        ("bun test", "Ran 0 tests across 1 file. [1.00ms]\n", "no tests ran"),
    ],
)
def test_zero_tests_are_no_pass_in_any_family(command: str, output: str, says: str) -> None:
    result = judge(command, CheckRun(command, 0, output, 1.0))
    assert result.outcome == "did_not_run"
    assert says in result.reason


def test_gradle_that_executed_its_tests_silently_is_judged_by_its_exit_code() -> None:
    output = "> Task :compileTestJava NO-SOURCE\n> Task :test\n\nBUILD SUCCESSFUL in 3s\n"
    assert judge("gradle test", CheckRun("gradle test", 0, output, 1.0)).outcome == "passed"


def test_a_test_named_no_tests_found_does_not_hide_the_others() -> None:
    output = "tests/test_a.py::test_no_tests_found PASSED\n3 passed in 0.1s\n"
    assert judge("pytest", CheckRun("pytest", 0, output, 1.0)).outcome == "passed"


@pytest.mark.parametrize("command", ["node --test --test-reporter=dot", "npm test"])
def test_node_dots_are_counted(command: str) -> None:
    echo = "\n> x@1.0.0 test\n> node --test --test-reporter=dot\n\n" if command == "npm test" else ""
    assert parse_counts(f"{echo}..X.\n", command) == TestCounts(3, 1)
    assert parse_counts("..X.\n", "make") is None


def test_real_go_test_json_passes() -> None:
    output = GO_JSON.splitlines()[0] + "\n" + GO_JSON.splitlines()[2] + "\n"
    assert judge("go test -json ./...", CheckRun("go", 0, output, 1.0)).outcome == "passed"


COUNT = st.integers(0, 50)
SHAPES = {
    "vitest": "      Tests  {1} failed | {0} passed | {2} skipped ({3})",
    "jest": "Tests:       {1} failed, {2} skipped, {0} passed, {3} total",
    "pytest": "{1} failed, {0} passed, {2} skipped in 0.01s",
    "mocha": "  {0} passing (5ms)\n  {2} pending\n  {1} failing",
    "cargo": "test result: ok. {0} passed; {1} failed; {2} ignored; 0 measured; 0 filtered out",
    "unknown": "summary: {0} passed, {1} failed, {2} skipped",
}


@given(st.lists(st.tuples(st.sampled_from(sorted(SHAPES)), COUNT, COUNT, COUNT), min_size=1, max_size=6))
@settings(deadline=None)
def test_packages_of_a_monorepo_add_up(packages: list[tuple[str, int, int, int]]) -> None:
    lines = []
    for number, (shape, passed, failed, skipped) in enumerate(packages):
        text = SHAPES[shape].format(passed, failed, skipped, passed + failed + skipped)
        lines += [f"@all/p{number}:test: {line}" for line in text.split("\n")]
    expected = TestCounts(
        sum(passed for _, passed, _, _ in packages),
        sum(failed for _, _, failed, _ in packages),
        sum(skipped for _, _, _, skipped in packages),
    )
    assert parse_counts("\n".join(lines)) == expected


FRAGMENTS = [
    "\n", " \n", "\r", "Ran 1 test in 0s\n", "  1 passing\n\n\n", "FAIL a.test.js\n", "[", "\x1b[", "\x1b]", "{", "{\n",
    '{"Action":"pass"', "ok 1 - # ", "not ok", "FAILED .py", "FAILED a::b - ", " > ", " FAIL  a > ", "a/", "a:b",
    "1 passed, ", "1 failed ", "Tests: 1 passed, ", "> Task :test ", "\u23af", "\u203a", " 1 ", "[[", "- ", "1..1\n",
    "running 1 test\n", "Summary [", "<testsuite ", '<testsuite tests="', "p1:test: ", "lerna\na: ", "=",
    "\u2716 (1ms)",
]  # fmt: skip


@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_no_output_takes_long_to_read(parts: list[str]) -> None:
    unit = "".join(parts)
    output = unit * ((HEAD_CHARACTERS + TAIL_CHARACTERS) // len(unit) + 1)
    started = time.process_time()
    parse_counts(output)
    failing_names(output)
    reason_for_none(output)
    # 0.3 s at most on a laptop; what is quadratic takes minutes.
    assert time.process_time() - started < 10


def test_ten_times_as_many_blank_lines_take_no_longer_than_ten_times() -> None:
    started = time.process_time()
    assert parse_counts("\n" * 4_000_000 + "3 passed in 1s\n") == TestCounts(3)
    assert time.process_time() - started < 10
