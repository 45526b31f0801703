"""The report as one self-contained HTML page. Everything that is not ours is escaped: agents wrote it."""

from __future__ import annotations

from html import escape
from typing import Any

from supervisor.cli import output

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #8888; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem; }
tr { border-bottom: 1px solid #8884; } code, pre { font: 13px/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; background: #8881; padding: .6rem; }
.merged, .passed { color: #1a7f37; } .parked, .failed, .no { color: #cf222e; } .quiet { opacity: .7; }
"""


def as_html(found: dict[str, Any]) -> str:
    """The page; it loads nothing and runs nothing."""
    sandbox = found["sandbox"]
    told = sandbox["summary"] if sandbox else "never observed"
    body = "".join(_project(project) for project in found["projects"]) or "<p>No projects yet.</p>"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Nightcrew report</title><style>{_STYLE}</style></head><body>\n"
        f'<h1>Nightcrew report</h1><p class="quiet">{_text(found["made_at"])} · sandbox: {_text(told)}</p>\n'
        f"{body}</body></html>\n"
    )


def _project(project: dict[str, Any]) -> str:
    items = project["deliverables"]
    merged = sum(1 for item in items if item["merged"])
    checks = (
        ", ".join(f"<code>{_text(check)}</code>" for check in project["checks"])
        or "none: merges are unverified"
    )
    parts = [
        f"<h2>{_text(project['title'])}: {merged} of {len(items)} merged</h2>",
        f"<p>{_text(project['state'])} after {_text(output.for_how_long(project['duration_s']))}, branch "
        f"<code>{_text(project['branch'])}</code> of <code>{_text(project['repository'])}</code><br>"
        f"checks ({_text(project['checks_source'])}): {checks}</p>",
        "<ol>",
        *(
            f'<li><span class="{"merged" if item["merged"] else "no"}">'
            f"{'merged' if item['merged'] else 'not merged'}</span>: {_text(item['text'])}</li>"
            for item in items
        ),
        "</ol>",
        "<table><tr><th>task</th><th>state</th><th>what</th><th>proof</th></tr>",
        *map(_task, project["tasks"]),
        "</table>",
    ]
    if project["summary"]:
        parts.append(f"<h3>Summary</h3><pre>{_text(project['summary'])}</pre>")
    if project["incidents"] or project["restarts"]:
        parts.append(_incidents(project))
    return "\n".join(parts) + "\n"


def _task(task: dict[str, Any]) -> str:
    commit = f"merged as <code>{_text(task['merged_commit'][:10])}</code>" if task["merged_commit"] else ""
    if commit and not task["verified"]:
        commit += ' <span class="no">unverified</span>'
    runs = "".join(_gate_run(run) for run in task["gate_runs"])
    returned = f"<br>{task['attempts']} times returned" if task["attempts"] else ""
    return (
        f'<tr><td>t{task["id"]}</td><td class="{_text(task["state"])}">{_text(task["state"])}</td>'
        f'<td>{_text(task["title"])}<br><span class="quiet">{_text(task["assignee"] or "")}, '
        f"{_text(output.for_how_long(task['duration_s']))}{returned}</span></td><td>{commit}{runs}</td></tr>"
    )


def _gate_run(run: dict[str, Any]) -> str:
    text = run["report"] or "\n".join(
        f"{c['command']}: {c['outcome']} ({c['reason']})" for c in run["checks"]
    )
    return (
        f'<details><summary class="{_text(run["verdict"])}">{_text(run["verdict"])} at '
        f"<code>{_text(run['commit'][:10])}</code></summary><pre>{_text(text)}</pre></details>"
    )


def _incidents(project: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{_text(i['at'])}</td><td>{'! ' if i['needs_human'] else ''}{_text(i['kind'])}</td>"
        f"<td>{_text(i['agent'] or '')}</td>"
        f"<td>{_text(', '.join(f'{key} {value}' for key, value in i['detail'].items()))}</td></tr>"
        for i in project["incidents"]
    )
    restarts = ", ".join(f"{name} {count}" for name, count in project["restarts"].items()) or "none"
    return f"<h3>On the way</h3><p>restarts: {_text(restarts)}</p><table>{rows}</table>"


def _text(value: object) -> str:
    return escape(output.plain(str(value)))
