"""What must be true before work begins: a sandbox that holds, and a model server that has the models."""

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
    """Try the sandbox and keep what was seen as the fact `sandbox`; called at each supervisor's start.

    Raises `NotReady` with the fix if commands cannot be confined and nobody asked for that (`--unsafe`).
    """
    from actors.agent.workspace import policy_of
    from actors.sandbox.choose import choose
    from actors.sandbox.errors import SandboxUnavailable
    from actors.sandbox.selftest import self_test

    unsafe = config.sandbox.mode == "off"
    with store.write() as tx:
        facts.put(tx, "model_hosts", list(config.model.hosts), now=time.time())
        facts.put(tx, "model_slots", config.model.slots, now=time.time())
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
            f"the sandbox does not hold: {report.summary}. See `nightcrew doctor`; `--unsafe` runs commands "
            "without any sandbox, with all your rights"
        )


def _keep(store: Store, fact: dict[str, Any]) -> None:
    with store.write() as tx:
        facts.put(tx, "sandbox", fact, now=time.time())


def check_model(config: Config) -> tuple[str, ...]:
    """Ask the hosts for every model that a role uses; returns warnings. Nothing is created before it.

    Raises `NotReady` with what is missing and the commands that mend it.
    """
    from actors.model.admin import probe

    found = [probe(host, PROBE_TIMEOUT_S) for host in config.model.hosts]
    there = [host for host in found if host.error is None]
    if not there:
        said = "; ".join(str(host.error) for host in found)
        raise NotReady(
            f"no model server answers: {said}\n"
            "  start it:            ollama serve        (get it from https://ollama.com/download)\n"
            "  or name another one: OLLAMA_HOST=host:port, or hosts = [...] in [model] of nightcrew.toml\n"
            "  then look again:     nightcrew doctor"
        )
    lacking = {host.url: missing_models(config.model.names(), host.models) for host in there}
    if any(lacking.values()):
        raise NotReady(_missing_text(lacking))
    return tuple(
        f"{host.url} does not answer and is left out until it does: {host.error}"
        for host in found
        if host.error
    )


def missing_models(wanted: tuple[str, ...], present: tuple[str, ...]) -> tuple[str, ...]:
    """Which of `wanted` a host does not have; `:latest` may be left out on either side."""
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
    return "\n".join([*lines, "  get it with progress:  nightcrew doctor --pull", "  or by hand:", *commands])


def screen_warning(config: Config) -> str | None:
    """What to say of tmux: without it there are no windows, and the crew works all the same."""
    import shutil

    if not config.tmux.enabled or shutil.which("tmux") is not None:
        return None
    return (
        "tmux is not on PATH; the crew works without it, but there are no windows to watch. Install it: "
        "`apt install tmux` (Debian, Ubuntu), `dnf install tmux` (Fedora), `brew install tmux` (macOS)"
    )
