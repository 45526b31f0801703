"""`nightcrew rehearse` as a person runs it: it passes, and nothing of it is left."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support.command_line import command, environment, processes_touching

PATIENCE_S = 120.0
pytestmark = pytest.mark.timeout(150)


def _entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _of_a_crew(names: set[str]) -> list[str]:
    """What of /tmp's new entries a crew, git or tmux could have made; other programs use it too."""
    ours = ("nightcrew", "tmux", "rehears", "textkit", "crew", "bwrap", "git")
    return [name for name in names if name.lower().startswith(ours)]


def test_rehearse_passes_and_leaves_no_process_tmux_server_or_file_outside_its_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    before = _entries(Path("/tmp"))
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            command("--home", str(home), "rehearse", "--json"),
            cwd=temporary,
            env=environment(tmp_path, TMPDIR=temporary, TMUX_TMPDIR=temporary),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        left = _entries(Path(temporary))
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["ok"]
    assert outcome["merged"] == outcome["tasks"] == 3
    assert outcome["checks_passed"]
    assert [death["who"] for death in outcome["deaths"]][1:] == ["supervisor"]
    assert (outcome["repeated_tools"], outcome["findings"]) == (0, [])
    print(f"rehearsal: {outcome['seconds']} s, {outcome['deaths']}")
    assert processes_touching(home) == []
    assert not (home / "rehearsal").exists()
    assert (left, _entries(tmp_path / "user")) == (set(), set())
    assert _entries(tmp_path) <= {"home", "user"}
    assert _of_a_crew(_entries(Path("/tmp")) - before) == []
