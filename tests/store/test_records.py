"""History, journal, insights, incidents and the crew's rows."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import crew, facts, history, incidents, insights, journal
from store.engine import Fence, Store
from store.entries import Call, NoteBody, ReplyBody, ReplyCost
from store.errors import NotFound, StoreError
from store.rows import Intent
from store.states import AgentState, IncidentKind, IntentState
from tests.support.stores import NOW, add_agent, add_project, instructions, new_incarnation

FENCE = Fence("engineer", 1)


def _append(store: Store, count: int, *, agent: str = "engineer") -> list[int]:
    with store.write() as tx:
        fence = Fence(agent, 1)
        return [history.append(tx, fence, NoteBody(f"{n} " + "x" * 1000), now=NOW).id for n in range(count)]


# -- history -------------------------------------------------------------------------------------


def test_a_history_row_comes_back_as_it_was_appended(store: Store) -> None:
    cost = ReplyCost(prompt_tokens=9, total_ms=1.5)
    body = ReplyBody("zwölf ☃", (Call("shell", {"command": "ls"}),), ("cut off",), "length", cost, "host", 7)
    with store.write() as tx:
        entry = history.append(tx, FENCE, body, now=NOW, message=3, task=4)
        assert tx.recipients == {"tmux"}
    assert history.tail(store, "engineer", 0) == [entry]
    assert history.by_ids(store, [entry.id]) == [entry]
    assert history.newest(store, "engineer", most=5) == [entry]


def test_the_tail_begins_where_it_is_told_and_is_the_agents_own(store: Store) -> None:
    ids = _append(store, 5)
    _append(store, 5, agent="other")
    assert [entry.id for entry in history.tail(store, "engineer", ids[2])] == ids[2:]


def test_the_newest_are_given_oldest_first(store: Store) -> None:
    ids = _append(store, 5)
    assert [entry.id for entry in history.newest(store, "engineer", most=2)] == ids[-2:]


def test_the_screen_reads_everyones_rows_in_order_and_in_pages(store: Store) -> None:
    ids = [*_append(store, 3), *_append(store, 3, agent="other")]
    first = history.since(store, 0, most=4)
    assert [entry.id for entry in first] == ids[:4]
    assert [entry.id for entry in history.since(store, first[-1].id)] == ids[4:]
    assert history.last_id(store) == ids[-1]


def test_the_last_id_of_an_empty_history_is_zero(store: Store) -> None:
    assert history.last_id(store) == 0


def test_loading_the_tail_costs_the_same_after_ten_thousand_rows(store: Store) -> None:
    """Counted in SQLite's own instructions, so that the machine's speed has no say."""
    ids = _append(store, 20)
    before = instructions(store, lambda: history.tail(store, "engineer", ids[0]))
    _append(store, 5_000, agent="other")
    _append(store, 5_000)
    newest = _append(store, 20)
    after = instructions(store, lambda: history.tail(store, "engineer", newest[0]))
    assert after <= 1.1 * before


# -- the tool journal ----------------------------------------------------------------------------


def _reply(store: Store) -> int:
    return _append(store, 1)[0]


def _intend(store: Store, reply: int, position: int = 0) -> Intent:
    with store.write() as tx:
        return journal.intend(
            tx,
            FENCE,
            reply=reply,
            position=position,
            tool="shell",
            arguments={"command": "make"},
            evidence={"hash": "abc"},
            now=NOW,
        )


def test_an_intent_is_found_by_its_call_until_and_after_it_is_settled(store: Store) -> None:
    reply = _reply(store)
    assert journal.find(store, "engineer", reply, 0) is None
    intent = _intend(store, reply)
    found = journal.find(store, "engineer", reply, 0)
    assert found == intent
    assert (found.reply, found.position, found.tool, found.arguments, found.evidence) == (
        reply,
        0,
        "shell",
        {"command": "make"},
        {"hash": "abc"},
    )
    assert (found.state, found.generation, found.ended_at) == (IntentState.INTENDED, 1, None)
    with store.write() as tx:
        journal.end(tx, intent.id, IntentState.DONE, now=NOW)
    settled = journal.find(store, "engineer", reply, 0)
    assert settled is not None
    assert settled.state is IntentState.DONE
    assert journal.find(store, "other", reply, 0) is None
    assert journal.find(store, "engineer", reply, 1) is None


def test_one_call_cannot_be_begun_twice(store: Store) -> None:
    reply = _reply(store)
    _intend(store, reply)
    with pytest.raises(StoreError, match="UNIQUE"):
        _intend(store, reply)
    _intend(store, reply, position=1)


def test_an_intent_needs_the_reply_that_called_it(store: Store) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        _intend(store, 99)


def test_a_renewed_intent_has_fresh_evidence_and_the_new_generation(store: Store) -> None:
    reply = _reply(store)
    intent = _intend(store, reply)
    with store.write() as tx:
        journal.renew(tx, Fence("engineer", 2), intent.id, {"hash": "def"})
    found = journal.find(store, "engineer", reply, 0)
    assert found is not None
    assert (found.id, found.evidence, found.generation, found.state) == (
        intent.id,
        {"hash": "def"},
        2,
        IntentState.INTENDED,
    )


def test_open_intents_are_listed_for_the_audit(store: Store) -> None:
    reply = _reply(store)
    done, left = _intend(store, reply), _intend(store, reply, position=1)
    with store.write() as tx:
        journal.end(tx, done.id, IntentState.UNKNOWN, now=NOW)
    assert [row.id for row in journal.listed(store, IntentState.INTENDED)] == [left.id]
    assert [row.id for row in journal.listed(store, IntentState.UNKNOWN)] == [done.id]


# -- insights ------------------------------------------------------------------------------------


def _insight(store: Store, words: str) -> int:
    with store.write() as tx:
        return insights.add(tx, project="shop", author="pm.shop", words=words, now=NOW)


def test_insights_are_found_by_shared_words_best_first(store: Store) -> None:
    pytest_one = _insight(store, "Run pytest with the option -x to stop at the first failure")
    _insight(store, "The frontend is built by npm")
    both = _insight(store, "pytest option pytest option")
    found = [row.id for row in insights.search(store, "which pytest option?")]
    assert set(found) == {pytest_one, both}
    assert [row.project for row in insights.search(store, "npm")] == ["shop"]


def test_the_same_insight_is_kept_once(store: Store) -> None:
    assert _insight(store, "same") == _insight(store, "same")
    assert len(insights.listed(store)) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(query=st.one_of(st.text(), st.text(alphabet="\"*^()+-:{}AND OR NOT NEAR/abc\x00'", max_size=60)))
def test_any_text_is_a_valid_query(store: Store, query: str) -> None:
    assert isinstance(insights.search(store, query), list)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(words=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_a_valid_insight(store: Store, words: str) -> None:
    added = _insight(store, words)
    assert added in [row.id for row in insights.listed(store, most=10_000)]


# -- incidents and facts -------------------------------------------------------------------------


def test_incidents_are_listed_newest_first_and_counted_by_kind(store: Store) -> None:
    with store.write() as tx:
        incidents.record(tx, IncidentKind.AGENT_RESTARTED, now=NOW, agent="a", reason="exit:1")
        incidents.record(tx, IncidentKind.AGENT_RESTARTED, now=NOW, project="shop", needs_human=True)
        incidents.record(tx, IncidentKind.TASK_PARKED, now=NOW)
    assert [row.kind for row in incidents.listed(store)] == [
        "task_parked",
        "agent_restarted",
        "agent_restarted",
    ]
    (row,) = incidents.listed(store, project="shop")
    assert row.needs_human
    assert incidents.counts(store) == {"agent_restarted": 2, "task_parked": 1}


def test_a_fact_replaces_the_older_one(store: Store) -> None:
    assert facts.get(store, facts.SANDBOX) is None
    for value in ({"ok": False}, {"ok": True}):
        with store.write() as tx:
            facts.put(tx, facts.SANDBOX, value, now=NOW)
    assert facts.get(store, facts.SANDBOX) == {"ok": True}


# -- the crew ------------------------------------------------------------------------------------


def test_an_agent_is_added_once_and_can_be_wanted_again(store: Store) -> None:
    with store.write() as tx:
        assert crew.add_agent(tx, name="a", kind="agent", role=None, project=None, now=NOW)
        assert not crew.add_agent(tx, name="a", kind="agent", role=None, project=None, now=NOW)
        crew.change_agent(tx, "a", wanted=False, state=AgentState.QUARANTINED, reason="crashed")
        assert crew.add_agent(tx, name="a", kind="agent", role=None, project=None, now=NOW)
    row = crew.agent(store, "a")
    assert (row.wanted, row.state, row.reason) == (True, "stopped", None)


def test_each_start_raises_the_generation_by_one(store: Store) -> None:
    add_agent(store, "a")
    assert [new_incarnation(store, "a").generation for _ in range(3)] == [1, 2, 3]
    with pytest.raises(NotFound, match="no agent nobody"), store.write() as tx:
        crew.next_generation(tx, "nobody")


def test_archived_agents_are_left_out(store: Store) -> None:
    add_agent(store, "a")
    add_agent(store, "b")
    with store.write() as tx:
        crew.change_agent(tx, "a", state=AgentState.ARCHIVED)
        assert [row.name for row in crew.all_agents(tx)] == ["b"]
    assert [row.name for row in crew.all_agents(store)] == ["b"]


def test_an_agent_of_a_project_that_there_is_not_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        add_agent(store, "a", project="nowhere")
    add_project(store, "shop")
    add_agent(store, "a", project="shop")
    assert [row.name for row in crew.all_agents(store, project="shop")] == ["a"]


def test_names_that_there_are_not_are_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no project x"):
        crew.project(store, "x")
    with pytest.raises(NotFound, match="no agent x"):
        crew.agent(store, "x")
    assert crew.find_project(store, "x") is None
    assert crew.find_agent(store, "x") is None
