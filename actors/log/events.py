"""Write structured log events, one JSON line each, into the actor's log and the crew's log.

    log.configure("engineer-2", home / "logs")
    log.info("child_restarted", actor="engineer-1", incarnation=4, reason="exit:137")

Each process calls `configure` after its fork. A line is in the file when the call returns. A failed write, as
on a full disk, is reported on stderr and never raised.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.log.files import AppendFile
from actors.log.format import format_line

if TYPE_CHECKING:
    from loguru import Message

CREW_LOG = "crew.log"
MAX_FIELD_CHARS = 8_000
_RESERVED = frozenset({"time", "level", "source", "pid", "event", "exception"})


def configure(actor: str, directory: Path, *, level: str = "INFO", stderr: bool = False) -> None:
    """Write this process's events to `DIRECTORY/ACTOR.log` and `DIRECTORY/crew.log` from now on.

    With `stderr` they are also printed for a person, as in `nightcrew up --foreground`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    register(level)
    _SINK.open(actor, directory)
    if stderr:
        from loguru import logger

        logger.add(_StderrSink(actor), level=level, format="{message}", backtrace=False, diagnose=False)


def register(level: str = "INFO") -> None:
    """Make our sink loguru's only one. Takes 5 ms, so the zygote does it once for all its forks."""
    from loguru import logger

    if _SINK.level != level:
        logger.remove()
        logger.add(_SINK, level=level, format="{message}", backtrace=False, diagnose=False)
        _SINK.level = level


def release() -> None:
    """Close the files. Events are discarded until the next `configure`."""
    _SINK.close()


def log_path(directory: Path, actor: str | None) -> Path:
    """The log file of an actor; of the whole crew if `actor` is None."""
    return directory / (CREW_LOG if actor is None else f"{actor.replace('/', '_')}.log")


def event(level: str, name: str, /, *, exception: BaseException | None = None, **fields: Any) -> None:
    """Log one event: a name in snake_case, and fields that JSON can hold or that have a useful `str()`."""
    from loguru import (
        logger,  # not at the top: the CLI reads logs and must not spend time on importing loguru
    )

    extra = {_field_name(key): value for key, value in fields.items()}
    logger.opt(exception=exception).bind(**extra).log(level, name)


def info(name: str, /, **fields: Any) -> None:
    event("INFO", name, **fields)


def warning(name: str, /, **fields: Any) -> None:
    event("WARNING", name, **fields)


def error(name: str, /, *, exception: BaseException | None = None, **fields: Any) -> None:
    event("ERROR", name, exception=exception, **fields)


class _JsonSink:
    """A loguru sink that writes to the files that are open now. loguru calls `stop` when it removes the sink."""

    def __init__(self) -> None:
        self.level: str | None = None
        self._actor = ""
        self._files: tuple[AppendFile, ...] = ()

    def open(self, actor: str, directory: Path) -> None:
        self.close()
        self._actor = actor
        self._files = (AppendFile(log_path(directory, actor)), AppendFile(log_path(directory, None)))

    def write(self, message: Message) -> None:
        line = _json_line(self._actor, message)
        for file in self._files:
            file.write(line)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files = ()

    def stop(self) -> None:
        self.level = None
        self.close()


_SINK = _JsonSink()


class _StderrSink:
    """A loguru sink that prints events for a person."""

    def __init__(self, actor: str) -> None:
        self._actor = actor

    def write(self, message: Message) -> None:
        line = _json_line(self._actor, message).decode()
        print(format_line(line, colour=sys.stderr.isatty()), file=sys.stderr, flush=True)


def _json_line(actor: str, message: Message) -> bytes:
    record = message.record
    row: dict[str, Any] = {
        "time": record["time"].astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record["level"].name,
        "source": actor,
        "pid": os.getpid(),
        "event": record["message"],
    }
    row |= {key: _bounded(value) for key, value in record["extra"].items()}
    if record["exception"] is not None:
        row["exception"] = _bounded(str(message).partition("\n")[2].strip())
    text = json.dumps(row, ensure_ascii=False, default=str, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _field_name(key: str) -> str:
    return f"{key}_" if key in _RESERVED else key


def _bounded(value: Any) -> Any:
    """The value, a long text shortened: one event must not fill a log file."""
    if isinstance(value, str) and len(value) > MAX_FIELD_CHARS:
        half = MAX_FIELD_CHARS // 2
        return f"{value[:half]} … {len(value) - 2 * half} characters omitted … {value[-half:]}"
    return value
