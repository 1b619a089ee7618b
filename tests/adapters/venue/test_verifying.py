"""Signers are recovered the same in worker processes as on the spot, and in the order in which they were asked for."""

from __future__ import annotations

import asyncio
import io

import msgspec

from adapters.venue.actions import decode_action
from adapters.venue.verifying import Claim, Verdict, Verifiers, verify, work
from tests.adapters.venue.support import Trader, order, orders


def claims(count: int) -> tuple[list[Claim], list[Verdict]]:
    """Claims of several signers, every seventh with a signature that nobody made, and their verdicts."""
    traders = [Trader(number) for number in range(1, 6)]
    made = []
    for number in range(count):
        payload = traders[number % 5].payload(orders(order(px=str(90_000 + number))))
        if number % 7 == 6:
            payload["signature"]["s"] = "0x0"
        made.append(decode_action(msgspec.json.encode(payload)).claim)
    return made, [verify(claim, "testnet") for claim in made]


async def collect(verifiers: Verifiers, batches: list[list[Claim]]) -> list[Verdict]:
    """The verdicts in the order in which they came."""
    came: list[Verdict] = []
    complete = asyncio.Event()
    total = sum(len(batch) for batch in batches)

    def done(verdict: Verdict) -> None:
        came.append(verdict)
        if len(came) == total:
            complete.set()

    for batch in batches:
        for claim in batch:
            verifiers.verify(claim, done)
        await asyncio.sleep(0.001)
    await asyncio.wait_for(complete.wait(), 20)
    return came


async def test_without_workers_the_verdict_is_there_at_once() -> None:
    made, expected = claims(9)
    verifiers = Verifiers("testnet", 0)
    came: list[Verdict] = []
    for claim in made:
        verifiers.verify(claim, came.append)
    assert came == expected
    assert {verdict.signer for verdict in came} >= {Trader(1).address, None}


async def test_workers_give_the_same_verdicts_in_the_same_order() -> None:
    made, expected = claims(120)
    verifiers = Verifiers("testnet", 2)
    await verifiers.start()
    try:
        batches = [made[:1], made[1:40], made[40:43], made[43:]]
        assert await collect(verifiers, batches) == expected
    finally:
        await verifiers.stop()


async def test_claims_of_a_worker_that_dies_are_recovered_here() -> None:
    made, expected = claims(60)
    verifiers = Verifiers("testnet", 1)
    await verifiers.start()
    try:
        (worker,) = verifiers.workers
        collecting = asyncio.create_task(collect(verifiers, [made]))
        await asyncio.sleep(0)
        worker.kill()
        assert await collecting == expected
        assert await collect(verifiers, [made]) == expected
    finally:
        await verifiers.stop()


def test_a_worker_answers_batch_by_batch_until_its_input_ends() -> None:
    made, expected = claims(8)
    batches = [msgspec.msgpack.encode(batch) for batch in (made[:3], made[3:])]
    requests = b"".join(len(batch).to_bytes(4, "big") + batch for batch in batches)
    results = io.BytesIO()
    work("testnet", io.BytesIO(requests), results)
    answered = []
    results.seek(0)
    while head := results.read(4):
        answered += msgspec.msgpack.decode(results.read(int.from_bytes(head, "big")), type=list[Verdict])
    assert answered == expected
