"""`nightcrew rehearse` as a person runs it: it passes, and nothing of it is left."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import command, environment, processes_touching

PATIENCE_S = 110.0
pytestmark = pytest.mark.timeout(150)


def _entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _strangers(before: set[str]) -> list[str]:
    """What has come into /tmp that a crew, git or tmux could have made; other programs use it too."""
    ours = ("nightcrew", "tmux", "rehears", "textkit", "crew", "bwrap", "git")
    return [name for name in _entries(Path("/tmp")) - before if name.lower().startswith(ours)]


def test_rehearse_passes_and_leaves_no_process_tmux_server_or_file_outside_its_home(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    temporary.mkdir()
    env = environment(tmp_path, TMPDIR=str(temporary), TMUX_TMPDIR=str(temporary))
    before = _entries(Path("/tmp"))
    done = subprocess.run(
        command("--home", str(home), "rehearse", "--json"),
        cwd=temporary,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
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
    assert (_entries(temporary), _entries(tmp_path / "user"), _strangers(before)) == (set(), set(), [])
    assert _entries(tmp_path) == {"home", "temporary", "user"}


def test_rehearse_keep_leaves_the_folder_to_look_around_in_but_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = subprocess.run(
        command("--home", str(home), "rehearse", "--keep"),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The rehearsal passed." in done.stdout
    assert "3 of 3 tasks merged" in done.stdout
    (stage,) = (home / "rehearsal").iterdir()
    assert {"home", "textkit", "spec.md"} <= _entries(stage)
    assert processes_touching(home) == []
