"""`nightcrew doctor`: checks the setup and says how to fix what is missing.

Changes nothing (the sandbox's self-test removes its own files), except `pull_missing`, which downloads models.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from actors.disk import MB
from actors.home import Home
from actors.model.admin import HostStatus, PullProgress, probe, pull, show_model
from actors.settings import Config
from supervisor.health.preflight import PROBE_TIMEOUT_S, missing_models

if TYPE_CHECKING:
    from store.upkeep.backup import Backup

State = Literal["ok", "warning", "missing"]
LOW_SPACE_BYTES = 1_000_000_000
LONG_WAL_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `missing`: the crew cannot work; `warning`: it can. `fix`: what to do."""

    name: str
    state: State
    detail: str
    fix: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(home: Home, config: Config) -> Iterator[Finding]:
    """Run the checks one after the other, the quick ones first, and yield each result at once."""
    yield Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield _git()
    yield _tmux(config)
    yield from _home(home, config)
    yield from _store(home)
    yield _supervisor(home)
    yield _sandbox(home, config)
    yield from _models(config)


def _git() -> Finding:
    from actors.git.command import git_version
    from actors.git.errors import GitError, WorkspaceError
    from actors.git.repository import require_git

    try:
        require_git()
    except (WorkspaceError, GitError) as error:
        return Finding("git", "missing", str(error), "install git, for example: sudo apt install git")
    return Finding("git", "ok", ".".join(str(part) for part in git_version()))


def _tmux(config: Config) -> Finding:
    from actors.screen.errors import TmuxMissing

    if not config.tmux.enabled:
        return Finding("tmux", "ok", "switched off in the configuration")
    path = shutil.which("tmux")
    if path is None:
        what, _, fix = str(TmuxMissing()).partition(". Install it: ")
        return Finding("tmux", "warning", what, fix)
    answer = subprocess.run([path, "-V"], capture_output=True, text=True, check=False, timeout=10)
    return Finding("tmux", "ok", f"{answer.stdout.strip().removeprefix('tmux ')} at {path}")


def _home(home: Home, config: Config) -> Iterator[Finding]:
    # The nearest existing folder: a missing home can be created if that one is writable.
    folder = next(path for path in (home.path, *home.path.parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        fix = "make it writable, or set NIGHTCREW_HOME to another directory"
        yield Finding("home", "missing", f"{folder} is not writable", fix)
        return
    yield Finding(
        "home", "ok", f"{home.path}" + ("" if folder == home.path else " (will be created at the first `up`)")
    )
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free at {folder}"
    least = config.retention.min_free_mb
    if free < least * MB:
        fix = f"free some disk space: below {least} MB (min_free_mb in [retention]) the crew pauses"
        yield Finding("disk", "missing", detail, fix)
    elif free < LOW_SPACE_BYTES:
        yield Finding("disk", "warning", detail, "free some disk space for worktrees and history")
    else:
        yield Finding("disk", "ok", detail)


def _store(home: Home) -> Iterator[Finding]:
    from store.engine.header import check_file
    from store.errors import StoreError, StoreMissing, StoreVersionMismatch
    from store.upkeep import backup
    from store.upkeep.checkup import check

    try:
        check_file(home.store)
    except StoreMissing:
        yield Finding("store", "ok", "none yet; created at the first `up`")
        return
    except StoreVersionMismatch as error:
        yield Finding("store", "warning", str(error))
        return
    except StoreError as error:
        yield Finding("store", "missing", str(error), _restore(home, backup.listed(home.backups)))
        return
    copies = backup.listed(home.backups)
    try:
        found = check(home.store)
    except StoreError as error:
        yield Finding("store", "missing", str(error), _restore(home, copies))
        return
    if found.problems:
        detail = f"{home.store} is damaged: {'; '.join(found.problems)}"
        yield Finding("store", "missing", detail, _restore(home, copies))
    else:
        sizes = f"{found.size_bytes / MB:.1f} MB and a write-ahead log of {found.wal_bytes / MB:.1f} MB"
        detail = f"{home.store}, not damaged, {sizes}"
        is_long = found.wal_bytes > LONG_WAL_BYTES
        fix = "a process has been reading it for very long; run `nightcrew down` and `nightcrew up`"
        yield Finding("store", "warning" if is_long else "ok", detail, fix if is_long else None)
    yield _backups(copies)


def _supervisor(home: Home) -> Finding:
    from store.engine import Store
    from store.errors import StoreError
    from supervisor.health import status

    found = status.holder(home)
    if found is None:
        return Finding("supervisor", "ok", "not running; start it with `nightcrew up`")
    try:
        store = Store(home.store)
    except StoreError:
        return Finding(
            "supervisor", "ok", f"process {found.pid}"
        )  # the store's own check reports what is wrong with it
    try:
        why = status.not_responding(found, store)
    finally:
        store.close()
    if why is not None:
        return Finding("supervisor", "missing", f"process {found.pid}: {why.reason}", why.fix)
    return Finding("supervisor", "ok", f"process {found.pid}, since {status.iso(found.since)}")


def _restore(home: Home, copies: Sequence[Backup]) -> str:
    if not copies:
        return f"no backup in {home.backups}; move the file away, and `nightcrew up` creates a new store"
    return f"nightcrew down; rm -f {home.store}-wal {home.store}-shm; cp {copies[0].path} {home.store}"


def _backups(copies: Sequence[Backup]) -> Finding:
    if not copies:
        return Finding("backup", "ok", "none yet; a running crew makes one each night")
    age_d = (time.time() - copies[0].at) / 86_400
    return Finding("backup", "ok", f"{copies[0].path}, {age_d:.1f} days old, {len(copies)} kept")


def _sandbox(home: Home, config: Config) -> Finding:
    from actors.sandbox.choose import choose
    from actors.sandbox.errors import SandboxUnavailable
    from actors.sandbox.from_config import policy_of
    from actors.sandbox.selftest import self_test

    if config.sandbox.mode == "off":
        return Finding(
            "sandbox",
            "warning",
            '`[sandbox] mode = "off"`: commands run with all permissions of your user account',
        )
    try:
        report = self_test(choose(policy_of(config, home.path)), tmux_socket=home.run / "tmux.sock")
    except SandboxUnavailable as error:
        return Finding("sandbox", "missing", str(error))
    return Finding("sandbox", "ok" if report.holds else "missing", report.summary)


def _models(config: Config) -> Iterator[Finding]:
    found = [probe(host, PROBE_TIMEOUT_S) for host in config.model.hosts]
    down: State = "missing" if all(host.error for host in found) else "warning"
    for host in found:
        if host.error is not None:
            yield Finding(
                "model host", down, host.error, "start it with `ollama serve` (https://ollama.com/download)"
            )
            continue
        yield Finding("model host", "ok", f"{host.url}, version {host.version or 'unknown'}")
        yield from _models_of(host, config)


def _models_of(host: HostStatus, config: Config) -> Iterator[Finding]:
    lacking = missing_models(config.model.names(), host.models)
    for name in config.model.names():
        if name in lacking:
            fix = f"nightcrew doctor --pull, or: ollama pull {name}"
            yield Finding("model", "missing", f"{name} is not on {host.url}", fix)
        else:
            yield _model(host, name, config)


def _model(host: HostStatus, name: str, config: Config) -> Finding:
    """Whether an installed model can call tools and has a large enough context window."""
    from actors.model.errors import ModelError

    try:
        facts = show_model(host.url, name, config.model.request_limits())
    except ModelError as error:
        return Finding(
            "model", "warning", f"{name} is on {host.url}, but its details cannot be read: {error}"
        )
    if facts.capabilities and "tools" not in facts.capabilities:
        fix = "use another model, or a build whose template supports tools"
        return Finding("model", "warning", f"{name} does not declare support for tools", fix)
    window = config.model.context_window
    if facts.context_length is not None and facts.context_length < window:
        fix = f"set context_window in [model] to {facts.context_length}"
        return Finding(
            "model",
            "missing",
            f"{name} has a context window of {facts.context_length} tokens, less than {window}",
            fix,
        )
    return Finding("model", "ok", f"{name} on {host.url}, context window {window} tokens")


def pull_missing(config: Config) -> Iterator[tuple[str, str, PullProgress]]:
    """Download missing models to the reachable hosts; yields (host, model, progress). Raises a `ModelError`."""
    for url in config.model.hosts:
        host = probe(url, PROBE_TIMEOUT_S)
        if host.error is not None:
            continue
        for name in missing_models(config.model.names(), host.models):
            for progress in pull(url, name, config.model.request_limits()):
                yield host.url, name, progress
