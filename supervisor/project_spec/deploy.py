"""Creates a project with its crew from a spec and a repository: first a branch, then one transaction.

After a crash in between it can simply be repeated: the branch is at the same commit, and nothing else exists.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from actors.environment.project import find_environment, keep_environment
from actors.gate.find_checks import find_checks
from actors.git.refs import create_branch
from actors.git.repository import Repository, open_repository
from actors.home import Home
from actors.runtime import mailbox
from actors.runtime.addresses import HUMAN, ORCHESTRATOR
from actors.runtime.messages import ProjectBriefed
from actors.settings import Config
from actors.work import team
from store import crew, timers
from store.crew import NewProject
from store.engine import Store, Transaction
from store.rows import Project, ProjectSpec
from store.shared import ref_names
from store.states import ActorKind, Role
from supervisor.project_spec.names import free_name, running_project
from supervisor.project_spec.spec import Spec

MANAGER_NOTE = (
    "Regular check-in: look at the tasks, answer what waits, and plan what no task is about yet. "
    "If all is well, say so in one sentence and stop."
)
ORCHESTRATOR_NOTE = (
    "Regular check-in: look at all projects with crew_status; write to a manager whose project does not move."
)


@dataclass(frozen=True, slots=True)
class Site:
    """The inspected repository of a spec, and the checks to run in it. Nothing is changed yet."""

    repository: Repository
    checks: tuple[str, ...]
    checks_source: str
    warnings: tuple[str, ...]


def inspect(spec: Spec, repository_path: Path) -> Site:
    """Inspect the repository and find the checks; writes nothing. Raises a `WorkspaceError`."""
    repository = open_repository(repository_path)
    warnings = [*spec.warnings, *repository.warnings]
    if spec.checks:
        return Site(repository, spec.checks, "the spec's CHECKS", tuple(warnings))
    found = find_checks(repository.root)
    if found.commands:
        listed = "; ".join(found.commands)
        warnings.append(f"no CHECKS in the spec; {found.source}. The gate runs: {listed}")
    else:
        warnings.append(
            f"no CHECKS in the spec, and {found.source}: merged work will be marked as unverified"
        )
    return Site(repository, found.commands, found.source, tuple(warnings))


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
) -> Project:
    """Create the project, its crew and its briefing; returns its row. A project that runs already is returned.

    The environment variables of this process decide which toolchains the project's commands use.

    `engineers` and `qa` default to those of the configuration. `site` avoids a second inspection. Raises a
    `WorkspaceError` or `ProjectNameTaken`.
    """
    site = site or inspect(spec, repository_path)
    if (known := running_project(store, spec, site.repository)) is not None:
        return known
    name = free_name({row.name for row in crew.all_projects(store)}, spec.slug, site.repository)
    branch = ref_names.integration_branch(name)
    base = create_branch(site.repository, branch, site.repository.head_commit, locks=home.locks)
    engineers = config.work.engineers if engineers is None else engineers
    with_qa = config.work.qa if qa is None else qa
    values = _row(name, branch, base, spec, site, engineers=engineers, with_qa=with_qa)
    environment = find_environment(
        os.environ,
        site.repository.root,
        home.environment(name),
        setup_commands=spec.setup,
        checks=site.checks,
    )
    with store.write() as tx:
        # Checked again inside the transaction, because two commands may run at the same time.
        if crew.find_project(tx, name) is None:
            _add(tx, config, values, now=time.time())
            keep_environment(tx, name, environment, now=time.time())
    return crew.project(store, name)


def _row(
    name: str, branch: str, base_commit: str, spec: Spec, site: Site, *, engineers: int, with_qa: bool
) -> NewProject:
    return {
        "name": name,
        "title": spec.project,
        "repository": str(site.repository.root),
        "branch": branch,
        "base_branch": site.repository.head_branch,
        "base_commit": base_commit,
        "goal": spec.goal,
        "spec": _as_stored(spec),
        "checks": list(site.checks),
        "checks_source": site.checks_source,
        "engineers": engineers,
        "with_qa": with_qa,
    }


def _as_stored(spec: Spec) -> ProjectSpec:
    return ProjectSpec(
        raw=spec.raw,
        constraints=spec.constraints,
        deliverables=spec.deliverables,
        success_criteria=spec.success_criteria,
        notes=spec.notes,
    )


def _add(tx: Transaction, config: Config, values: NewProject, *, now: float) -> None:
    """Add the project, its gate, manager and QA, the regular check-ins and the briefing. Engineers come later."""
    name = values["name"]
    manager = team.manager(name)
    crew.add_project(tx, now=now, **values)
    crew.add_agent(tx, name=team.gate(name), kind="gate", role=None, project=name, now=now)
    _add_member(tx, manager, Role.PROJECT_MANAGER, name, now)
    if values["with_qa"]:
        _add_member(tx, team.member(name, Role.QA), Role.QA, name, now)
    _check_in(tx, manager, MANAGER_NOTE, config.check_ins.manager_minutes, now)
    _check_in(tx, ORCHESTRATOR, ORCHESTRATOR_NOTE, config.check_ins.orchestrator_minutes, now)
    mailbox.post(tx, HUMAN, manager, ProjectBriefed(project=name), now=now, key=f"brief:{name}")
    team.notify_supervisor(tx, name, now=now)


def _add_member(tx: Transaction, name: str, role: Role, project: str, now: float) -> None:
    crew.add_agent(tx, name=name, kind=ActorKind.AGENT, role=role, project=project, now=now)


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
