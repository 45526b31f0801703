"""Logs with real files and real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import log
from actors.log.files import AppendFile
from actors.log.format import format_line


@pytest.fixture(autouse=True)
def loguru_is_left_as_it_was() -> Iterator[None]:
    yield
    from loguru import logger

    logger.remove()


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_event_is_one_json_line_in_the_actors_and_the_crews_log(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    log.configure("supervisor", directory)
    log.info("child_restarted", actor="pm", incarnation=4, reason="exit:137")
    log.event("DEBUG", "below_the_level")
    (row,) = rows(directory / "supervisor.log")
    assert str(row.pop("time")).endswith("Z")
    assert row == {
        "level": "INFO",
        "source": "supervisor",
        "pid": os.getpid(),
        "event": "child_restarted",
        "actor": "pm",
        "incarnation": 4,
        "reason": "exit:137",
    }
    assert (directory / "crew.log").read_bytes() == (directory / "supervisor.log").read_bytes()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "crew.log").stat().st_mode & 0o777 == 0o600


def test_any_field_can_be_logged(tmp_path: Path) -> None:
    log.configure("a", tmp_path)
    log.info(
        "{braces} <tags>", level="mine", name="n", path=tmp_path, text="half\ud83d\n{x}", big="y" * 100_000
    )
    (row,) = rows(tmp_path / "a.log")
    assert row["event"] == "{braces} <tags>"
    assert (row["level"], row["level_"], row["name"], row["path"]) == ("INFO", "mine", "n", str(tmp_path))
    assert len(str(row["big"])) < 10_000


def test_exception_is_logged_with_its_traceback(tmp_path: Path) -> None:
    log.configure("a", tmp_path)
    try:
        raise ValueError("what went wrong")
    except ValueError as error:
        log.error("step_failed", exception=error, step=3)
    (row,) = rows(tmp_path / "a.log")
    assert str(row["exception"]).startswith("Traceback")
    assert str(row["exception"]).endswith("ValueError: what went wrong")
    assert "what went wrong" in format_line(json.dumps(row))


def test_second_configure_replaces_the_first(tmp_path: Path) -> None:
    log.configure("a", tmp_path)
    log.configure("b", tmp_path)
    log.info("once")
    assert not (tmp_path / "a.log").exists()
    assert [row["source"] for row in rows(tmp_path / "crew.log")] == ["b"]


def test_log_that_cannot_be_written_does_not_stop_the_actor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log.configure("a", tmp_path)
    (tmp_path / "a.log").mkdir()
    log.info("lost")
    assert "Is a directory" in capfd.readouterr().err


def test_stderr_gets_the_same_events_for_a_person(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("supervisor", tmp_path, stderr=True)
    log.warning("child_exited", actor="pm")
    assert capfd.readouterr().err.endswith("WARNING supervisor child_exited actor=pm\n")


WRITER = """
import os, sys
from pathlib import Path
from actors.log.files import AppendFile
file = AppendFile(Path(sys.argv[1]), max_bytes=20_000, kept=100)
for number in range(1000):
    file.write(f"{sys.argv[2]} {number} {'x' * 40}\\n".encode())
"""


def test_many_processes_write_and_rotate_without_losing_or_mixing_a_line(tmp_path: Path) -> None:
    path = tmp_path / "crew.log"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)]) for n in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    files = list(tmp_path.glob("crew.log*"))
    lines = [line.split() for file in files for line in file.read_text().splitlines()]
    assert sorted((int(who), int(number)) for who, number, _ in lines) == [
        (who, number) for who in range(4) for number in range(1000)
    ]
    assert {rest for _, _, rest in lines} == {"x" * 40}
    assert len(files) > 2  # how many depends on how long a rotation takes, while which others write on


def test_number_of_old_files_is_limited(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "a.log", max_bytes=100, kept=5)
    for number in range(100):
        file.write(f"{number:030}\n".encode())
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".rotate.lock", "a.log", *(f"a.log.{number}" for number in range(1, 6))]


def test_forked_child_logs_under_its_own_name(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom actors import log\n"
        "log.configure('zygote', Path(sys.argv[1]))\nlog.info('preloaded')\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    log.configure('eng-1', Path(sys.argv[1]))\n"
        "    log.info('ready')\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nlog.info('child_gone')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    crew = [(row["source"], row["event"]) for row in rows(tmp_path / "crew.log")]
    assert crew == [("zygote", "preloaded"), ("eng-1", "ready"), ("zygote", "child_gone")]
    assert [row["event"] for row in rows(tmp_path / "zygote.log")] == ["preloaded", "child_gone"]


def test_line_for_a_person_has_no_control_codes_and_bad_lines_pass_through() -> None:
    row = {"time": "2025-01-01T00:00:01Z", "level": "INFO", "source": "a", "event": "e", "t": "x\x1b[2Jy z\n"}
    assert format_line(json.dumps(row)).endswith(' INFO    a e t="xy z"')
    assert format_line('{"torn\x1b[2J') == '{"torn'
    assert format_line("[1]") == "[1]"
