"""What is wrong with a spec: missing, duplicate, misspelt or vague sections."""

from __future__ import annotations

import re
from collections.abc import Sequence

from actors.text import did_you_mean
from supervisor.project_spec.items import without_mark
from supervisor.project_spec.sections import MAX_TITLE_CHARS, SECTIONS, Section

_PLACEHOLDERS = frozenset(("todo", "tbd", "tba", "fixme", "xxx"))
_BRACKETS = {"<": ">", "[": "]"}
# Words that name nothing in particular: a goal made of these alone gives an agent nothing to work on.
_EMPTY_WORDS = frozenset(
    """a all an and any app application as be better bug bugs clean cleanup code codebase cool do everything
    faster file files fix fixes for get good great in improve improved improvement improvements improving is
    issue issues it its just make making more my nice nicer of on optimise optimize our please polish problem
    problems program project quality refactor repo repository software some something stuff that the them
    thing things this to up update upgrade way with work working works you your""".split()  # noqa: SIM905 - prose reads better than 100 quotes
)


def find_problems(sections: Sequence[Section], goal: str, deliverables: Sequence[str]) -> list[str]:
    """Everything that keeps a crew from working on the spec, as sentences; empty if it can be used."""
    return [
        *_duplicates(sections),
        *_goal_problems(goal, _misspelt("GOAL", sections)),
        *_deliverable_problems(deliverables, _misspelt("DELIVERABLES", sections)),
    ]


def _duplicates(sections: Sequence[Section]) -> list[str]:
    problems = []
    for name in SECTIONS:
        numbers = [section.number for section in sections if section.name == name]
        if len(numbers) > 1:
            where = " and ".join(str(number) for number in numbers)
            problems.append(f"{name} appears {len(numbers)} times (lines {where}); make it one section")
    return problems


def _misspelt(name: str, sections: Sequence[Section]) -> str:
    """A hint at a heading that is probably a misspelling of `name`, to follow "is missing"; else empty."""
    for section in sections:
        if section.number and section.name not in SECTIONS and _is_near(section.name.rstrip("s"), name):
            return _hint(section.number, section.name)
    for line in (line for section in sections for line in section.lines if not line.is_code):
        label, colon, _ = without_mark(line.text).partition(":")
        word = re.sub(r"[*_#]", "", label).strip()
        if colon and len(word.split()) == 1 and word.upper() != name and _is_near(word, name):
            return _hint(line.number, word)
    return ""


def _is_near(word: str, name: str) -> bool:
    return len(word) <= MAX_TITLE_CHARS and bool(did_you_mean(word, [name]))


def _hint(number: int, word: str) -> str:
    return f" (line {number} has {word!r}: is that a misspelling?)"


def _goal_problems(goal: str, hint: str) -> list[str]:
    if not goal:
        return [f"GOAL is missing{hint}: say in one sentence what the crew is to achieve"]
    if is_vague(goal):
        return [f"GOAL is too vague: {goal[:80]!r} names nothing to work on; say what, where and how to tell"]
    return []


def _deliverable_problems(deliverables: Sequence[str], hint: str) -> list[str]:
    if not deliverables:
        return [f"DELIVERABLES is missing{hint}: list at least one thing that the crew is to make"]
    return [
        f"deliverable {number} is too vague: {item[:80]!r} names nothing to build"
        for number, item in enumerate(deliverables, start=1)
        if is_vague(item)
    ]


def is_vague(text: str) -> bool:
    """Whether the text is a placeholder, or none of its words names anything: "make it better"."""
    words = re.findall(r"\w+(?:[.+#/-]\w+)*", text.lower())
    if words[:2] == ["lorem", "ipsum"] or (len(words) == 1 and words[0] in _PLACEHOLDERS):
        return True
    return _is_bracketed(text) or all(word in _EMPTY_WORDS for word in words)


def _is_bracketed(text: str) -> bool:
    """Whether the whole text is one placeholder such as `<goal>` or `[your goal]`."""
    bare = text.strip(" \t\n*_`\"'.,:;!?-")
    closing = _BRACKETS.get(bare[:1])
    return closing is not None and bare.find(closing) == len(bare) - 1
