"""The inflight tracker against two bare counts."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from machines.errors import IllegalEvent
from machines.inflight import InflightEvent, InflightState, InflightTracker
from tests.stateful.record import RECORD, Explorer, rule

_E = InflightEvent


class Slots(Explorer):
    """Sent and quarantined stay between 0 and the limit, never wrap or saturate, and are in the right band (I1, X3)."""

    @initialize(settings=st.sampled_from(((1, 1), (2, 1), (3, 3), (5, 2), (5, 3), (5, 5))))
    def begin(self, settings: tuple[int, int]) -> None:
        self.tracker = InflightTracker(*settings)
        self.sent = 0
        self.quarantined = 0

    @rule(events=st.lists(st.sampled_from((_E.ACQUIRE, _E.ACQUIRE, *_E)), min_size=1, max_size=6))
    def posts_come_and_go(self, events: list[InflightEvent]) -> None:
        for event in events:
            self.happens(event)

    def happens(self, event: InflightEvent) -> None:
        """One post is sent or ends, or one quarantine ends; refused if there is none, or no slot."""
        possible = {
            _E.ACQUIRE: self.sent + self.quarantined < self.tracker.limit,
            _E.RELEASE: self.sent > 0,
            _E.QUARANTINE: self.sent > 0,
            _E.CLEAR: self.quarantined > 0,
        }
        act = getattr(self.tracker, event.value)
        if not possible[event]:
            RECORD.sometimes(f"a slot is refused: {event.value}")
            with pytest.raises(IllegalEvent):
                act()
            return
        act()
        self.sent += {_E.ACQUIRE: 1, _E.CLEAR: 0}.get(event, -1)
        self.quarantined += {_E.QUARANTINE: 1, _E.CLEAR: -1}.get(event, 0)

    @invariant()
    def counts_and_band_are_right(self) -> None:
        tracker = self.tracker
        occupied = self.sent + self.quarantined
        assert (tracker.count, tracker.quarantined, tracker.occupied) == (self.sent, self.quarantined, occupied)
        assert tracker.full is (occupied == tracker.limit)
        assert tracker.degraded is (occupied >= tracker.high_watermark)
        bands = ((tracker.full, InflightState.FULL), (tracker.degraded, InflightState.DEGRADED))
        rest = InflightState.NORMAL if occupied else InflightState.IDLE
        assert tracker.state is next((band for applies, band in bands if applies), rest)
