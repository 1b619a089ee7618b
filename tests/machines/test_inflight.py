"""The one count of posts in flight: every limit and watermark, every count, and what is refused."""

from __future__ import annotations

import pytest

from machines.errors import IllegalEvent, InvalidSetting
from machines.inflight import INFLIGHT, InflightEvent, InflightState, InflightTracker
from tests.machines.builders import fields, tracker

SIZES = [
    pytest.param(limit, watermark, count, id=f"limit{limit}-watermark{watermark}-count{count}")
    for limit in range(1, 7)
    for watermark in range(1, limit + 1)
    for count in range(limit + 1)
]


def _band(limit: int, watermark: int, count: int) -> InflightState:
    if count == 0:
        return InflightState.IDLE
    if count == limit:
        return InflightState.FULL
    return InflightState.DEGRADED if count >= watermark else InflightState.NORMAL


@pytest.mark.parametrize(("limit", "watermark", "count"), SIZES)
def test_band_follows_the_count(limit: int, watermark: int, count: int) -> None:
    slots = tracker(count, limit=limit, high_watermark=watermark)
    assert slots.state is _band(limit, watermark, count)
    assert slots.degraded is (count >= watermark)
    assert slots.full is (count == limit)


@pytest.mark.parametrize(("limit", "watermark", "count"), SIZES)
def test_i1_taking_a_slot_counts_one_or_is_refused(limit: int, watermark: int, count: int) -> None:
    slots = tracker(count, limit=limit, high_watermark=watermark)
    before = fields(slots)
    if count == limit:
        with pytest.raises(IllegalEvent, match=r"^inflight: event 'acquire' is not allowed in state 'full'$"):
            slots.acquire()
        assert fields(slots) == before
    else:
        slots.acquire()
        assert fields(slots) == before | {"count": count + 1, "state": _band(limit, watermark, count + 1)}


@pytest.mark.parametrize(("limit", "watermark", "count"), SIZES)
def test_i1_giving_a_slot_back_counts_one_or_is_refused(limit: int, watermark: int, count: int) -> None:
    slots = tracker(count, limit=limit, high_watermark=watermark)
    before = fields(slots)
    if count == 0:
        with pytest.raises(IllegalEvent, match=r"^inflight: event 'release' is not allowed in state 'idle'$"):
            slots.release()
        assert fields(slots) == before
    else:
        slots.release()
        assert fields(slots) == before | {"count": count - 1, "state": _band(limit, watermark, count - 1)}


@pytest.mark.parametrize(("limit", "watermark", "count"), SIZES)
def test_guards_of_a_pair_exclude_each_other(limit: int, watermark: int, count: int) -> None:
    slots = tracker(count, limit=limit, high_watermark=watermark)
    for event in InflightEvent:
        rows = [row for row in INFLIGHT.table if (row.source, row.event) == (slots.state, event)]
        takers = [row for row in rows if row.guard is None or row.guard(slots)]
        assert len(takers) == (1 if rows else 0)


def test_every_row_of_the_table_is_taken_by_some_size() -> None:
    taken = set()
    for limit, watermark, count in (size.values for size in SIZES):
        assert isinstance(limit, int)
        assert isinstance(watermark, int)
        assert isinstance(count, int)
        here = _band(limit, watermark, count)
        if count < limit:
            taken.add((InflightEvent.ACQUIRE, here, _band(limit, watermark, count + 1)))
        if count > 0:
            taken.add((InflightEvent.RELEASE, here, _band(limit, watermark, count - 1)))
    assert taken == {(row.event, row.source, row.target) for row in INFLIGHT.table}


def test_defaults_are_the_venues_limit_and_the_watermark() -> None:
    slots = InflightTracker()
    assert (slots.limit, slots.high_watermark, slots.count, slots.state) == (100, 80, 0, InflightState.IDLE)


def test_i1_the_101st_slot_is_refused() -> None:
    slots = tracker(100)
    with pytest.raises(IllegalEvent):
        slots.acquire()
    assert slots.count == 100


@pytest.mark.parametrize(("limit", "watermark"), [(100, 0), (100, 101), (0, 0), (0, 1), (-1, -1)])
def test_senseless_settings_are_refused(limit: int, watermark: int) -> None:
    with pytest.raises(InvalidSetting, match=rf"1 <= high_watermark <= limit, got {watermark} and {limit}"):
        InflightTracker(limit, watermark)
