"""Compares two commits file by file, and makes trees with files of both, in git's object store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from actors.gate.protection.additions import rust_tests, with_rust_tests_of
from actors.gate.protection.files import Kind, kind_of
from actors.gate.protection.manifests import with_test_parts_of
from actors.git.command import Git

MAX_BLOB_BYTES = 1_000_000
_ABSENT = "000000"
_LINKS = ("120000", "160000")  # symbolic links and submodules
_REGULAR = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two commits. A mode of `000000` means that it is not there."""

    path: str
    old_mode: str
    new_mode: str
    old_id: str
    new_id: str
    kind: Kind | None

    @property
    def is_added(self) -> bool:
        """Whether only the newer commit has it."""
        return self.old_mode == _ABSENT

    @property
    def is_deleted(self) -> bool:
        """Whether only the older commit has it."""
        return self.new_mode == _ABSENT

    @property
    def is_text_edit(self) -> bool:
        """Whether it is a regular file in both."""
        return self.old_mode in _REGULAR and self.new_mode in _REGULAR


@dataclass(slots=True)
class Comparison:
    """Two commits of one repository. Texts are read once; `also` are further settings (see `files.kind_of`)."""

    git: Git
    old: str
    new: str
    also: Collection[str] = ()
    _texts: dict[str, str] = field(default_factory=dict)

    def changes(self) -> list[Change]:
        """All differences; a file that was moved is one deleted and one added."""
        fields = self.git.names(
            "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-ext-diff", self.old, self.new
        )
        found = []
        for about, path in zip(fields[::2], fields[1::2], strict=True):
            old_mode, new_mode, old_id, new_id, _ = about.removeprefix(":").split(" ")
            # A link in the place of a test folder stands for everything below it.
            kind = kind_of(path, self.also) or (kind_of(f"{path}/x") if new_mode in _LINKS else None)
            found.append(Change(path, old_mode, new_mode, old_id, new_id, kind))
        return found

    def files(self, commit: str) -> frozenset[str]:
        """All paths of a commit."""
        return frozenset(self.git.names("ls-tree", "-r", "-z", "--name-only", commit))

    def texts(self, change: Change) -> tuple[str, str]:
        """The two texts of a file; "" for one that is not there, is no regular file, or is too large."""
        return self.text(change.old_mode, change.old_id), self.text(change.new_mode, change.new_id)

    def text(self, mode: str, blob: str) -> str:
        """The text of one regular file, or ""."""
        if mode not in _REGULAR:
            return ""
        if blob not in self._texts:
            size = int(self.git.line("cat-file", "-s", blob))
            self._texts[blob] = self.git.run("cat-file", "blob", blob) if size <= MAX_BLOB_BYTES else ""
        return self._texts[blob]


def with_base_tests(comparison: Comparison, changes: Sequence[Change], index: Path) -> str:
    """The tree of the newer commit with the tests, support and settings of the older one."""
    edits = []
    for change in changes:
        if change.kind in (Kind.TEST, Kind.SUPPORT, Kind.SETTINGS, Kind.LOCK):
            edits.append((change.path, change.old_mode, change.old_id))
        elif change.kind is Kind.MANIFEST or change.path.endswith(".rs"):
            edits += _mixed(comparison, change)
    return _edited(comparison.git, comparison.new, edits, index)


def with_new_tests(comparison: Comparison, changes: Sequence[Change], index: Path) -> str:
    """The tree of the older commit with the tests and support of the newer one."""
    edits = [
        (change.path, change.new_mode, change.new_id)
        for change in changes
        if change.kind in (Kind.TEST, Kind.SUPPORT) and change.new_mode in (*_REGULAR, _ABSENT)
    ]
    return _edited(comparison.git, comparison.old, edits, index)


def commit_of(git: Git, tree: str, parent: str) -> str:
    """A commit on no branch that holds a tree. The same arguments give the same commit."""
    date = {"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"}
    return git.run("commit-tree", tree, "-p", parent, "-m", "For a check", environment=date).strip()


def is_permitted(path: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns names the file, a folder above it, or everything."""
    return any(
        fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/")
        for pattern in patterns
        if pattern
    )


def _mixed(comparison: Comparison, change: Change) -> list[tuple[str, str, str]]:
    """The candidate's file with the parts of the base that are about tests."""
    before, after = comparison.texts(change)
    if change.is_deleted:
        return []
    if change.path.endswith(".rs"):
        mixed = with_rust_tests_of(before, after) if rust_tests(before) else after
    else:
        mixed = with_test_parts_of(change.path, before, after)
    if mixed == after:
        return []
    blob = comparison.git.run("hash-object", "-w", "--stdin", stdin=mixed).strip()
    return [(change.path, change.new_mode, blob)]


def _edited(git: Git, start: str, edits: Sequence[tuple[str, str, str]], index: Path) -> str:
    """The tree of `start` with (path, mode, id) put in, or removed for the mode `000000`."""
    tree = git.line("rev-parse", f"{start}^{{tree}}")
    if not edits:
        return tree
    index.parent.mkdir(parents=True, exist_ok=True)
    environment = {"GIT_INDEX_FILE": str(index)}
    # What goes, goes first: a file may stand where a folder comes back.
    ordered = sorted(edits, key=lambda edit: edit[1] != _ABSENT)
    lines = "".join(f"{mode.lstrip('0') or '0'} {blob}\t{path}\0" for path, mode, blob in ordered)
    try:
        git.run("read-tree", tree, environment=environment)
        git.run("update-index", "-z", "--index-info", stdin=lines, environment=environment)
        return git.run("write-tree", environment=environment).strip()
    finally:
        index.unlink(missing_ok=True)
