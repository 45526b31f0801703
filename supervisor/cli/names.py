"""Finds the agent or project that an argument names, and completes names for the shell."""

from __future__ import annotations

from contextlib import suppress

import click
import click.shell_completion

from actors.text import did_you_mean
from store import crew
from store.engine import Store
from store.rows import Agent, Project
from supervisor.errors import UsageProblem

_SHORT_FORMS = {"project_manager": "pm", "manager": "pm", "project-manager": "pm", "developer": "engineer"}


def agent(store: Store, text: str) -> Agent:
    """The agent that `text` names: its full name, a short one, or `session:window`. Raises `UsageProblem`."""
    rows = crew.all_agents(store)
    by_name = {row.name: row for row in rows}
    wanted = text.strip()
    if wanted in by_name:
        return by_name[wanted]
    if ":" in wanted:
        wanted = _of_window(store, wanted, rows)
        if wanted in by_name:
            return by_name[wanted]
    fits = _fitting(store, _plain(wanted), rows)
    if len(fits) == 1:
        return fits[0]
    if fits:
        names = ", ".join(row.name for row in fits)
        raise UsageProblem(f"{text!r} is ambiguous: {names}; use the full name")
    known = [*by_name, *(name.partition(".")[0] for name in by_name)]
    raise UsageProblem(_unknown("agent", text, known))


def project(store: Store, text: str) -> Project:
    """The project called `text`, archived or not. Raises `UsageProblem`."""
    found = crew.find_project(store, text.strip())
    if found is None:
        known = [row.name for row in crew.all_projects(store)]
        raise UsageProblem(_unknown("project", text, known))
    return found


def either(store: Store, text: str) -> Agent | Project:
    """The project called `text`, else the agent that it names. Raises `UsageProblem`."""
    found = crew.find_project(store, text.strip())
    if found is not None:
        return found
    try:
        return agent(store, text)
    except UsageProblem as error:
        if "is ambiguous" in str(error):
            raise
        known = [row.name for row in crew.all_agents(store)] + [row.name for row in crew.all_projects(store)]
        raise UsageProblem(_unknown("agent or project", text, known)) from error


def _unknown(what: str, text: str, known: list[str]) -> str:
    """The message for an unknown name, with similar ones."""
    return f"unknown {what} {text!r}" + (did_you_mean(text, known) or "; `nightcrew status` lists the names")


def window_of(row: Agent) -> str:
    """The agent's `session:window` in the crew's tmux."""
    return f"{row.project or row.name}:{row.name.partition('.')[0]}"


def _of_window(store: Store, text: str, rows: list[Agent]) -> str:
    """The name of the agent with that `session:window`, else `text`.

    Taken from the rows, so that the window need not be open. tmux is queried only for a window index.
    """
    session, _, window = text.partition(":")
    for row in rows:
        if window_of(row) == f"{session}:{_plain(window)}":
            return row.name
    if window.isdigit():
        from actors.home import Home
        from actors.screen.attach import find_target

        return find_target(Home(store.path.parent).run, text) or text
    return text


def _plain(text: str) -> str:
    """The short form: `project_manager` as `pm`, `developer-1` as `engineer-1`; the part after a dot stays."""
    short, dot, rest = text.partition(".")
    low = short.strip().lower().replace(" ", "_")
    for word, form in _SHORT_FORMS.items():
        if low == word or low.startswith(f"{word}-"):
            low = form + low[len(word) :]
    return f"{low}{dot}{rest.lower()}"


def _fitting(store: Store, wanted: str, rows: list[Agent]) -> list[Agent]:
    """The agents that a name without project fits, those of live projects first.

    `engineer-1` fits exactly that name; `engineer` fits `engineer-1`, `engineer-2` and so on.
    """
    if "." in wanted:
        return [row for row in rows if row.name == wanted]
    live = {row.name for row in crew.all_projects(store) if row.state.is_live}
    short = [row for row in rows if row.name.partition(".")[0] == wanted]
    numbered = [row for row in rows if row.name.partition(".")[0].rpartition("-")[0] == wanted]
    for found in (short, numbered):
        within = [row for row in found if row.project is None or row.project in live]
        if within or found:
            return within or found
    return []


def complete_agent(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Completes names of agents."""
    return completions(context, incomplete, projects=False)


def complete_either(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Completes names of agents and projects."""
    return completions(context, incomplete, projects=True)


def complete_project(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[click.shell_completion.CompletionItem]:
    """Completes names of projects."""
    return completions(context, incomplete, projects=True, agents=False)


def completions(
    context: click.Context, incomplete: str, *, projects: bool, agents: bool = True
) -> list[click.shell_completion.CompletionItem]:
    """The names that begin with `incomplete`. None if the store cannot be read: completion must print no errors."""
    from store.errors import StoreError
    from supervisor.cli import options

    rows: list[tuple[str, str]] = []
    with suppress(StoreError, OSError), options.of(context).store() as store:
        if agents:
            rows += [(row.name, row.role or row.kind) for row in crew.all_agents(store)]
        if projects:
            rows += [(row.name, f"project, {row.state}") for row in crew.all_projects(store)]
    return [
        click.shell_completion.CompletionItem(name, help=kind)
        for name, kind in rows
        if name.startswith(incomplete)
    ]
