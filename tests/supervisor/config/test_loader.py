"""The configuration in force, where each value came from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.settings import Config
from store.states import Role
from supervisor.config import ConfigError, LoadedConfig, home_path, load
from supervisor.config.keys import env_names


def loaded(tmp_path: Path, toml: str | None = None, **env: str) -> LoadedConfig:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    if toml is not None:
        (home / "nightcrew.toml").write_text(toml, encoding="utf-8")
    return load({"NIGHTCREW_HOME": str(home), **env})


def origins(read: LoadedConfig) -> dict[str, tuple[object, str]]:
    return {s.key: (s.value, Path(s.origin).name) for s in read.sources() if s.origin != "default"}


def test_without_a_file_the_defaults_are_in_force(tmp_path: Path) -> None:
    read = loaded(tmp_path)
    config = read.config
    assert read.file is None
    assert (config.model.hosts, config.model.name) == (("http://127.0.0.1:11434",), "qwen3-coder:30b")
    assert (config.model.context_window, config.budgets.steps_per_task, config.work.engineers) == (
        32_768,
        200,
        2,
    )
    assert (config.sandbox.mode, config.sandbox.network) == ("auto", False)
    assert origins(read) == {}


def test_every_value_has_the_place_where_it_was_set(tmp_path: Path) -> None:
    toml = "[model]\nname = 'a'\nmax_tokens = 1000\n\n[model.limits]\nidle_s = 3\n"
    env = {"NIGHTCREW_MODEL_NAME": "b", "NIGHTCREW_SANDBOX_NETWORK": "yes", "OLLAMA_HOST": "0.0.0.0"}
    assert origins(loaded(tmp_path, toml, **env)) == {
        "model.hosts": (["http://127.0.0.1:11434"], "OLLAMA_HOST"),
        "model.name": ("b", "NIGHTCREW_MODEL_NAME"),
        "model.max_tokens": (1000, "nightcrew.toml:3"),
        "model.limits.idle_s": (3.0, "nightcrew.toml:6"),
        "sandbox.network": (True, "NIGHTCREW_SANDBOX_NETWORK"),
    }


def test_hosts_of_the_file_go_before_ollama_host(tmp_path: Path) -> None:
    read = loaded(tmp_path, "[model]\nhosts = ['gpu1', 'gpu2:99', 'gpu1']\n", OLLAMA_HOST="elsewhere")
    assert read.config.model.hosts == ("http://gpu1:11434", "http://gpu2:99")


def test_named_file_goes_before_the_one_in_the_home(tmp_path: Path) -> None:
    loaded(tmp_path, "[work]\nengineers = 3\n")
    other = tmp_path / "other.toml"
    other.write_text("[work]\nengineers = 4\n")
    env = {
        "NIGHTCREW_HOME": str(tmp_path / "home"),
        "NIGHTCREW_CONFIG": str(tmp_path / "home" / "nightcrew.toml"),
    }
    assert (load(env).config.work.engineers, load(env, other).config.work.engineers) == (3, 4)
    with pytest.raises(ConfigError, match="configuration file not found"):
        load(env, tmp_path / "absent.toml")


def test_each_variable_of_the_scheme_sets_its_key(tmp_path: Path) -> None:
    texts = {"hosts": "a,b", "read_only_paths": "/opt, ~/x", "mode": "off", "name": "m", "keep_alive": "5m"}
    flags = {"network": "on", "enabled": "0", "qa": "true", "preload": "off", "inhibit_sleep": "no"}
    for name, path in env_names().items():
        text = (texts | flags).get(
            path[-1], "0.5" if "temperature" in path[-1] or path[-1] == "top_p" else ""
        )
        text = text or {"max_tokens": "512", "repeat_penalty": "1", "context_window": "4096"}.get(
            path[-1], "100"
        )
        text = "30" if path[-1] in ("slots", "backoff_first_s") else text
        text = "always" if path == ("environment", "network") else text
        read = loaded(
            tmp_path,
            HOME="/h",
            **{"NIGHTCREW_MODEL_CONTEXT_WINDOW": "4096", "NIGHTCREW_MODEL_MAX_TOKENS": "512"} | {name: text},
        )
        assert read.origins[path] == name


def test_roles_differ_in_sampling_but_never_in_the_runner(tmp_path: Path) -> None:
    toml = "[model]\ncontext_window = 16384\n[model.roles.engineer]\nname = 'big'\ntemperature = 0.2\n"
    model = loaded(tmp_path, toml, NIGHTCREW_MODEL_ROLES_QA_SEED="7").config.model
    engineer, qa = model.options(Role.ENGINEER), model.options(Role.QA)
    assert (engineer.model, engineer.temperature, engineer.seed) == ("big", 0.2, None)
    assert (qa.model, qa.temperature, qa.seed) == ("qwen3-coder:30b", 0.7, 7)
    assert engineer.context_window == qa.context_window == 16384
    assert model.names() == ("qwen3-coder:30b", "big")


def test_children_get_the_same_values_as_json(tmp_path: Path) -> None:
    toml = "[model.roles.qa]\nseed = 3\n[sandbox]\nread_only_paths = ['~/tools']\n"
    config = loaded(tmp_path, toml, HOME="/home/ute").config
    assert Config.from_json(config.to_json()) == config
    assert config.sandbox.read_only_paths == ("/home/ute/tools",)


REFUSED = {
    "[model]\nnmae = 'x'\n": "toml:2: unknown key 'nmae' in .model.; did you mean 'name'",
    "[modle]\nname = 'x'\n": "toml:1: unknown key 'modle' in the top level; did you mean 'model'",
    "[model]\nsteps_per_task = 2\n": "toml:2: .*it is budgets.steps_per_task",
    "[model]\n\nname = 3\n": "toml:3: model.name: must be a valid string, not 3",
    "[work]\nengineers = true\n": "toml:2: work.engineers: must be a valid integer, not True",
    "[work]\nengineers = 2024-01-01\n": "toml:2: work.engineers: must be a valid integer",
    "[budgets]\nsteps_per_task = 0\n": "must be greater than or equal to 1, not 0",
    "[supervisor]\ngrace_s = inf\n": "must be a finite number",
    "[supervisor]\nbackoff_first_s = 100\n": "backoff_first_s 100.0 is greater than backoff_max_s",
    "[model]\nhosts = []\n": "model.hosts: must not be empty",
    "[model]\nhosts = ['a b']\n": "toml:2: model.hosts: .*contains a space",
    "[model]\ncontext_window = 4096\n": "max_tokens 4096 is more than half",
    "[sandbox]\nmode = 'on'\n": "sandbox.mode: must be 'auto' or 'off', not 'on'",
    "[sandbox]\nread_only_paths = ['tools']\n": "'tools' is not an absolute path",
    "[model.roles.enginer]\nname = 'x'\n": "toml:1: unknown role 'enginer'; did you mean 'engineer'",
    "[model.roles.qa]\ncontext_window = 9000\n": "toml:2: 'context_window' cannot differ by role .*load the model",
    "model = 3\n": "toml:1: model is a section",
    "[model.roles]\nqa = 1\n": "toml:2: model.roles.qa is a section",
    "[model]\nname = 'x'\nname = 'y'\n": "not valid TOML: .*line 3",
}


@pytest.mark.parametrize("toml", REFUSED)
def test_unusable_file_is_refused_with_line_key_and_reason(tmp_path: Path, toml: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[toml]):
        loaded(tmp_path, toml)


def test_all_wrong_values_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, "[model]\nname = 1\n[work]\nengineers = 'two'\n", NIGHTCREW_TMUX_ENABLED="maybe")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "reason"),
    {
        "NIGHTCREW_MODEL_NAM": "did you mean 'NIGHTCREW_MODEL_NAME'",
        "NIGHTCREW_MODEL_ROLES_QA_CONTEXT_WINDOW": "cannot differ by role",
        "NIGHTCREW_WORK_ENGINEERS": "work.engineers: must be a valid integer, not 'x'",
        "NIGHTCREW_MODEL_HOSTS": "is not a list; write a,b or a TOML array",
    }.items(),
)
def test_unusable_variable_is_refused_by_its_name(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*{reason}"):
        loaded(tmp_path, **{name: "[1" if name.endswith("HOSTS") else "x"})


def test_variable_of_no_section_is_only_warned_of_and_an_empty_one_sets_nothing(tmp_path: Path) -> None:
    read = loaded(tmp_path, NIGHTCREW_MODLE_NAME="x", NIGHTCREW_MODEL_NAME="")
    assert read.config == Config()
    (warning,) = read.warnings
    assert warning.startswith("NIGHTCREW_MODLE_NAME is not a setting; did you mean 'NIGHTCREW_MODEL_NAME'")


def test_home_is_the_variable_or_the_platforms_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert home_path({"NIGHTCREW_HOME": "~/crew", "HOME": "/home/ute"}) == Path("/home/ute/crew")
    assert home_path({}).name == "nightcrew"
    assert home_path({"NIGHTCREW_HOME": "crew"}).is_absolute()
