"""Reads the crew's configuration: defaults, overridden by `nightcrew.toml`, overridden by the environment.

The file is `--config FILE`, else `NIGHTCREW_CONFIG`, else `nightcrew.toml` in the crew's home. Each value has
one variable, `NIGHTCREW_<SECTION>_<KEY>` in capitals. A nested section adds its name:

    NIGHTCREW_MODEL_NAME=qwen3-coder:30b
    NIGHTCREW_MODEL_HOSTS=gpu1:11434,gpu2:11434           a list: commas, or a TOML array
    NIGHTCREW_MODEL_ROLES_ENGINEER_TEMPERATURE=0.4
    NIGHTCREW_SANDBOX_NETWORK=true

An empty variable is ignored. The meaning, units and bounds of the keys are in `actors/settings.py`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from actors.settings import HOST_WIDE, Config, ModelSettings, RoleModel
from actors.text import did_you_mean
from supervisor.config.keys import (
    PREFIX,
    ConfigError,
    KeyPath,
    at,
    dotted,
    env_names,
    kinds_of,
    refuse_unknown,
)

__all__ = ["Config", "ConfigError", "LoadedConfig", "Source", "home_path", "load"]

FILE_NAME = "nightcrew.toml"
_NOT_SETTINGS = frozenset({"NIGHTCREW_HOME", "NIGHTCREW_CONFIG", "NIGHTCREW_PYTHON"})
_TRUTHS = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)


@dataclass(frozen=True, slots=True)
class Source:
    """One effective value. `origin` is `default`, `FILE:LINE` or the name of a variable."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """`file` is None if there was none. `warnings` name variables that have no effect."""

    config: Config
    file: Path | None
    origins: Mapping[KeyPath, str]
    warnings: tuple[str, ...] = ()

    def sources(self) -> tuple[Source, ...]:
        """All effective values in the order of the sections, for `nightcrew doctor`."""
        values = _leaves(self.config.model_dump(mode="json", exclude_none=True))
        return tuple(
            Source(".".join(path), value, self.origins.get(path, "default")) for path, value in values.items()
        )


def home_path(env: Mapping[str, str]) -> Path:
    """The crew's home: `NIGHTCREW_HOME`, else the platform's user data folder. It need not exist yet."""
    if chosen := env.get("NIGHTCREW_HOME", "").strip():
        return _user_path(chosen, env)
    return platformdirs.user_data_path("nightcrew", appauthor=False)


def load(env: Mapping[str, str], config_file: Path | None = None) -> LoadedConfig:
    """The effective configuration. `config_file` is the value of `--config`. Raises `ConfigError`."""
    file = _find_file(env, config_file)
    text = _read(file) if file else ""
    document = _parse(file, text) if file else {}
    origins: dict[KeyPath, str] = {}
    if file:
        refuse_unknown(document, Config, (), file, text)
        origins = {path: at(file, text, path) for path in _leaves(document)}
    known = env_names()
    for name, path in known.items():
        if env.get(name, "").strip():
            _put(document, path, _from_text(name, env[name], path))
            origins[path] = name
    if ("model", "hosts") not in origins and env.get("OLLAMA_HOST", "").strip():
        _put(document, ("model", "hosts"), [env["OLLAMA_HOST"]])
        origins["model", "hosts"] = "OLLAMA_HOST"
    _expand_home(document, env)
    config = _validate(document, origins, file)
    return LoadedConfig(config, file, origins, _stray_variables(env, known))


def _expand_home(document: dict[str, Any], env: Mapping[str, str]) -> None:
    """Expand `~/` in the sandbox's paths here, because commands run with another home directory."""
    sandbox = document.get("sandbox")
    paths = sandbox.get("read_only_paths") if isinstance(sandbox, dict) else None
    if isinstance(sandbox, dict) and isinstance(paths, list):
        sandbox["read_only_paths"] = [
            str(_user_path(path, env)) if isinstance(path, str) and path.startswith("~/") else path
            for path in paths
        ]


def _find_file(env: Mapping[str, str], config_file: Path | None) -> Path | None:
    named = config_file or (_user_path(env["NIGHTCREW_CONFIG"], env) if env.get("NIGHTCREW_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"configuration file not found: {named}")
        return named
    usual = home_path(env) / FILE_NAME
    return usual if usual.exists() else None


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror or error}") from error


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def _from_text(name: str, text: str, path: KeyPath) -> Any:
    """A variable's text converted to the type of its key. Text that does not fit is refused by validation."""
    kinds = kinds_of(path)
    if tuple in kinds:
        stripped = text.strip()
        if not stripped.startswith("["):
            return [part.strip() for part in stripped.split(",") if part.strip()]
        try:
            return tomllib.loads(f"value = {stripped}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{name}: {text!r} is not a list; write a,b or a TOML array") from error
    if bool in kinds:
        return _TRUTHS.get(text.strip().lower(), text)
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text.strip())
            except ValueError:
                continue
    return text


def _validate(document: dict[str, Any], origins: Mapping[KeyPath, str], file: Path | None) -> Config:
    try:
        # Through JSON: strict mode then accepts an array as a tuple, and still no string as a number.
        return Config.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        lines = [_explain(found, origins, file) for found in error.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _explain(found: Any, origins: Mapping[KeyPath, str], file: Path | None) -> str:
    path = tuple(str(part) for part in found["loc"])
    while path and path not in origins and len(path) > 1:
        path = path[:-1]
    inside = [origin for key, origin in origins.items() if key[: len(path)] == path]
    where = origins.get(path) or (inside[0] if inside else str(file or "configuration"))
    reason = str(found["msg"]).removeprefix("Value error, ").replace("Input should", "must")
    reason = reason.replace("Tuple should have at least 1 item after validation, not 0", "must not be empty")
    given = f", not {found['input']!r}" if reason.startswith("must") else ""
    return f"{where}: {dotted(path)}: {reason}{given}"


def _stray_variables(env: Mapping[str, str], known: Mapping[str, KeyPath]) -> tuple[str, ...]:
    """Warnings for unknown variables. One that begins like a section's variables is an error instead."""
    strays = sorted(n for n in env if n.startswith(PREFIX) and n not in known and n not in _NOT_SETTINGS)
    sections = tuple(f"{PREFIX}{section.upper()}_" for section in Config.model_fields)
    for name in strays:
        if name.startswith(sections):
            role_key = "_ROLES_" in name and name.rsplit("_ROLES_", 1)[1].lower()
            if role_key and role_key.endswith(
                tuple(set(ModelSettings.model_fields) - set(RoleModel.model_fields))
            ):
                raise ConfigError(f"{name}: cannot differ by role ({HOST_WIDE})")
            raise ConfigError(f"{name} is not a setting{did_you_mean(name, list(known))}")
    return tuple(f"{name} is not a setting{did_you_mean(name, list(known))}" for name in strays)


def _put(document: dict[str, Any], path: KeyPath, value: Any) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _leaves(table: Mapping[str, Any], prefix: KeyPath = ()) -> dict[KeyPath, Any]:
    found: dict[KeyPath, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _leaves(value, (*prefix, key))
        else:
            found[*prefix, key] = value
    return found


def _user_path(text: str, env: Mapping[str, str]) -> Path:
    """An absolute path. `~/` is the home directory that `env` names."""
    if text.startswith("~/") and env.get("HOME"):
        return Path(env["HOME"]) / text[2:]
    return Path(text).expanduser().absolute()
