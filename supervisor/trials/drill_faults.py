"""The faults that a drill injects, and the time until the affected actor is ready again."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from store import crew
from store.engine import Store
from store.rows import Agent
from store.states import AgentState
from supervisor.trials.drill_stage import Stage, kill

RECOVERY_TIMEOUT_S = 60.0
MODEL_DOWN_S = 1.0
DISK_FULL_S = 1.0
# Larger than usual corrections of a clock, and shorter than the shortest deadline of a busy agent.
JUMP_BACK_S, JUMP_AHEAD_S = 3600.0, 90.0
LONGEST_SLEEP_S = 8 * 3600.0

# Relative frequencies, per thousand.
WEIGHTS = {
    "agent": 760,
    "supervisor": 40,
    "zygote": 50,
    "tmux_server": 30,
    "model_server": 40,
    "stopped_agent": 20,
    "clock_jump": 20,
    "suspend": 20,
    "disk_full": 20,
}
KILLS = ("agent", "supervisor", "zygote", "tmux_server", "model_server")


@dataclass(frozen=True, slots=True)
class Hit:
    """An actor that was killed or stopped at the monotonic time `at`."""

    name: str
    generation: int
    at: float
    stopped: bool


@dataclass(slots=True)
class Recoveries:
    """The actors that are not ready again yet, and how long the others took, in milliseconds.

    An actor is ready again when its row says so under a later generation. An actor that is no longer wanted, or
    whose supervisor was killed meanwhile, is not measured.
    """

    store: Store
    waiting: dict[str, Hit] = field(default_factory=dict)
    killed_ms: list[float] = field(default_factory=list)
    stopped_ms: list[float] = field(default_factory=list)
    supervisor_ms: list[float] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def poll(self) -> None:
        """Check the waiting actors. The interval between calls is the error of the measurement."""
        now = time.monotonic()
        for name, hit in list(self.waiting.items()):
            row = crew.agent(self.store, name)
            if row.generation > hit.generation and row.state == AgentState.RUNNING:
                (self.stopped_ms if hit.stopped else self.killed_ms).append((now - hit.at) * 1000)
            elif not row.wanted:
                pass  # it was stopped on purpose
            elif now - hit.at > RECOVERY_TIMEOUT_S:
                self.late.append(f"{name} was not ready again within {RECOVERY_TIMEOUT_S:.0f} s")
            else:
                continue
            del self.waiting[name]

    def forget(self) -> None:
        """Stop measuring all actors: the supervisor was killed."""
        self.waiting.clear()


class Faults:
    """Injects faults that are drawn from a seeded source, and counts them by kind."""

    def __init__(self, stage: Stage, source: random.Random, recoveries: Recoveries) -> None:
        self.stage = stage
        self.source = source
        self.recoveries = recoveries
        self.done: Counter[str] = Counter()
        self.skipped: set[str] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._acts: dict[str, Callable[[], bool]] = {
            "agent": self._kill_agent,
            "supervisor": self._kill_supervisor,
            "zygote": lambda: _hit(self.stage.zygote_pid()),
            "tmux_server": lambda: _hit(self.stage.tmux_pid()),
            "model_server": self._kill_model,
            "stopped_agent": self._stop_agent,
            "clock_jump": self._jump,
            "suspend": self._suspend,
            "disk_full": self._fill_disk,
        }

    @property
    def kills(self) -> int:
        """The number of SIGKILLs so far."""
        return sum(self.done[kind] for kind in KILLS)

    def inject(self) -> None:
        """Inject one fault. A fault without a target at the moment is not counted."""
        (kind,) = self.source.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if self._acts[kind]():
            self.done[kind] += 1

    def undo_due(self, *, everything: bool = False) -> None:
        """Undo the faults whose time is over: start the model server, free the disk."""
        now = time.monotonic()
        due = [undo for at, undo in self._later if everything or now >= at]
        self._later = [] if everything else [(at, undo) for at, undo in self._later if now < at]
        for undo in due:
            undo()

    # -- processes -----------------------------------------------------------------------------

    def _target(self) -> Agent | None:
        rows = [row for row in self.stage.running() if row.name not in self.recoveries.waiting]
        return self.source.choice(rows) if rows else None

    def _kill_agent(self) -> bool:
        return self._send(signal.SIGKILL)

    def _stop_agent(self) -> bool:
        return self._send(signal.SIGSTOP)

    def _send(self, number: signal.Signals) -> bool:
        row = self._target()
        at = time.monotonic()
        if row is None or row.pid is None or not kill(row.pid, number):
            return False
        hit = Hit(row.name, row.generation, at, number == signal.SIGSTOP)
        self.recoveries.waiting[row.name] = hit
        return True

    def _kill_supervisor(self) -> bool:
        """Kill the supervisor, then run `nightcrew up`, as a service manager would."""
        at = time.monotonic()
        if self._later or not _hit(self.stage.supervisor_pid()):
            return False
        self.recoveries.forget()
        self.stage.nightcrew("up")
        self.recoveries.supervisor_ms.append((time.monotonic() - at) * 1000)
        return True

    def _kill_model(self) -> bool:
        if self.stage.model is None:
            return False
        self.stage.end_model()
        self._after(MODEL_DOWN_S, self.stage.start_model)
        return True

    # -- the machine ---------------------------------------------------------------------------

    def _jump(self) -> bool:
        self.stage.clock.jump(self.source.uniform(-JUMP_BACK_S, JUMP_AHEAD_S))
        return True

    def _suspend(self) -> bool:
        """Stop all processes of the crew, advance its clocks by up to hours, and continue them."""
        if self.recoveries.waiting:
            return False  # an actor that was stopped on purpose would be continued with the others
        pids = [self.stage.supervisor_pid(), self.stage.zygote_pid()]
        pids += [row.pid for row in self.stage.running()]
        frozen = [pid for pid in pids if pid is not None and kill(pid, signal.SIGSTOP)]
        self.stage.clock.sleep(self.source.uniform(60, LONGEST_SLEEP_S))
        for pid in frozen:
            kill(pid, signal.SIGCONT)
        return True

    def _fill_disk(self) -> bool:
        """Fill the home's file system for a moment."""
        if not self.stage.on_tmpfs:
            self.skipped.add("disk_full")
            return False
        if self._later:
            return False
        path = self.stage.home.path / "filled"
        with suppress(OSError), open(path, "wb", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2
        self._after(DISK_FULL_S, lambda: path.unlink(missing_ok=True))
        return True

    def _after(self, most_s: float, undo: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + self.source.uniform(0.2, most_s), undo))


def _hit(pid: int | None) -> bool:
    return pid is not None and kill(pid)
