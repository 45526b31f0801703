"""The tools as a model uses them, on real files of a real worktree."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.sandbox.record import RecordFiles
from actors.tools.base import ToolContext, ToolResult
from actors.tools.edits import EditFile
from actors.tools.files import ReadFile, WriteFile
from actors.tools.registry import WORKTREE_TOOL_NAMES, worktree_tools
from actors.tools.shell import Shell


def _edit(context: ToolContext, path: str, old: str, new: str) -> ToolResult:
    return EditFile().run({"path": path, "old_text": old, "new_text": new}, context)


def _read(context: ToolContext, path: str, **more: Any) -> ToolResult:
    return ReadFile().run({"path": path, **more}, context)


def _write(context: ToolContext, path: str, content: str) -> ToolResult:
    return WriteFile().run({"path": path, "content": content}, context)


def test_tools_have_the_signatures_that_the_roles_promise() -> None:
    shapes = {
        tool.spec.name: [p.name for p in tool.spec.parameters] for tool in worktree_tools(WORKTREE_TOOL_NAMES)
    }
    assert shapes == {
        "shell": ["command", "timeout_s"],
        "read_file": ["path", "start_line", "line_count"],
        "edit_file": ["path", "old_text", "new_text"],
        "write_file": ["path", "content"],
    }
    with pytest.raises(ValueError, match="no such worktree tool: teleport"):
        worktree_tools(["shell", "teleport"])


def test_shell_returns_output_and_exit_code(context: ToolContext) -> None:
    good = Shell().run({"command": "echo hi"}, context)
    assert (good.ok, good.text) == (True, "hi\n[exit code 0]")
    bad = Shell().run({"command": "echo no >&2; exit 2", "timeout_s": "30"}, context)
    assert (bad.ok, bad.text) == (False, "no\n[exit code 2]")
    slow = Shell().run({"command": "sleep 30", "timeout_s": 1}, context)
    assert "reached the limit of 1 s" in slow.text


@pytest.mark.parametrize(
    "arguments", [{}, {"command": None}, {"command": ""}, {"command": "a\0b"}, {"command": "x" * 200_000}]
)
def test_bad_input_of_shell_gives_a_result_and_no_exception(
    arguments: dict[str, Any], context: ToolContext
) -> None:
    assert not Shell().run(arguments, context).ok
    assert "boot_id" in Shell().intend(arguments, context)


def test_stored_output_of_a_command_is_read_in_pages(context: ToolContext) -> None:
    told = Shell().run({"command": "seq 20000"}, context)
    path = str(RecordFiles.of(context.spill_dir, context.call_id).output)
    assert path in told.text
    page = _read(context, path, start_line=15000, line_count=2)
    assert page.text.startswith(
        " 15000\t15000\n 15001\t15001\n[lines 15000 to 15001 of 20000; continue with start_line=15002]"
    )


def test_read_shows_numbered_pages_and_what_comes_next(context: ToolContext) -> None:
    (context.worktree / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 1001)))
    first = _read(context, "long.txt")
    assert first.text.splitlines()[0] == "     1\tline 1"
    assert first.text.endswith("[lines 1 to 200 of 1000; continue with start_line=201]")
    assert "beyond its end" in _read(context, "long.txt", start_line=2000).text
    assert _read(context, str(context.worktree / "hello.py")).text == "     1\tprint('hello')"
    assert "hello.py" in _read(context, ".").text


def test_read_refuses_files_that_are_not_text_and_suggests_similar_names(context: ToolContext) -> None:
    (context.worktree / "a.bin").write_bytes(b"\x7fELF\0\0")
    os.mkfifo(context.worktree / "pipe")
    (context.worktree / "zero").symlink_to("/dev/zero")
    with open(context.worktree / "huge.txt", "wb") as huge:
        huge.truncate(1 << 30)
    assert "binary" in _read(context, "a.bin").text
    assert "not a regular file" in _read(context, "pipe").text
    assert "leads outside" in _read(context, "zero").text
    assert "too large" in _read(context, "huge.txt").text
    assert "Did you mean hello.py?" in _read(context, "helo.py").text
    assert "no such file" in _read(context, "a-new-thing.rs").text


@pytest.mark.parametrize(
    "path", ["../out.txt", "/etc/passwd", "a/../../out.txt", "~/.ssh/x", "", "x\0y", "link/x", "flink"]
)
def test_no_tool_leaves_the_worktree(path: str, context: ToolContext, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("a secret")
    (context.worktree / "link").symlink_to(outside)
    (context.worktree / "flink").symlink_to(outside / "x")
    for result in (
        _read(context, path),
        _write(context, path, "evil"),
        _edit(context, path, "secret", "evil"),
    ):
        assert not result.ok
        assert "a secret" not in result.text
    assert (outside / "x").read_text() == "a secret"
    assert not (context.worktree.parent / "out.txt").exists()


@pytest.mark.parametrize("path", [".git", ".git/config", "sub/.git/config", ".GIT/config", "gitlink/config"])
def test_no_tool_touches_git(path: str, context: ToolContext) -> None:
    (context.worktree / "gitlink").symlink_to(".git")
    before = (context.worktree / ".git").read_bytes()
    assert not _write(context, path, "evil").ok
    assert (context.worktree / ".git").read_bytes() == before
    assert not (context.worktree / "sub").exists() or not (context.worktree / "sub/.git").exists()


def test_links_inside_the_worktree_are_followed_to_the_real_file(context: ToolContext) -> None:
    (context.worktree / "pkg").mkdir()
    (context.worktree / "pkg/alias.py").symlink_to("../hello.py")
    (context.worktree / "absolute").symlink_to(context.worktree / "pkg")
    assert _edit(context, "absolute/alias.py", "hello", "bye").ok
    assert (context.worktree / "hello.py").read_text() == "print('bye')\n"
    assert (context.worktree / "pkg/alias.py").is_symlink()
    (context.worktree / "round").symlink_to("round")
    assert "loop" in _read(context, "round").text


def test_write_makes_folders_and_keeps_mode_and_line_ends(context: ToolContext) -> None:
    assert _write(context, "a/b/new.txt", "x\n").ok
    assert (context.worktree / "a/b/new.txt").read_bytes() == b"x\n"
    script = context.worktree / "run.bat"
    script.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    script.chmod(0o755)
    result = _write(context, "run.bat", "three\nfour\n")
    assert "CRLF" in result.text
    assert script.read_bytes() == b"\xef\xbb\xbfthree\r\nfour\r\n"
    assert stat.S_IMODE(script.stat().st_mode) == 0o755


def test_write_through_a_hard_link_leaves_the_other_name_alone(context: ToolContext, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    os.link(other, context.worktree / "linked")
    assert _write(context, "linked", "changed").ok
    assert other.read_text() == "mine"


def test_reviewers_change_nothing(context: ToolContext) -> None:
    reviewer = replace(context, writable=False)
    assert "read-only" in _write(reviewer, "x", "y").text
    assert "read-only" in _edit(reviewer, "hello.py", "hello", "bye").text
    assert _read(reviewer, "hello.py").ok


def test_edit_changes_only_its_bytes(context: ToolContext) -> None:
    target = context.worktree / "odd.txt"
    content = b"\xef\xbb\xbfone  \r\ntwo\t\r\nthree \xff\x0c\nfour"
    target.write_bytes(content)
    target.chmod(0o640)
    assert _edit(context, "odd.txt", "one\ntwo", "one\n2\nand a half").ok
    assert target.read_bytes() == b"\xef\xbb\xbfone  \r\n2\r\nand a half\r\nthree \xff\x0c\nfour"
    assert _edit(context, "odd.txt", "four", "4").ok
    assert target.read_bytes().endswith(b"three \xff\x0c\n4")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [p.name for p in context.worktree.iterdir() if "nightcrew" in p.name] == []


def test_edit_reports_ambiguous_absent_and_repeatedly_failing_passages(context: ToolContext) -> None:
    (context.worktree / "m.py").write_text(
        "x = 1\ny = 2\nx = 1\ndef compute_total(items):\n    return sum(items)\n"
    )
    tool = EditFile()
    twice = tool.run({"path": "m.py", "old_text": "x = 1", "new_text": "x = 3"}, context)
    assert "2 times (lines 1, 3)" in twice.text
    absent = {
        "path": "m.py",
        "old_text": "def compute_total(things):\n    return add(things)",
        "new_text": "pass",
    }
    again = tool.run(absent, context)
    assert "     4\tdef compute_total(items):" in again.text
    assert "write_file" in again.text
    assert tool.run({**absent, "old_text": "sum(items)"}, context).ok
    assert "write_file" not in tool.run(absent, context).text
    for arguments in ({"path": "m.py"}, {**absent, "old_text": ""}, {**absent, "old_text": "pass"}):
        assert not tool.run(arguments, context).ok
    assert "use write_file" in tool.run({**absent, "path": "none.py"}, context).text


@pytest.mark.parametrize(
    ("name", "before", "old", "new", "complaint"),
    [
        ("a.py", "def f():\n    return 1\n", "    return 1", "    return (1", "syntax error: line 2"),
        ("a.json", '{"a": 1}\n', "1}", "1,}", "syntax error"),
        ("a.toml", 'a = "x"\n', '"x"', '"x', "syntax error"),
    ],
)
def test_syntax_error_that_an_edit_introduces_is_reported(
    name: str, before: str, old: str, new: str, complaint: str, context: ToolContext
) -> None:
    (context.worktree / name).write_text(before)
    result = _edit(context, name, old, new)
    assert result.ok
    assert complaint in result.text
    assert "WARNING" not in _edit(context, name, new, new + " ").text, (
        "an error that was there before is no news"
    )
    assert "WARNING" in _write(context, f"new-{name}", before.replace(old, new)).text


def test_warnings_in_a_files_code_are_not_errors(context: ToolContext) -> None:
    assert "WARNING" not in _write(context, "w.py", "x = '\\d'\nassert (1, 'x')\n").text


def test_text_that_the_server_has_changed_gives_a_note(context: ToolContext) -> None:
    assert "<T name=" in _write(context, "a.ts", 'class Box<T name="string"> {}\n').text
    assert "Note" not in _write(context, "a.html", '<input name="x">\n').text


def test_full_disk_is_reported_and_leaves_the_old_file(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = _write(context, "hello.py", "x")
    assert (result.ok, "No space left" in result.text) == (False, True)
    assert (context.worktree / "hello.py").read_text() == "print('hello')\n"
    assert [p.name for p in context.worktree.iterdir() if "nightcrew" in p.name] == []
