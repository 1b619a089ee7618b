"""Simulated time: what is to happen, in order, and the clock of the executor's machine.

The timeline's own `now` is the venue's time. The executor sees it through a `ManualClock`, whose unix reading faults
may step and let drift; its monotonic reading is true, because what hardware clocks lose in ten seconds is far less than
a millisecond.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from adapters.simulation.errors import PromiseBroken
from machines.clock import ManualClock

_AT_ONCE: Final = 1_000
BEGIN_MS: Final = 1_700_000_000_000


class Timeline:
    """The agenda; what is due at the same millisecond happens in the order in which it was put down.

    Attributes:
        now: The venue's time, unix ms.
        clock: The clock of the machine on which the executor runs.
    """

    def __init__(self) -> None:
        """Begin with an empty agenda."""
        self.now = BEGIN_MS
        self.clock = ManualClock(BEGIN_MS)
        self._agenda: list[tuple[int, int, Callable[[], object]]] = []
        self._serial = 0

    @property
    def skew_ms(self) -> int:
        """How far the machine's unix time is ahead of the venue's, ms."""
        return self.clock.now_ms() - self.now

    def after(self, ms: int, action: Callable[[], object]) -> None:
        """Do `action` in `ms` milliseconds."""
        self.at(self.now + ms, action)

    def at(self, when: int, action: Callable[[], object]) -> None:
        """Do `action` at venue time `when`, or now if that is over."""
        self._serial += 1
        heapq.heappush(self._agenda, (max(when, self.now), self._serial, action))

    def run_until(self, end: int) -> None:
        """Let time pass until `end`, and do what is due.

        Raises:
            PromiseBroken: What is done at one moment does not come to an end.
        """
        at_once = 0
        while self._agenda and self._agenda[0][0] <= end:
            when, _, action = heapq.heappop(self._agenda)
            at_once = at_once + 1 if when == self.now else 0
            if at_once > _AT_ONCE:
                raise PromiseBroken("TimeGoesOn", f"{at_once} things were done within a millisecond, and more are due")
            self._advance(when)
            action()
        self._advance(end)

    def _advance(self, when: int) -> None:
        self.clock.advance(when - self.now)
        self.now = when
