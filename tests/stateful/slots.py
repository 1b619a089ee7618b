"""The inflight tracker against a bare count."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from machines.errors import IllegalEvent
from machines.inflight import InflightState, InflightTracker
from tests.stateful.record import RECORD, Explorer, rule


class Slots(Explorer):
    """The count stays between 0 and the limit, is never wrapped or saturated, and is in the right band (I1, B4, B6)."""

    @initialize(settings=st.sampled_from(((1, 1), (2, 1), (3, 3), (4, 2), (5, 3), (5, 5))))
    def begin(self, settings: tuple[int, int]) -> None:
        self.tracker = InflightTracker(*settings)
        self.count = 0

    @rule(times=st.integers(1, 4))
    def slots_are_taken(self, times: int) -> None:
        for _ in range(times):
            if self.count == self.tracker.limit:
                RECORD.sometimes("a slot is refused at the limit")
                with pytest.raises(IllegalEvent):
                    self.tracker.acquire()
            else:
                self.tracker.acquire()
                self.count += 1

    @rule(times=st.integers(1, 4))
    def slots_are_given_back(self, times: int) -> None:
        for _ in range(times):
            if self.count == 0:
                RECORD.sometimes("a slot is refused back at 0")
                with pytest.raises(IllegalEvent):
                    self.tracker.release()
            else:
                self.tracker.release()
                self.count -= 1

    @invariant()
    def count_and_band_are_right(self) -> None:
        tracker = self.tracker
        assert tracker.count == self.count
        assert tracker.full is (self.count == tracker.limit)
        assert tracker.degraded is (self.count >= tracker.high_watermark)
        bands = ((tracker.full, InflightState.FULL), (tracker.degraded, InflightState.DEGRADED))
        rest = InflightState.NORMAL if self.count else InflightState.IDLE
        assert tracker.state is next((band for applies, band in bands if applies), rest)
