"""Converts the arguments of a call to the types that its tool declares. Never guesses a value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.model.protocol import Parameter, ToolSpec

Value = str | int | float | bool
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_STRING_OR_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_WRAPPERS = ("arguments", "parameters", "input")


@dataclass(frozen=True, slots=True)
class Coerced:
    """`arguments` have declared names and types only. With any `problems` the call must not run."""

    arguments: dict[str, Value]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def coerce(spec: ToolSpec, given: object) -> Coerced:
    """Check and convert the arguments of a call. JSON text and one object around them are unpacked first."""
    arguments = _unwrapped(spec, given)
    if arguments is None:
        return Coerced({}, (f"{spec.name}: the arguments must be an object of {_signature(spec)}.",))
    declared = {parameter.name: parameter for parameter in spec.parameters}
    coerced: dict[str, Value] = {}
    problems: list[str] = []
    for key, value in arguments.items():
        parameter = declared.get(str(key).strip())
        if parameter is None or (value is None and not parameter.required):
            continue  # unknown, or the same as left out
        converted = _converted(parameter, value)
        if converted is None:
            problems.append(_type_problem(spec, parameter, value))
        else:
            coerced[parameter.name] = converted
    unknown = [str(key) for key in arguments if str(key).strip() not in declared]
    problems += _missing(spec, arguments, unknown)
    notes = tuple(
        f"{spec.name}: argument {name[:60]!r} does not exist and was left out. It takes {_signature(spec)}."
        for name in unknown
    )
    return Coerced(coerced, tuple(problems), notes)


def _missing(spec: ToolSpec, arguments: Mapping[Any, Any], unknown: Sequence[str]) -> list[str]:
    """The message about required arguments that are missing, if any are."""
    given = {str(key).strip() for key in arguments}
    missing = [p.name for p in spec.parameters if p.required and p.name not in given]
    if not missing:
        return []
    extra = f" You gave {', '.join(unknown)}." if unknown else ""
    names = ", ".join(missing)
    return [f"{spec.name}: required argument missing: {names}. It takes {_signature(spec)}.{extra}"]


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object in `text`, else None. Control characters in strings and trailing commas are accepted."""
    for repair in (lambda text: text, _without_trailing_commas):
        try:
            value = json.loads(repair(text), strict=False)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    return None


def _without_trailing_commas(text: str) -> str:
    # The pattern matches whole strings first, so that commas inside them are kept.
    return _STRING_OR_TRAILING_COMMA.sub(lambda found: found[1] or "", text)


def _unwrapped(spec: ToolSpec, given: object) -> Mapping[Any, Any] | None:
    if given is None:
        return {}
    if isinstance(given, str):
        given = parse_object(given) if given.strip() else {}
    if not isinstance(given, Mapping):
        return None
    if len(given) == 1:
        (key, inner) = next(iter(given.items()))
        if key in _WRAPPERS and key not in {parameter.name for parameter in spec.parameters}:
            opened = parse_object(inner) if isinstance(inner, str) else inner
            return opened if isinstance(opened, Mapping) else given
    return given


def _converted(parameter: Parameter, value: object) -> Value | None:
    """The value in the declared type; None if it cannot be converted."""
    if parameter.type == "string":
        return _string(value)
    if parameter.type == "boolean":
        return _boolean(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return _integer(value) if parameter.type == "integer" else _number(value)


def _string(value: object) -> str | None:
    if isinstance(value, str):
        return value
    # A number has one spelling as text. An object has several, so the model must choose.
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, str | int) else ""
    return {"true": True, "false": False, "1": True, "0": False}.get(text)


def _integer(value: str | float) -> int | None:
    if isinstance(value, str):
        return int(value.strip().split(".")[0]) if _INTEGER.fullmatch(value.strip()) else None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value)


def _number(value: str | float) -> int | float | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            return None
        value = float(value)
    return value if math.isfinite(value) else None


def _type_problem(spec: ToolSpec, parameter: Parameter, value: object) -> str:
    if isinstance(value, str | int | float):
        shown = f"{str(value)[:60]!r}"
    else:
        shown = {type(None): "null", dict: "an object", list: "a list"}.get(type(value), "that")
    article = "an" if parameter.type == "integer" else "a"
    return f"{spec.name}: {parameter.name} must be {article} {parameter.type}, not {shown}."


def _signature(spec: ToolSpec) -> str:
    parameters: Sequence[str] = [p.name if p.required else f"[{p.name}]" for p in spec.parameters]
    return ", ".join(parameters) or "no arguments"
