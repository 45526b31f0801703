"""What people get wrong, and what is wrong with their machines: the exit status, the words, nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.states import TaskState
from supervisor.trials.audit import audit
from tests.support import command_line
from tests.support.command_line import Done, WholeCrew, environment, git, make_repository, spec_text
from tests.support.script_words import call, manager, reply, scene

NOBODY = 65534
DISK_KB = 12_000
CHECKS = ("test -s README.md",)
GOOD = ["Make greeting.txt with a greeting in it"]
pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("bad_input")]


def _script() -> list[dict[str, object]]:
    engineer = scene(
        "engineer",
        "Make greeting.txt",
        reply("A greeting.", call("write_file", path="greeting.txt", content="Guten Morgen\n")),
        reply("Done.", call("submit_task", summary="greeting.txt greets")),
    )
    return [*manager(), engineer, scene("orchestrator", "Are you there", reply("Yes, I am."))]


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCrew]:
    """A home whose path has spaces, umlauts and a quote in it; a supervisor runs once a test started it."""
    folder = tmp_path_factory.mktemp("bad") / "Käthes Crew's Ordner"
    made = command_line.begin(folder, _script(), home="Heim für Läufe")
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "greeting.md"
    path.write_text(spec_text("greeting", GOOD, CHECKS))
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", {"README.md": "x\n"})


def _refused(done: Done, code: int, *words: str) -> None:
    """Refused with this status, on stderr, without a traceback, with all these words."""
    assert done.code == code, f"{done.code}: {done.out}{done.err}"
    assert done.err.startswith(("error: ", "warning: ")), done.err
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, f"{word!r} is not in: {done.err}"


def _nothing_was_made(crew: WholeCrew, repository: Path) -> None:
    assert git(repository, "branch", "--list", "nightcrew/*") == ""
    assert len(git(repository, "worktree", "list").splitlines()) == 1


# -- specs ---------------------------------------------------------------------------------------------


def test_a_spec_that_is_not_there_is_refused_with_an_example(crew: WholeCrew, repository: Path) -> None:
    done = crew.run("run", str(repository / "nowhere.md"), "--repo", str(repository))
    _refused(done, 65, "file not found", "nowhere.md", "DELIVERABLES:")
    _nothing_was_made(crew, repository)


def test_no_spec_at_all_is_a_usage_error_that_says_what_is_missing(crew: WholeCrew) -> None:
    _refused(crew.run("run"), 2, "SPEC", "--help")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        ("Make it better.\n", ["GOAL", "DELIVERABLES"]),
        ("PROJECT: x\nGOAL: make it better\n\nDELIVERABLES:\n1. TODO\n", ["GOAL", "DELIVERABLES"]),
        ("PROJECT: x\nGOAL: Greet every visitor by name\n", ["DELIVERABLES"]),
    ],
    ids=["empty", "one vague sentence", "placeholders", "no deliverables"],
)
def test_a_vague_spec_is_refused_with_all_that_is_missing_and_an_example(
    crew: WholeCrew, repository: Path, tmp_path: Path, text: str, words: list[str]
) -> None:
    vague = tmp_path / "vague.md"
    vague.write_text(text)
    done = crew.run("run", str(vague), "--repo", str(repository))
    _refused(done, 65, *words, "SUCCESS CRITERIA:")
    _nothing_was_made(crew, repository)


# -- repositories --------------------------------------------------------------------------------------


def test_a_folder_that_is_no_repository_is_refused(crew: WholeCrew, spec: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    _refused(crew.run("run", str(spec), "--repo", str(plain)), 1, str(plain), "git init")
    assert list(plain.iterdir()) == []


def test_a_bare_repository_is_refused_with_the_command_that_clones_it(
    crew: WholeCrew, spec: Path, repository: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    _refused(crew.run("run", str(spec), "--repo", str(bare)), 1, "bare", f"git clone {bare}")
    assert git(bare, "branch", "--list", "nightcrew/*") == ""


def _run_to_the_end(crew: WholeCrew, project: str, repository: Path) -> Done:
    """The greeting's project on a repository; it has to be merged, and the user's own left as it was."""
    before = (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD"))
    done = crew.deploy(project, repository, GOOD, CHECKS, "--wait", "--json")
    assert done.json()["complete"]
    assert [task.state for task in crew.tasks(project)] == [TaskState.MERGED]
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")) == before
    branch = crew.project(project).branch
    assert git(repository, "show", f"{branch}:greeting.txt") == "Guten Morgen"
    return done


def test_a_dirty_repository_works_warns_and_keeps_its_changes(crew: WholeCrew, repository: Path) -> None:
    (repository / "README.md").write_text("changed and not committed\n")
    (repository / "new.txt").write_text("not even added\n")
    done = _run_to_the_end(crew, "dirty", repository)
    assert "warning: " in done.err
    assert "uncommitted" in done.err or "not committed" in done.err
    assert (repository / "README.md").read_text() == "changed and not committed\n"
    branch = crew.project("dirty").branch
    assert git(repository, "show", f"{branch}:README.md") == "x"


def test_a_detached_head_works_and_stays_where_it_is(crew: WholeCrew, repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    done = _run_to_the_end(crew, "detached", repository)
    assert "warning: " in done.err
    assert git(repository, "branch", "--show-current") == ""


def test_spaces_umlauts_and_quotes_in_the_paths_of_home_repository_and_spec_work(
    crew: WholeCrew, tmp_path: Path
) -> None:
    repository = make_repository(tmp_path / 'Mein "schönes" Projekt\'s', {"README.md": "x\n"})
    _run_to_the_end(crew, "umlaute", repository)
    assert audit(crew.store).findings == ()


# -- names, models and servers -------------------------------------------------------------------------


def test_an_unknown_agent_is_refused_with_the_nearest_names(crew: WholeCrew) -> None:
    if not crew.home.store.exists():
        crew.ok("up")
    _refused(crew.run("send", "orchestratr", "hello"), 2, "'orchestratr'", "orchestrator")
    _refused(crew.run("pause", "tmier"), 2, "'tmier'", "timer")


def test_an_unknown_project_is_refused_with_the_way_to_see_what_there_is(crew: WholeCrew) -> None:
    if not crew.home.store.exists():
        crew.ok("up")
    _refused(crew.run("tasks", "no-such-project"), 2, "'no-such-project'", "nightcrew status")


def test_a_second_supervisor_is_refused_with_75_and_who_holds_the_home(crew: WholeCrew) -> None:
    crew.run("up")
    pid = crew.ok("status", "--json").json()["supervisor"]["pid"]
    for words in (("up",), ("up", "--foreground")):
        _refused(crew.run(*words), 75, str(pid), "nightcrew down")
    assert crew.ok("status", "--json").json()["supervisor"]["pid"] == pid


def test_an_unknown_model_is_refused_before_anything_is_made(
    tmp_path: Path, crew: WholeCrew, spec: Path, repository: Path
) -> None:
    config = tmp_path / "other.toml"
    config.write_text(f'[model]\nhosts = ["{crew.server.url}"]\nname = "no-such-model:1b"\n')
    words = ("--home", str(tmp_path / "home"), "--config", str(config))
    done = command_line.run(
        command_line.command(*words, "run", str(spec), "--repo", str(repository)),
        tmp_path,
        environment(tmp_path),
    )
    _refused(done, 69, "no-such-model:1b", "nightcrew doctor --pull", "ollama pull no-such-model:1b")
    _nothing_was_made(crew, repository)
    assert not (tmp_path / "home").exists()


def test_without_a_model_server_the_message_has_the_commands_that_mend_it(
    tmp_path: Path, crew: WholeCrew, spec: Path, repository: Path
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
        words = command_line.command("--home", str(tmp_path / "home"))
        env = environment(tmp_path, OLLAMA_HOST=host)
        run = command_line.run([*words, "run", str(spec), "--repo", str(repository)], tmp_path, env)
        doctor = command_line.run([*words, "doctor"], tmp_path, env)
    _refused(run, 69, host, "ollama serve", "nightcrew doctor")
    _nothing_was_made(crew, repository)
    assert not (tmp_path / "home").exists()
    assert doctor.code == 69
    assert "ollama serve" in doctor.out


# -- the disk ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted tmpfs of a few megabytes; skips loudly where that needs rights that we do not have."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_KB}k", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if not mounted:
        why = "NOT RUN: a small disk to fill cannot be mounted here (it takes root)"
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(why, stacklevel=1)
        pytest.skip(why)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(path: Path) -> None:
    """Write until nothing fits any more, down to the last page."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_full_disk_is_said_nothing_is_lost_and_work_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path, repository: Path
) -> None:
    # By default the crew waits long before a disk is full; here it has to meet a full one.
    config = "[retention]\nmin_free_mb = 1\n"
    crew = command_line.begin(tmp_path, _script(), config=config, home="disk/home")
    try:
        crew.ok("up")
        crew.ok("send", "orchestrator", "Are you there?", "--wait", "--timeout", "30")
        supervisor = crew.ok("status", "--json").json()["supervisor"]["pid"]
        filler = small_disk / "filler"
        _fill(filler)
        done = crew.run("send", "orchestrator", "-", said="Is there room? " + "x" * 200_000)
        _refused(done, 73, "disk")
        assert crew.ok("status", "--json").json()["supervisor"]["pid"] == supervisor
        crew.ok("down")  # an exit that cannot be written down must not stop the shutdown half way
        filler.unlink()
        crew.ok("up")
        answer = crew.ok("send", "orchestrator", "Are you there again?", "--wait", "--timeout", "30")
        assert answer.out.strip() == "Yes, I am."
        crew.deploy("room", repository, GOOD, CHECKS)
        crew.until_finished("room")
        assert [task.state for task in crew.tasks("room")] == [TaskState.MERGED]
        crew.ok("down")
        assert audit(crew.store).findings == ()
    finally:
        crew.end()


def test_a_read_only_home_is_refused_with_the_way_out() -> None:
    # Not below pytest's own folder: only its owner may enter that, so nobody would see no home at all.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "locked"
        home.mkdir(mode=0o555)
        words = command_line.command("--home", str(home / "home"), "up")
        if os.geteuid() == 0:
            setpriv = shutil.which("setpriv")
            if setpriv is None or not _may_nobody_run_python(setpriv):
                pytest.skip("NOT RUN: as root, and no way to run the command as somebody else")
            words = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]
        done = command_line.run(words, home, environment(Path(folder)))
        _refused(done, 73, str(home), "NIGHTCREW_HOME")
        assert list(home.iterdir()) == []


def _may_nobody_run_python(setpriv: str) -> bool:
    words = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, "-c", ""]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
