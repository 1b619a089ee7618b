"""Frames as events and news, without a socket."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from adapters.hyperliquid.records import OrderUpdate, UserFill
from adapters.reception import OTHER_CHANNELS, TIDS_KEPT, Reception
from machines import events as ev


class Ears:
    """Both sides of a reception: what the core is told, and what the readers are."""

    def __init__(self) -> None:
        self.driven: list[ev.Event] = []
        self.news: list[OrderUpdate | UserFill] = []
        self.reception = Reception(self.driven.append, self.news.append)

    def hear(self, channel: str, data: Any, epoch: int = 1) -> None:
        self.reception.receive(json.dumps({"channel": channel, "data": data}).encode(), epoch)

    @property
    def tids(self) -> list[int]:
        return [event.tid for event in self.news if isinstance(event, UserFill)]


def fill(tid: int) -> dict[str, Any]:
    return {"coin": "BTC", "side": "B", "px": "100", "sz": "1", "time": 5, "oid": 7, "tid": tid}


def update(status: str, cloid: str | None) -> dict[str, Any]:
    order = {"coin": "BTC", "side": "A", "limitPx": "100", "sz": "1", "oid": 7, "timestamp": 5, "cloid": cloid}
    return {"order": order, "status": status, "statusTimestamp": 6}


def test_the_first_snapshot_is_history_and_later_ones_hold_what_was_missed() -> None:
    """protocol.md §8."""
    ears = Ears()
    ears.hear("userFills", {"isSnapshot": True, "user": "0x", "fills": [fill(1), fill(2)]})
    assert ears.tids == []
    ears.hear("userFills", {"user": "0x", "fills": [fill(3)]})
    ears.hear("userFills", {"user": "0x", "fills": [fill(3), fill(4)]})
    ears.hear("userFills", {"isSnapshot": True, "user": "0x", "fills": [fill(number) for number in range(1, 7)]})
    assert ears.tids == [3, 4, 5, 6]


def test_a_fill_that_comes_before_the_first_snapshot_is_news_once() -> None:
    ears = Ears()
    ears.hear("userFills", {"user": "0x", "fills": [fill(9)]})
    ears.hear("userFills", {"isSnapshot": True, "user": "0x", "fills": [fill(9)]})
    assert ears.tids == [9]


def test_a_trade_of_an_order_with_a_cloid_is_told_to_the_core_once_also_from_history() -> None:
    """An order that an earlier run lost track of may be in the first snapshot."""
    ears = Ears()
    mine = [fill(1) | {"cloid": "0xab", "sz": "0.50"}, fill(2)]
    ears.hear("userFills", {"isSnapshot": True, "user": "0x", "fills": mine})
    assert (ears.driven, ears.tids) == ([ev.FillSeen("0xab", 7, "0.5")], [])
    later = fill(3) | {"cloid": "0xab"}
    ears.hear("userFills", {"user": "0x", "fills": [*mine, later]})
    ears.hear("userFills", {"isSnapshot": True, "user": "0x", "fills": [*mine, later]})
    assert ears.driven == [ev.FillSeen("0xab", 7, "0.5"), ev.FillSeen("0xab", 7, "1")]
    assert ears.tids == [3]


def test_only_so_many_trades_are_remembered() -> None:
    ears = Ears()
    ears.hear("userFills", {"user": "0x", "fills": [fill(number) for number in range(TIDS_KEPT + 1)]})
    ears.hear("userFills", {"user": "0x", "fills": [fill(1), fill(0)]})
    assert ears.tids == [*range(TIDS_KEPT + 1), 0], "the oldest one was forgotten"


@pytest.mark.parametrize("status", ["open", "triggered", "filled", "canceled", "marginCanceled", "something new"])
def test_what_becomes_of_an_order_with_a_cloid_is_told_to_the_core(status: str) -> None:
    ears = Ears()
    ears.hear("orderUpdates", [update(status, "0xab"), update(status, None)])
    (seen,) = ears.driven
    assert isinstance(seen, ev.OrderSeen)
    assert (seen.cloid, seen.record.status) == ("0xab", status)
    assert seen.record.on_book is (status in ("open", "triggered"))
    assert len(ears.news) == 2


def test_nonsense_is_counted_and_logged_ten_times(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="hip3")
    ears = Ears()
    for _ in range(25):
        ears.reception.receive(b"\xff", 1)
        ears.hear("error", "no")
        ears.hear("l2Book", {})
    assert ears.reception.malformed == 25
    assert ears.reception.errors == 25
    assert ears.reception.unread_channels == {"l2Book": 25}
    texts = [record.getMessage() for record in caplog.records]
    assert [sum(name in text for text in texts) for name in ("malformed_frame", "error_frame", "unread_channel")] == [
        10,
        10,
        1,
    ]
    assert ears.driven == [ev.ErrorReceived(1, "no", None)] * 25


def test_what_an_error_frame_echoes_goes_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """It holds our signature, and events are recorded (protocol.md §2)."""
    ears = Ears()
    said = "Error parsing JSON into valid websocket request: "
    ears.hear("error", said + json.dumps({"method": "post", "id": 5, "signature": {"r": "0x5ec4e7"}}))
    ears.hear("error", "x" * 1_000)
    assert ears.driven == [ev.ErrorReceived(1, said, None), ev.ErrorReceived(1, "x" * 200, None)]
    assert "5ec4e7" not in caplog.text


def test_channels_that_a_peer_makes_up_take_no_room(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="hip3")
    ears = Ears()
    for number in range(1_000):
        ears.hear(f"{'x' * 200}", number)
        ears.hear(f"channel {number}", number)
    counted = ears.reception.unread_channels
    assert counted.total() == 2_000
    assert counted[OTHER_CHANNELS] == 981
    assert counted["x" * 100] == 1_000
    assert len(counted) == len(caplog.records) == 21


@pytest.mark.parametrize(
    "frame", [b"Websocket connection established.", b'{"channel":"pong"}', b'{"channel":"subscriptionResponse"}']
)
def test_signs_of_life_say_nothing_more(frame: bytes) -> None:
    ears = Ears()
    ears.reception.receive(frame, 1)
    assert (ears.driven, ears.news, ears.reception.malformed) == ([], [], 0)
