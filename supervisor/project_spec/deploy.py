"""From a spec and a repository to a project with its crew: one branch, then one transaction.

Killed in between, it may be done again: the branch is at the same commit, and nothing else was made.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors import git
from actors.gate.find_checks import find_checks
from actors.git import Repository
from actors.home import Home
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, ORCHESTRATOR
from actors.runtime.messages import ProjectBriefed
from actors.settings import Config
from actors.work import assignment
from store import crew, timers
from store.engine import Store, Transaction
from store.errors import NightcrewError
from store.states import ProjectState, Role
from supervisor.project_spec.file import Spec
from supervisor.project_spec.slug import MAX_LENGTH

_LIVE = (ProjectState.ACTIVE, ProjectState.PAUSED)
_MOST_NUMBERS = 10_000
MANAGER_NOTE = (
    "Regular check-in: look at the tasks, answer what waits, and plan what no task is about yet. "
    "If all is well, say so in one sentence and stop."
)
ORCHESTRATOR_NOTE = (
    "Regular check-in: look at all projects with crew_status; write to a manager whose project does not move."
)


class ProjectNameTaken(NightcrewError):
    """A live project has that name, with another spec or repository."""

    exit_code = 73


@dataclass(frozen=True, slots=True)
class Site:
    """Where a spec would be worked on: what looking at the repository gave, nothing changed yet."""

    repository: Repository
    checks: tuple[str, ...]
    checks_source: str
    warnings: tuple[str, ...]


def look(spec: Spec, repository_path: Path) -> Site:
    """Inspect the repository and find the checks. Raises a `WorkspaceError`; writes nothing."""
    repository = git.inspect(repository_path)
    warnings = [*spec.warnings, *repository.warnings]
    if spec.checks:
        return Site(repository, spec.checks, "the spec's CHECKS", tuple(warnings))
    found = find_checks(repository.root)
    if found.commands:
        listed = "; ".join(found.commands)
        warnings.append(f"no CHECKS in the spec; {found.source}. The gate runs: {listed}")
    else:
        warnings.append(
            f"no CHECKS in the spec, and {found.source}: what is merged will be marked unverified"
        )
    return Site(repository, found.commands, found.source, tuple(warnings))


def running(store: Store, spec: Spec, site: Site) -> dict[str, Any] | None:
    """The live project of this very spec on this very repository, if there is one.

    Raises `ProjectNameTaken` if the name is another live project's.
    """
    return _same_project(crew.all_projects(store), spec, site)


def deploy(
    store: Store,
    home: Home,
    config: Config,
    spec: Spec,
    repository_path: Path,
    engineers: int | None = None,
    qa: bool | None = None,
    *,
    site: Site | None = None,
) -> dict[str, Any]:
    """Make the project, its crew and its briefing; returns its row, the first one's if it runs already.

    `engineers` and `qa` default to the configuration's; `site` spares a second look. Raises a
    `WorkspaceError` or `ProjectNameTaken`.
    """
    site = site or look(spec, repository_path)
    known = running(store, spec, site)
    if known is not None:
        return known
    name = _free_name({row["name"] for row in crew.all_projects(store)}, spec.slug, site.repository)
    branch = git.integration_branch(name)
    base = git.create_branch(site.repository, branch, site.repository.head_commit, locks=home.locks)
    values = {
        **_columns(spec, site),
        "name": name,
        "branch": branch,
        "base_commit": base,
        "engineers": config.work.engineers if engineers is None else engineers,
        "with_qa": config.work.qa if qa is None else qa,
    }
    with store.write() as tx:
        # Looked at again inside the transaction: two `run`s at once must not make two of it.
        if crew.find_project(tx, name) is None:
            _add(tx, config, values, now=time.time())
    return crew.project(store, name)


def _columns(spec: Spec, site: Site) -> dict[str, Any]:
    """What a project's row has of its spec and its repository."""
    return {
        "title": spec.project,
        "repository": str(site.repository.root),
        "base_branch": site.repository.head_branch,
        "goal": spec.goal,
        "spec": spec_as_json(spec),
        "checks": list(site.checks),
        "checks_source": site.checks_source,
    }


def spec_as_json(spec: Spec) -> dict[str, Any]:
    """The `spec` column of a project."""
    return {
        "title": spec.project,
        "raw": spec.raw,
        "goal": spec.goal,
        "constraints": list(spec.constraints),
        "deliverables": list(spec.deliverables),
        "success_criteria": list(spec.success_criteria),
        "notes": [list(note) for note in spec.notes],
    }


def _add(tx: Transaction, config: Config, values: dict[str, Any], *, now: float) -> None:
    """Project, gate, manager (and QA), the regular check-ins and the briefing. Engineers are hired later."""
    name = values["name"]
    manager = assignment.manager(name)
    crew.add_project(tx, now=now, **values)
    crew.add_agent(tx, name=assignment.gate(name), kind="gate", role=None, project=name, now=now)
    _add_member(tx, manager, Role.PROJECT_MANAGER, name, now)
    if values["with_qa"]:
        _add_member(tx, assignment.member(name, Role.QA), Role.QA, name, now)
    _check_in(tx, manager, MANAGER_NOTE, config.check_ins.manager_minutes, now)
    _check_in(tx, ORCHESTRATOR, ORCHESTRATOR_NOTE, config.check_ins.orchestrator_minutes, now)
    mailbox.post(tx, HUMAN, manager, ProjectBriefed(project=name), now=now, key=f"brief:{name}")
    assignment.tell_supervisor(tx, name, now=now)


def _add_member(tx: Transaction, name: str, role: Role, project: str, now: float) -> None:
    crew.add_agent(tx, name=name, kind="agent", role=role.value, project=project, now=now)


def _check_in(tx: Transaction, agent: str, note: str, minutes: float, now: float) -> None:
    timers.add(
        tx,
        recipient=agent,
        note=note,
        due_at=now + minutes * 60,
        every_s=minutes * 60,
        created_by=HUMAN,
        now=now,
        key=f"check-in:{agent}",
    )


def _same_project(rows: list[dict[str, Any]], spec: Spec, site: Site) -> dict[str, Any] | None:
    """Among the live projects of the spec's name (or that name with a number)."""
    for row in rows:
        if row["state"] not in _LIVE or not _is_numbered(row["name"], spec.slug):
            continue
        here = row["repository"] == str(site.repository.root)
        if here and row["spec"]["raw"] == spec.raw:
            return row
        if row["title"] != spec.project:
            continue  # `shop 2` is another project than the second night of `shop`
        other = "another spec" if here else f"the repository {row['repository']}"
        raise ProjectNameTaken(
            f"the project {row['name']} is {row['state']} with {other}; "
            f"give yours another name (PROJECT: ...), wait until that one has ended, "
            f"or end it: `nightcrew cancel {row['name']}`"
        )
    return None


def _is_numbered(name: str, slug: str) -> bool:
    """Whether `name` is `slug`, or it with a number behind."""
    number = name.rpartition("-")[2]
    return name == slug or (number.isdigit() and name == _numbered(slug, int(number)))


def _numbered(slug: str, number: int) -> str:
    tail = "" if number == 1 else f"-{number}"
    return slug[: MAX_LENGTH - len(tail)].rstrip("-") + tail


def _free_name(taken: set[str], slug: str, repository: Repository) -> str:
    """`shop`, else `shop-2` and so on: no project of this crew, nor branches that another one left here."""
    for number in range(1, _MOST_NUMBERS):
        name = _numbered(slug, number)
        if name not in taken and not _has_foreign_branches(repository, name):
            return name
    raise ProjectNameTaken(f"there are {_MOST_NUMBERS} projects called {slug}; give yours another name")


def _has_foreign_branches(repository: Repository, name: str) -> bool:
    """Branches under `nightcrew/<name>/`, other than what a deploy that was cut short has made."""
    integration = git.integration_branch(name)
    prefix = integration.removesuffix("integration")
    answer = repository.git().attempt(
        "for-each-ref", "--format=%(objectname) %(refname:short)", f"refs/heads/{prefix}"
    )
    expected = f"{repository.head_commit} {integration}"
    return any(line != expected for line in answer.stdout.splitlines())
