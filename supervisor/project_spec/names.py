"""Finds the project that runs already, or a free name for a new one: `shop`, else `shop-2` and so on."""

from __future__ import annotations

from actors.git.repository import Repository
from store import crew
from store.engine import Store
from store.errors import NightcrewError
from store.rows import Project
from store.shared import ref_names
from supervisor.project_spec.slug import MAX_LENGTH
from supervisor.project_spec.spec import Spec

_MAX_NUMBER = 10_000


class ProjectNameTaken(NightcrewError):
    """Another live project, with another spec or repository, has that name."""

    exit_code = 73


def running_project(store: Store, spec: Spec, repository: Repository) -> Project | None:
    """The live project with this spec and this repository, or None.

    Raises `ProjectNameTaken` if another live project has the name.
    """
    for row in crew.all_projects(store):
        if not row.state.is_live or not _is_numbered(row.name, spec.slug):
            continue
        here = row.repository == str(repository.root)
        if here and row.spec.raw == spec.raw:
            return row
        if row.title != spec.project:
            continue  # a project titled `shop 2` has the name `shop-2`, but is not the second run of `shop`
        other = "another spec" if here else f"the repository {row.repository}"
        raise ProjectNameTaken(
            f"a project {row.name} with {other} is {row.state}; give yours another name (PROJECT: ...), "
            f"wait for the other one to end, or end it with `nightcrew cancel {row.name}`"
        )
    return None


def free_name(taken: set[str], slug: str, repository: Repository) -> str:
    """The first name that no project has, and under which the repository has no branches."""
    for number in range(1, _MAX_NUMBER):
        name = _numbered(slug, number)
        if name not in taken and not _has_foreign_branches(repository, name):
            return name
    raise ProjectNameTaken(f"there are {_MAX_NUMBER} projects called {slug}; give yours another name")


def _is_numbered(name: str, slug: str) -> bool:
    """Whether `name` is `slug`, or `slug` with a number appended."""
    number = name.rpartition("-")[2]
    return name == slug or (number.isdigit() and name == _numbered(slug, int(number)))


def _numbered(slug: str, number: int) -> str:
    tail = "" if number == 1 else f"-{number}"
    return slug[: MAX_LENGTH - len(tail)].rstrip("-") + tail


def _has_foreign_branches(repository: Repository, name: str) -> bool:
    """Whether there are branches under `nightcrew/<name>/`, apart from that of an interrupted `deploy`."""
    folder = f"refs/heads/{ref_names.of_project(name)}"
    answer = repository.git().attempt("for-each-ref", "--format=%(objectname) %(refname:short)", folder)
    expected = f"{repository.head_commit} {ref_names.integration_branch(name)}"
    return any(line != expected for line in answer.stdout.splitlines())
