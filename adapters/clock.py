"""The clocks of a live executor: integer milliseconds, read once a turn."""

from __future__ import annotations

import time

from machines.clock import Clock


class SystemClock:
    """Reads the operating system's clocks (machines/clock.py says what each is for)."""

    def now_ms(self) -> int:
        """Unix time in ms."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary origin; never falls; the same clock as asyncio's loop time."""
        return time.monotonic_ns() // 1_000_000


class TurnClock:
    """A clock that stands still during a turn: core and journal see the same time, so that a replay sees it too.

    Attributes:
        live: The clock that it is set by.
    """

    def __init__(self, live: Clock) -> None:
        """Set it by `live` now."""
        self.live = live
        self.begin_turn()

    def begin_turn(self) -> None:
        """Set it anew."""
        self._now_ms = self.live.now_ms()
        self._monotonic_ms = self.live.monotonic_ms()

    def now_ms(self) -> int:
        """Unix time at the beginning of the turn, ms."""
        return self._now_ms

    def monotonic_ms(self) -> int:
        """Monotonic time at the beginning of the turn, ms."""
        return self._monotonic_ms
