"""Which tasks cover which deliverables of a project's spec. Deliverables are numbered from 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from store.rows import Project, Task


def best_match(text: str, deliverables: Sequence[str], taken: set[int]) -> int | None:
    """The deliverable that a task's text is about: the one with the largest share of its words in the text.

    Among equals one that is not in `taken` is preferred. If no word matches, the result is the first one not
    taken, because a manager may write in another language than the spec; None if all are taken.
    """
    words = _words(text)
    scores = {
        number: len(words & _words(deliverable)) / (len(_words(deliverable)) or 1)
        for number, deliverable in enumerate(deliverables, 1)
    }
    best = max(scores, key=lambda number: (scores[number], number not in taken, -number), default=None)
    if best is not None and scores[best] > 0:
        return best
    return next((number for number in scores if number not in taken), None)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text.lower()))


def uncovered(project: Project, rows: Sequence[Task]) -> list[int]:
    """The deliverables that none of the tasks is about."""
    covered = {row.deliverable for row in rows}
    return [n for n in range(1, len(project.spec.deliverables) + 1) if n not in covered]
