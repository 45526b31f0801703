"""Checks before work begins: the sandbox must confine commands, and the model server must have the models."""

from __future__ import annotations

import time
from typing import Any

from actors.home import Home
from actors.settings import Config
from store import facts
from store.engine import Store
from supervisor.errors import NotReady

PROBE_TIMEOUT_S = 5.0


def observe_sandbox(store: Store, config: Config, home: Home) -> None:
    """Test the sandbox and store the result as the fact `sandbox`; called at each start of the supervisor.

    Raises `NotReady` if commands cannot be confined, unless `--unsafe` or `[sandbox] mode = "off"` is set.
    """
    from actors.sandbox.choose import choose
    from actors.sandbox.errors import SandboxUnavailable
    from actors.sandbox.from_config import policy_of
    from actors.sandbox.selftest import self_test

    unsafe = config.sandbox.mode == "off"
    with store.write() as tx:
        facts.put(tx, facts.MODEL_HOSTS, list(config.model.hosts), now=time.time())
        facts.put(tx, facts.MODEL_SLOTS, config.model.slots, now=time.time())
    try:
        report = self_test(
            choose(policy_of(config, home.path), unsafe=unsafe), tmux_socket=home.run / "tmux.sock"
        )
    except SandboxUnavailable as error:
        _keep(store, {"mode": "none", "holds": False, "error": str(error), "summary": str(error)})
        raise NotReady(str(error)) from error
    _keep(store, report.as_json() | {"summary": report.summary})
    if not report.holds and not unsafe:
        raise NotReady(
            f"the sandbox does not confine commands: {report.summary}. Run `nightcrew doctor` for details; "
            "`--unsafe` runs commands without a sandbox, with all permissions of your user account"
        )


def _keep(store: Store, fact: dict[str, Any]) -> None:
    with store.write() as tx:
        facts.put(tx, facts.SANDBOX, fact, now=time.time())


def check_model(config: Config) -> tuple[str, ...]:
    """Check that the hosts have every model that a role uses; returns warnings. Creates nothing.

    Raises `NotReady` with what is missing and the commands that fix it.
    """
    from actors.model.admin import probe

    found = [probe(host, PROBE_TIMEOUT_S) for host in config.model.hosts]
    reachable = [host for host in found if host.error is None]
    if not reachable:
        reasons = "; ".join(str(host.error) for host in found)
        raise NotReady(
            f"no model server answers: {reasons}\n"
            "  start it:          ollama serve        (get it from https://ollama.com/download)\n"
            "  or use another:    OLLAMA_HOST=host:port, or hosts = [...] in [model] of nightcrew.toml\n"
            "  then check again:  nightcrew doctor"
        )
    lacking = {host.url: missing_models(config.model.names(), host.models) for host in reachable}
    if any(lacking.values()):
        raise NotReady(_missing_text(lacking))
    return tuple(
        f"{host.url} does not answer and is not used until it does: {host.error}"
        for host in found
        if host.error
    )


def missing_models(wanted: tuple[str, ...], present: tuple[str, ...]) -> tuple[str, ...]:
    """The models of `wanted` that are not in `present`. A name without a tag means `:latest`."""
    known = {_whole_name(name) for name in present}
    return tuple(name for name in wanted if _whole_name(name) not in known)


def _whole_name(name: str) -> str:
    lowered = name.lower()
    return lowered if ":" in lowered.rpartition("/")[2] else f"{lowered}:latest"


def _missing_text(lacking: dict[str, tuple[str, ...]]) -> str:
    lines = []
    for url, names in lacking.items():
        for name in names:
            lines.append(f"{url} does not have the model {name}")
    commands = sorted({f"  ollama pull {name}" for names in lacking.values() for name in names})
    return "\n".join([*lines, "  download it:  nightcrew doctor --pull", "  or by hand:", *commands])


def screen_warning(config: Config) -> str | None:
    """A warning if tmux is missing, else None. The crew works without it, but has no windows."""
    import shutil

    if not config.tmux.enabled or shutil.which("tmux") is not None:
        return None
    return (
        "tmux was not found on PATH; the crew works without it, but there are no windows to watch. Install it: "
        "`apt install tmux` (Debian, Ubuntu), `dnf install tmux` (Fedora), `brew install tmux` (macOS)"
    )
