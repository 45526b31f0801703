"""Reads a project's spec: PROJECT, GOAL, CONSTRAINTS, DELIVERABLES, SUCCESS CRITERIA and CHECKS.

Forgiving in form (headings, bullets, case), strict in substance: a night is not started on a spec that has
no goal or no deliverables. The refusal names everything that is missing, with a whole example to copy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.text import nearest
from store.errors import NightcrewError
from supervisor.project_spec.items import Line, split_items, without_mark
from supervisor.project_spec.sections import SECTIONS, Section, split_sections
from supervisor.project_spec.slug import project_slug

MAX_FILE_BYTES = 200_000

_NOTHING = frozenset({"none", "n/a", "na", "-", "--", "keine", "nothing", "no"})
_EMPHASISED = re.compile(r"^(\*{1,3}|_{1,3})([^*_]+)\1$")
_PLACEHOLDER = re.compile(
    r"^\W*(?:todo|tbd|tba|fixme|xxx|\.{2,}|…|<[^>]*>|\[[^\]]*\]|lorem ipsum.*)\W*$", re.IGNORECASE
)
# Words that name no thing: a goal made of these alone gives an agent nothing to aim at.
_EMPTY_WORDS = frozenset(
    """a all an and any app application as be better bug bugs clean cleanup code codebase cool do everything
    faster file files fix fixes for get good great in improve improved improvement improvements improving is
    issue issues it its just make making more my nice nicer of on optimise optimize our please polish problem
    problems program project quality refactor repo repository software some something stuff that the them
    thing things this to up update upgrade way with work working works you your
    alles bitte besser code das den der die dies ein eine einen es etwas mach mache machen programm projekt
    schöner und verbessere verbessern""".split()  # noqa: SIM905 - prose reads better than 100 quotes
)


class SpecError(NightcrewError):
    """The spec cannot be worked from. `problems` are all the reasons; the message adds a complete example."""

    exit_code = 65

    def __init__(self, problems: Sequence[str], *, with_example: bool = True) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"- {problem}" for problem in self.problems)
        example = f"\n\nA complete spec to copy from:\n\n{example_spec()}" if with_example else ""
        super().__init__(f"This spec cannot be worked from:\n{listed}{example}")


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec as read. Items keep their continuation lines; `checks` are shell commands, one each.

    `notes` are the texts under other headings as (heading, text). `raw` is what the manager is briefed with.
    `warnings` name what was taken in a way that its writer may not have meant.
    """

    project: str
    slug: str
    goal: str
    constraints: tuple[str, ...]
    deliverables: tuple[str, ...]
    success_criteria: tuple[str, ...]
    checks: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]
    raw: str
    warnings: tuple[str, ...] = ()


def example_spec(name: str = "small") -> str:
    """One of the packaged examples in `supervisor/specs/`, by file name without `.md`."""
    return (Path(__file__).parent / "specs" / f"{name}.md").read_text(encoding="utf-8").strip()


def read_spec(path: Path) -> Spec:
    """The spec in the file at `path`. If it names no project, the file or its folder does. SpecError."""
    if path.is_dir():
        raise SpecError([f"{path} is a folder; give the spec file in it"], with_example=False)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SpecError([f"there is no file {path}"]) from error
    except OSError as error:
        raise SpecError([f"{path} cannot be read: {error.strerror or error}"], with_example=False) from error
    generic = path.stem.lower().replace("-", "_") in {
        "spec",
        "project_spec",
        "project",
        "readme",
        "nightcrew",
    }
    return parse_spec(_decode(data, path), path.absolute().parent.name if generic else path.stem)


def parse_spec(text: str, default_name: str) -> Spec:
    """The spec in `text`; `default_name` names the project where the text does not. Raises SpecError."""
    if "\0" in text:
        raise SpecError(["the file is binary, not text"])
    if not text.strip("\ufeff \t\r\n"):
        raise SpecError(["the file is empty"])
    sections = split_sections(text)
    found = {section.name: section for section in reversed(sections) if section.name in SECTIONS}
    warnings: list[str] = []
    goal = _paragraph(found.get("GOAL"))
    lists = {name: _items(found.get(name), warnings) for name in SECTIONS[2:5]}
    problems = _duplicates(sections)
    problems += _goal_problems(goal, _lookalike("GOAL", sections))
    problems += _deliverable_problems(lists["DELIVERABLES"], _lookalike("DELIVERABLES", sections))
    if problems:
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
        notes=_notes(sections, warnings),
        raw=text.removeprefix("\ufeff").replace("\r\n", "\n"),
        warnings=tuple(warnings),
    )


def _decode(data: bytes, path: Path) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise SpecError(
            [f"{path} has {len(data)} bytes, more than the {MAX_FILE_BYTES} of a spec"], with_example=False
        )
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise SpecError([f"{path} is binary, not text"]) from error
        advice = f"`iconv -f latin1 -t utf-8 '{path}'` converts it from Latin-1"
        raise SpecError(
            [f"{path} is not UTF-8 text (byte {error.start}); {advice}"], with_example=False
        ) from error


def _paragraph(section: Section | None) -> str:
    """A section's text as one string, without bullets; paragraphs stay apart."""
    if section is None:
        return ""
    text = "\n".join(line.text if line.is_code else without_mark(line.text) for line in section.lines)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return wrapped[2].strip() if (wrapped := _EMPHASISED.match(text)) else text


def _items(section: Section | None, warnings: list[str]) -> tuple[str, ...]:
    if section is None:
        return ()
    split = split_items(section.lines)
    if split.loose:
        warnings.append(
            f"in {section.name}, this is no item and is kept as a note: {' '.join(split.loose)[:80]!r}"
        )
    warnings += [f"ticked already, and yet to be done: {item!r}" for item in split.ticked]
    return tuple(item for item in split.items if item.strip(" .").lower() not in _NOTHING)


def _commands(section: Section | None) -> tuple[str, ...]:
    """One shell command a line: fenced or not, bulleted or not, `$ ` prompts and backticks taken off."""
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
        if continued:
            commands[-1] += " " + text.removesuffix("\\").strip()
        else:
            commands.append(text.removesuffix("\\").strip())
        continued = text.endswith("\\")
    return tuple(command for command in commands if command.lower().strip(".") not in _NOTHING)


def _project_name(
    section: Section | None, sections: Sequence[Section], default_name: str, warnings: list[str]
) -> str:
    """PROJECT, else a leading title, else `default_name`."""
    lines = _paragraph(section).splitlines()
    if lines:
        return lines[0].strip("*_` ")
    if title := next((s.name for s in sections if s.level == 1 and s.name not in SECTIONS), ""):
        return title
    warnings.append(f"no PROJECT given; the project is called {default_name!r}")
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
                f"line {section.number}: {section.name!r} is no section of a spec; kept as a note"
            )
    return tuple(notes)


def _duplicates(sections: Sequence[Section]) -> list[str]:
    problems = []
    for name in SECTIONS:
        numbers = [section.number for section in sections if section.name == name]
        if len(numbers) > 1:
            where = " and ".join(str(number) for number in numbers)
            problems.append(f"{name} stands there {len(numbers)} times (lines {where}); make it one section")
    return problems


def _lookalike(name: str, sections: Sequence[Section]) -> str:
    """A hint at a misspelt heading, ready to end a sentence with."""
    for section in sections:
        if section.number and section.name not in SECTIONS and nearest(section.name.rstrip("s"), [name]):
            return f" (line {section.number} says {section.name!r}: is it meant?)"
    for line in _all_lines(sections):
        word = re.sub(r"[*_#]", "", without_mark(line.text)).partition(":")[0].strip()
        if len(word.split()) == 1 and ":" in line.text and nearest(word, [name]) and word.upper() != name:
            return f" (line {line.number} says {word!r}: is it meant?)"
    return ""


def _all_lines(sections: Sequence[Section]) -> list[Line]:
    return [line for section in sections for line in section.lines if not line.is_code]


def _goal_problems(goal: str, hint: str) -> list[str]:
    if not goal:
        return [f"GOAL is missing{hint}: say in a sentence what shall be true in the morning"]
    if is_vague(goal):
        return [
            f"GOAL is too vague: {goal[:80]!r} names nothing to work on; say what, where and how one can tell"
        ]
    return []


def _deliverable_problems(deliverables: Sequence[str], hint: str) -> list[str]:
    if not deliverables:
        return [f"DELIVERABLES is missing{hint}: list at least one thing that shall exist in the morning"]
    return [
        f"deliverable {number} is too vague: {item[:80]!r} names nothing to build"
        for number, item in enumerate(deliverables, start=1)
        if is_vague(item)
    ]


def is_vague(text: str) -> bool:
    """True for a placeholder, or if no word names anything: "make it better", not "Fix the parser"."""
    if _PLACEHOLDER.match(text):
        return True
    words = re.findall(r"\w+(?:[.+#/-]\w+)*", text.lower())
    return not any(word not in _EMPTY_WORDS for word in words)
