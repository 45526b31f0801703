"""Commands that need the store and no running crew."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from actors.home import Home, model_folder
from actors.model.hosts import tickets
from actors.model.hosts.breaker import Breaker, Health
from actors.model.hosts.slots import Slots
from actors.runtime import messages
from actors.runtime.messages import Text
from store import crew, facts, inbox, incidents, tasks, timers
from store.engine import Store
from store.states import AgentState, GateVerdict, IncidentKind, MessageState, Role, TaskState
from supervisor.cli import output
from tests.actors.git.user_repository import UserRepository
from tests.supervisor.cli.conftest import ROOT, Cli, InProcess
from tests.support.stores import NOW, message

pytestmark = pytest.mark.usefixtures("shop")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("engineer-1.shop", "engineer-1.shop"),
        ("engineer-1", "engineer-1.shop"),
        ("engineer", "engineer-1.shop"),
        ("developer-1", "engineer-1.shop"),
        ("pm", "pm.shop"),
        ("project_manager", "pm.shop"),
        ("shop:engineer-1", "engineer-1.shop"),
        ("shop:pm", "pm.shop"),
        ("orchestrator:orchestrator", "orchestrator"),
        ("orchestrator", "orchestrator"),
    ],
)
def test_an_agent_is_found_by(name: str, meant: str, store: Store) -> None:
    from supervisor.cli import names

    assert names.agent(store, name).name == meant


def test_send_stores_one_message_and_warns_if_no_crew_is_running(cli: Cli, store: Store) -> None:
    done = cli("send", "pm", "Which one is next?")
    assert done.code == 0
    assert "mailbox of pm.shop" in done.out
    assert "nightcrew up" in done.err
    row = inbox.listed(store, recipient="pm.shop")[0]
    assert (row.sender, row.state) == ("human", "ready")
    assert messages.decode(row.body) == Text(text="Which one is next?")


def test_send_with_a_key_sends_once(quick: InProcess, store: Store) -> None:
    first = quick(
        "send", "pm", "-", "--key", "k", "--priority", "urgent", "--json", stdin="from a pipe\n"
    ).json()
    assert first == {"id": first["id"], "to": "pm.shop", "state": "ready"}
    assert quick("--json", "send", "pm", "again", "--key", "k").json()["id"] == first["id"]
    assert len([row for row in inbox.listed(store, recipient="pm.shop") if row.kind == "text"]) == 1


def test_send_to_an_unknown_agent_offers_the_nearest(quick: InProcess) -> None:
    done = quick("send", "enginer-1.shop", "hi")
    assert done.code == 2
    assert "did you mean 'engineer-1.shop'" in done.err


def test_send_wait_without_a_supervisor_sends_nothing(quick: InProcess, store: Store) -> None:
    done = quick("send", "engineer-1", "hi", "--wait")
    assert done.code == 76
    assert inbox.listed(store, recipient="engineer-1.shop") == []


def test_prompt_sends_the_line_it_reads_and_an_empty_one_not(quick: InProcess, store: Store) -> None:
    assert quick("prompt", "engineer-1.shop", stdin="look at the tests\n").code == 0
    assert quick("prompt", "engineer-1.shop", stdin="\n").code == 0
    (row,) = inbox.listed(store, recipient="engineer-1.shop")
    assert row.body["text"].strip() == "look at the tests"


def test_status_lists_projects_and_agents_with_all_documented_keys(cli: Cli) -> None:
    found = cli("status", "--json").json()
    (project,) = found["projects"]
    assert project["name"] == "shop"
    assert project["state"] == "active"
    assert project["branch"] == "nightcrew/shop/integration"
    agents = {row["name"]: row for row in found["agents"]}
    assert set(agents) >= {"pm.shop", "gate.shop", "engineer-1.shop", "orchestrator", "timer", "tmux"}
    wanted = {
        "name",
        "role",
        "project",
        "state",
        "pid",
        "incarnation",
        "restarts",
        "task",
        "last_progress_at",
    }
    assert wanted <= set(agents["pm.shop"])
    assert agents["pm.shop"]["state"] == "stopped"


def test_an_agent_that_was_running_when_its_supervisor_died_is_not_shown_as_running(
    quick: InProcess, store: Store
) -> None:
    with store.write() as tx:
        crew.change_agent(tx, "pm.shop", state=AgentState.RUNNING, pid=1)
    row = next(row for row in quick("status", "--json").json()["agents"] if row["name"] == "pm.shop")
    assert (row["state"], row["pid"]) == ("stopped", None)


@pytest.fixture
def supervisor(home: Home, shop: dict[str, Any]) -> Iterator[int]:
    """The home is held as by a supervisor that began a minute ago; its pid is that of a process that idles."""
    with subprocess.Popen(["sleep", "600"]) as idle:
        try:
            held = {"pid": idle.pid, "since": time.time() - 60, "generation": 1, "ready": True}
            home.supervisor_lock.write_text(json.dumps(held))
            with home.supervisor_lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield idle.pid
        finally:
            idle.kill()


def test_status_reports_a_supervisor_that_does_not_read_its_mailbox_with_the_fix(
    quick: InProcess, store: Store, supervisor: int, home: Home
) -> None:
    assert quick("status", "--json").json()["supervisor"]["stuck"] is None
    with store.write() as tx:
        body = messages.encode(messages.ProjectChanged())
        for age_s in (20, 0):
            inbox.append(
                tx,
                sender="human",
                recipient="supervisor",
                kind="project_changed",
                body=body,
                priority=100,
                now=time.time() - age_s,
            )
    stuck = quick("status", "--json").json()["supervisor"]["stuck"]
    assert "last heartbeat 20 s ago" in stuck["reason"]
    assert stuck["fix"].startswith(f"kill -9 {supervisor}; nightcrew up")
    assert f"-> {stuck['fix']}" in quick("status").out
    # One that is still starting reads it when it has started.
    starting = json.loads(home.supervisor_lock.read_text()) | {"ready": False}
    home.supervisor_lock.write_text(json.dumps(starting))
    assert quick("status", "--json").json()["supervisor"]["stuck"] is None


@pytest.mark.usefixtures("supervisor")
def test_status_shows_a_hosts_slots_who_waits_and_its_breaker(
    quick: InProcess, home: Home, store: Store
) -> None:
    url, other = "http://127.0.0.1:1", "http://127.0.0.1:2"
    with store.write() as tx:
        facts.put(tx, facts.MODEL_HOSTS, [url, other], now=NOW)
        facts.put(tx, facts.MODEL_SLOTS, 2, now=NOW)
    folder = model_folder(home.run, url)
    breaker = Breaker(folder)
    breaker.record_failure("it hung up", unreachable=True, started_at=time.time())
    with Slots(folder, 2).acquire("engineer-1.shop", is_brief=False, cancelled=threading.Event()):
        waiting = [tickets.Ticket(folder / "queue", name, 0.0) for name in ("pm.shop", "orchestrator")]
        health = breaker.health()
        found, idle = quick("status", "--json").json()["model"]["hosts"]
        shown = quick("status").out
        for ticket in waiting:
            ticket.close()
    assert found["slots"] == {
        "total": 2,
        "in_use": 1,
        "in_use_by": ["engineer-1.shop"],
        "waiting": ["pm.shop", "orchestrator"],
    }
    assert found["breaker"]["reason"] == "it hung up"
    assert found["breaker"]["until"] in (None, output.iso(health.retry_at))  # half open when that is over
    assert "1 of 2 slots in use (engineer-1.shop), 2 waiting (pm.shop, orchestrator)" in shown
    assert idle["slots"] == {"total": 2, "in_use": 0, "in_use_by": [], "waiting": []}
    assert idle["breaker"] == {"state": "closed", "until": None, "reason": None}
    assert f"model host {other}: down, 0 of 2 slots in use" in shown


@pytest.mark.usefixtures("supervisor")
def test_a_hosts_open_breaker_is_shown_until_when(quick: InProcess, home: Home, store: Store) -> None:
    url = "http://127.0.0.1:1"
    with store.write() as tx:
        facts.put(tx, facts.MODEL_HOSTS, [url], now=NOW)
    folder = model_folder(home.run, url)
    folder.mkdir(parents=True)
    retry_at = time.time() + 25
    rests = Health(failures=1, openings=9, failed_at=time.time(), retry_at=retry_at, reason="refused")
    (folder / "health.json").write_text(json.dumps(asdict(rests)))
    (found,) = quick("status", "--json").json()["model"]["hosts"]
    assert found["breaker"] == {"state": "open", "until": output.iso(retry_at), "reason": "refused"}
    assert f"not used until {output.local(retry_at)} (refused)" in quick("status").out


def test_check_ins_are_scheduled_listed_and_cancelled(quick: InProcess, store: Store) -> None:
    once = quick("schedule", "30", "Is it done?", "--agent", "pm", "--json").json()
    again = quick("schedule", "--every", "15", "Commit", "--json").json()
    ruled = quick("schedule", "Morning", "--cron", "30 6 * * 1-5", "--json").json()
    listed = {row["id"]: row for row in quick("schedule", "list", "--json").json()}
    assert listed[once["id"]]["to"] == "pm.shop"
    assert listed[again["id"]]["every_s"] == 900
    assert listed[ruled["id"]]["cron"] == "30 6 * * 1-5"
    assert quick("schedule", "cancel", str(once["id"])).code == 0
    assert once["id"] not in {row.id for row in timers.listed(store)}
    assert quick("schedule", "cancel", str(once["id"])).code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["abc", "note"], "expected a positive number"),
        (["0", "note"], "more than 0"),
        (["30"], "expected MIN and a quoted NOTE"),
        (["30", " "], "note is empty"),
        (["note", "--cron", "99 * * * *"], "cron rule"),
        (["note", "--cron", "0 0 30 2 *"], "cron rule"),
        (["30", "note", "--cron", "0 7 * * *"], "with --cron give only the note"),
        (["30", "note", "--agent", "gate.shop"], "takes no check-ins"),
        (["30", "note", "--agent", "orchestrater"], "did you mean 'orchestrator'"),
    ],
)
def test_a_check_in_that_cannot_be_is_refused(
    words: list[str], said: str, quick: InProcess, store: Store
) -> None:
    before = timers.listed(store)
    done = quick("schedule", *words)
    assert done.code == 2
    assert said in done.err
    assert timers.listed(store) == before


def test_letters_shows_what_died_and_retry_revives_it(quick: InProcess, store: Store) -> None:
    with store.write() as tx:
        dead = inbox.append(
            tx, sender="pm.shop", recipient="engineer-1.shop", kind="text", body={}, priority=50, now=NOW
        )
    for attempt in range(inbox.ATTEMPTS):
        row = replace(message(store, dead), attempts=attempt)
        with store.write() as tx:
            inbox.record_failure(tx, row, error="it broke", now=NOW)
    (letter,) = quick("letters", "--json").json()
    assert (letter["id"], letter["error"]) == (dead, "it broke")
    assert quick("letters", "retry", str(dead)).code == 0
    assert message(store, dead).state == MessageState.READY
    assert quick("letters", "retry", str(dead)).code == 2


def test_inbox_shows_what_agents_wrote_and_marks_nothing(quick: InProcess, store: Store) -> None:
    with store.write() as tx:
        body = messages.encode(Text(text="I need a key.\x1b[2J"))
        inbox.append(tx, sender="pm.shop", recipient="human", kind="text", body=body, priority=50, now=NOW)
    for _ in range(2):
        shown = quick("inbox").out
        assert "pm.shop: I need a key." in shown
        assert "\x1b" not in shown


def test_pause_and_resume_of_a_project_reach_every_agent_that_thinks(quick: InProcess, store: Store) -> None:
    assert quick("pause", "shop").code == 0
    assert crew.project(store, "shop").state == "paused"
    assert _control(store, "engineer-1.shop") == ["pause"]
    assert _control(store, "gate.shop") == []
    assert quick("resume", "shop").code == 0
    assert crew.project(store, "shop").state == "active"
    assert _control(store, "pm.shop") == ["resume", "pause"]


def test_cancel_of_a_project_ends_it_and_keeps_its_branch(
    quick: InProcess, store: Store, repository: UserRepository
) -> None:
    assert quick("cancel", "shop", "--reason", "other plans").code == 0
    assert crew.project(store, "shop").state == "cancelled"
    assert not any(row.wanted for row in crew.all_agents(store, project="shop"))
    assert [row for row in timers.listed(store) if row.recipient == "pm.shop"] == []
    assert repository.git("rev-parse", "nightcrew/shop/integration") == repository.git("rev-parse", "main")
    assert quick("pause", "shop").code == 2
    assert quick("archive", "--json").json() == {"archived": ["shop"]}
    assert quick("status", "--json").json()["projects"][0]["state"] == "archived"


def test_stop_and_restart_change_which_agents_are_wanted(quick: InProcess, store: Store) -> None:
    assert quick("stop", "engineer-1").code == 0
    assert not crew.agent(store, "engineer-1.shop").wanted
    assert quick("restart", "engineer-1").code == 0
    assert crew.agent(store, "engineer-1.shop").wanted
    assert inbox.listed(store, recipient="supervisor")[0].body["kind"] == "restart_agent"


def test_create_adds_a_member_of_the_team(quick: InProcess, store: Store) -> None:
    done = quick("create", "reviewer-1", "--role", "Reviewer", "--project", "shop", "--json")
    assert done.json() == {"name": "reviewer-1.shop", "role": "reviewer", "project": "shop", "created": True}
    assert crew.agent(store, "reviewer-1.shop").wanted
    again = quick("create", "reviewer-1", "--role", "reviewer", "--project", "shop", "--json")
    assert again.json()["created"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["../evil", "--role", "qa", "--project", "shop"],
        ["pm", "--role", "qa", "--project", "shop"],
        ["x", "--role", "orchestrator", "--project", "shop"],
        ["x", "--role", "qa", "--project", "shopp"],
        ["engineer-1", "--role", "qa", "--project", "shop"],
    ],
)
def test_an_agent_that_cannot_be_is_not_created(words: list[str], quick: InProcess, store: Store) -> None:
    before = crew.all_agents(store)
    assert quick("create", *words).code == 2
    assert crew.all_agents(store) == before


def test_the_report_escapes_what_agents_wrote(quick: InProcess, store: Store) -> None:
    _merged_task(store, "<script>alert(1)</script>")
    page = quick.cwd / "report.html"
    assert quick("report", "--html", str(page)).code == 0
    text = page.read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{" not in text
    assert "python3 -m unittest -v test_shop" in text


def test_the_report_has_the_checks_own_word_for_each_task(quick: InProcess, store: Store) -> None:
    task_id = _merged_task(store, "Write total")
    found = quick("report", "shop", "--json").json()
    (project,) = found["projects"]
    (task,) = project["tasks"]
    assert (task["id"], task["merged_commit"], task["verified"]) == (task_id, "c" * 40, True)
    assert task["gate_runs"][0]["checks"][0]["reason"] == "1 passed"
    assert project["deliverables"] == [{"number": 1, "text": "total(prices) in shop.py", "merged": True}]
    assert "merged as cccccccccc" in quick("report").out
    (listed,) = quick("tasks", "--json").json()
    assert {"id", "project", "title", "state", "assignee", "branch", "merged_commit", "attempts"} <= set(
        listed
    )


def test_incidents_are_listed_with_those_that_need_a_person_marked(quick: InProcess, store: Store) -> None:
    with store.write() as tx:
        incidents.record(
            tx, IncidentKind.TASK_PARKED, now=NOW, project="shop", needs_human=True, reason="no idea"
        )
    assert "! " in quick("incidents").out
    (found,) = quick("incidents", "--project", "shop", "--json").json()
    assert found["detail"] == {"reason": "no idea"}


def test_info_and_history_and_log_answer_for_an_agent_that_never_ran(quick: InProcess) -> None:
    assert quick("info", "pm", "--json").json()["unread"] == 1
    assert "no history yet" in quick("history", "pm").out
    assert quick("log", "pm").code == 0


@pytest.mark.parametrize(
    ("words", "index", "expected"),
    [
        ("nightcrew send eng", "2", "engineer-1.shop"),
        ("nightcrew pause sh", "2", "shop"),
        ("nightcrew tasks ", "2", "shop"),
        ("nightcrew sta", "1", "status"),
    ],
)
def test_a_shell_completes(words: str, index: str, expected: str, cli: Cli) -> None:
    cli.env |= {"_NIGHTCREW_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": index}
    done = cli()
    assert f"plain,{expected}" in done.out.split()
    assert done.err == ""


def test_completion_is_silent_where_the_store_cannot_be_read(cli: Cli) -> None:
    cli.home.store.write_text("not a database")
    cli.env |= {"_NIGHTCREW_COMPLETE": "bash_complete", "COMP_WORDS": "nightcrew send ", "COMP_CWORD": "2"}
    done = cli()
    assert (done.out.strip(), done.err) == ("", "")


def test_a_foreign_store_is_one_line_and_left_untouched(cli: Cli) -> None:
    cli.home.store.write_text("not a database")
    done = cli("tasks", "--json")
    assert done.code == 1
    assert done.error["kind"] == "StoreForeign"
    assert cli.home.store.read_text() == "not a database"


def test_a_reader_that_goes_away_ends_the_command_quietly(cli: Cli) -> None:
    command = f"{sys.executable} -m supervisor.cli status --json --home '{cli.home.path}' | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stderr == ""


@pytest.mark.usefixtures("supervisor")
@pytest.mark.parametrize("command", ["send", "status"])
def test_the_quick_commands_import_nothing_heavy(command: str, home: Home, store: Store) -> None:
    with store.write() as tx:
        facts.put(tx, facts.MODEL_HOSTS, ["http://127.0.0.1:1"], now=NOW)
    heavy = {"rich", "ollama", "httpx", "libtmux", "alembic", "loguru", "prompt_toolkit", "psutil", "pykka"}
    heavy |= {"pydantic"}
    words = ["send", "pm", "hi"] if command == "send" else ["status"]
    program = (
        "import json, sys; from supervisor.cli import app; "
        f"app.run({[*words, '--home', str(home.path)]!r}); print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert heavy & set(json.loads(done.stdout.splitlines()[-1])) == set()


def _control(store: Store, agent: str) -> list[str]:
    return [row.kind for row in inbox.listed(store, recipient=agent) if row.priority == 100]


def _merged_task(store: Store, title: str) -> int:
    with store.write() as tx:
        task_id = tasks.add(
            tx,
            project="shop",
            title=title,
            description="",
            role=Role.ENGINEER,
            deliverable=1,
            by="pm.shop",
            now=NOW,
        )
        path: list[tuple[TaskState, dict[str, Any]]] = [
            (TaskState.ASSIGNED, {"assignee": "engineer-1.shop"}),
            (TaskState.IN_PROGRESS, {}),
            (TaskState.SUBMITTED, {}),
            (TaskState.CHECKING, {}),
            (TaskState.MERGED, {"merged_commit": "c" * 40, "verified": True}),
        ]
        for state, values in path:
            tasks.move(tx, task_id, state, by="test", reason="", now=NOW, **values)
        result = {"command": "python3 -m unittest -v test_shop", "outcome": "passed", "reason": "1 passed"}
        tasks.record_gate_run(
            tx,
            task=task_id,
            commit="a" * 40,
            candidate="c" * 40,
            verdict=GateVerdict.PASSED,
            report={"report": "all well", "checks": {"commit": "c" * 40, "results": [result]}},
            started_at=NOW,
            ended_at=NOW + 2,
        )
    return task_id
