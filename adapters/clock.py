"""The system's clock, as the machines want it: integer milliseconds."""

from __future__ import annotations

import time


class SystemClock:
    """Reads the operating system's clocks (machines/clock.py says what each is for)."""

    def now_ms(self) -> int:
        """Unix time in ms."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary origin; never falls; the same clock as asyncio's loop time."""
        return time.monotonic_ns() // 1_000_000
