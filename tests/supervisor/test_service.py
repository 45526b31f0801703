"""`nightcrew service`: the file it writes, and what it prints without a service manager."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from supervisor import service
from tests.support.command_line import Done, command, environment, run
from tests.support.stand_ins import install

AWKWARD = 'Käse $HOME %h "q" \\n'
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


def _call(folder: Path, *words: str, programs: Path, **env: str) -> Done:
    """A command that sees only `programs` and what a shell needs: no real service manager."""
    values = environment(folder, PATH=f"{programs}:{folder / 'none'}", **env)
    return run(command("--home", str(folder / "home"), "service", *words), folder, values)


def _units(folder: Path) -> list[Path]:
    return list((folder / "user" / ".config" / "systemd" / "user").glob("*.service"))


@linux_only
def test_install_writes_enables_and_starts_the_unit_and_a_second_install_changes_nothing(
    tmp_path: Path,
) -> None:
    programs = tmp_path / "programs"
    log = install(programs, "systemctl")
    install(programs, "loginctl", script="echo yes")
    first = _call(tmp_path, "install", "--json", programs=programs)
    assert first.code == 0, first
    (unit,) = _units(tmp_path)
    found = first.json()
    assert (found["wrote"], found["enabled"], found["lingers"], found["commands"]) == (True, True, True, [])
    assert f"--user enable --now {unit.name}" in log.read_text()
    log.unlink()
    second = _call(tmp_path, "install", "--json", programs=programs)
    assert (second.code, second.json()["wrote"]) == (0, False)
    assert "enable --now" not in log.read_text()


@linux_only
def test_install_without_a_service_manager_writes_the_unit_and_prints_the_commands_to_run(
    tmp_path: Path,
) -> None:
    done = _call(tmp_path, "install", programs=tmp_path / "empty")
    (unit,) = _units(tmp_path)
    assert done.code == 1
    for line in (
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {unit.name}",
        "loginctl enable-linger",
    ):
        assert line in done.err
    shown = _call(tmp_path, "status", "--json", programs=tmp_path / "empty")
    assert shown.code == 0
    assert (shown.json()["installed"], shown.json()["enabled"]) == (True, None)


@linux_only
def test_status_reports_a_unit_that_install_would_write_differently_now(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    for name in ("systemctl", "loginctl"):
        install(programs, name)
    _call(tmp_path, "install", programs=programs)
    before = _call(tmp_path, "status", "--json", programs=programs).json()
    after = _call(tmp_path, "status", "--json", programs=programs, OLLAMA_HOST="gpu:1").json()
    assert (before["current"], after["current"]) == (True, False)
    assert "nightcrew service install" in after["commands"]


@linux_only
def test_uninstall_disables_and_removes_it_and_a_second_one_is_content(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    log = install(programs, "systemctl")
    install(programs, "loginctl")
    _call(tmp_path, "install", programs=programs)
    (unit,) = _units(tmp_path)
    assert _call(tmp_path, "uninstall", "--json", programs=programs).json()["removed"] is True
    assert f"--user disable {unit.name}" in log.read_text()
    assert _units(tmp_path) == []
    again = _call(tmp_path, "uninstall", "--json", programs=programs)
    assert (again.code, again.json()["removed"]) == (0, False)


@linux_only
def test_another_home_has_a_service_of_its_own(tmp_path: Path) -> None:
    usual, other = Home(tmp_path / "usual"), Home(tmp_path / "an other")
    env = {"HOME": str(tmp_path)}
    names = [service.service_of(home, usual.path, env, tmp_path).name for home in (usual, other)]
    assert names[0] == "nightcrew.service"
    assert names[1].startswith("nightcrew-an-other-")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="LOUD: no systemd-analyze to ask")
def test_systemd_accepts_the_unit_also_with_awkward_paths(tmp_path: Path) -> None:
    root = tmp_path / AWKWARD
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/true", root / "bin" / "nightcrew")
    words = [str(root / "bin" / "nightcrew"), "up", "--home", str(root)]
    unit = tmp_path / "nightcrew-test.service"
    unit.write_text(service.unit_text(Home(root), words, {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}))
    said = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in said.stderr.splitlines() if unit.name in line]
    assert complaints == []


def test_the_unit_ends_the_supervisor_in_order_and_starts_it_again_unless_it_ended_so(tmp_path: Path) -> None:
    text = service.unit_text(Home(tmp_path), ["/bin/nightcrew"], {})
    for line in ("Restart=always", "RestartPreventExitStatus=0 78", "KillMode=mixed", "Type=exec"):
        assert line in text.splitlines()


def test_the_launchd_agent_is_a_property_list_with_the_whole_command(tmp_path: Path) -> None:
    words = ["/a b/nightcrew", "up", "--foreground"]
    found: dict[str, Any] = plistlib.loads(
        service.plist_text("nightcrew", Home(tmp_path), words, {"PATH": "/bin"}).encode()
    )
    assert found["ProgramArguments"] == words
    assert (found["RunAtLoad"], found["KeepAlive"]) == (True, {"SuccessfulExit": False})
