"""How long to wait after a failure before the next attempt. Pure: random numbers are passed in."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_EXPONENT = 32  # the failures of a long outage would overflow a float


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff: each failure in a row multiplies the pause by `factor`, up to `max_s` seconds.

    The pause is also multiplied by a random number in the range `jitter`, so that processes that failed together
    do not try again together.
    """

    first_s: float
    max_s: float
    factor: float = 2.0
    jitter: tuple[float, float] = (0.5, 1.0)

    def pause_s(self, failures: int, draw: float) -> float:
        """Seconds to wait after `failures` failures in a row, 0 after none. `draw` is a random number in [0, 1]."""
        if failures < 1:
            return 0.0
        low, high = self.jitter
        pause_s: float = min(self.max_s, self.first_s * self.factor ** min(failures - 1, _MAX_EXPONENT))
        return pause_s * (low + (high - low) * draw)

    @property
    def longest_s(self) -> float:
        """The longest pause. A time that is further ahead was computed before the clock was set back."""
        return self.max_s * self.jitter[1]
