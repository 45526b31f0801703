"""The rows as people read them: fixed columns, one line a row. Pure."""

from __future__ import annotations

from tests.benchmarks.harness.rows import Row

HEADER = (
    f"{'what':<62} {'value':>9} {'unit':<8} {'peer or limit':<34} {'there':>9} {'ratio':>8} {'bar':<12} met"
)


def line(row: Row) -> str:
    """One row; what there is not stays empty. A note follows on a line of its own."""
    beside = row.beside.name if row.beside else ""
    there = number(row.beside.value) if row.beside else ""
    ratio = "" if row.ratio is None else f"{number(row.ratio)} x"
    met = {True: "yes", False: "NO", None: ""}[row.met]
    text = (
        f"{row.name:<62} {number(row.value):>9} {row.unit:<8} {beside:<34} {there:>9} {ratio:>8} "
        f"{row.bar_text:<12} {met}"
    ).rstrip()
    return f"{text}\n    ({row.note})" if row.note else text


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
