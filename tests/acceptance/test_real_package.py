"""A crew on a package that the world uses: pathspec's source distribution, its own tests as the checks."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.trials.audit import audit
from tests.support import command_line
from tests.support.command_line import WholeCrew, git
from tests.support.script_words import Scene, call, manager, reply, scene

PACKAGE, VERSION = "pathspec", "0.12.1"
DOWNLOAD_PATIENCE_S = 60
CHECK = "python3 -m unittest -v"
STRIP = "strip_dir_sep(path) in pathspec/util.py removes one trailing slash from a path"
FROM_TEXT = "GitIgnoreSpec.from_text(text) in pathspec/gitignore.py reads the lines of a whole text"
pytestmark = pytest.mark.timeout(150)

STRIP_CODE = '''\
def strip_dir_sep(path: str) -> str:
	"""
	Removes one trailing slash, the opposite of :func:`append_dir_sep`.
	"""
	return path[:-1] if path.endswith("/") else path


def append_dir_sep(path: pathlib.Path) -> str:'''
STRIP_TEST = """\
import unittest

from pathspec.util import strip_dir_sep


class StripDirSepTest(unittest.TestCase):
	def test_01_one_slash_goes(self):
		self.assertEqual(strip_dir_sep("a/b//"), "a/b/")

	def test_02_a_file_stays(self):
		self.assertEqual(strip_dir_sep("a/b"), "a/b")
"""
FROM_TEXT_CODE = '''\
	@classmethod
	def from_text(cls, text: str) -> "GitIgnoreSpec":
		"""
		Compiles the lines of *text* (:class:`str`), such as a whole *.gitignore* file.
		"""
		return cls.from_lines(text.splitlines())

	def __eq__(self, other: object) -> bool:'''
FROM_TEXT_TEST = r"""import unittest

from pathspec import GitIgnoreSpec


class FromTextTest(unittest.TestCase):
	def test_01_each_line_is_a_pattern(self):
		spec = GitIgnoreSpec.from_text("*.log\n!keep.log\n")
		self.assertEqual([spec.match_file(f) for f in ("a.log", "keep.log", "a.py")], [True, False, False])
"""


def _engineer(title: str, path: str, old: str, new: str, test: str, content: str) -> Scene:
    return scene(
        "engineer",
        f": {title}",
        reply("I read the module.", call("read_file", path=path)),
        reply("The new code.", call("edit_file", path=path, old_text=old, new_text=new)),
        reply("A test for it.", call("write_file", path=test, content=content)),
        reply("All tests.", call("shell", command=CHECK)),
        reply("They pass.", call("submit_task", summary=f"{title}; with tests, and all others pass")),
    )


def _script() -> list[Scene]:
    old_strip, old_text = STRIP_CODE.splitlines()[-1], FROM_TEXT_CODE.splitlines()[-1]
    return [
        *manager(),
        _engineer(STRIP, "pathspec/util.py", old_strip, STRIP_CODE, "tests/test_05_strip.py", STRIP_TEST),
        _engineer(
            FROM_TEXT,
            "pathspec/gitignore.py",
            old_text,
            FROM_TEXT_CODE,
            "tests/test_06_from_text.py",
            FROM_TEXT_TEST,
        ),
    ]


def _unpacked(folder: Path) -> Path:
    """The unpacked source distribution; skips loudly where no index can be reached."""
    words = ["download", "--quiet", "--no-deps", "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, "--dest", str(folder)],
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_PATIENCE_S,
        check=False,
    )
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode != 0 or not archives:
        told = (done.stderr or done.stdout).strip().splitlines()[-1:]
        why = f"NOT RUN: no package index can be reached, so no real package was worked on: {told}"
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(why, stacklevel=1)
        pytest.skip(why)
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return folder / f"{PACKAGE}-{VERSION}"


def _tests_run(folder: Path) -> tuple[int, bool]:
    """How many tests of a checkout ran, and whether all passed; leaves nothing in it."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "unittest"], cwd=folder, capture_output=True, text=True, check=False
    )
    found = re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
    return int(found[1]) if found else 0, done.returncode == 0


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[WholeCrew]:
    made = command_line.begin(tmp_path, _script())
    yield made
    made.end()


def test_both_deliverables_of_a_real_package_are_merged_and_its_other_tests_stay_green(
    crew: WholeCrew, tmp_path: Path
) -> None:
    sources = tmp_path / "download"
    sources.mkdir()
    repository = command_line.make_repository(_unpacked(sources), {})
    before = _state(repository)
    tests_before, green_before = _tests_run(repository)
    assert green_before

    done = crew.deploy(PACKAGE, repository, [STRIP, FROM_TEXT], [CHECK], "--wait", "--json")

    outcome = done.json()
    assert outcome["complete"]
    assert sorted(task["title"] for task in outcome["merged"]) == sorted([STRIP, FROM_TEXT])
    assert all(task["verified"] for task in outcome["merged"])
    assert (outcome["parked"], outcome["open"], outcome["missing"]) == ([], [], [])
    assert _state(repository) == before, "the user's branch, index or files were touched"
    assert audit(crew.store).findings == ()

    merged = tmp_path / "merged"
    git(tmp_path, "clone", "--quiet", "--branch", outcome["branch"], str(repository), str(merged))
    assert _tests_run(merged) == (tests_before + 3, True)
    changed = git(merged, "diff", "--name-only", f"origin/main..{outcome['branch']}").splitlines()
    assert changed == [
        "pathspec/gitignore.py",
        "pathspec/util.py",
        "tests/test_05_strip.py",
        "tests/test_06_from_text.py",
    ]


def _state(repository: Path) -> tuple[str, ...]:
    """What of a repository is the user's."""
    looks = (["symbolic-ref", "HEAD"], ["rev-parse", "main"], ["status", "--porcelain"], ["stash", "list"])
    mine = git(repository, "for-each-ref", "--format=%(refname) %(objectname)")
    branches = [line for line in mine.splitlines() if "/nightcrew/" not in line]
    return (*(git(repository, *look) for look in looks), *branches, (repository / ".git/config").read_text())
