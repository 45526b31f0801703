"""A row class and its table agree, so that a row can be made from the driver's tuple."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest
from sqlalchemy import Table

from store import crew, incidents, rows, schema, tasks
from store.engine import Store
from store.errors import StoreError
from store.rows import ProjectSpec, Spent, Usage
from store.states import AgentState, GateVerdict, IncidentKind, Role, TaskState
from tests.support.stores import NOW, add_agent, add_project

CLASSES = {
    schema.projects: rows.Project,
    schema.agents: rows.Agent,
    schema.messages: rows.Message,
    schema.intents: rows.Intent,
    schema.timers: rows.Timer,
    schema.tasks: rows.Task,
    schema.task_events: rows.TaskEvent,
    schema.gate_runs: rows.GateRun,
    schema.insights: rows.Insight,
    schema.incidents: rows.Incident,
}
SPEC = ProjectSpec("PROJECT: Shop", ("fast",), ("a", "b"), ("it works",), (("Notes", "none"),))
USAGE = Usage(steps=4, generated_tokens=90, active_s=2.5, rung=1, at_rung=Spent(3, 80, 2.0), revived=1)


@pytest.mark.parametrize(("table", "made"), CLASSES.items(), ids=[table.name for table in CLASSES])
def test_a_row_class_has_the_columns_of_its_table_in_their_order(table: Table, made: Any) -> None:
    assert [field.name for field in fields(made)] == [column.name for column in table.columns]


def test_a_row_cannot_be_changed(store: Store) -> None:
    add_agent(store, "a")
    row = crew.agent(store, "a")
    with pytest.raises(FrozenInstanceError):
        row.wanted = False  # type: ignore[misc]  # the point of the test


def test_states_are_enums_when_read_and_words_in_the_file(store: Store) -> None:
    add_agent(store, "a", role=Role.QA)
    row = crew.agent(store, "a")
    assert (row.state, row.role) == (AgentState.STOPPED, Role.QA)
    assert isinstance(row.state, AgentState)
    assert isinstance(row.role, Role)
    stored = store.read().exec_driver_sql("SELECT state, role, activity FROM agents").one()
    assert tuple(stored) == ("stopped", "qa", "idle")


def test_a_state_that_this_version_does_not_know_is_an_error(store: Store) -> None:
    add_agent(store, "a")
    with store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE agents SET state = 'dreaming'")
    with pytest.raises(KeyError, match="dreaming"):
        crew.agent(store, "a")


def test_a_word_that_is_no_state_cannot_be_written(store: Store) -> None:
    add_agent(store, "a")
    with pytest.raises((KeyError, StoreError)), store.write() as tx:
        crew.change_agent(tx, "a", state="dreaming")  # type: ignore[arg-type]  # the point of the test


def test_a_spec_and_a_usage_come_back_as_they_were_stored(store: Store) -> None:
    add_project(store, "shop", spec=SPEC)
    with store.write() as tx:
        task = tasks.add(
            tx, project="shop", title="t", description="", role=Role.ENGINEER, deliverable=1, by="pm", now=NOW
        )
        assert tasks.current(tx, task).usage == Usage()
        tasks.amend(tx, task, now=NOW, usage=USAGE)
    assert crew.project(store, "shop").spec == SPEC
    assert tasks.get(store, task).usage == USAGE
    assert USAGE.on_this_rung == Spent(1, 10, 0.5)
    assert USAGE.spent == Spent(4, 90, 2.5)


def test_every_verdict_and_every_kind_of_incident_can_be_stored(store: Store) -> None:
    add_project(store, "shop")
    with store.write() as tx:
        task = tasks.add(
            tx, project="shop", title="t", description="", role=Role.ENGINEER, deliverable=1, by="pm", now=NOW
        )
        for verdict in GateVerdict:
            tasks.record_gate_run(
                tx,
                task=task,
                commit="c",
                candidate=None,
                verdict=verdict,
                report={},
                started_at=NOW,
                ended_at=NOW,
            )
        for kind in IncidentKind:
            incidents.record(tx, kind, now=NOW)
    assert [run.verdict for run in tasks.gate_runs_of(store, task)] == list(GateVerdict)
    assert [row.kind for row in incidents.listed(store)] == list(IncidentKind)[::-1]


def test_a_planned_task_has_an_event_without_a_source(store: Store) -> None:
    add_project(store, "shop")
    with store.write() as tx:
        task = tasks.add(
            tx, project="shop", title="t", description="", role=Role.ENGINEER, deliverable=1, by="pm", now=NOW
        )
        tasks.move(tx, task, TaskState.PARKED, by="pm", reason="", now=NOW)
    found = [(event.source, event.target) for event in tasks.events(store, task)]
    assert found == [(None, TaskState.PLANNED), (TaskState.PLANNED, TaskState.PARKED)]
