"""Structured logs: `log.info("child_restarted", actor="engineer-1", reason="exit:137")`.

`events.py` writes one JSON line per event into append-only files, `files.py` rotates them, `format.py` makes a line
readable for people. The one thing to know: writing needs no thread, queue or lock, so no process can block another.
"""

from actors.log.events import configure, error, event, info, log_path, register, release, warning

__all__ = ["configure", "error", "event", "info", "log_path", "register", "release", "warning"]
