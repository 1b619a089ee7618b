"""The nonce manager against a clock that is stepped, a server that is asked now and then, and a venue that checks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition

from machines.clock import ManualClock
from machines.errors import NonceOutsideWindow
from machines.nonce import Drift, NonceManager
from tests.stateful.record import RECORD, Explorer, rule
from tests.stateful.venue import DAY_MS, MARGIN_MS, TRUE_ORIGIN_MS, Venue

CLOCK_ERRORS = (0, 2_000, -2_001, 5_000, -5_001, 5_001, DAY_MS, -3 * DAY_MS)
HELD_UP_S = 0.001
"""How long one thread is held up inside the nonce manager, while another one asks for a nonce too."""
MOST_MEETINGS = 3
"""How often threads meet in one run: each time costs what the first one is held up."""


class GatedClock(ManualClock):
    """A clock that can hold up the next thread that reads it."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self.reached = Event()
        self.gate: Event | None = None

    def hold_up_next_reader(self) -> Event:
        """The event that lets the next thread to read the clock go on."""
        self.reached.clear()
        self.gate = Event()
        return self.gate

    def now_ms(self) -> int:
        """Unix time in ms."""
        gate, self.gate = self.gate, None
        now = super().now_ms()
        if gate is not None:
            self.reached.set()
            gate.wait()
        return now


class Nonces(Explorer):
    """`nonce = max(last + 1, approximate server time)`, whatever the clock does (findings N1 to N5)."""

    @initialize(
        last=st.sampled_from((0, TRUE_ORIGIN_MS, TRUE_ORIGIN_MS + DAY_MS)),
        error_ms=st.sampled_from((0, 1_000, -3_000)),
    )
    def begin(self, last: int, error_ms: int) -> None:
        self.clock = GatedClock(TRUE_ORIGIN_MS + error_ms)
        self.venue = Venue(self.clock)
        self.nonces = NonceManager(self.clock, last)
        self.last = last
        self.offset_ms = 0
        self.meetings = 0
        self.misled = last > TRUE_ORIGIN_MS

    def expected(self, *, second: bool = False) -> int | None:
        """The nonce that has to come next, or after that one; None if the venue would refuse it."""
        server_time = self.clock.now_ms() + self.offset_ms
        nonce = max(self.last + 1, server_time) + second
        return nonce if nonce < server_time + DAY_MS - MARGIN_MS else None

    def check(self, nonce: int) -> None:
        """A nonce is above all before it, and the venue takes it, unless the clock was off by days and not synced."""
        assert nonce > self.last
        self.last = nonce
        self.misled |= abs(self.clock.now_ms() + self.offset_ms - self.venue.now_ms) > DAY_MS // 2
        error = self.venue.spend(nonce)
        assert self.misled or error is None, error

    @rule(times=st.integers(1, 4))
    def nonces_are_issued(self, times: int) -> None:
        for _ in range(times):
            expected = self.expected()
            if expected is None:
                RECORD.sometimes("no nonce is legal")
                with pytest.raises(NonceOutsideWindow):
                    self.nonces.next()
            else:
                assert self.nonces.next() == expected
                self.check(expected)

    @rule()
    @precondition(lambda self: self.expected(second=True) is not None and self.meetings < MOST_MEETINGS)
    def two_threads_ask_at_once(self) -> None:
        self.meetings += 1
        gate = self.clock.hold_up_next_reader()
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(self.nonces.next)
            self.clock.reached.wait(HELD_UP_S)
            second = threads.submit(self.nonces.next)
            wait([second], HELD_UP_S)
            gate.set()
        for nonce in sorted((first.result(), second.result())):
            self.check(nonce)

    @rule(error_ms=st.sampled_from(CLOCK_ERRORS), latency_ms=st.sampled_from((0, 200)))
    def clock_is_stepped_and_synced(self, error_ms: int, latency_ms: int) -> None:
        self.set_clock(error_ms)
        server_time = self.venue.now_ms - latency_ms
        self.offset_ms = server_time - self.clock.now_ms()
        self.last = max(self.last, server_time)
        off = abs(self.offset_ms)
        expected = Drift.ERROR if off > 5_000 else Drift.WARN if off > 2_000 else Drift.OK
        RECORD.sometimes(f"drift {expected.value}")
        assert self.nonces.sync(server_time) is expected

    @rule(error_ms=st.sampled_from(CLOCK_ERRORS))
    def clock_is_stepped(self, error_ms: int) -> None:
        self.set_clock(error_ms)

    def set_clock(self, error_ms: int) -> None:
        """The local clock is off the true time by `error_ms`."""
        self.clock.step_unix(self.venue.now_ms + error_ms - self.clock.now_ms())

    @rule(ms=st.sampled_from((1, 100, 60_000)))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms)

    @invariant()
    def counter_and_offset_are_right(self) -> None:
        assert self.nonces.last == self.last
        assert self.nonces.offset_ms == self.offset_ms
        assert self.nonces.approx_server_time_ms() == self.clock.now_ms() + self.offset_ms
