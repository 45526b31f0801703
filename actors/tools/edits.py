"""The tool edit_file: replace one passage of a file, even if the model's copy of it is slightly different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.model.protocol import Parameter, ToolSpec
from actors.tools.base import ToolContext, ToolRefused, ToolResult, text_argument
from actors.tools.confined import Location, draft_name, locate, read_regular, replace_file, similar_names
from actors.tools.dependencies import require_own_file
from actors.tools.document import Document, decode, encodable, numbered, sha256
from actors.tools.files import FileChange, outcome_notes, require_writable, settle_by_hash
from actors.tools.matching import Absent, Ambiguous, Found, find_edit

_SHOWN_LINES = 30
_FAILURES_BEFORE_ADVICE = 2


@dataclass(frozen=True, slots=True)
class _Plan:
    before: bytes
    after: bytes
    document: Document
    found: Found

    @property
    def new_text(self) -> str:
        found = self.found
        return self.document.text[: found.start] + found.replacement + self.document.text[found.end :]


class EditFile:
    """edit_file. Counts failures per file, to suggest write_file after several."""

    spec = ToolSpec(
        "edit_file",
        "Replace one passage of a file. old_text must appear in the file exactly once: copy it from read_file "
        "without the line numbers, and include a few lines around the change.",
        (
            Parameter("path", "string", "Path relative to the worktree."),
            Parameter("old_text", "string", "The text to replace, exactly as it is in the file."),
            Parameter("new_text", "string", "The text that replaces it."),
        ),
    )

    def __init__(self) -> None:
        self._failures: Counter[str] = Counter()

    def intend(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        try:
            path, old, new = _edit_arguments(arguments)
            with locate(context.worktree, path, shown_at=context.shown_at) as where:
                plan = _plan(where, old, new, context)
                return FileChange(where.shown, sha256(plan.before), sha256(plan.after)).as_json()
        except ToolRefused as refused:
            return {"refused": str(refused)}

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolResult:
        path = ""
        try:
            require_writable(context)
            path, old, new = _edit_arguments(arguments)
            require_own_file(path, context)
            with locate(context.worktree, path, shown_at=context.shown_at) as where:
                plan = _plan(where, old, new, context)
                replace_file(where, plan.after, draft_name(context.call_id))
                self._failures.pop(path, None)
                return _edited(where.shown, plan)
        except ToolRefused as refused:
            self._failures[path] += 1
            advice = ""
            if path and self._failures[path] >= _FAILURES_BEFORE_ADVICE:
                advice = "\nSeveral edits of this file failed. Read the whole file, then replace it with write_file."
            return ToolResult(f"{refused}{advice}", ok=False)

    def settle(
        self, arguments: Mapping[str, Any], evidence: Mapping[str, Any], context: ToolContext
    ) -> ToolResult | None:
        return settle_by_hash(evidence, context)


def _edit_arguments(arguments: Mapping[str, Any]) -> tuple[str, str, str]:
    path = text_argument(arguments, "path").strip()
    old, new = (encodable(text_argument(arguments, name)) for name in ("old_text", "new_text"))
    if not old.strip():
        raise ToolRefused(
            "old_text is empty. It must be the text to replace. To replace a whole file, use write_file."
        )
    if old == new:
        raise ToolRefused("old_text and new_text are the same, so nothing would change.")
    return path, old, new


def _plan(where: Location, old: str, new: str, context: ToolContext) -> _Plan:
    before = read_regular(where, context.limits.max_file_bytes)
    if before is None:
        near = similar_names(where.folder_fd, where.name)
        raise ToolRefused(f"{where.shown}: there is no such file.{near} To create it, use write_file.")
    document = decode(before, where.shown)
    found = find_edit(document.text, old, new, document.newline)
    if isinstance(found, Ambiguous):
        places = ", ".join(str(line) for line in found.lines[:10])
        raise ToolRefused(
            f"{where.shown}: old_text appears {len(found.lines)} times (lines {places}). "
            "Add the lines before and after it, so that it matches one place only."
        )
    if isinstance(found, Absent):
        raise ToolRefused(_absent(where.shown, found))
    text = document.text[: found.start] + found.replacement + document.text[found.end :]
    return _Plan(before, document.encode(text), document, found)


def _absent(shown: str, found: Absent) -> str:
    if not found.nearest:
        return f"{shown}: old_text is not in this file, nor anything similar. Read the file first."
    lines = numbered([line.encode("utf-8", "replace").decode() for line in found.nearest], found.first_line)
    return f"{shown}: old_text is not in this file. The most similar lines are:\n{lines}\nCopy old_text from these."


def _edited(shown: str, plan: _Plan) -> ToolResult:
    text, found = plan.new_text, plan.found
    first = text.count("\n", 0, found.start) + 1
    changed = found.replacement.count("\n") + 1
    lines = text.split("\n")
    top = max(1, first - 2)
    visible = lines[top - 1 : min(first + changed + 1, top + _SHOWN_LINES)]
    excerpt = numbered([line.removesuffix("\r").encode("utf-8", "replace").decode() for line in visible], top)
    tolerance = f" (matched despite different {found.how})" if found.how else ""
    notes = outcome_notes(shown, plan.document.text, text, found.replacement)
    return ToolResult(f"Edited {shown}{tolerance}. It now reads:\n{excerpt}{notes}", ok=True)
