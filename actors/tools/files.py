"""The tools read_file and write_file."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.model.protocol import Parameter, ToolSpec
from actors.tools.base import ToolContext, ToolRefused, ToolResult, text_argument, whole_number
from actors.tools.confined import (
    Location,
    delete_draft,
    draft_name,
    locate,
    read_regular,
    replace_file,
    similar_names,
)
from actors.tools.dependencies import readable_root, require_own_file
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
    """read_file: numbered lines of a text file, in pages. Also reads the stored output of a command."""

    spec = ToolSpec(
        "read_file",
        "Read a text file, with line numbers, one page at a time. For a folder: list its names.",
        (
            Parameter("path", "string", "Path relative to the worktree."),
            Parameter(
                "start_line", "integer", "Number of the first line to show (default 1).", required=False
            ),
            Parameter(
                "line_count", "integer", "Number of lines to show (default 200, at most 500).", required=False
            ),
        ),
    )

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        return {}

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        """None: reading changes nothing, so it can always be repeated."""
        return None

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        limits = context.limits
        try:
            path = text_argument(arguments, "path").strip()
            start = whole_number(arguments, "start_line", 1, 1, 10**9)
            count = whole_number(arguments, "line_count", limits.default_read_lines, 1, limits.max_read_lines)
            root, shown_at, path = readable_root(path, context)
            with locate(root, path, shown_at=shown_at) as where:
                listing = _listing(where)
                if listing is not None:
                    return ToolResult(listing, ok=True)
                # Stored output may be larger than a file that can be edited: only a page of it is shown.
                content = read_regular(where, limits.max_file_bytes * 4)
                if content is None:
                    near = similar_names(where.folder_fd, where.name)
                    raise ToolRefused(f"{where.shown}: there is no such file.{near}")
                text = decode(content, where.shown).text
                page = _page(text, where.shown, start, count, limits.max_read_chars)
                return ToolResult(page, ok=True)
        except ToolRefused as refused:
            return ToolResult(str(refused), ok=False)


def _listing(where: Location) -> str | None:
    """The names in a folder; None if it is not a folder."""
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
        raise ToolRefused(f"{shown} has only {total} lines; start_line {start} is beyond its end.")
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
        page += f"\n[lines {start} to {last} of {total}; continue with start_line={last + 1}]"
    elif start > 1:
        page += f"\n[lines {start} to {last} of {total}; end of file]"
    return page


class WriteFile:
    """write_file: writes a whole file. A replaced file keeps permissions, line ends and byte order mark."""

    spec = ToolSpec(
        "write_file",
        "Write a whole file: create a new one, or replace all of an existing one. Creates missing folders.",
        (
            Parameter("path", "string", "Path relative to the worktree."),
            Parameter("content", "string", "The complete new content of the file."),
        ),
    )

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        try:
            path, content = _write_arguments(arguments)
            with locate(context.worktree, path, shown_at=context.shown_at) as where:
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
            require_own_file(path, context)
            with locate(context.worktree, path, shown_at=context.shown_at, make_folders=True) as where:
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
        raise ToolRefused(f"{path} names a folder. Use the path of a file.")
    return path, content


def require_writable(context: ToolContext) -> None:
    """Raises ToolRefused if the agent may only read the worktree."""
    if not context.writable:
        raise ToolRefused(
            "This worktree is read-only for you. Report what should be changed; others change it."
        )


def _new_bytes(before: bytes | None, content: str, shown: str) -> tuple[bytes, Document | None]:
    if before is None:
        return content.encode("utf-8"), None
    old = decode(before, shown)
    if old.newline == "\r\n" and "\r" not in content:
        content = content.replace("\n", "\r\n")
    # `encode` adds the file's byte order mark; a second one would be part of the text.
    return old.encode(content.removeprefix("\ufeff")), old


def _written(
    shown: str, before: bytes | None, after: bytes, old: Document | None, content: str
) -> ToolResult:
    lines = content.count("\n") + (0 if content.endswith("\n") or not content else 1)
    if before is None:
        action = "Created"
    else:
        action = "Left unchanged, because it has this content already" if before == after else "Replaced"
    kept = " Its CRLF line ends were kept." if old is not None and old.newline == "\r\n" else ""
    notes = outcome_notes(shown, None if old is None else old.text, content, content)
    return ToolResult(f"{action}: {shown} ({lines} lines).{kept}{notes}", ok=True)


def outcome_notes(shown: str, before: str | None, after: str, new_text: str) -> str:
    """Warnings about the text that was just written, one per line; empty if there are none."""
    error = introduced_error(shown, before, after)
    notes = [f"WARNING: {shown} now has a syntax error: {error}. Fix it."] if error is not None else []
    damage = damage_note(shown, new_text, before)
    return "".join(f"\n{note}" for note in [*notes, *([damage] if damage is not None else [])])


def settle_by_hash(evidence: Mapping[str, Any], context: ToolContext) -> ToolResult | None:
    """After a crash: done if the file has the new content, None if it is unchanged, otherwise unknown."""
    change = FileChange.from_json(evidence)
    if change is None:
        return None
    try:
        with locate(context.worktree, change.path) as where:
            delete_draft(where, draft_name(context.call_id))
            current = sha256(read_regular(where, context.limits.max_file_bytes * 4))
    except ToolRefused:
        current = None
    if current == change.after:
        text = f"Done: {change.path} has the new content. The agent was restarted meanwhile."
        return ToolResult(text, ok=True)
    if current == change.before:
        return None
    text = (
        f"Outcome unknown: the agent was restarted while it changed {change.path}, and the file has neither the "
        "old nor the new content. Read it before you continue."
    )
    return ToolResult(text, ok=False)
