"""The keys of the configuration, their environment variables, and the errors for unknown keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from actors.settings import HOST_WIDE, Config, ModelSettings, RoleModel
from actors.text import did_you_mean
from store.errors import NightcrewError
from store.states import Role

PREFIX = "NIGHTCREW_"

KeyPath = tuple[str, ...]


class ConfigError(NightcrewError):
    """The configuration is invalid. The message names the file or variable, the key and the reason."""

    exit_code = 78


def env_names() -> dict[str, KeyPath]:
    """The names of all variables that set a value, each with the path of its key."""
    return {PREFIX + "_".join(path).upper(): path for path in _fields(Config, ())}


def _fields(model: type[BaseModel], prefix: KeyPath) -> list[KeyPath]:
    paths: list[KeyPath] = []
    for name, field in model.model_fields.items():
        if (section := _section_of(field)) is not None:
            paths += _fields(section, (*prefix, name))
        elif name == "roles":
            paths += [p for role in Role for p in _fields(RoleModel, (*prefix, name, role.value))]
        else:
            paths.append((*prefix, name))
    return paths


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def refuse_unknown(
    table: Mapping[str, Any], model: type[BaseModel], prefix: KeyPath, file: Path, text: str
) -> None:
    for key, value in table.items():
        path = (*prefix, key)
        field = model.model_fields.get(key)
        if field is None:
            raise ConfigError(f"{at(file, text, path)}: {_unknown(key, model, prefix)}")
        section = _section_of(field)
        if section is not None and isinstance(value, dict):
            refuse_unknown(value, section, path, file, text)
        elif section is not None:
            raise ConfigError(f"{at(file, text, path)}: {dotted(path)} is a section; write [{dotted(path)}]")
        elif path == ("model", "roles") and isinstance(value, dict):
            _refuse_unknown_roles(value, path, file, text)


def _refuse_unknown_roles(roles: Mapping[str, Any], prefix: KeyPath, file: Path, text: str) -> None:
    for role, table in roles.items():
        path = (*prefix, role)
        names = [known.value for known in Role]
        if role not in names:
            raise ConfigError(f"{at(file, text, path)}: unknown role {role!r}{did_you_mean(role, names)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{at(file, text, path)}: {dotted(path)} is a section; write [{dotted(path)}]")
        refuse_unknown(table, RoleModel, path, file, text)


def _unknown(key: str, model: type[BaseModel], prefix: KeyPath) -> str:
    """Why `key` is refused here: it cannot differ by role, is misspelt, or belongs in another section."""
    here = f"[{dotted(prefix)}]" if prefix else "the top level"
    if model is RoleModel and key in ModelSettings.model_fields:
        return f"{key!r} cannot differ by role ({HOST_WIDE}); set it under [model]"
    if close := did_you_mean(key, list(model.model_fields)):
        return f"unknown key {key!r} in {here}{close}"
    homes = [path for path in _fields(Config, ()) if path[-1] == key and "roles" not in path]
    if homes:
        return f"{key!r} does not belong in {here}; it is {dotted(homes[0])}"
    return f"unknown key {key!r} in {here}; it has {', '.join(model.model_fields)}"


def kinds_of(path: KeyPath) -> set[Any]:
    """The types that the value at `path` may have, without `Annotated` and with unions split."""
    model: type[BaseModel] = Config
    for part in path[:-1]:
        if part == "roles":
            model = RoleModel
            break
        section = _section_of(model.model_fields[part])
        assert section is not None, path
        model = section
    return _plain(model.model_fields[path[-1]].annotation)


def _plain(annotation: Any) -> set[Any]:
    origin = getattr(annotation, "__origin__", None)
    if annotation in (int, float, bool, str) or origin is tuple:
        return {origin or annotation}
    return {kind for argument in get_args(annotation) for kind in _plain(argument)}


def at(file: Path, text: str, path: KeyPath) -> str:
    line = line_of(text, path)
    return f"{file}:{line}" if line else str(file)


def line_of(text: str, path: KeyPath) -> int:
    """The line (from 1) of the key or section at `path` in TOML `text`; 0 if it is not found.

    tomllib keeps no positions. This finds `[section]` headers and `key =` lines, with dotted keys; inline tables
    are not searched.
    """
    section: KeyPath = ()
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare.startswith("["):
            section = _split_key(bare.strip("[] ").split("]")[0])
            if section == path:
                return number
        elif "=" in bare and (*section, *_split_key(bare.split("=")[0])) == path:
            return number
    return 0


def _split_key(key: str) -> KeyPath:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def dotted(path: KeyPath) -> str:
    return ".".join(path)
