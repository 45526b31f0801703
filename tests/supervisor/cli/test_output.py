"""What commands print for people."""

from __future__ import annotations

from supervisor.cli.output import table


def test_columns_of_a_table_line_up_whatever_the_width_of_their_characters() -> None:
    rows = [("a", "1"), ("測試", "2"), ("e\u0301té", "3"), ("👍🏽", "4"), ("", "5"), ("x\x1b\u200by", "6")]
    assert table(("task", "n"), rows) == [
        "TASK  N",
        "a     1",
        "測試  2",
        "e\u0301té   3",
        "👍🏽    4",
        "-     5",
        "xy    6",
    ]
