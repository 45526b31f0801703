"""`python -m tests.benchmarks [--json FILE] [--only NAME ...] [--quick]`: the benchmark table.

Prints one row a figure: what it is, its value, the peer or limit measured beside it in the same run, the
ratio, the bar and whether it was met. A missed bar is shown and is no error; the exit status is 1 if a
benchmark could not run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks import (
    command_line,
    commands,
    crowd,
    durable,
    history,
    latency,
    loop,
    recovery,
    start,
    windows,
)
from tests.benchmarks.harness import machine
from tests.benchmarks.harness.rows import Row
from tests.benchmarks.harness.table import HEADER, line

Benchmark = Callable[[bool], Iterator[Row]]
BENCHMARKS: dict[str, Benchmark] = {
    "recovery": recovery.measure,
    "durable": durable.measure,
    "latency": latency.measure,
    "windows": windows.measure,
    "history": history.measure,
    "crowd": crowd.measure,
    "cli": command_line.measure,
    "sandbox": commands.measure,
    "loop": loop.measure,
    "start": start.measure,
}


def main(arguments: list[str]) -> int:
    """Run what was asked for; returns the exit status."""
    asked = _asked(arguments)
    facts = machine.facts(Path(tempfile.gettempdir()))
    print("; ".join(f"{name}: {value}" for name, value in facts.items()))
    print(HEADER, flush=True)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    began = time.monotonic()
    for name in asked.only or BENCHMARKS:
        try:
            for row in BENCHMARKS[name](asked.quick):
                rows.append(row)
                print(line(row), flush=True)
        except Exception as error:  # noqa: BLE001 - one that cannot run must not hide the others' figures
            failed[name] = f"{type(error).__name__}: {error}"
            print(f"!! {name} could not run: {failed[name]}", flush=True)
    _summarise(rows, failed, time.monotonic() - began)
    if asked.json is not None:
        content = [{**row.as_json(), "machine": facts} for row in rows]
        asked.json.write_text(json.dumps(content, indent=1) + "\n")
    return 1 if failed else 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/test --benchmarks", description="The crew's own cost.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    parser.add_argument(
        "--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS)
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats: does it run, not how fast")
    return parser.parse_args(arguments)


def _summarise(rows: list[Row], failed: dict[str, str], took_s: float) -> None:
    judged = [row for row in rows if row.met is not None]
    missed = [row.name for row in judged if not row.met]
    print(f"\n{len(judged) - len(missed)} of {len(judged)} bars met, {took_s:.0f} s")
    for name in missed:
        print(f"missed: {name}")
    for name, reason in failed.items():
        print(f"could not run: {name}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
