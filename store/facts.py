"""Facts: named JSON values, each overwritten by the next observation, such as the sandbox's self-test result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar

from sqlalchemy import bindparam, insert, select

from store.engine import Source, Transaction
from store.engine.prepared import Query, as_it_is
from store.schema import facts

T = TypeVar("T")


@dataclass(frozen=True)  # without slots: `Fact[int](...)` notes its type argument in the new object
class Fact(Generic[T]):
    """A fact's name, and the type of its value."""

    name: str


class DiskShort(TypedDict):
    """The folder whose file system is nearly full, so that the crew waits. Sizes are in megabytes."""

    path: str
    free_mb: int
    least_mb: int


class SleepInhibition(TypedDict):
    """Whether the machine is kept awake, and why or why not."""

    sleep_inhibited: bool
    sleep_reason: str


DISK_SHORT = Fact[DiskShort]("disk_short")
MODEL_HOSTS = Fact[list[str]]("model_hosts")  # the URLs that the latest supervisor was started with
MODEL_SLOTS = Fact[int]("model_slots")  # slots per host; 0: determined automatically
SANDBOX = Fact[dict[str, Any]]("sandbox")  # `SelfTestReport.as_json`
SLEEP = Fact[SleepInhibition]("sleep")
SUPERVISOR_GENERATION = Fact[int]("supervisor_generation")


def archived_at(project: str) -> Fact[float]:
    """When a project was archived, in UTC seconds."""
    return Fact(f"archived:{project}")


def base_checks(project: str) -> Fact[dict[str, Any]]:
    """The latest check results of a project's integration branch: a `CheckReport` as JSON."""
    return Fact(f"base:{project}")


def environment(project: str) -> Fact[dict[str, Any]]:
    """The environment that a project's commands run in: `Environment.as_json`."""
    return Fact(f"environment:{project}")


def of_project(project: str) -> tuple[Fact[Any], ...]:
    """The facts that are deleted together with a project."""
    return archived_at(project), base_checks(project), environment(project)


_FACT = Query(select(facts.c.value).where(facts.c.name == bindparam("name")), as_it_is)


def put(tx: Transaction, fact: Fact[T], value: T, *, now: float) -> None:
    """Keep `value`, in place of the older one."""
    drop(tx, fact)
    tx.execute(insert(facts), {"name": fact.name, "value": value, "updated_at": now})


def drop(tx: Transaction, fact: Fact[Any]) -> None:
    """Forget a fact; harmless if there is none."""
    tx.execute(facts.delete().where(facts.c.name == fact.name))


def get(source: Source, fact: Fact[T]) -> T | None:
    """The fact's value, None if there is none."""
    value: T | None = source.first(_FACT, {"name": fact.name})
    return value
