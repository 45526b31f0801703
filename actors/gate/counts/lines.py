"""Splits a command's output into clean lines, one list for each package of a monorepo.

Everything after this works line by line, so the time is linear in the length of the output.
"""

from __future__ import annotations

import re

HEAD_CHARACTERS = 100_000
TAIL_CHARACTERS = 300_000
MAX_LINE_CHARACTERS = 1_000
MAX_LINES = 40_000
MAX_PACKAGES = 500

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_NAME = r"[\w@.-]+(?:/[\w@.-]+)*"
_PREFIX = re.compile(
    rf"({_NAME}[:#][a-z][\w:.-]*): "  # turbo: `@a/api:test: `
    r"|((?:\.|[\w@.-]+(?:/[\w@.-]+)+) [a-z][\w:.-]*): "  # pnpm -r: `packages/api test: `
    r"|\[([a-z@0-9][\w@./:-]*)\]:? "  # yarn, concurrently, npm-run-all: `[@a/api]: `, `[0] `
    r"|([\w.-]+[-_]\d+) +\| "  # docker compose: `web-1  | `
)
_BARE_PREFIX = re.compile(r"(@[\w.-]+/[\w.-]+|[a-z][\w.-]*): ")  # lerna, nx: `api: `
_BARE_PREFIX_RUNNERS = re.compile(r"^ *(?:lerna|> *nx|nx|>  NX|@lerna)\b", re.IGNORECASE)


def clean_lines(output: str) -> list[str]:
    """The lines that are not blank, without escape codes. Long output loses its middle, long lines their end."""
    if len(output) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        output = f"{output[:HEAD_CHARACTERS]}\n{output[-TAIL_CHARACTERS:]}"
    text = _ESCAPES.sub("", output).replace("\r", "\n")
    lines = [_cut(line) for line in text.split("\n") if line and not line.isspace()]
    if len(lines) > MAX_LINES:
        # Summaries are at the end.
        lines = lines[: MAX_LINES // 4] + lines[-MAX_LINES * 3 // 4 :]
    return lines


def _cut(line: str) -> str:
    # A JSON report is one long line, and cannot be read without its end.
    return line if line.startswith("{") else line[:MAX_LINE_CHARACTERS].rstrip()


def by_package(lines: list[str]) -> list[list[str]]:
    """The lines of each package, without the prefix that a monorepo's task runner puts before them."""
    has_bare_prefixes = any(_BARE_PREFIX_RUNNERS.match(line) for line in lines)
    packages: dict[str, list[str]] = {"": []}
    for line in lines:
        found = _PREFIX.match(line) or (has_bare_prefixes and _BARE_PREFIX.match(line)) or None
        package = found[found.lastindex or 0] if found else ""
        if found is None or (package not in packages and len(packages) > MAX_PACKAGES):
            packages[""].append(line)
        else:
            packages.setdefault(package, []).append(line[found.end() :])
    return [lines for lines in packages.values() if lines]
