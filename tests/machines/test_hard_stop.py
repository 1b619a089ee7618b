"""The hard stop: the latch, the first reason, and which rejections are benign."""

from __future__ import annotations

import pytest

from machines.errors import IllegalEvent
from machines.hard_stop import HardStop, is_benign
from tests.machines.builders import fields


def _tripped(stop: HardStop) -> bool:
    return stop.tripped


def test_trip_keeps_the_first_reason() -> None:
    stop = HardStop()
    assert not _tripped(stop)
    stop.trip("the clock is off")
    stop.trip("a consequence")
    assert _tripped(stop)
    assert stop.reason == "the clock is off"


def test_reset_lets_pass_again_and_keeps_what_the_operator_said() -> None:
    stop = HardStop()
    stop.trip("the clock is off")
    stop.reset("ntp repaired")
    assert not _tripped(stop)
    assert (stop.reason, stop.reset_reason) == (None, "ntp repaired")
    stop.trip("again")
    assert (stop.reason, stop.reset_reason) == ("again", "ntp repaired")


def test_armed_stop_cannot_be_reset() -> None:
    stop = HardStop()
    before = fields(stop)
    with pytest.raises(IllegalEvent, match="hard_stop: event 'reset' is not allowed in state 'armed'"):
        stop.reset("no reason")
    assert fields(stop) == before


@pytest.mark.parametrize(
    "reason",
    [
        "Order could not immediately match against any resting orders. asset=110000",
        "Post only order would have immediately matched, bbo was 400@401. asset=5",
        "Order must have minimum value of $10. asset=5",
        "Reduce only order would increase position. asset=5",
        "Order was never placed, already canceled, or filled. asset=5",
    ],
)
def test_x8_ordinary_rejections_are_benign(reason: str) -> None:
    assert is_benign(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "Insufficient margin to place order. asset=5",
        "Price must be divisible by tick size. asset=5",
        "User or API Wallet 0x12 does not exist.",
        "Must deposit before performing actions. User: 0x12",
        "Invalid nonce: nonce too high 5 > 4",
        "Too many cumulative requests sent (37986 > 10436) for cumulative volume traded $437.92.",
        "",
        "something that says: Order could not immediately match",
    ],
)
def test_x8_other_rejections_are_serious(reason: str) -> None:
    assert not is_benign(reason)
