"""The whole OTP matrix, restart type x exit x strategy, against tables written here from OTP's manual.

Source: https://www.erlang.org/doc/system/sup_princ.html, "Restart Strategy" and "Child Specification".
"""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy.spec import ChildSpec, Exit, Restart, Tier
from supervisor.policy.strategy import Action, Forget, Start, Stop, Strategy, decide, must_restart

# The children a, b, c, d, all permanent but the one that ends. What happens after b's end, where b restarts.
WHEN_B_RESTARTS: dict[str, list[Action]] = {
    "one_for_one": [Start("b")],
    "one_for_all": [
        Stop("d"),
        Stop("c"),
        Stop("a"),
        Start("a"),
        Start("b"),
        Start("c"),
        Start("d"),
    ],
    "rest_for_one": [Stop("d"), Stop("c"), Start("b"), Start("c"), Start("d")],
}
RESTARTS = {
    ("permanent", "normal"): True,
    ("permanent", "shutdown"): True,
    ("permanent", "abnormal"): True,
    ("transient", "normal"): False,
    ("transient", "shutdown"): False,
    ("transient", "abnormal"): True,
    ("temporary", "normal"): False,
    ("temporary", "shutdown"): False,
    ("temporary", "abnormal"): False,
}
MATRIX = list(product(Restart, Exit, Strategy))


def _children(**restarts: Restart) -> list[ChildSpec]:
    return [
        ChildSpec(name, "agent", Tier.TEAM, restarts.get(name, Restart.PERMANENT))
        for name in ("a", "b", "c", "d")
    ]


def test_the_reference_table_names_every_pair() -> None:
    assert RESTARTS.keys() == {(r.value, e.value) for r, e in product(Restart, Exit)}
    assert WHEN_B_RESTARTS.keys() == {strategy.value for strategy in Strategy}


@pytest.mark.parametrize(("restart", "how"), list(product(Restart, Exit)))
def test_whether_a_child_restarts_is_what_otp_says(restart: Restart, how: Exit) -> None:
    assert must_restart(restart, how) is RESTARTS[restart.value, how.value]


@pytest.mark.parametrize(("restart", "how", "strategy"), MATRIX)
def test_the_actions_after_an_exit_are_what_otp_says(restart: Restart, how: Exit, strategy: Strategy) -> None:
    expected = WHEN_B_RESTARTS[strategy] if RESTARTS[restart.value, how.value] else [Forget("b")]
    assert decide(strategy, _children(b=restart), "b", how) == expected


@pytest.mark.parametrize(
    ("exited", "expected"),
    [
        ("a", "stop d, stop c, stop b, start a, start b, start c, start d"),
        ("c", "stop d, start c, start d"),
        ("d", "start d"),
    ],
)
def test_rest_for_one_takes_along_those_started_later_alone(exited: str, expected: str) -> None:
    actions = decide(Strategy.REST_FOR_ONE, _children(), exited, Exit.ABNORMAL)
    assert ", ".join(f"{type(action).__name__.lower()} {action.name}" for action in actions) == expected


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_temporary_companion_is_stopped_and_forgotten(strategy: Strategy) -> None:
    actions = decide(strategy, _children(c=Restart.TEMPORARY), "b", Exit.ABNORMAL)
    assert Stop("c") in actions
    assert Forget("c") in actions
    assert Start("c") not in actions


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_a_transient_companion_that_was_stopped_starts_again(strategy: Strategy) -> None:
    actions = decide(strategy, _children(c=Restart.TRANSIENT), "b", Exit.ABNORMAL)
    assert actions.index(Stop("c")) < actions.index(Start("c"))


def test_an_only_child_restarts_alone_under_every_strategy() -> None:
    only = [ChildSpec("only", "agent", Tier.TEAM)]
    for strategy in Strategy:
        assert decide(strategy, only, "only", Exit.ABNORMAL) == [Start("only")]


@given(
    restarts=st.lists(st.sampled_from(Restart), min_size=1, max_size=8),
    data=st.data(),
    how=st.sampled_from(Exit),
    strategy=st.sampled_from(Strategy),
)
def test_stops_run_backwards_then_starts_forwards_and_nobody_is_named_twice(
    restarts: list[Restart], data: st.DataObject, how: Exit, strategy: Strategy
) -> None:
    children = [ChildSpec(f"c{i}", "agent", Tier.TEAM, restart) for i, restart in enumerate(restarts)]
    order = [child.name for child in children]
    exited = data.draw(st.sampled_from(order))
    actions = decide(strategy, children, exited, how)
    kinds = [type(action) for action in actions]
    assert kinds == sorted(kinds, key=[Stop, Forget, Start].index)
    stops = [order.index(action.name) for action in actions if isinstance(action, Stop)]
    starts = [order.index(action.name) for action in actions if isinstance(action, Start)]
    assert stops == sorted(set(stops), reverse=True)
    assert starts == sorted(set(starts))
    assert order.index(exited) not in stops
    forgotten = {action.name for action in actions if isinstance(action, Forget)}
    assert forgotten.isdisjoint(order[i] for i in starts)
