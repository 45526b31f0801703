"""A project's spec as data, the error of a spec that cannot be used, and the packaged examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from store.errors import NightcrewError


class SpecError(NightcrewError):
    """The spec cannot be used. `problems` are all the reasons; the message adds a complete example."""

    exit_code = 65

    def __init__(self, problems: Sequence[str], *, with_example: bool = True) -> None:
        self.problems = tuple(problems)
        listed = "\n".join(f"- {problem}" for problem in self.problems)
        example = f"\n\nA complete spec to copy from:\n\n{example_spec()}" if with_example else ""
        super().__init__(f"this spec cannot be used:\n{listed}{example}")


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec as read. Items keep their continuation lines; each of `checks` and `setup` is one shell command.

    `notes` are the texts under other headings as (heading, text). `raw` is the text that the manager gets.
    `warnings` name what was read in a way that the writer may not have meant.
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
    setup: tuple[str, ...] = ()


def example_spec(name: str = "small") -> str:
    """One of the packaged examples in `supervisor/project_spec/specs/`, by file name without `.md`."""
    return (Path(__file__).parent / "specs" / f"{name}.md").read_text(encoding="utf-8").strip()
