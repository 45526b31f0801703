"""How often a child may crash, and how long it waits before the next start. All times are passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Intensity:
    """Crashes within the window, in monotonic seconds. More than `limit` of them exhaust it."""

    limit: int
    window_s: float
    crashes: tuple[float, ...] = ()

    def record(self, now: float) -> Intensity:
        """The account with a crash at `now` added, and crashes before the window removed."""
        return replace(self, crashes=(*(at for at in self.crashes if now - at < self.window_s), now))

    def is_exhausted(self, now: float) -> bool:
        """Whether there were more than `limit` crashes in the window that ends at `now`."""
        return sum(1 for at in self.crashes if now - at < self.window_s) > self.limit

    def cleared(self) -> Intensity:
        """The account without crashes, for a child that a person restarted."""
        return replace(self, crashes=())


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with full jitter on its upper half; the first restart in a window waits for nothing."""

    first_s: float
    most_s: float

    def delay_s(self, crashes: int, jitter: float) -> float:
        """Before restart number `crashes` (1 is the first); `jitter` is a random number from 0 to 1."""
        if crashes <= 1:
            return 0.0
        # The exponent is bounded: 2 ** crashes of a long night would overflow.
        delay: float = min(self.most_s, self.first_s * 2 ** min(crashes - 2, 32))
        return delay * (0.5 + 0.5 * jitter)
