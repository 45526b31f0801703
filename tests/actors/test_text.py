"""Similar names. Control characters: `tests/actors/screen/test_render.py`."""

from __future__ import annotations

import time

from actors.text import did_you_mean, similar


def test_similar_names_come_in_order_and_dissimilar_ones_never() -> None:
    known = ["status", "statistics", "tasks", "send"]
    assert similar("statsu", known) == ["status", "statistics"]
    assert similar("STATSU", known, most=1) == ["status"]
    assert similar("quux", known) == []


def test_hint_is_empty_when_no_name_is_similar() -> None:
    assert did_you_mean("statsu", ["status"]) == "; did you mean 'status'?"
    assert did_you_mean("quux", ["status"]) == ""


def test_one_similar_name_is_found_among_thousands() -> None:
    known = [f"test_{number:04d}_of_many.py" for number in range(8000)]
    assert similar("test_bankin.py", [*known, "test_banking.py"])[0] == "test_banking.py"


def test_thousands_of_long_similar_names_cost_less_than_a_second() -> None:
    known = [("ab" * 100)[: 199 - number % 7] + str(number) for number in range(8000)]
    started = time.process_time()
    assert similar("ab" * 100, known)
    assert time.process_time() - started < 1.0, "comparing them all takes twenty"
