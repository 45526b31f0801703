"""read_file and write_file."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.model.protocol import Parameter, ToolSpec
from actors.tools.base import ToolContext, ToolRefused, ToolResult, text_argument, whole_number
from actors.tools.beneath import Place, draft_name, drop_draft, nearest, place, read_regular, replace_file
from actors.tools.document import Document, damage_note, decode, encodable, introduced_error, numbered, sha256

_MAX_LINE_CHARS = 1_000
_MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class FileChange:
    """The evidence of a change to a file: hashes of its content before (None without a file) and after."""

    path: str
    before: str | None
    after: str | None

    def as_json(self) -> dict[str, Any]:
        return {"path": self.path, "before": self.before, "after": self.after}

    @classmethod
    def from_json(cls, evidence: Mapping[str, Any]) -> FileChange | None:
        """The change in a tool's evidence; None if the tool refused the call."""
        path, after = evidence.get("path"), evidence.get("after")
        if path is None or after is None:
            return None
        return cls(path, evidence.get("before"), after)


class ReadFile:
    """Numbered lines of a text file, by pages; also of the spilled output of a command."""

    spec = ToolSpec(
        "read_file",
        "Read a text file of the worktree, with line numbers. Long files come in pages.",
        (
            Parameter("path", "string", "Path relative to the worktree."),
            Parameter("start_line", "integer", "First line to show, from 1.", required=False),
            Parameter("line_count", "integer", "How many lines to show (at most 500).", required=False),
        ),
    )

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        return {}

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        """Reading changes nothing, so it is always safe to do again."""
        return None

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        limits = context.limits
        try:
            path = text_argument(arguments, "path").strip()
            start = whole_number(arguments, "start_line", 1, 1, 10**9)
            count = whole_number(arguments, "line_count", limits.default_read_lines, 1, limits.max_read_lines)
            with place(_root_for(path, context), path) as where:
                listing = _listing(where)
                if listing is not None:
                    return ToolResult(listing, ok=True)
                # A whole log may be far longer than what may be edited; it is only paged through.
                content = read_regular(where, limits.max_file_bytes * 4)
                if content is None:
                    near = nearest(where.folder_fd, where.name)
                    raise ToolRefused(f"{where.shown}: there is no such file.{near}")
                text = decode(content, where.shown).text
                page = _page(text, where.shown, start, count, limits.max_read_chars)
                return ToolResult(page, ok=True)
        except ToolRefused as refused:
            return ToolResult(str(refused), ok=False)


def _root_for(path: str, context: ToolContext) -> Path:
    """The folder of spilled output for absolute paths in it, else the worktree."""
    spill = context.spill_dir
    inside = any(path.startswith(f"{root}/") for root in (spill, spill.resolve()))
    return spill if inside else context.worktree


def _listing(where: Place) -> str | None:
    """A folder's names, as that is what one wants who reads a folder; None if it is none."""
    status = where.status()
    if status is None or not stat.S_ISDIR(status.st_mode):
        return None
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(where.name, flags, dir_fd=where.folder_fd)
    try:
        with os.scandir(descriptor) as entries:
            names = sorted(
                entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries
            )
    finally:
        os.close(descriptor)
    more = f"\n[{len(names) - _MAX_LISTED} more; use shell: ls]" if len(names) > _MAX_LISTED else ""
    return f"{where.shown} is a folder. It contains:\n" + "\n".join(names[:_MAX_LISTED]) + more


def _page(text: str, shown: str, start: int, count: int, max_chars: int) -> str:
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    total = len(lines)
    if total == 0:
        return f"[{shown} is empty]"
    if start > total:
        raise ToolRefused(f"{shown} has only {total} lines; start_line {start} is past its end.")
    chosen: list[str] = []
    size = 0
    for line in lines[start - 1 : start - 1 + count]:
        visible = line.removesuffix("\r").encode("utf-8", "replace").decode("utf-8")
        if len(visible) > _MAX_LINE_CHARS:
            visible = f"{visible[:_MAX_LINE_CHARS]} [... {len(line):,} characters in this line]"
        size += len(visible) + 8
        if chosen and size > max_chars:
            break
        chosen.append(visible)
    last = start + len(chosen) - 1
    page = numbered(chosen, start)
    if last < total:
        page += f"\n[lines {start} to {last} of {total}; go on with start_line={last + 1}]"
    elif start > 1:
        page += f"\n[lines {start} to {last} of {total}; end of file]"
    return page


class WriteFile:
    """The whole content of a file; one that is replaced keeps its mode, line ends and byte order mark."""

    spec = ToolSpec(
        "write_file",
        "Write a whole file: make a new one or replace all of an old one. Folders are made as needed.",
        (
            Parameter("path", "string", "Path relative to the worktree."),
            Parameter("content", "string", "The complete new content of the file."),
        ),
    )

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        try:
            path, content = _write_arguments(arguments)
            with place(context.worktree, path) as where:
                before = read_regular(where, context.limits.max_file_bytes)
                after, _ = _new_bytes(before, content, where.shown)
                return FileChange(where.shown, sha256(before), sha256(after)).as_json()
        except ToolRefused as refused:
            if "there is no folder" in str(refused):
                return FileChange(path, None, sha256(_new_bytes(None, content, path)[0])).as_json()
            return {"refused": str(refused)}

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        try:
            require_writable(context)
            path, content = _write_arguments(arguments)
            with place(context.worktree, path, make_folders=True) as where:
                before = read_regular(where, context.limits.max_file_bytes)
                after, old = _new_bytes(before, content, where.shown)
                replace_file(where, after, draft_name(context.call_id))
                return _written(where.shown, before, after, old, content)
        except ToolRefused as refused:
            return ToolResult(str(refused), ok=False)

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        return settle_by_hash(evidence, context)


def _write_arguments(arguments: Mapping[str, Any]) -> tuple[str, str]:
    path, content = text_argument(arguments, "path").strip(), encodable(text_argument(arguments, "content"))
    if path.endswith("/"):
        raise ToolRefused(f"{path}: names a folder. Give the path of a file.")
    return path, content


def require_writable(context: ToolContext) -> None:
    """Raises ToolRefused in a reviewer's view."""
    if not context.writable:
        raise ToolRefused(
            "This worktree is read-only for you: you may look and report, others make the changes."
        )


def _new_bytes(before: bytes | None, content: str, shown: str) -> tuple[bytes, Document | None]:
    if before is None:
        return content.encode("utf-8"), None
    old = decode(before, shown)
    if old.newline == "\r\n" and "\r" not in content:
        content = content.replace("\n", "\r\n")
    # A model sends no byte order mark, and a second one would be text.
    return old.encode(content.removeprefix("\ufeff")), old


def _written(
    shown: str, before: bytes | None, after: bytes, old: Document | None, content: str
) -> ToolResult:
    lines = content.count("\n") + (0 if content.endswith("\n") or not content else 1)
    did = (
        "Made"
        if before is None
        else ("Left unchanged (it had this content already)" if before == after else "Replaced")
    )
    kept = " Its line ends (CRLF) were kept." if old is not None and old.newline == "\r\n" else ""
    notes = outcome_notes(shown, None if old is None else old.text, content, content)
    return ToolResult(f"{did}: {shown} ({lines} lines).{kept}{notes}", ok=True)


def outcome_notes(shown: str, before: str | None, after: str, new_text: str) -> str:
    """What the model must know at once about the text it has just put there; '' if all is well."""
    error = introduced_error(shown, before, after)
    notes = [f"WARNING: {shown} now has a syntax error: {error}. Correct it."] if error is not None else []
    damage = damage_note(shown, new_text, before)
    return "".join(f"\n{note}" for note in [*notes, *([damage] if damage is not None else [])])


def settle_by_hash(evidence: Mapping[str, Any], context: ToolContext) -> ToolResult | None:
    """The result of an interrupted change: success if the file has the new content, None if it has the old."""
    change = FileChange.from_json(evidence)
    if change is None:
        return None
    try:
        with place(context.worktree, change.path) as where:
            drop_draft(where, draft_name(context.call_id))
            current = sha256(read_regular(where, context.limits.max_file_bytes * 4))
    except ToolRefused:
        current = None
    if current == change.after:
        return ToolResult(f"Done: {change.path} has the new content (found so after a restart).", ok=True)
    if current == change.before:
        return None
    text = (
        f"Outcome unknown: the agent was restarted while it changed {change.path}, and the file is neither as it "
        "was before nor as the change would leave it. Read it before you go on."
    )
    return ToolResult(text, ok=False)
