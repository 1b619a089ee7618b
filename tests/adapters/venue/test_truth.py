"""The record, on disk and in memory, and what it says of each cloid."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from adapters.venue.config import VenueConfig
from adapters.venue.truth import (
    EndRecord,
    Fate,
    TruthForgotten,
    TruthLog,
    TruthRecord,
    decode_truth,
    fate_by_cloid,
    read_truth,
)
from tests.adapters.venue.support import BTC, NO_MAKERS, Desk, cloid, order, orders


def story(desk: Desk) -> None:
    """One order of every fate."""
    alice, bob = desk.traders
    desk.place(bob, order(buy=False, px="100000", sz="0.01", cloid=cloid(100)))
    desk.place(
        alice,
        order(px="90000", sz="0.01", cloid=cloid(1)),
        order(px="91000", sz="0.01", cloid=cloid(2)),
        order(px="100000", sz="0.004", cloid=cloid(3)),
        order(px="92000", tif="Ioc", cloid=cloid(4)),
        order(px="89000", sz="0.01", cloid=cloid(5)),
    )
    desk.send(alice, {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": cloid(2)}]})
    change = {"oid": cloid(5), "order": order(px="88000", sz="0.01", cloid=cloid(6))}
    desk.send(alice, {"type": "batchModify", "modifies": [change]})
    desk.send(alice, orders(order(cloid=cloid(7)), order(px="1.23456", cloid=cloid(8))))
    desk.place(bob, order(buy=False, px="90000", sz="0.003", tif="Ioc"))
    desk.send(alice, {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": cloid(1)}]})


def test_the_fate_of_every_cloid() -> None:
    desk = Desk()
    story(desk)
    fates = fate_by_cloid(desk.truth())
    oids = {name: fate.oids for name, fate in fates.items()}
    assert all(len(numbers) == 1 for numbers in oids.values())
    assert {name: msgspec.structs.replace(fate, oids=[]) for name, fate in fates.items()} == {
        cloid(100): Fate(placed=1, rested=True, filled=Decimal("0.004")),
        cloid(1): Fate(placed=1, rested=True, filled=Decimal("0.003"), canceled="canceled"),
        cloid(2): Fate(placed=1, rested=True, canceled="canceled"),
        cloid(3): Fate(placed=1, filled=Decimal("0.004")),
        cloid(4): Fate(rejected="Order could not immediately match against any resting orders. asset=0"),
        cloid(5): Fate(placed=1, rested=True, canceled="canceled", modified_away=True),
        cloid(6): Fate(placed=1, rested=True),
    }


def test_a_cloid_that_was_placed_twice_shows() -> None:
    desk = Desk()
    alice, _ = desk.traders
    for _ in range(2):
        desk.place(alice, order(px="90000", cloid=cloid(1)))
        desk.send(alice, {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": cloid(1)}]})
    fate = fate_by_cloid(desk.truth())[cloid(1)]
    assert fate.placed == 2
    assert len(fate.oids) == 2
    assert fate.canceled == "canceled"


def test_a_refused_reuse_does_not_hide_the_open_order() -> None:
    desk = Desk()
    alice, _ = desk.traders
    desk.place(alice, order(px="90000", cloid=cloid(1)))
    desk.place(alice, order(px="90000", cloid=cloid(1)))
    fate = fate_by_cloid(desk.truth())[cloid(1)]
    assert (fate.placed, fate.rested, fate.canceled) == (1, True, None)
    assert fate.rejected == "Cloid belongs to an open order. asset=0"


def test_the_file_and_the_memory_tell_the_same(tmp_path: Path) -> None:
    path = tmp_path / "truth.ndjson"
    desk = Desk(VenueConfig(liquidity=NO_MAKERS, truth_log=path))
    story(desk)
    desk.core.truth.flush()
    desk.place(desk.traders[0], order(cloid=cloid(50)))
    expected = desk.truth()
    desk.core.close()
    assert read_truth(path) == expected
    assert decode_truth(msgspec.json.encode(expected)) == expected
    assert fate_by_cloid(read_truth(path)) == fate_by_cloid(expected)


def end(log: TruthLog) -> EndRecord:
    seq = log.next_seq()
    return EndRecord(seq=seq, time=0, user="0x", oid=seq, status="canceled")


def test_memory_is_bounded_and_the_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "truth.ndjson"
    log = TruthLog(path, limit=10)
    records: list[TruthRecord] = []
    for _ in range(37):
        records.append(end(log))
        log.append(records[-1])
    assert log.since(27) == records[27:]
    assert log.since(30, limit=2) == records[30:32]
    assert log.since(37) == []
    with pytest.raises(TruthForgotten, match="before 27"):
        log.since(26)
    log.close()
    assert read_truth(path) == records


def test_a_record_that_is_completed_later_in_its_step_is_written_complete(tmp_path: Path) -> None:
    path = tmp_path / "truth.ndjson"
    desk = Desk(replace(VenueConfig(liquidity=NO_MAKERS), truth_log=path))
    desk.place(desk.traders[0], order(), order())
    desk.core.close()
    (record,) = read_truth(path)
    assert record == desk.truth()[0]
