"""Time as the machines see it: injected, integer milliseconds, never read from the system here.

Two readings, because they answer different questions. `now_ms` is unix time: it can be stepped by an operator or by
NTP, forward or back, and only nonces and expiries depend on it. `monotonic_ms` never falls: deadlines depend on it.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """What the machines ask of a clock; `adapters` reads the system's, tests and replays turn their own."""

    def now_ms(self) -> int:
        """Unix time in ms; may step in either direction."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary origin; never falls."""
        ...


class ManualClock:
    """A clock that moves only when told to: for tests, simulation and replay."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms

    def now_ms(self) -> int:
        """Unix time in ms."""
        return self._now_ms

    def monotonic_ms(self) -> int:
        """Milliseconds since this clock's origin."""
        return self._monotonic_ms

    def advance(self, ms: int) -> None:
        """Let `ms` ≥ 0 milliseconds pass on both readings."""
        self._now_ms += ms
        self._monotonic_ms += ms

    def step_unix(self, ms: int) -> None:
        """Step unix time by `ms`, forward or back, as an operator or NTP would; monotonic time stays."""
        self._now_ms += ms
