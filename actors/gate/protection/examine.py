"""Examines what a change does to files that decide about it, before any check runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.gate.protection import trees
from actors.gate.protection.additions import only_adds_tests, rust_tests
from actors.gate.protection.files import Kind, is_loaded_by_itself, kind_of, scripts_of
from actors.gate.protection.manifests import differs_about_tests, lines_about_tests
from actors.gate.protection.shadowing import shadowing_files
from actors.gate.protection.suspicion import suspicious_lines
from actors.gate.protection.trees import Change, Comparison
from actors.git.command import Git

PERMISSION = "TESTS MAY CHANGE"
MAX_TESTS_READ = 300


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. `blocks` refuse the change, `marks` are for a person to read; both are sentences.

    `uses_permission` says that it changes files that this task may change although they decide about it.
    `with_base_tests` is a commit of the candidate with the base's tests and settings, `new_tests_on_base` one of
    the base with the candidate's tests. Each is None if it would not differ from the candidate or the base.
    """

    blocks: tuple[str, ...]
    marks: tuple[str, ...]
    uses_permission: bool
    with_base_tests: str | None
    new_tests_on_base: str | None


def permitted_paths(notes: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The patterns of a spec's `TESTS MAY CHANGE:`; "yes", "all" and "any" stand for every file."""
    found: list[str] = []
    for heading, text in notes:
        if " ".join(heading.upper().split()) == PERMISSION:
            words = text.replace(",", " ").replace("`", " ").split()
            found += ["*" if word.lower().strip(".") in ("yes", "all", "any") else word for word in words]
    return tuple(word for word in found if word not in ("-", "*)", "none", "no"))


def examine(
    git: Git,
    base: str,
    candidate: str,
    *,
    commands: Sequence[str],
    settings: Sequence[str],
    permitted: Sequence[str],
    scratch: Path,
) -> Examination:
    """Examine the change from `base` to `candidate`.

    `settings` are further files that the runner loads, as seen on the base. `permitted` are the patterns of
    files that this task may change although they decide about it. `scratch` is a folder for a temporary index.
    """
    comparison = Comparison(git, base, candidate)
    old_files = comparison.files(base)
    comparison.also = scripts_of(commands, old_files) | frozenset(settings)
    changes = comparison.changes()
    blocks = _shadowing(comparison, changes)
    marks: list[str] = []
    for change in changes:
        text = _about(comparison, change)
        if text is None:
            continue
        is_new = change.is_added and change.kind is not None and not _is_hook(comparison, change)
        if is_new or change.kind is Kind.LOCK:
            marks.append(text)
        elif trees.is_permitted(change.path, permitted):
            marks.append(f"{text} (permitted by {PERMISSION})")
        else:
            blocks.append(
                f"{text}, which decides about this task: undo it, or ask for a spec with `{PERMISSION}:`"
            )
    marks += _suspicions(comparison, changes)
    index = scratch / "index"
    return Examination(
        tuple(blocks),
        tuple(marks),
        any(PERMISSION in mark for mark in marks),
        _commit_unless(comparison, candidate, trees.with_base_tests(comparison, changes, index)),
        _commit_unless(comparison, base, trees.with_new_tests(comparison, changes, index)),
    )


def _shadowing(comparison: Comparison, changes: Sequence[Change]) -> list[str]:
    added = [change.path for change in changes if change.is_added]
    return shadowing_files(added, comparison.files(comparison.new)) if added else []


def _about(comparison: Comparison, change: Change) -> str | None:
    """What a change does to a file that decides, as a sentence; None if it may be done without a word."""
    how = "adds" if change.is_added else "deletes" if change.is_deleted else "changes"
    kind, path = change.kind, change.path
    if kind is None:
        is_rust = path.endswith(".rs") and not change.is_added
        before, after = comparison.texts(change) if is_rust else ("", "")
        lost = is_rust and not set(rust_tests(before).splitlines()) <= set(rust_tests(after).splitlines())
        return f"changes tests in {path}" if lost else None
    if kind is Kind.TEST:
        if change.is_added and change.new_mode in ("100644", "100755"):
            return None
        if change.is_text_edit and only_adds_tests(path, *comparison.texts(change)):
            return None
    if kind is Kind.LOCK and change.is_added:
        return None
    if kind is Kind.MANIFEST and not change.is_deleted:
        differs = differs_about_tests(path, *comparison.texts(change))
        return f"{how} {path}, in what it says about tests" if differs else None
    if kind is Kind.BUILD and not change.is_deleted:
        lines = lines_about_tests(*comparison.texts(change))
        return f"{how} {path}: {lines[0].strip()[:100]}" if lines else None
    return f"{how} the {kind} file {path}"


def _is_hook(comparison: Comparison, change: Change) -> bool:
    """Whether a new file would change how the existing tests run, and so is no mere addition."""
    if not is_loaded_by_itself(change.path):
        return False
    text = comparison.text(change.new_mode, change.new_id)
    return "def pytest_" in text or "autouse" in text or "collect_ignore" in text or "pytest_plugins" in text


def _suspicions(comparison: Comparison, changes: Sequence[Change]) -> list[str]:
    product = {
        change.path: comparison.texts(change)
        for change in changes
        if change.kind is None and not change.is_deleted
    }
    if not product:
        return []
    listed = comparison.git.names("ls-tree", "-r", "-z", comparison.new)
    tests: list[str] = []
    for entry in listed:
        about, _, path = entry.partition("\t")
        mode, _, blob = about.split(" ")
        if len(tests) < MAX_TESTS_READ and kind_of(path) is Kind.TEST:
            tests.append(comparison.text(mode, blob))
    return suspicious_lines(product, tests)


def _commit_unless(comparison: Comparison, same: str, tree: str) -> str | None:
    """A commit of the tree, unless it is that of the commit `same`."""
    if tree == comparison.git.line("rev-parse", f"{same}^{{tree}}"):
        return None
    return trees.commit_of(comparison.git, tree, comparison.old)
