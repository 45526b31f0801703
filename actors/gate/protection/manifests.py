"""Takes the parts of a manifest that decide about tests from the base, and all others from the candidate.

A manifest also names the product's modules, entry points and dependencies, so it cannot be replaced as a whole.
"""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any

MAX_CHARACTERS = 1_000_000

# Keys of JSON manifests, and tables of TOML and INI ones, that decide how tests are found and run.
_JSON_KEYS = frozenset(
    {
        *(
            "scripts",
            "jest",
            "mocha",
            "ava",
            "vitest",
            "tap",
            "nyc",
            "c8",
            "babel",
            "jasmine",
            "cypress",
            "karma",
        ),
        *("config", "workspaces", "imports", "overrides", "resolutions", "pnpm", "packageManager", "volta"),
        *("engines", "type", "browserslist", "autoload-dev", "require-dev"),
    }
)
_TABLES = re.compile(
    r"tool\.(?:pytest|coverage|tox|nox|hatch\.envs|hatch\.env|poe|pdm\.scripts|taskipy|pixi|uv|rye)\b"
    r"|build-system|project\.entry-points|dependency-groups"
    r"|tool:pytest|pytest|coverage:|options\.entry_points|aliases|unittest|nosetests|testenv|tox"
    r"|test\b|profile\.test|lib$|bench|features|workspace$|patch|target\..*runner|unstable"
)
_HEADER = re.compile(r"^\[{1,2}\s*([^\]\n]{1,200}?)\s*\]{1,2}\s*(?:#.*)?$", re.MULTILINE)
# Lines of build files that decide about tests.
_ABOUT_TESTS = re.compile(
    r"test|check|junit|spec\b|surefire|failsafe|skip|exclude|ignore|gtest|catch2?|runner|replace\s|toolexec|\bexit\b",
    re.IGNORECASE,
)


def with_test_parts_of(path: str, base: str, candidate: str) -> str:
    """The candidate's manifest with the base's test-related parts. `base` is empty if there was none."""
    if max(len(base), len(candidate)) > MAX_CHARACTERS:
        return base
    if path.endswith(".json"):
        return _json_with(base, candidate)
    return _tables_with(base, candidate)


def differs_about_tests(path: str, base: str, candidate: str) -> bool:
    """Whether a manifest's test-related parts differ."""
    if path.endswith(".json"):
        return _json_parts(base) != _json_parts(candidate)
    return _test_tables(base) != _test_tables(candidate)


def lines_about_tests(base: str, candidate: str) -> list[str]:
    """The lines about tests that a build file gained or lost."""
    before, after = (_stripped(text) for text in (base, candidate))
    changed = [line for line in [*before, *after] if (line in before) != (line in after)]
    return [line for line in changed if _ABOUT_TESTS.search(line)]


def is_toml_or_json(path: str) -> bool:
    """Whether the file is a manifest whose parts can be told apart."""
    return PurePosixPath(path).suffix in (".json", ".toml", ".cfg")


def _stripped(text: str) -> set[str]:
    return {line.strip() for line in text[:MAX_CHARACTERS].splitlines() if line.strip()}


def _json_parts(text: str) -> dict[str, Any] | None:
    value = _object(text)
    return None if value is None else {key: part for key, part in value.items() if key in _JSON_KEYS}


def _json_with(base: str, candidate: str) -> str:
    before, after = _object(base) if base else {}, _object(candidate)
    if before is None or after is None:
        return base or candidate
    kept = {key: part for key, part in after.items() if key not in _JSON_KEYS}
    kept |= {key: part for key, part in before.items() if key in _JSON_KEYS}
    return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _tables(text: str) -> list[tuple[str, str]]:
    """(name, whole text) of each table; the part before the first header has the name ""."""
    starts = [(0, "")] + [(found.start(), found[1]) for found in _HEADER.finditer(text)]
    ends = [start for start, _ in starts[1:]] + [len(text)]
    return [(name, text[start:end]) for (start, name), end in zip(starts, ends, strict=True)]


def _test_tables(text: str) -> list[str]:
    return [body.strip() for name, body in _tables(text) if _TABLES.match(name)]


def _tables_with(base: str, candidate: str) -> str:
    kept = [body for name, body in _tables(candidate) if not _TABLES.match(name)]
    kept += [body for name, body in _tables(base) if _TABLES.match(name)]
    return "\n".join(body.rstrip("\n") for body in kept if body.strip()) + "\n"
