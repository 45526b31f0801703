"""A tmux server for each test, which ends with the test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.screen.windows import Windows, enter_run_dir
from tests.actors.screen.tmux_screen import Screen


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A folder with special characters, whose socket path exceeds a Unix socket's 107 bytes."""
    deep = tmp_path / ("ein langes Zuhause 'mit' Ümlaut; #{x} $(y) " * 3) / "run"
    deep.mkdir(parents=True)
    assert len(os.fsencode(deep)) > 107
    return deep


@pytest.fixture
def recorder(tmp_path: Path) -> Path:
    """Replaces the prompt command: writes its arguments and one line of its input to `recorded`."""
    script = tmp_path / 'it\'s a "prompt" #1 $(touch pwned) Ü' / "prompt.py"
    script.parent.mkdir()
    script.write_text(
        "import json, os, pathlib, sys\n"
        "print('Message to', sys.argv[-1], flush=True)\n"
        "line = sys.stdin.readline()\n"
        f"path = pathlib.Path({str(tmp_path / 'recorded')!r})\n"
        "new = path.with_suffix('.new')\n"
        "new.write_text(json.dumps([sys.argv[1:], line, os.getcwd()]), encoding='utf-8')\n"
        "new.replace(path)\n",
        encoding="utf-8",
    )
    return script


@pytest.fixture
def windows(run_dir: Path, recorder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Windows]:
    monkeypatch.setenv("LC_ALL", "C")  # enter_run_dir must change it
    monkeypatch.setenv("TMUX", "/nonexistent/socket,1,0")
    monkeypatch.chdir(run_dir)
    enter_run_dir(run_dir)
    # Begins with arguments that need quoting: each must arrive unchanged.
    crew = Windows(
        run_dir, [sys.executable, str(recorder), "a b", "it's", '"$HOME"', "#{pane_id}", "ä;", "~"]
    )
    yield crew
    crew.kill_server()


@pytest.fixture
def screen(windows: Windows, run_dir: Path) -> Screen:
    return Screen(run_dir)
