"""Structured logs, written in every process (`events`) to append-only files that rotate (`files`)."""

from actors.log.events import configure, debug, error, event, info, log_path, register, release, warning

__all__ = ["configure", "debug", "error", "event", "info", "log_path", "register", "release", "warning"]
