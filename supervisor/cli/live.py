"""The live table of tasks on a terminal. The only module of the command line that imports rich."""

from __future__ import annotations

import time
from types import TracebackType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from store.rows import Project, Task
from supervisor.cli import output

_STYLES = {
    "merged": "green",
    "parked": "red",
    "checking": "magenta",
    "submitted": "magenta",
    "in_progress": "blue",
    "assigned": "blue",
    "planned": "dim",
}


class LiveTasks:
    """A `waiting.View`. A context manager; the last table stays on the screen."""

    def __init__(self) -> None:
        self._live = Live(refresh_per_second=4)

    def __enter__(self) -> LiveTasks:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, project: Project, rows: list[Task]) -> None:
        age = output.for_how_long(time.time() - project.created_at)
        table = Table(title=f"{project.name} · {project.state} · {age}", title_justify="left")
        for head in ("task", "state", "who", "tries", "title"):
            table.add_column(head, overflow="ellipsis", no_wrap=True)
        for row in rows:
            table.add_row(
                f"t{row.id}",
                Text(row.state.replace("_", " "), style=_STYLES.get(row.state, "")),
                (row.assignee or "").partition(".")[0],
                str(row.attempts or ""),
                # `Text`, because agents write titles and rich would read markup in a string.
                Text(output.plain(row.title)),
            )
        if not rows:
            table.add_row("", "", "", "", Text("the manager is reading the spec", style="dim"))
        self._live.update(table)
