"""A check passes only if it was seen to pass; checks are found from what a repository holds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actors.gate.checks import CheckRun, Ending, find_checks, judge, run_checks
from tests.actors.git.user_repository import run_in_shell, write


@pytest.mark.parametrize(
    ("command", "exit_code", "output", "ending", "outcome", "reason"),
    [
        ("pytest", 0, "3 passed in 0.1s", "exited", "passed", "3 passed, 0 failed"),
        ("pytest", 1, "1 failed, 3 passed in 0.1s", "exited", "failed", "exit code 1; 3 passed, 1 failed"),
        ("pytest || true", 0, "1 failed, 3 passed in 0.1s", "exited", "failed", "exit code 0, yet"),
        ("pytest", 5, "no tests ran in 0.1s", "exited", "did_not_run", "no tests ran"),
        ("pytest", 0, "4 skipped in 0.1s", "exited", "did_not_run", "all 4 tests were skipped"),
        ("pytest -qq", 0, "...", "exited", "passed", "exit code only"),
        (
            "pytest",
            1,
            "python3: No module named pytest",
            "exited",
            "did_not_run",
            "runner is missing",
        ),
        ("pytest", 124, "3 passed in 0.1s", "timed_out", "did_not_run", "stopped at its limit"),
        ("pytest", 0, "3 passed in 0.1s", "killed", "did_not_run", "killed"),
        ("pytest", 0, "", "not_started", "did_not_run", "could not be started"),
        ("pytest", 137, "3 passed in 0.1s", "exited", "did_not_run", "killed by signal 9"),
        ("pytest", -11, "", "exited", "did_not_run", "killed by signal 11"),
        ("nope", 127, "bash: nope: command not found", "exited", "did_not_run", "command not found"),
        ("./x", 126, "Permission denied", "exited", "did_not_run", "could not be started"),
        ("python -m unittest", 0, "Ran 0 tests in 0.0s\n\nOK", "exited", "did_not_run", "no tests ran"),
        ("python -m unittest", 0, "", "exited", "did_not_run", "shows no test that ran"),
        (
            "cargo test",
            101,
            "could not compile `x`",
            "exited",
            "did_not_run",
            "shows no test that ran",
        ),
        ("make test", 0, "make: Nothing to be done for 'test'.", "exited", "did_not_run", "no tests ran"),
        ("make test", 2, "make: *** No rule to make target 'test'.", "exited", "did_not_run", "missing"),
        ("grep -q x file", 0, "", "exited", "passed", "exit code only"),
        ("grep -q x file", 1, "", "exited", "failed", "exit code 1"),
        ("python -m compileall .", 0, "Listing '.'...", "exited", "passed", "exit code only"),
        ("mypy .", 1, "Found 3 errors in 1 file", "exited", "failed", "exit code 1"),
    ],
)
def test_every_way_a_check_can_end_is_judged(
    command: str, exit_code: int, output: str, ending: Ending, outcome: str, reason: str
) -> None:
    result = judge(command, CheckRun(command, exit_code, output, 1.0, ending))
    assert result.outcome == outcome
    assert reason in result.reason


def test_all_checks_run_also_after_one_has_failed(tmp_path: Path) -> None:
    report = run_checks(tmp_path, ("false", "touch ran", "exit 3"), run_in_shell, commit="c")
    assert [result.outcome for result in report.results] == ["failed", "passed", "failed"]
    assert (tmp_path / "ran").exists()
    assert report.commands == ("false", "touch ran", "exit 3")
    assert not report.passed


def test_no_checks_are_no_pass() -> None:
    assert not run_checks(Path("/"), (), run_in_shell).passed


def test_file_that_can_not_be_imported_does_not_keep_pytest_from_running_the_others(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "test_a.py": "def test_a(): pass\n",
            "test_b.py": "import nowhere\n",
            "pytest.ini": "[pytest]\naddopts = -x\n",
        },
    )
    command = f"{sys.executable} -m pytest -q -p no:cacheprovider"
    (result,) = run_checks(tmp_path, (command,), run_in_shell).results
    assert result.counts is not None
    assert (result.counts.passed, result.counts.errors) == (1, 1)
    assert (result.command, result.failing) == (command, ("test_b.py",))


def test_long_output_is_kept_by_its_end(tmp_path: Path) -> None:
    (result,) = run_checks(tmp_path, ("seq 1 20000; exit 1",), run_in_shell).results
    assert result.output.endswith("20000\n")
    assert len(result.output) < 13_000


UNITTEST = "import unittest\n"


@pytest.mark.parametrize(
    ("files", "commands"),
    [
        ({"pytest.ini": ""}, ("python3 -m pytest -q",)),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ("python3 -m pytest -q",)),
        ({"setup.cfg": "[tool:pytest]\n"}, ("python3 -m pytest -q",)),
        ({"setup.cfg": "[metadata]\n"}, ()),
        ({"tests/test_a.py": "import pytest\n"}, ("python3 -m pytest -q",)),
        ({"tests/unit/test_a.py": "def test(): pass\n"}, ("python3 -m pytest -q",)),
        ({"test_a.py": UNITTEST}, ("python3 -m unittest discover -v",)),
        ({"tests/test_a.py": UNITTEST}, ("python3 -m unittest discover -v -s tests",)),
        (
            {"tests/test_a.py": UNITTEST, "tests/__init__.py": ""},
            ("python3 -m unittest discover -v -s tests -t .",),
        ),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, ("CI=true npm test",)),
        ({"package.json": '{"scripts": {"test": "vitest"}}', "yarn.lock": ""}, ("CI=true yarn test",)),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'}, ()),
        ({"package.json": "[broken"}, ()),
        ({"package.json": "[]"}, ()),
        ({"Cargo.toml": "[package]\n"}, ("cargo test --no-fail-fast",)),
        ({"Cargo.toml": "[workspace]\n"}, ("cargo test --no-fail-fast --workspace",)),
        ({"go.mod": "module x\n"}, ("go test -v ./...",)),
        ({"Makefile": "build:\n\ntest: build\n\tx\n"}, ("make test",)),
        ({"Makefile": "test := 1\n"}, ()),
        ({"Makefile": "test:\n", "go.mod": ""}, ("go test -v ./...",)),
        (
            {"go.mod": "", "package.json": '{"scripts": {"test": "x"}}'},
            ("CI=true npm test", "go test -v ./..."),
        ),
        ({"mein teil/go.mod": ""}, ("cd 'mein teil' && go test -v ./...",)),
        ({"node_modules/go.mod": "", ".hidden/go.mod": ""}, ()),
        ({"README.md": "x"}, ()),
    ],
)  # fmt: skip
def test_checks_are_found_from_the_files(
    tmp_path: Path, files: dict[str, str], commands: tuple[str, ...]
) -> None:
    write(tmp_path / "repo", files)
    found = find_checks(tmp_path / "repo")
    assert found.commands == commands
    assert ("no tests were found" in found.source) == (not commands)
