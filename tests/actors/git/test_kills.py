"""SIGKILL at every git command of every operation: a repeat has the result of an undisturbed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The commands at which a kill must have happened, so that the test cannot pass without any kill.
EXPECTED = {
    "commit": {"update-ref", "worktree", "update-index", "write-tree", "commit-tree"},
    "sync": {"merge-tree", "commit-tree", "read-tree", "update-ref"},
    "gate": {"merge-tree", "commit-tree", "worktree", "update-ref", "for-each-ref"},
    "remove": {"rev-parse"},
}


@pytest.mark.parametrize("mode", ["after", "during"])
@pytest.mark.parametrize("scenario", ["commit", "sync", "gate", "remove"])
def test_repeat_after_a_kill_at_any_git_command_succeeds(scenario: str, mode: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "tests.actors.git.kill_driver", scenario, mode, str(tmp_path / "kills")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    *killed, undisturbed = runs
    assert not undisturbed["killed"]
    assert all(run["killed"] for run in killed)
    assert EXPECTED[scenario] <= {run["instant"].split()[0] for run in killed}
    for run in killed:
        assert run["state"] == undisturbed["state"], run["instant"]
