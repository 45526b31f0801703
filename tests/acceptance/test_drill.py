"""The drill that anyone may run, for a minute: random kills and worse, and an audit that finds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor.upkeep import shifted_clock
from supervisor.upkeep.shifted_clock import VARIABLE, ShiftedClock

SEED = 20
KEYS = ["kills", "lost", "doubled", "stuck", "recovery_ms_p50", "recovery_ms_p99", "fsck"]


def _drill(home: Path, *words: str, within_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "supervisor.cli", "--home", str(home), "drill", "--json", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)


@pytest.mark.timeout(300)
def test_a_minute_of_random_kills_loses_nothing_doubles_nothing_and_leaves_nothing_stuck(
    tmp_path: Path,
) -> None:
    done = _drill(tmp_path / "home", "--minutes", "0.7", "--seed", str(SEED), within_s=280)
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout)
    assert list(outcome)[: len(KEYS)] == KEYS
    assert outcome["findings"] == []
    assert done.returncode == 0
    assert [outcome[key] for key in ("lost", "doubled", "stuck", "fsck")] == [0, 0, 0, 0]
    assert outcome["kills"] >= 10
    assert outcome["done"]["agent"] >= 5
    assert outcome["merged"] == 3 * outcome["projects"] > 0
    assert outcome["recovery_ms_p50"] > 0
    # Nothing of it is left: no folder, no file system, no process.
    assert not (tmp_path / "home" / "drill").exists()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_kills_lose_nothing_double_nothing_and_leave_nothing_stuck(tmp_path: Path) -> None:
    done = _drill(tmp_path / "home", "--kills", "1000", "--seed", str(SEED), within_s=3500)
    outcome = json.loads(done.stdout)
    assert outcome["findings"] == []
    assert outcome["kills"] >= 1000


def test_a_shifted_clock_moves_the_wall_clock_and_leaves_the_waking_time(tmp_path: Path) -> None:
    clock = ShiftedClock(tmp_path / "clock")
    real_s, awake_s = time.time(), time.monotonic()
    undo = shifted_clock.arm({VARIABLE: str(clock.path)})
    try:
        clock.jump(-1000.0)
        assert time.time() - real_s == pytest.approx(-1000.0, abs=5)
        boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        clock.sleep(5000.0)
        assert time.time() - real_s == pytest.approx(4000.0, abs=5)
        assert time.clock_gettime(time.CLOCK_BOOTTIME) - boot_s == pytest.approx(5000.0, abs=5)
        assert time.monotonic() - awake_s < 5
        pid = os.fork()
        if pid == 0:
            os._exit(0 if time.time() - real_s > 3900 else 1)
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        undo()
    assert time.time() - real_s == pytest.approx(0.0, abs=5)


def test_a_process_that_no_drill_has_armed_keeps_its_clocks() -> None:
    before = (time.time, time.clock_gettime)
    shifted_clock.arm({})
    assert (time.time, time.clock_gettime) == before
