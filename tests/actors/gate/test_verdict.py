"""The table of base against candidate, row by row, and what a change may not do to the tests."""

from __future__ import annotations

import pytest

from actors.gate.checks import CheckReport, CheckResult, CheckRun, judge
from actors.gate.tampering import TestChanges, find_test_changes, is_test_file
from actors.gate.verdict import Verdict, compare
from actors.git.repository import Repository
from tests.actors.git.user_repository import UserRepository

OK = (0, "4 passed in 1s")
MORE = (0, "5 passed in 1s")
FEWER = (0, "3 passed in 1s")
SKIPPED = (0, "3 passed, 1 skipped in 1s")
FAILED = (1, "FAILED t.py::b - x\nFAILED t.py::c - x\n2 failed, 2 passed in 1s")
FIXED_ONE = (1, "FAILED t.py::c - x\n1 failed, 3 passed in 1s")
OTHER = (1, "FAILED t.py::a - x\n1 failed, 3 passed in 1s")
UNLOADED = (1, "ERROR t.py - x\n1 error in 1s")
UNNAMED_2 = (1, "2 failed, 2 passed in 1s")
UNNAMED_3 = (1, "3 failed, 2 passed in 1s")
NONE = (5, "no tests ran in 1s")
CODE_0, CODE_1, CODE_2 = (0, ""), (1, ""), (2, "")


def result(run: tuple[int, str]) -> CheckResult:
    return judge("check", CheckRun("check", run[0], run[1], 1.0))


def verdict(base: tuple[int, str], candidate: tuple[int, str], changes: TestChanges | None = None) -> Verdict:
    reports = [CheckReport(name, (result(run),)) for name, run in (("base", base), ("candidate", candidate))]
    return compare(reports[0], reports[1], changes or TestChanges())


@pytest.mark.parametrize(
    ("base", "candidate", "passes", "progress", "says"),
    [
        (OK, OK, True, True, ""),
        (OK, MORE, True, True, ""),
        (OK, FEWER, False, True, "fewer tests than before: 3, were 4"),
        (OK, SKIPPED, False, True, "more tests are skipped"),
        (OK, FIXED_ONE, False, True, "passed before and fails now"),
        (OK, NONE, False, True, "did not run: no tests ran"),
        (OK, CODE_0, False, True, "no tests are counted any more"),
        (NONE, OK, True, True, ""),
        (NONE, FAILED, False, True, "nothing to compare with"),
        (NONE, NONE, False, False, "nor did it before"),
        (FAILED, OK, True, True, ""),
        (FAILED, FIXED_ONE, True, True, "was failing before and still is"),
        (FAILED, FAILED, False, False, "nothing that failed passes now"),
        (FIXED_ONE, FAILED, False, False, "fails now and did not before: t.py::b"),
        (FIXED_ONE, OTHER, False, False, "fails now and did not before: t.py::a"),
        (FAILED, NONE, False, False, "did not run"),
        (UNLOADED, FAILED, True, True, "was failing before and still is"),
        (UNLOADED, UNLOADED, False, False, "nothing that failed passes now"),
        (FAILED, UNLOADED, False, False, "fewer tests"),
        (UNNAMED_2, UNNAMED_2, False, False, "was failing before"),
        (UNNAMED_3, UNNAMED_2, False, False, "fewer tests"),
        (UNNAMED_2, UNNAMED_3, False, False, "more failures than before: 3, were 2"),
        (CODE_1, CODE_0, True, True, ""),
        (CODE_1, CODE_1, False, False, "was failing before"),
        (CODE_1, CODE_2, False, False, "fails in another way"),
        (CODE_0, CODE_1, False, True, "passed before and fails now"),
        (CODE_1, OK, True, True, ""),
    ],
)  # fmt: skip
def test_every_row_of_the_table_holds(
    base: tuple[int, str], candidate: tuple[int, str], passes: bool, progress: bool, says: str
) -> None:
    found = verdict(base, candidate)
    assert found.passed is passes, found
    assert found.made_progress is progress
    assert says in " / ".join(found.blocks + found.notes)


def test_unittest_module_that_could_not_be_imported_stands_for_its_tests() -> None:
    unloaded = (
        1,
        "ERROR: test_b (unittest.loader._FailedTest.test_b)\nRan 1 test in 0s\n\nFAILED (errors=1)",
    )
    loaded = (1, "FAIL: test_x (test_b.Case.test_x)\nRan 1 test in 0s\n\nFAILED (failures=1)")
    other = (1, "FAIL: test_x (test_c.Case.test_x)\nRan 1 test in 0s\n\nFAILED (failures=1)")
    assert "did not before" not in " ".join(verdict(unloaded, loaded).blocks)
    assert not verdict(unloaded, other).passed


def test_deleted_and_skipped_tests_block_whatever_the_checks_say() -> None:
    assert verdict(OK, OK, TestChanges(deleted=("t.py was deleted",))).blocks == (
        "test file deleted: t.py was deleted",
    )
    assert not verdict(OK, OK, TestChanges(skips=("t.py: @skip",))).passed
    assert verdict(OK, OK, TestChanges(conditional_skips=("t.py: @skipif",))).passed


def test_a_check_the_base_was_not_given_must_pass() -> None:
    base = CheckReport("base", ())
    assert not compare(base, CheckReport("c", (result(FAILED),)), TestChanges()).passed
    assert compare(base, CheckReport("c", (result(OK),)), TestChanges()).passed


def test_no_check_at_all_is_no_pass() -> None:
    assert not compare(CheckReport("b", ()), CheckReport("c", ()), TestChanges()).passed


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("tests/test_a.py", True),
        ("pkg/a_test.py", True),
        ("a_test.go", True),
        ("src/a.test.tsx", True),
        ("test/a.js", True),
        ("tests/it.rs", True),
        ("spec/a_spec.rb", True),
        ("tests/helpers.py", False),
        ("tests/data.json", False),
        ("src/contest.py", False),
        ("latest.py", False),
    ],
)
def test_test_files_are_told_from_helpers_and_code(path: str, expected: bool) -> None:
    assert is_test_file(path) is expected


def test_changes_to_tests_are_found_between_two_commits(user: UserRepository, repository: Repository) -> None:
    body = "".join(f"def test_{number}():\n    assert {number} == {number}\n\n" for number in range(9))
    names = ("test_gone.py", "test_moved ü.py", "test_hidden.py", "test_skip.py", "test_kept.py")
    old = user.commit("old", {f"tests/{name}": f"# {name}\n{body}" for name in names})
    user.git("rm", "--quiet", "tests/test_gone.py")
    (user.path / "tests/unit").mkdir()
    user.git("mv", "tests/test_moved ü.py", "tests/unit/test_moved ü.py")
    user.git("mv", "tests/test_hidden.py", "tests/hidden.py")
    new = user.commit(
        "new",
        {
            "tests/test_skip.py": f"# test_skip.py\nimport pytest\n@pytest.mark.skip\n{body}",
            "tests/test_kept.py": f"# test_kept.py\n@pytest.mark.skipif(True, reason='x')\n{body}",
            "src/lib.rs": "#[test]\n#[ignore]\nfn x() {}\n",
            "web/a.test.js": "it.only('x', () => {})\n",
            "code.py": "pytest.skip('not a test file')\n",
        },
    )
    changes = find_test_changes(repository, old, new)
    assert changes.deleted == (
        "tests/test_gone.py was deleted",
        "tests/test_hidden.py was renamed to tests/hidden.py, which no test runner collects",
    )
    assert changes.skips == (
        "src/lib.rs: #[ignore]",
        "tests/test_skip.py: @pytest.mark.skip",
        "web/a.test.js: it.only('x', () => {})",
    )
    assert changes.conditional_skips == ("tests/test_kept.py: @pytest.mark.skipif(True, reason='x')",)


def test_edited_or_moved_mark_is_not_new(user: UserRepository, repository: Repository) -> None:
    old = user.commit("old", {"test_a.py": "@pytest.mark.skip('a')\ndef test_a(): pass\n\nx = 1\n"})
    new = user.commit("new", {"test_a.py": "x = 1\n\n@pytest.mark.skip('b')\ndef test_a(): pass\n"})
    assert find_test_changes(repository, old, new) == TestChanges(changed=("test_a.py",))
