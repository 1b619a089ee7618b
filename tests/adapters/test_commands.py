"""Commands and answers, one JSON object a line, to a real executor."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.commands import LINE_LIMIT, CommandSession
from adapters.outcomes import OUTCOME_NAMES, describe
from machines.intent import Canceled, Filled, Outcome, Unknown
from tests.adapters.live import PATIENCE_S, Live, cloid, live, until

ORDER: dict[str, Any] = {"op": "order", "market": "BTC", "side": "buy", "size": "0.01", "price": "50000"}


class Peer:
    """Commands an executor and keeps its answers."""

    def __init__(self, world: Live) -> None:
        self.answers: list[dict[str, Any]] = []
        self.session = CommandSession(world.executor, self.answers.append)

    async def say(self, line: bytes | dict[str, Any]) -> list[dict[str, Any]]:
        """One line, and all answers once its outcomes were told."""
        before = len(self.answers)
        await self.session.take(line if isinstance(line, bytes) else json.dumps(line).encode())
        await asyncio.wait_for(self.session.told(), PATIENCE_S)
        return self.answers[before:]


async def test_orders_cancels_and_modifies_with_their_refs() -> None:
    async with live(tick_ms=0) as world:
        peer = Peer(world)
        admission, outcome = await peer.say({**ORDER, "ref": "a1", "cloid": cloid(1)})
        assert admission == {"ref": "a1", "admission": "queued", "cloid": cloid(1)}
        assert outcome == {"ref": "a1", "cloid": cloid(1), "outcome": "resting", "oid": outcome["oid"]}
        terms = {**{key: ORDER[key] for key in ("market", "side", "size")}, "price": "60000"}
        modify = {"op": "modify", "ref": "m", "cloid": cloid(1), "order": {**terms, "cloid": cloid(2)}}
        admission, outcome = await peer.say(modify)
        assert (admission["admission"], outcome["outcome"]) == ("queued", "resting")
        oid = outcome["oid"]
        assert [answer.get("outcome") for answer in await peer.say({"op": "cancel", "market": "BTC", "oid": oid})] == [
            None,
            "canceled",
        ]
        admission, outcome = await peer.say({"op": "cancel", "ref": "c", "market": "BTC", "cloid": cloid(2)})
        assert outcome["outcome"] == "rejected"
        assert outcome["reason"].startswith("Order was never placed")
        trigger = {"price": "45000", "is_market": False, "kind": "tp"}
        admission, outcome = await peer.say({**ORDER, "price": "45000", "trigger": trigger, "tif": "Alo"})
        assert world.wire.posts()[-1]["request"]["payload"]["action"]["orders"][0]["t"] == {
            "trigger": {"isMarket": False, "triggerPx": "45000", "tpsl": "tp"}
        }
        assert (admission["ref"], outcome["ref"]) == (None, None)


async def test_flatten_halt_reset_and_status() -> None:
    async with live(tick_ms=0) as world:
        peer = Peer(world)
        await peer.say({**ORDER, "price": "101000", "tif": "Ioc"})
        count, admission, outcome = await peer.say({"op": "flatten", "ref": "f", "market": "BTC"})
        assert count == {"ref": "f", "flattening": 1}
        assert (admission["admission"], outcome["outcome"]) == ("queued", "filled")
        assert await peer.say({"op": "flatten"}) == [{"ref": None, "flattening": 0}]
        (status,) = await peer.say({"op": "halt", "ref": "h", "reason": "lunch"})
        assert (status["ref"], status["halted"], status["session"]) == ("h", "operator: lunch", "ready")
        admission, outcome = await peer.say({**ORDER, "ref": "late"})
        assert admission == {"ref": "late", "admission": "halted", "cloid": None}
        assert outcome == {"ref": "late", "cloid": None, "outcome": "not_executed", "reason": "not accepted: halted"}
        (status,) = await peer.say({"op": "reset", "reason": "back"})
        assert status["halted"] is None
        (refused,) = await peer.say({"op": "reset", "ref": "r", "reason": "again"})
        assert (refused["ref"], refused["error"]) == ("r", "IllegalEvent")
        (status,) = await peer.say({"op": "status"})
        assert status["queued"] == {"cancel": 0, "reduce_only": 0, "new_order": 0}
        assert (status["accepted"], status["ended"], status["inflight"], status["invariant_violations"]) == (2, 2, 0, 0)


async def test_an_outcome_can_be_asked_for_in_this_run_and_in_the_next() -> None:
    async with live(tick_ms=0) as world:
        peer = Peer(world)
        world.wire.answers.clear()
        await peer.session.take(json.dumps({**ORDER, "ref": "o", "cloid": cloid(10)}).encode())
        await peer.session.take(json.dumps({"op": "outcome", "ref": "early", "cloid": cloid(10).upper()}).encode())
        assert peer.answers[-1] == {"ref": "early", "admission": "queued", "cloid": cloid(10)}
        world.wire.answers.set()
        await asyncio.wait_for(peer.session.told(), PATIENCE_S)
        outcome = {key: value for key, value in peer.answers[-1].items() if key != "ref"}
        assert (outcome["cloid"], outcome["outcome"]) == (cloid(10), "resting")
        assert {answer["ref"] for answer in peer.answers if answer.items() >= outcome.items()} == {"o", "early"}
        await peer.say({"op": "cancel", "market": "BTC", "cloid": cloid(10)})
        filled = (await peer.say({**ORDER, "price": "101000", "tif": "Ioc", "cloid": cloid(11)}))[1]
        for _ in ("this run", "the next"):
            _, told = await peer.say({"op": "outcome", "ref": "late", "cloid": cloid(10)})
            assert told == {"ref": "late", **outcome}, "that of the order, not that of its cancel"
            assert (await peer.say({"op": "outcome", "cloid": cloid(11)}))[1] == filled
            (unknown,) = await peer.say({"op": "outcome", "ref": "u", "cloid": cloid(12)})
            assert (unknown["ref"], unknown["error"]) == ("u", "UnknownCloid")
            assert cloid(12) in unknown["message"]
            await world.executor.close()
            await world.restart()
            peer = Peer(world)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"nonsense", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `op`"),
        (b'{"op":"buy"}', "Invalid value 'buy' - at `$.op`"),
        (b'{"op":"order","market":"BTC"}', "missing required field `side`"),
        (b'{"op":"order","market":"BTC","side":"long","size":"1","price":"1"}', "Invalid enum value 'long'"),
        (b'{"op":"order","market":"BTC","side":"buy","size":1,"price":"1"}', "Expected `str`, got `int` - at `$.size`"),
        (b'{"op":"status","verbose":true}', "unknown field `verbose`"),
        (b'{"op":"halt"}', "missing required field `reason`"),
        (b'{"op":"outcome"}', "missing required field `cloid`"),
        (b'{"op":"outcome","cloid":7}', "Expected `str`, got `int` - at `$.cloid`"),
        (b'{"op":"status"} {"op":"flatten"}', "trailing characters"),
        (b'{"deep":' + b"[" * 50_000, "recursion depth"),
        (b'{"op":"flatten"}' + b" " * LINE_LIMIT, f"at most {LINE_LIMIT} bytes"),
    ],
)
async def test_a_line_that_makes_no_sense_is_answered_and_changes_nothing(line: bytes, text: str) -> None:
    async with live() as world:
        (answer,) = await Peer(world).say(line)
        assert (answer["ref"], answer["error"]) == (None, "MalformedCommand")
        assert text in answer["message"]
        assert world.executor.core.intents.accepted == 0


async def test_a_malformed_command_keeps_its_ref_if_that_can_be_read() -> None:
    async with live() as world:
        (answer,) = await Peer(world).say({**ORDER, "ref": "a7", "leverage": 5})
        assert (answer["ref"], answer["error"]) == ("a7", "MalformedCommand")
        assert "unknown field `leverage`" in answer["message"]
        (answer,) = await Peer(world).say(b'{"op":"order","ref":7}')
        assert answer["ref"] is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"market": "xyz:TSAL"}, "UnknownMarket"),
        ({"price": "50000.5"}, "IllegalTick"),
        ({"price": "abc"}, "IllegalPrice"),
        ({"size": "0.000001"}, "IllegalLot"),
        ({"size": "0"}, "IllegalSize"),
        ({"size": "-0.01"}, "IllegalSize"),
        ({"size": "NaN"}, "IllegalSize"),
        ({"size": "0.0001"}, "BelowMinimumValue"),
        ({"cloid": "order-1"}, "MalformedCloid"),
    ],
)
async def test_a_bad_request_is_answered_with_its_own_error(changes: dict[str, str], error: str) -> None:
    async with live() as world:
        (answer,) = await Peer(world).say({**ORDER, "ref": "x", **changes})
        assert (answer["ref"], answer["error"]) == ("x", error)
        assert answer["message"]


async def test_cancels_and_flattens_of_nothing_that_exists() -> None:
    async with live(tick_ms=0) as world:
        peer = Peer(world)
        (answer,) = await peer.say({"op": "cancel", "market": "BTC"})
        assert answer["error"] == "IllegalRequest"
        (answer,) = await peer.say({"op": "flatten", "market": "NOPE", "ref": "f"})
        assert (answer["ref"], answer["error"]) == ("f", "UnknownMarket")
        world.set_faults(error_unprocessed=1.0)
        (answer,) = await peer.say({"op": "flatten"})
        assert answer["error"] == "VenueUnreachable"
        world.set_faults()
        first, _ = await peer.say({**ORDER, "cloid": cloid(3)})
        second, _ = await peer.say({**ORDER, "cloid": cloid(3)})
        assert (first["admission"], second["admission"]) == ("queued", "cloid_in_use")


async def test_a_session_ends_with_its_input_when_all_outcomes_are_told() -> None:
    async with live(tick_ms=0) as world:
        peer = Peer(world)
        world.wire.answers.clear()

        async def lines() -> AsyncIterator[bytes]:
            yield b"\n"
            yield json.dumps(ORDER).encode()
            yield b"  \n"

        serving = asyncio.create_task(peer.session.serve(lines()))
        await until(lambda: len(world.actions) == 1)
        assert not serving.done()
        world.wire.answers.set()
        await asyncio.wait_for(serving, PATIENCE_S)
        assert [sorted(answer) for answer in peer.answers] == [
            ["admission", "cloid", "ref"],
            ["cloid", "oid", "outcome", "ref"],
        ]


async def test_who_waits_for_an_outcome_is_told_of_a_fault() -> None:
    async with live(tick_ms=0) as world:
        world.corrupted = True
        peer = Peer(world)
        world.wire.answers.clear()
        await peer.session.take(json.dumps({**ORDER, "ref": "o"}).encode())
        world.executor.driver.fail(RuntimeError("for the test"))
        await asyncio.wait_for(peer.session.told(), PATIENCE_S)
        assert (peer.answers[-1]["ref"], peer.answers[-1]["error"]) == ("o", "ExecutorFailed")


@pytest.mark.parametrize(
    ("outcome", "described"),
    [
        (Filled(5, "1.0", "400.5"), {"outcome": "filled", "oid": 5, "size": "1.0", "average_price": "400.5"}),
        (Canceled(), {"outcome": "canceled"}),
        (Unknown("lost"), {"outcome": "unknown", "reason": "lost"}),
    ],
)
def test_outcomes_are_described_with_their_fields(outcome: Outcome, described: dict[str, Any]) -> None:
    assert describe(outcome) == described
    assert len(set(OUTCOME_NAMES.values())) == len(OUTCOME_NAMES) == 6
