"""The one count of posts in flight: every limit and watermark, every occupation, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest

from machines.errors import IllegalEvent, InvalidSetting
from machines.inflight import INFLIGHT, InflightEvent, InflightState, InflightTracker
from tests.machines.builders import fields, tracker


@dataclass(frozen=True)
class Size:
    """A tracker of some size, with some slots held and some quarantined."""

    limit: int
    watermark: int
    count: int
    quarantined: int

    @property
    def occupied(self) -> int:
        return self.count + self.quarantined

    def tracker(self) -> InflightTracker:
        slots = tracker(self.occupied, limit=self.limit, high_watermark=self.watermark)
        for _ in range(self.quarantined):
            slots.quarantine()
        return slots

    def band(self, change: int = 0) -> InflightState:
        occupied = self.occupied + change
        if occupied == 0:
            return InflightState.IDLE
        if occupied == self.limit:
            return InflightState.FULL
        return InflightState.DEGRADED if occupied >= self.watermark else InflightState.NORMAL


SIZES = [
    Size(limit, watermark, count, quarantined)
    for limit in range(1, 5)
    for watermark in range(1, limit + 1)
    for count, quarantined in product(range(limit + 1), repeat=2)
    if count + quarantined <= limit
]
ALL_SIZES = pytest.mark.parametrize(
    "size", SIZES, ids=lambda size: f"{size.count}+{size.quarantined} of {size.limit}, watermark {size.watermark}"
)


@ALL_SIZES
def test_x3_band_follows_what_is_sent_and_quarantined(size: Size) -> None:
    slots = size.tracker()
    assert (slots.count, slots.quarantined, slots.occupied) == (size.count, size.quarantined, size.occupied)
    assert slots.state is size.band()
    assert slots.degraded is (size.occupied >= size.watermark)
    assert slots.full is (size.occupied == size.limit)


@ALL_SIZES
def test_i1_taking_a_slot_counts_one_or_is_refused(size: Size) -> None:
    slots = size.tracker()
    before = fields(slots)
    if size.occupied == size.limit:
        with pytest.raises(IllegalEvent, match=r"^inflight: event 'acquire' is not allowed in state 'full'$"):
            slots.acquire()
        assert fields(slots) == before
    else:
        slots.acquire()
        assert fields(slots) == before | {"count": size.count + 1, "state": size.band(+1)}


@ALL_SIZES
def test_i1_giving_a_slot_back_counts_one_or_is_refused(size: Size) -> None:
    slots = size.tracker()
    before = fields(slots)
    if size.count == 0:
        state = "idle" if size.occupied == 0 else f"0 sent, {size.quarantined} quarantined"
        with pytest.raises(IllegalEvent, match=f"^inflight: event 'release' is not allowed in state '{state}'$"):
            slots.release()
        assert fields(slots) == before
    else:
        slots.release()
        assert fields(slots) == before | {"count": size.count - 1, "state": size.band(-1)}


@ALL_SIZES
def test_x3_quarantine_moves_a_held_slot_or_is_refused(size: Size) -> None:
    slots = size.tracker()
    before = fields(slots)
    if size.count == 0:
        with pytest.raises(IllegalEvent, match=r"^inflight: event 'quarantine' is not allowed"):
            slots.quarantine()
        assert fields(slots) == before
    else:
        slots.quarantine()
        assert fields(slots) == before | {"count": size.count - 1, "quarantined": size.quarantined + 1}


@ALL_SIZES
def test_x3_clearing_gives_back_a_quarantined_slot_or_is_refused(size: Size) -> None:
    slots = size.tracker()
    before = fields(slots)
    if size.quarantined == 0:
        state = "idle" if size.occupied == 0 else f"{size.count} sent, 0 quarantined"
        with pytest.raises(IllegalEvent, match=f"^inflight: event 'clear' is not allowed in state '{state}'$"):
            slots.clear()
        assert fields(slots) == before
    else:
        slots.clear()
        assert fields(slots) == before | {"quarantined": size.quarantined - 1, "state": size.band(-1)}


@ALL_SIZES
def test_guards_of_a_pair_exclude_each_other(size: Size) -> None:
    slots = size.tracker()
    possible = {
        InflightEvent.ACQUIRE: size.occupied < size.limit,
        InflightEvent.RELEASE: size.count > 0,
        InflightEvent.QUARANTINE: size.count > 0,
        InflightEvent.CLEAR: size.quarantined > 0,
    }
    for event in InflightEvent:
        rows = [row for row in INFLIGHT.table if (row.source, row.event) == (slots.state, event)]
        takers = [row for row in rows if row.guard is None or row.guard(slots)]
        assert len(takers) == possible[event]


def test_every_row_of_the_table_is_taken_by_some_size() -> None:
    taken = set()
    for size in SIZES:
        if size.occupied < size.limit:
            taken.add((InflightEvent.ACQUIRE, size.band(), size.band(+1)))
        if size.count:
            taken.add((InflightEvent.RELEASE, size.band(), size.band(-1)))
            taken.add((InflightEvent.QUARANTINE, size.band(), size.band()))
        if size.quarantined:
            taken.add((InflightEvent.CLEAR, size.band(), size.band(-1)))
    assert taken == {(row.event, row.source, row.target) for row in INFLIGHT.table}


def test_defaults_are_the_venues_limit_and_the_watermark() -> None:
    slots = InflightTracker()
    assert (slots.limit, slots.high_watermark) == (100, 80)
    assert (slots.count, slots.quarantined, slots.state) == (0, 0, InflightState.IDLE)


def test_i1_the_101st_slot_is_refused() -> None:
    slots = tracker(100)
    with pytest.raises(IllegalEvent):
        slots.acquire()
    assert slots.count == 100


@pytest.mark.parametrize(("limit", "watermark"), [(100, 0), (100, 101), (0, 0), (0, 1), (-1, -1)])
def test_senseless_settings_are_refused(limit: int, watermark: int) -> None:
    with pytest.raises(InvalidSetting, match=rf"1 <= high_watermark <= limit, got {watermark} and {limit}"):
        InflightTracker(limit, watermark)
