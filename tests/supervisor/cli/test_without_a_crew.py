"""Commands without a running supervisor: invalid arguments, specs and repositories, and no store."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from supervisor import config
from supervisor.cli import app, options
from tests.actors.git.user_repository import UserRepository
from tests.supervisor.cli.conftest import Cli


def test_status_without_a_store_is_a_true_answer_with_the_shape_of_the_design(cli: Cli) -> None:
    done = cli("status", "--json")
    found = done.json()
    assert done.code == 0
    assert found["supervisor"] is None
    assert (found["projects"], found["agents"]) == ([], [])
    (host,) = found["model"]["hosts"]
    assert host == {"url": "http://127.0.0.1:11434", "state": "down", "slots": None, "breaker": None}


def test_a_command_that_needs_the_store_says_how_to_start_a_crew(cli: Cli) -> None:
    done = cli("tasks")
    assert done.code == 1
    assert done.err.startswith(
        f"error: no crew yet ({cli.home.store} does not exist); start one with `nightcrew run"
    )


def test_a_misspelt_command_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["statsu"]) == 2
    assert "unknown command 'statsu'; did you mean 'status'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["send", "--json"], ["send", "a", "b", "--priority", "mad", "--json"]])
def test_wrong_words_with_json_are_an_object_with_exit_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(words) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "UsageProblem"


def test_every_command_has_help_with_json_and_home(capsys: pytest.CaptureFixture[str]) -> None:
    from supervisor.cli.lazy import SECTIONS

    for name in [name for commands in SECTIONS.values() for name in commands]:
        assert app.run([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "--json" in shown, name
        assert "--home" in shown, name


def test_the_home_of_the_command_is_the_home_of_the_configuration(tmp_path: Path) -> None:
    for env in (
        {"NIGHTCREW_HOME": str(tmp_path)},
        {"NIGHTCREW_HOME": "~/crew", "HOME": str(tmp_path)},
        {"NIGHTCREW_HOME": "some/where"},
        {"NIGHTCREW_HOME": "  "},
        {},
    ):
        assert options._home_path(env) == config.home_path(env)


def test_a_vague_spec_is_refused_with_what_is_missing_and_an_example(cli: Cli) -> None:
    (cli.cwd / "spec.md").write_text("PROJECT: x\nGOAL: make it better\n")
    done = cli("run", "spec.md")
    assert done.code == 65
    assert "GOAL is too vague" in done.err
    assert "DELIVERABLES is missing" in done.err
    assert "A complete spec to copy from" in done.err
    assert not cli.home.path.exists()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("nothing", "does not exist"),
        ("folder", "git init"),
        ("bare", "bare repository"),
        ("no commit", "has no commit yet"),
    ],
)
def test_a_place_that_is_no_repository_is_refused_before_anything_is_made(
    make: str, said: str, cli: Cli, spec: Path, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    if make == "folder":
        place.mkdir()
    elif make == "bare":
        UserRepository(tmp_path / "other", files={"a": "b"}).git(
            "clone", "--bare", "--quiet", ".", str(place)
        )
    elif make == "no commit":
        UserRepository(place)
    done = cli("run", str(spec), "--repo", str(place), "--json")
    assert done.code == 1
    assert said in done.error["message"]
    assert not cli.home.path.exists()


def test_without_a_model_server_run_says_how_to_get_one(
    cli: Cli, spec: Path, repository: UserRepository
) -> None:
    cli.env["NIGHTCREW_MODEL_HOSTS"] = "127.0.0.1:1"
    done = cli("run", str(spec), "--repo", str(repository.path))
    assert done.code == 69
    assert "ollama serve" in done.err
    assert "nightcrew doctor" in done.err
    assert not cli.home.path.exists()
    assert repository.git("branch", "--list", "nightcrew/*") == ""


def test_a_missing_model_is_named_with_the_commands_that_get_it(
    live: Cli, spec: Path, repository: UserRepository
) -> None:
    live.env["NIGHTCREW_MODEL_NAME"] = "nobody-has-this:1b"
    done = live("run", str(spec), "--repo", str(repository.path))
    assert done.code == 69
    assert "ollama pull nobody-has-this:1b" in done.err
    assert "nightcrew doctor --pull" in done.err


def test_doctor_exits_with_the_truth_and_shows_where_values_come_from(live: Cli) -> None:
    live.env["NIGHTCREW_MODEL_NAME"] = "nobody-has-this:1b"
    done = live("doctor", "--json")
    found = done.json()
    assert done.code == 69
    assert not found["ready"]
    assert [f["name"] for f in found["findings"] if f["state"] == "missing"] == ["model"]
    sources = {row["key"]: row["from"] for row in found["config"]["values"]}
    assert sources["model.name"] == "NIGHTCREW_MODEL_NAME"
    assert sources["work.qa"] == "default"


def test_deploy_without_a_running_crew_is_refused(cli: Cli, spec: Path, repository: UserRepository) -> None:
    done = cli("deploy", str(spec), "--repo", str(repository.path), "--json")
    assert done.code == 76
    assert "nightcrew up" in done.error["message"]


def test_down_without_a_crew_is_harmless(cli: Cli) -> None:
    done = cli("down")
    assert done.code == 0
    assert "nothing to stop" in done.out


def test_a_bad_configuration_is_one_line_with_its_place(cli: Cli) -> None:
    cli.home.path.mkdir()
    (cli.home.path / "nightcrew.toml").write_text("[model]\nnmae = 'x'\n")
    for words in (["up"], ["doctor"]):
        done = cli(*words)
        assert done.code == 78
        assert "nightcrew.toml:2" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_home_is_one_line(cli: Cli) -> None:
    cli.home.path.mkdir(mode=0o500)
    done = cli("up")
    assert done.code == 73
    assert "writable" in done.err


def test_a_home_that_is_a_file_is_one_line(cli: Cli) -> None:
    cli.home.path.write_text("")
    done = cli("up")
    assert done.code == 73
    assert "NIGHTCREW_HOME" in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["completion", shell]) == 0
    assert "_NIGHTCREW_COMPLETE" in capsys.readouterr().out
