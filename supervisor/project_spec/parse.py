"""Reads the text of a spec: PROJECT, GOAL, CONSTRAINTS, DELIVERABLES, SUCCESS CRITERIA, CHECKS and SETUP.

The form is free (headings, bullets, case). The content is not: a spec without a goal or without deliverables
is refused, with everything that is missing and an example to copy. The time is linear in the text's length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from supervisor.project_spec.items import split_items, without_mark
from supervisor.project_spec.problems import find_problems
from supervisor.project_spec.sections import SECTIONS, Section, split_sections
from supervisor.project_spec.slug import project_slug
from supervisor.project_spec.spec import Spec, SpecError

MAX_CHARS = 200_000

_NOTHING = frozenset(("none", "n/a", "na", "-", "--", "nothing", "no"))
_EMPHASISED = re.compile(r"(\*{1,3}|_{1,3})([^*_]+)\1")


def parse_spec(text: str, default_name: str) -> Spec:
    """The spec in `text`; `default_name` names the project where the text does not. Raises `SpecError`."""
    _refuse_unreadable(text)
    sections = split_sections(text)
    found = {section.name: section for section in reversed(sections) if section.name in SECTIONS}
    warnings: list[str] = []
    goal = _paragraph(found.get("GOAL"))
    lists = {name: _items(found.get(name), warnings) for name in SECTIONS[2:5]}
    if problems := find_problems(sections, goal, lists["DELIVERABLES"]):
        raise SpecError(problems)
    project = _project_name(found.get("PROJECT"), sections, default_name, warnings)
    return Spec(
        project=project,
        slug=project_slug(project),
        goal=goal,
        constraints=lists["CONSTRAINTS"],
        deliverables=lists["DELIVERABLES"],
        success_criteria=lists["SUCCESS CRITERIA"],
        checks=_commands(found.get("CHECKS")),
        setup=_commands(found.get("SETUP")),
        notes=_notes(sections, warnings),
        raw=text.removeprefix("\ufeff").replace("\r\n", "\n"),
        warnings=tuple(warnings),
    )


def _refuse_unreadable(text: str) -> None:
    if "\0" in text:
        raise SpecError(["the file is binary, not text"])
    if not text.strip("\ufeff \t\r\n"):
        raise SpecError(["the file is empty"])
    if len(text) > MAX_CHARS:
        problem = f"the spec has {len(text)} characters, more than the {MAX_CHARS} allowed"
        raise SpecError([problem], with_example=False)


def _paragraph(section: Section | None) -> str:
    """A section's text as one string without bullets; empty lines between paragraphs stay."""
    if section is None:
        return ""
    text = "\n".join(line.text if line.is_code else without_mark(line.text) for line in section.lines)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return wrapped[2].strip() if (wrapped := _EMPHASISED.fullmatch(text)) else text


def _items(section: Section | None, warnings: list[str]) -> tuple[str, ...]:
    if section is None:
        return ()
    split = split_items(section.lines)
    if split.loose:
        loose = " ".join(split.loose)[:80]
        warnings.append(
            f"in {section.name}, this is not part of an item; only the manager reads it: {loose!r}"
        )
    warnings += [f"marked as done, and will be worked on all the same: {item!r}" for item in split.ticked]
    return tuple(item for item in split.items if item.strip(" .").lower() not in _NOTHING)


def _commands(section: Section | None) -> tuple[str, ...]:
    """One shell command per line, without bullets, `$ ` prompts and backticks. A `\\` continues a command."""
    commands: list[str] = []
    continued = False
    for line in section.lines if section else ():
        text = line.text.strip()
        if not text or text.startswith(("#", "```", "~~~")):
            continued = False
            continue
        if not line.is_code and not continued:
            text = without_mark(text)
            text = text.strip("`").strip() if text.count("`") == 2 and text[0] == text[-1] == "`" else text
        text = text.removeprefix("$ ").strip()
        part = text.removesuffix("\\").strip()
        if continued:
            commands[-1] += f" {part}"
        else:
            commands.append(part)
        continued = text.endswith("\\")
    return tuple(command for command in commands if command.lower().strip(".") not in _NOTHING)


def _project_name(
    section: Section | None, sections: Sequence[Section], default_name: str, warnings: list[str]
) -> str:
    """The name under PROJECT, else the first title of the file, else `default_name`."""
    lines = _paragraph(section).splitlines()
    if lines:
        return lines[0].strip("*_` ")
    if title := next((s.name for s in sections if s.level == 1 and s.name not in SECTIONS), ""):
        return title
    warnings.append(f"PROJECT is missing; the project is called {default_name!r}")
    return default_name


def _notes(sections: Sequence[Section], warnings: list[str]) -> tuple[tuple[str, str], ...]:
    notes = []
    for section in sections:
        text = "\n".join(line.text for line in section.lines).strip()
        if section.name in SECTIONS or not text:
            continue
        notes.append((section.name, text))
        if section.number and not section.level:
            warnings.append(
                f"line {section.number}: {section.name!r} is not a section of a spec; kept as a note"
            )
    return tuple(notes)
