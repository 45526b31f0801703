"""The report as one self-contained HTML page that loads nothing and runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from supervisor.cli import output, wording

TEMPLATES = Path(__file__).parent / "templates"


def as_html(found: dict[str, Any]) -> str:
    """The page of what `report.gather` returned. All values are escaped: agents wrote many of them."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: output.plain(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "duration": output.for_how_long,
        "local_time": output.local_iso,
        "times": output.times,
        "incident": wording.incident,
    }
    return environment.get_template("report.html").render(found)
