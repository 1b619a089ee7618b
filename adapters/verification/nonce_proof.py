"""What holds of nonces for **any** clock, any server time, and any number of nonces issued before.

The real `NonceManager` runs over numbers that are not known (adapters/verification/symbolic.py). Its clock answers each
question with a new unknown, so that it may stand still, run, or be stepped either way at any moment. Of what was issued
before, one unknown is left: the highest nonce. The inductive invariant is that the counter is neither below it nor
below 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from adapters.verification.symbolic import Unknowns, explore
from machines.errors import NonceOutsideWindow
from machines.nonce import DAY_MS, WINDOW_MARGIN_MS, NonceManager

Manager: TypeAlias = type[NonceManager]
Rule: TypeAlias = Callable[[Unknowns, Manager], Iterator[str]]


class AnyClock:
    """A clock of which nothing is known but the readings that it gave."""

    def __init__(self, run: Unknowns) -> None:
        """No reading was given yet."""
        self.readings: list[Any] = []
        self._run = run

    def now_ms(self) -> Any:
        """Unix time in ms: whatever, each time."""
        self.readings.append(self._run.number(f"clock reading {len(self.readings) + 1}"))
        return self.readings[-1]

    def monotonic_ms(self) -> Any:
        """Nonces do not depend on it."""
        return self._run.number("monotonic time")


class History:
    """A manager of nonces with any past that the invariant allows.

    Attributes:
        clock: Its clock.
        manager: The manager.
        highest: The highest nonce issued so far; 0 for none.
        allowed: Whether the invariant allows this past.
    """

    def __init__(self, run: Unknowns, manager: Manager) -> None:
        """Any counter; any offset, learnt from any server time."""
        self.clock = AnyClock(run)
        self.highest: Any = run.number("highest issued")
        unknown: Any = run.number
        self.manager = manager(self.clock, unknown("counter at the last sync"))
        self.manager.sync(unknown("server time of the last sync"))
        self.allowed = bool(self.sound and self.highest >= 0)

    @property
    def sound(self) -> bool:
        """The inductive invariant."""
        return bool(self.manager.last >= self.highest and self.manager.last >= 0)


def _next(run: Unknowns, manager: Manager) -> Iterator[str]:
    """Unique, increasing, inside the window; and the invariant is kept."""
    past = History(run, manager)
    if not past.allowed:
        return
    counter = past.manager.last
    try:
        nonce = past.manager.next()
    except NonceOutsideWindow:
        if past.manager.last != counter:
            yield "a nonce was refused, and the counter moved"
        return
    server_time = past.clock.readings[-1] + past.manager.offset_ms
    if nonce <= past.highest:
        yield "a nonce is not above those issued before"
    past.highest = nonce
    if not past.sound:
        yield "the counter fell behind the nonce that it issued"
    yield from _outside_the_window(run, nonce, server_time)


def _outside_the_window(run: Unknowns, nonce: Any, server_time: Any) -> Iterator[str]:
    """The venue's window (protocol.md §4) lies around its true time, which is off by less than the margin."""
    drift = run.number("error of the approximate server time")
    if drift >= -WINDOW_MARGIN_MS and drift <= WINDOW_MARGIN_MS:
        block_time = server_time + drift
        if nonce <= 0:
            yield "a nonce is not positive"
        if nonce <= block_time - 2 * DAY_MS:
            yield "a nonce is too old for the venue"
        if nonce >= block_time + DAY_MS:
            yield "a nonce is too new for the venue"


def _sync(run: Unknowns, manager: Manager) -> Iterator[str]:
    """Brings the counter and the approximate time up to the server's (findings N3, N4); the invariant is kept."""
    past = History(run, manager)
    if not past.allowed:
        return
    counter, server_time = past.manager.last, run.number("server time")
    told: Any = server_time
    past.manager.sync(told)
    if not past.sound or past.manager.last < counter:
        yield "a sync set the counter back"
    if past.manager.last < told:
        yield "a sync left the counter behind the server's time"
    if past.clock.readings[-1] + past.manager.offset_ms != told:
        yield "the offset is not server time minus local time"


def _start(run: Unknowns, manager: Manager) -> Iterator[str]:
    """A new manager keeps the invariant for the highest nonce that the journal knows."""
    highest: Any = run.number("highest in the journal")
    if highest >= 0 and manager(AnyClock(run), highest).last < highest:
        yield "a new counter begins below the highest nonce used"


RULES: Final[Mapping[str, Rule]] = {
    "NonceStart": _start,
    "NoncesUniqueIncreasingInsideWindow": _next,
    "SyncNeverSetsBack": _sync,
}


def ways(rule: str, manager: Manager = NonceManager) -> Iterator[list[str]]:
    """Every way through one rule; yields what each breaks, with an example."""

    def broken(run: Unknowns) -> list[str]:
        return [f"{flaw}: {run.example()}" for flaw in RULES[rule](run, manager)]

    return explore(broken)


class LastPlusOne(NonceManager):
    """Wrong on purpose: a counter alone (finding N2)."""

    def next(self) -> int:
        """The counter, whatever the time."""
        self._last += 1
        return self._last


class ClockAlone(NonceManager):
    """Wrong on purpose: the time alone (finding N2)."""

    def next(self) -> int:
        """The time, whatever was issued."""
        self._last = self.approx_server_time_ms()
        return self._last


class CounterLeftBehind(NonceManager):
    """Wrong on purpose: a sync that stores the offset only (finding N3)."""

    def sync(self, server_time_ms: int) -> Any:
        """The offset."""
        self._offset_ms = server_time_ms - self.clock.now_ms()
        return self.drift


class SignFlipped(NonceManager):
    """Wrong on purpose: local minus server (finding N4)."""

    @property
    def offset_ms(self) -> int:
        """The offset, with the wrong sign."""
        return -super().offset_ms


MISTAKES: Final[tuple[Manager, ...]] = (LastPlusOne, ClockAlone, CounterLeftBehind, SignFlipped)
"""Managers about which the proof must fail, or it proves nothing."""
