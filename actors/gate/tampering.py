"""Finds changes that weaken the tests: files deleted or renamed away, and tests newly skipped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from actors.gate.protection.trees import is_permitted
from actors.git.command import Git
from actors.git.repository import Repository


@dataclass(frozen=True, slots=True)
class TestChanges:
    """Differences between two commits: deleted test files, and added markers that skip always or sometimes.

    The elements are sentences that name the file and, for markers, the added line. `changed` holds the
    paths of all files that differ and still exist.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    deleted: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    conditional_skips: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def without(self, permitted: Sequence[str]) -> TestChanges:
        """Without what happened to files that the task may change. The sentences begin with the file's name."""

        def kept(texts: tuple[str, ...]) -> tuple[str, ...]:
            paths = (text.partition(" was ")[0].partition(": ")[0] for text in texts)
            return tuple(
                text for text, path in zip(texts, paths, strict=True) if not is_permitted(path, permitted)
            )

        return TestChanges(kept(self.deleted), kept(self.skips), kept(self.conditional_skips), self.changed)


_ALWAYS_SKIPS = re.compile(
    r"pytest\.skip\(|\bmark\.skip\b(?!if)|\bunittest\.skip\(|^\s*@skip\(|\bskipTest\("
    r"|raise (?:unittest\.)?SkipTest"
    r"|\bxfail\b|\bexpectedFailure\b"  # Python
    r"|\b(?:it|test|describe|context|suite|t)\.(?:skip|only|todo|fails|failing)\b"
    r"|\b(?:xit|xtest|xdescribe|fit|fdescribe)\("  # JavaScript
    r"|\b[tb]\.Skip(?:f|Now)?\("  # Go
    r"|#\[ignore\b"  # Rust
)
_MAY_SKIP = re.compile(
    r"\bskipif\b|\bskipIf\(|\bskipUnless\(|\bimportorskip\(|\bcollect_ignore|\btesting\.Short\(\)"
)

_TEST_NAME = re.compile(
    r"(?:^test_.*|.*_test|^tests?)\.(?:py|go|rs|rb|c|cc|cpp|sh|php|exs)$|^(?:test|tests)\.py$"
    r"|.*\.(?:test|spec)\.[cm]?[jt]sx?$|.*_spec\.rb$|.*\.bats$|.*Tests?\.(?:java|kt|cs|php|swift)$"
)
_TEST_FOLDERS = frozenset({"test", "tests", "__tests__", "spec"})
_FOLDER_TEST_ENDINGS = frozenset({".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".rs", ".t"})


def is_test_file(path: str) -> bool:
    """Whether a test runner would collect the file, judged by its name and folder. False for helpers and data."""
    pure = PurePosixPath(path)
    if _TEST_NAME.match(pure.name):
        return True
    in_test_folder = any(part in _TEST_FOLDERS for part in pure.parts[:-1])
    return in_test_folder and pure.suffix in _FOLDER_TEST_ENDINGS


def find_test_changes(repository: Repository, old: str, new: str) -> TestChanges:
    """Compare the tests of two commits. A test file renamed to another test file name is not a deletion."""
    git = repository.git()
    deleted, kept, changed = _changed_files(git, old, new)
    always: list[str] = []
    maybe: list[str] = []
    for before, after in kept:
        added, removed = _changed_lines(git, old, new, before, after)
        always += _gained(_ALWAYS_SKIPS, after, added, removed)
        maybe += _gained(_MAY_SKIP, after, added, removed)
    return TestChanges(tuple(sorted(deleted)), tuple(always), tuple(maybe), tuple(changed))


def _changed_files(git: Git, old: str, new: str) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return sentences about deleted test files, (old name, new name) of files to inspect, and all names."""
    fields = git.names("diff-tree", "-r", "-M", "-z", "--name-status", "--no-ext-diff", old, new)
    deleted: list[str] = []
    kept: list[tuple[str, str]] = []
    changed: list[str] = []
    position = 0
    while position < len(fields):
        status, before = fields[position], fields[position + 1]
        is_rename = status[0] in "RC"
        after = fields[position + 2] if is_rename else before
        position += 3 if is_rename else 2
        if status != "D":
            changed.append(after)
        if status == "D" and is_test_file(before):
            deleted.append(f"{before} was deleted")
        elif status[0] == "R" and is_test_file(before) and not is_test_file(after):
            deleted.append(f"{before} was renamed to {after}, which no test runner collects")
        elif status != "D" and _may_hold_marks(after):
            kept.append((before, after))
    return deleted, kept, changed


def _may_hold_marks(path: str) -> bool:
    # Rust has unit tests in source files, and a conftest.py can skip every test in its folder.
    return is_test_file(path) or path.endswith(".rs") or PurePosixPath(path).name == "conftest.py"


def _changed_lines(git: Git, old: str, new: str, before: str, after: str) -> tuple[list[str], list[str]]:
    names = dict.fromkeys(f":(top,literal){name}" for name in (before, after))
    patch = git.run(
        "diff-tree",
        "-r",
        "-M",
        "-p",
        "-U0",
        "--no-ext-diff",
        "--no-textconv",
        "--no-color",
        old,
        new,
        "--",
        *names,
    )
    body = [line for line in patch.splitlines() if not line.startswith(("+++", "---"))]
    added = [line[1:] for line in body if line.startswith("+")]
    return added, [line[1:] for line in body if line.startswith("-")]


def _gained(marks: re.Pattern[str], path: str, added: list[str], removed: list[str]) -> list[str]:
    """Added lines with a marker, if there are more than removed ones: an edited or moved marker is not new."""
    new = [line.strip() for line in added if marks.search(line)]
    gone = sum(bool(marks.search(line)) for line in removed)
    return [f"{path}: {line[:160]}" for line in new] if len(new) > gone else []
