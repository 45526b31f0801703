"""What the gate lets through, what it sends back and with which words, in real repositories."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from actors.gate.checks import CheckReport, CheckRun, report_from_json
from actors.gate.merging import (
    AlreadyMerged,
    Candidate,
    Conflict,
    GateResult,
    NothingToMerge,
    advance,
    evaluate,
    land,
    merge_candidate,
    tag_stable,
)
from actors.git.checkouts import ensure_worktree
from actors.git.commits import commit_all
from actors.git.errors import WorkspaceError
from actors.git.refs import create_branch, head_of
from actors.git.repository import Repository, open_repository
from tests.actors.git.user_repository import UserRepository, run_in_shell, write

CASE = "import unittest\n\nclass Case(unittest.TestCase):\n"
TEST = "    def {0}(self):\n        {1}\n\n"
TESTS = {
    "test_one.py": "from one import one\n" + CASE + TEST.format("test_one", "self.assertEqual(one(), 1)"),
    "test_two.py": "from two import two\n" + CASE + TEST.format("test_two", "self.assertEqual(two(), 2)"),
    "test_old.py": CASE + TEST.format("test_old", "pass") + TEST.format("test_older", "pass"),
}
UNITTEST = f"{sys.executable} -m unittest discover"
PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
ONE = {"one.py": "def one():\n    return 1\n"}
TWO = {"two.py": "def two():\n    return 2\n"}
FEWER = {"test_old.py": CASE + TEST.format("test_old", "pass")}


class Crew:
    """A repository with two deliverables' tests failing, and what tasks submit to it."""

    def __init__(self, folder: Path) -> None:
        self.user = UserRepository(folder / "Straße 1", files=TESTS)
        self.repository = open_repository(self.user.path)
        self.locks = folder / "locks"
        self.folder = folder
        self.integration = "nightcrew/demo/integration"
        create_branch(self.repository, self.integration, self.repository.head_commit, locks=self.locks)

    def submit(self, task: str, files: dict[str, str], delete: tuple[str, ...] = ()) -> str:
        start = head_of(self.repository, self.integration)
        path, branch = self.folder / "w" / task, f"nightcrew/demo/{task}"
        worktree = ensure_worktree(self.repository, path, branch, start, locks=self.locks)
        write(path, files)
        for name in delete:
            (path / name).unlink()
        commit_all(worktree, f"Work on {task}", locks=self.locks)
        return head_of(self.repository, branch)

    def judge(
        self, commit: str, *commands: str, base: CheckReport | None = None, needs_progress: bool = True
    ) -> GateResult:
        return evaluate(
            self.repository,
            integration=self.integration,
            commit=commit,
            message="Merge a task",
            commands=commands or (UNITTEST,),
            run=run_in_shell,
            scratch=self.folder / "scratch",
            locks=self.locks,
            base=base,
            timeout_s=60,
            needs_progress=needs_progress,
        )

    def land(self, task: str, result: GateResult) -> str | None:
        return land(
            self.repository,
            project="demo",
            task=task,
            integration=self.integration,
            result=result,
            locks=self.locks,
        )


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path)


@pytest.mark.parametrize("command", [UNITTEST, PYTEST], ids=["unittest", "pytest"])
def test_deliverables_are_merged_one_by_one_while_the_tests_of_the_others_still_fail(
    crew: Crew, command: str
) -> None:
    first = crew.judge(crew.submit("one", ONE), command)
    assert first.verdict == "passed", first.report
    assert first.made_progress
    assert any("was failing before" in note for note in first.notes)
    assert crew.land("one", first) == "nightcrew/demo/stable-1-one"
    second = crew.judge(crew.submit("two", TWO), command, base=first.checks)
    assert second.verdict == "passed", second.report
    assert second.base_checks is first.checks
    assert second.notes == ()
    assert second.checks is not None
    assert second.checks.passed
    assert crew.land("two", second) == "nightcrew/demo/stable-2-two"
    assert crew.user.show(crew.integration, "one.py").startswith("def one")
    assert crew.user.show(crew.integration, "two.py").startswith("def two")


def test_change_that_breaks_a_passing_test_is_sent_back_with_its_output(crew: Crew) -> None:
    files = {**ONE, "test_old.py": "raise RuntimeError('broken on purpose')\n"}
    broken = crew.judge(crew.submit("one", files))
    assert broken.verdict == "failed"
    assert "broken on purpose" in broken.report
    assert broken.report.startswith("NOT MERGED")
    assert "submit again" in broken.report
    assert broken.candidate is None
    with pytest.raises(WorkspaceError, match="nothing to land"):
        crew.land("one", broken)


def test_new_failing_test_blocks_although_others_failed_before(crew: Crew) -> None:
    new = CASE + TEST.format("test_new", "self.fail('unfinished')")
    result = crew.judge(crew.submit("one", {**ONE, "test_new.py": new}))
    assert result.verdict == "failed"
    assert "fails now and did not before: test_new" in result.blocks[0]


def test_work_that_makes_nothing_pass_while_checks_fail_is_sent_back(crew: Crew) -> None:
    result = crew.judge(crew.submit("docs", {"README.md": "# Demo\n"}))
    assert result.verdict == "failed"
    assert not result.made_progress
    assert "nothing that failed passes now" in result.report


def test_work_that_no_check_is_about_need_not_make_one_pass(crew: Crew) -> None:
    result = crew.judge(crew.submit("docs", {"README.md": "# Demo\n"}), needs_progress=False)
    assert result.verdict == "passed"
    assert not result.made_progress


def test_half_done_module_is_sent_back_while_its_own_tests_fail(crew: Crew) -> None:
    half = {"one.py": "def one():\n    return 2\n", "test_extra.py": CASE + TEST.format("test_extra", "pass")}
    result = crew.judge(crew.submit("one", half))
    assert result.verdict == "failed", result.report


def test_deleted_failing_test_file_is_no_way_to_pass(crew: Crew) -> None:
    result = crew.judge(crew.submit("cheat", {}, delete=("test_one.py", "test_two.py")))
    assert result.verdict == "failed"
    assert "test_one.py was deleted" in result.report


def test_newly_skipped_test_is_no_way_to_pass(crew: Crew) -> None:
    marked = TESTS["test_one.py"].replace("    def ", "    @unittest.skip('later')\n    def ")
    result = crew.judge(crew.submit("cheat", {**ONE, "test_one.py": marked}))
    assert result.verdict == "failed"
    assert "test newly skipped: test_one.py: @unittest.skip('later')" in result.blocks


def test_removed_test_function_is_noticed_by_the_count(crew: Crew) -> None:
    assert crew.land("both", crew.judge(crew.submit("both", {**ONE, **TWO})))
    fewer = crew.judge(crew.submit("fewer", FEWER))
    assert fewer.verdict == "failed"
    assert f"`{UNITTEST}`: fewer tests than before: 3, were 4" in fewer.blocks


def test_check_that_can_not_run_is_no_pass(crew: Crew) -> None:
    result = crew.judge(crew.submit("one", ONE), "no-such-command-anywhere")
    assert result.verdict == "failed"
    assert "command not found" in result.report


def test_check_that_hangs_is_no_pass(crew: Crew) -> None:
    commit = crew.submit("one", ONE)
    result = evaluate(
        crew.repository,
        integration=crew.integration,
        commit=commit,
        message="m",
        commands=("sleep 60",),
        run=run_in_shell,
        scratch=crew.folder / "scratch",
        locks=crew.locks,
        timeout_s=0.2,
    )
    assert result.verdict == "failed"
    assert "stopped at its limit" in result.report


def test_without_checks_the_merge_is_unverified_and_may_land(crew: Crew) -> None:
    result = evaluate(
        crew.repository,
        integration=crew.integration,
        commit=crew.submit("one", ONE),
        message="m",
        commands=(),
        run=run_in_shell,
        scratch=crew.folder / "scratch",
        locks=crew.locks,
    )
    assert result.verdict == "unverified"
    assert crew.land("one", result)


def test_conflict_names_the_files_and_what_to_do(crew: Crew) -> None:
    mine = crew.submit("mine", {"neu ü.txt": "mine\n"})
    theirs = crew.judge(crew.submit("theirs", {"neu ü.txt": "theirs\n"}), "true")
    assert crew.land("theirs", theirs)
    result = crew.judge(mine, "true")
    assert (result.verdict, result.conflicts) == ("conflict", ("neu ü.txt",))
    assert "<<<<<<<" in result.report


def test_submitted_branch_without_a_change_is_nothing_to_merge(crew: Crew) -> None:
    commit = crew.submit("idle", {})
    assert crew.judge(commit).verdict == "nothing"
    merged = merge_candidate(crew.repository, crew.integration, commit, "m")
    assert merged == NothingToMerge(head_of(crew.repository, crew.integration))


def test_same_content_by_two_tasks_is_nothing_to_merge_the_second_time(crew: Crew) -> None:
    second = crew.submit("again", ONE)
    assert crew.land("one", crew.judge(crew.submit("one", ONE), "true"))
    assert crew.judge(second, "true").verdict == "nothing"


def test_same_submission_gives_the_same_candidate_and_moves_nothing(crew: Crew) -> None:
    commit = crew.submit("one", ONE)
    before = crew.user.git("show-ref")
    first = merge_candidate(crew.repository, crew.integration, commit, "Merge one")
    assert isinstance(first, Candidate)
    assert merge_candidate(crew.repository, crew.integration, commit, "Merge one") == first
    assert crew.user.git("show-ref") == before


def test_merged_commit_is_recognised_also_after_later_merges(crew: Crew) -> None:
    commit = crew.submit("one", ONE)
    first = crew.judge(commit, "true")
    tag = crew.land("one", first)
    assert crew.land("two", crew.judge(crew.submit("two", TWO), "true"))
    assert first.candidate is not None
    assert merge_candidate(crew.repository, crew.integration, commit, "m") == AlreadyMerged(first.candidate)
    again = crew.judge(commit, "true")
    assert again.verdict == "already_merged"
    assert crew.land("one", again) == tag


def test_branch_moved_by_another_merge_is_not_overwritten(crew: Crew) -> None:
    slow = crew.judge(crew.submit("one", ONE), "true")
    assert crew.land("two", crew.judge(crew.submit("two", TWO), "true"))
    head = head_of(crew.repository, crew.integration)
    assert crew.land("one", slow) is None
    assert head_of(crew.repository, crew.integration) == head


def test_advancing_and_tagging_twice_gives_the_same(crew: Crew) -> None:
    old = head_of(crew.repository, crew.integration)
    merged = merge_candidate(crew.repository, crew.integration, crew.submit("one", ONE), "m")
    assert isinstance(merged, Candidate)
    for _ in range(2):
        assert advance(crew.repository, crew.integration, merged.commit, old, locks=crew.locks)
        tag = tag_stable(crew.repository, "demo", "one", merged.commit, locks=crew.locks)
        assert tag == "nightcrew/demo/stable-1-one"


def test_result_survives_json(crew: Crew) -> None:
    result = crew.judge(crew.submit("one", ONE))
    value = json.loads(json.dumps(asdict(result)))
    assert value["verdict"] == "passed"
    assert report_from_json(value["checks"]) == result.checks


def test_changed_make_target_that_runs_no_test_is_noticed(crew: Crew) -> None:
    make = f"test:\n\t{UNITTEST}\n"
    crew.land("make", crew.judge(crew.submit("make", {"Makefile": make, **ONE, **TWO}), "true"))
    cheat = crew.judge(crew.submit("cheat", {"Makefile": "test:\n\ttrue\n"}), "make test")
    assert cheat.verdict == "failed"
    assert "no tests are counted any more" in cheat.report


def test_nothing_of_the_user_s_changes_in_a_whole_round(crew: Crew) -> None:
    crew.user.write({"test_old.py": "dirty\n", "untracked.txt": "x"})
    before = crew.user.belongings()
    assert crew.land("one", crew.judge(crew.submit("one", ONE)))
    assert crew.user.belongings() == before
    assert not (crew.folder / "scratch" / "base").exists()


def test_scratch_worktree_is_removed_when_the_runner_raises(crew: Crew) -> None:
    def broken(command: str, cwd: Path, timeout_s: float) -> CheckRun:
        raise OSError("no sandbox")

    runner: Callable[[str, Path, float], CheckRun] = broken
    with pytest.raises(OSError, match="no sandbox"):
        evaluate(
            crew.repository,
            integration=crew.integration,
            commit=crew.submit("one", ONE),
            message="m",
            commands=("true",),
            run=runner,
            scratch=crew.folder / "scratch",
            locks=crew.locks,
        )
    assert crew.user.git("worktree", "list", "--porcelain").count("worktree ") == 2


def test_conflict_is_seen_before_any_check_runs(
    repository: Repository, integration: str, locks: Path, user: UserRepository
) -> None:
    user.git("checkout", "--quiet", "-b", "side")
    side = user.commit("side", {"a.txt": "side\n"})
    user.git("checkout", "--quiet", "main")
    main = user.commit("main", {"a.txt": "main\n"})
    user.git("branch", "--force", integration, main)
    merged = merge_candidate(repository, integration, side, "m")
    assert isinstance(merged, Conflict)
    assert merged.files == ("a.txt",)
