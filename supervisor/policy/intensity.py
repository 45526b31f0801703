"""How often a child may crash before it is quarantined. All times are passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Intensity:
    """Crashes within the window, in monotonic seconds. More than `limit` of them exhaust it."""

    limit: int
    window_s: float
    crashes: tuple[float, ...] = ()

    def record(self, now: float) -> Intensity:
        """A copy with a crash at `now`, and without the crashes before the window."""
        return replace(self, crashes=(*(at for at in self.crashes if now - at < self.window_s), now))

    def is_exhausted(self, now: float) -> bool:
        """Whether there were more than `limit` crashes in the window that ends at `now`."""
        return sum(1 for at in self.crashes if now - at < self.window_s) > self.limit

    def cleared(self) -> Intensity:
        """A copy without crashes, for a child that a person restarted."""
        return replace(self, crashes=())
