"""The names of the branches and tags that the crew adds to the user's repository, all below `nightcrew/`.

`project` is a project's name, which `supervisor/project_spec/slug.py` made valid as a part of a reference.
"""

from __future__ import annotations

PREFIX = "nightcrew"


def integration_branch(project: str) -> str:
    """The branch that a project's accepted work is merged into."""
    return f"{PREFIX}/{project}/integration"


def task_branch(project: str, task_id: int) -> str:
    """The branch of a task."""
    return f"{PREFIX}/{project}/{task_label(task_id)}"


def task_label(task_id: int) -> str:
    """A task's short name in branches, tags and folders, and for people: `t7`."""
    return f"t{task_id}"


def stable_tag(project: str, number: int, task: str) -> str:
    """The tag of a project's `number`-th merge, which brought `task` (a label)."""
    return f"{PREFIX}/{project}/stable-{number}-{task}"


def of_project(project: str) -> str:
    """The folder of a project's branches and tags, for `git for-each-ref`."""
    return f"{PREFIX}/{project}/"


def is_ours(branch: str) -> bool:
    """Whether a branch or tag is below `nightcrew/`."""
    return branch.startswith(f"{PREFIX}/")
