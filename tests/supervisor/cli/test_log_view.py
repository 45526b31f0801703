"""Log files are read across rotations, in order of time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import pytest

from actors.log.files import AppendFile
from supervisor.cli import log_view
from supervisor.cli.log_view import follow


def test_follow_gives_the_last_lines_then_each_new_one_across_rotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_view, "POLL_S", 0.005)
    path = tmp_path / "a.log"
    file = AppendFile(path, max_bytes=200)
    for number in range(8):
        file.write(b"%030d\n" % number)
    seen: Queue[str] = Queue()
    stop = threading.Event()

    def read() -> None:
        for line in follow([path], lines=7, wait=True, stop=stop):
            seen.put(line)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert [int(seen.get(timeout=10)) for _ in range(7)] == list(range(1, 8))
        for number in range(8, 60):
            file.write(b"%030d\n" % number)
            assert int(seen.get(timeout=10)) == number
    finally:
        stop.set()
        reader.join(10)
        file.close()


def test_follow_of_several_logs_is_ordered_by_time_and_needs_no_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_text('{"time":"2025-01-01T00:00:02Z"}\n')
    second.write_text('{"time":"2025-01-01T00:00:01Z"}\n{"time":"2025-01-01T00:00:03Z"}\n{"torn')
    seen = list(follow([first, second, tmp_path / "none.log"], lines=2))
    assert [json.loads(line)["time"][-3:-1] for line in seen] == ["02", "03"]


def test_reading_logs_does_not_load_the_logging_library() -> None:
    check = (
        "import sys, supervisor.cli.log_view; sys.exit('loguru' in sys.modules or 'libtmux' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
