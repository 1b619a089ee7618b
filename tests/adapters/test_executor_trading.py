"""The executor on a venue that behaves: what is submitted, how it travels, and how it ends."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from adapters.config import JournalTerms, Queues
from adapters.executor import Executor, SessionChanged
from adapters.hyperliquid.info import VenueUnreachable
from adapters.hyperliquid.markets import (
    BadRequest,
    BelowMinimumValue,
    IllegalLot,
    IllegalPrice,
    IllegalRequest,
    IllegalSize,
    IllegalTick,
    MalformedCloid,
    UnknownMarket,
)
from adapters.hyperliquid.records import OrderUpdate, UserFill
from adapters.hyperliquid.signing import Signer
from adapters.venue.limits import Limits
from adapters.venue.liquidity import Liquidity
from machines import events as ev
from machines.errors import IllegalEvent
from machines.intent import (
    Admission,
    Cancel,
    Canceled,
    Filled,
    Modify,
    NotExecuted,
    Order,
    Rejected,
    Resting,
    Trigger,
)
from machines.session import SessionState
from tests.adapters.live import (
    AGENT_KEY,
    KEY,
    USDC,
    Live,
    cancel,
    cloid,
    config_for,
    crossing_order,
    live,
    outcomes,
    resting_order,
    until,
    venue_in_process,
)

TSLA_RESTS: dict[str, Any] = {"market": "xyz:TSLA", "side": "buy", "size": "1", "price": "200"}
TSLA_SELLS: dict[str, Any] = {"market": "xyz:TSLA", "side": "sell", "size": "2", "price": "390", "tif": "Ioc"}
BIG = "1000"
"""Contracts of BTC that no account here has the margin for."""


async def test_every_outcome_of_the_venue_on_its_own_and_on_a_builders_market() -> None:
    async with live() as world:
        submit = world.executor.submit
        rests = [submit(resting_order()), submit(Order(**TSLA_RESTS))]
        trades = [submit(crossing_order()), submit(Order(**TSLA_SELLS))]
        fails = submit(crossing_order(tif="Alo"))
        assert [ticket.admission for ticket in (*rests, *trades, fails)] == [Admission.QUEUED] * 5
        on_book = await outcomes(rests)
        assert all(isinstance(outcome, Resting) for outcome in on_book)
        bought, sold = await outcomes(trades)
        assert isinstance(bought, Filled)
        assert isinstance(sold, Filled)
        assert (Decimal(bought.size), Decimal(sold.size)) == (Decimal("0.01"), Decimal(2))
        rejected = await fails
        assert isinstance(rejected, Rejected)
        assert rejected.reason.startswith("Post only order would have immediately matched")
        canceled = [submit(cancel(rests[0].cloid)), submit(cancel(rests[1].cloid, "xyz:TSLA"))]
        assert await outcomes(canceled) == [Canceled(), Canceled()]
        gone = await submit(cancel(rests[0].cloid))
        assert isinstance(gone, Rejected)
        assert gone.reason.startswith("Order was never placed, already canceled, or filled")
        assert world.positions == {"BTC": "0.01", "xyz:TSLA": "-2.0"}
        assert world.executor.outcomes == {Resting: 2, Filled: 2, Rejected: 2, Canceled: 2}


async def test_cancel_by_oid_modify_and_trigger() -> None:
    async with live() as world:
        submit = world.executor.submit
        placed = await submit(resting_order(cloid=cloid(1)))
        assert isinstance(placed, Resting)
        assert placed.oid is not None
        changed = submit(Modify(cloid=cloid(1), order=resting_order(price="60000", cloid=cloid(2))))
        assert isinstance(await changed, Resting)
        by_oid = await submit(Cancel(market="BTC", oid=placed.oid))
        assert isinstance(by_oid, Rejected), "the modify replaced it"
        stop = Trigger(price="90000", is_market=True, kind="sl")
        waiting = submit(resting_order(side="sell", price="90000", trigger=stop, reduce_only=True))
        assert isinstance(await waiting, Resting | Rejected)
        last = await submit(resting_order())
        assert isinstance(last, Resting)
        assert await submit(Cancel(market="BTC", oid=last.oid)) == Canceled()
        assert await submit(cancel(cloid(2))) == Canceled()


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"market": "xyz:TSAL"}, UnknownMarket, "did you mean xyz:TSLA"),
        ({"price": "50000.5"}, IllegalTick, "the nearest legal ones are 50000 and 50001"),
        ({"size": "0.000001"}, IllegalLot, "no multiple of the lot 0.00001"),
        ({"size": "0"}, IllegalSize, "not positive and finite"),
        ({"size": "-1"}, IllegalSize, "not positive and finite"),
        ({"size": Decimal("NaN")}, IllegalSize, "not positive and finite"),
        ({"size": "inf"}, IllegalSize, "no decimal number"),
        ({"size": 0.01}, IllegalSize, "a float is not exact"),
        ({"price": "0"}, IllegalPrice, "not positive and finite"),
        ({"size": "0.0001"}, BelowMinimumValue, "the least size is 0.0002"),
        ({"cloid": "0x12"}, MalformedCloid, "0x and 32 hex digits"),
        ({"side": "long"}, IllegalRequest, "side must be 'buy' or 'sell'"),
    ],
)
async def test_a_bad_request_is_refused_before_it_is_accepted(
    changes: dict[str, Any], error: type[BadRequest], text: str
) -> None:
    async with live() as world:
        with pytest.raises(error, match=text):
            world.executor.submit(resting_order(**changes))
        assert world.executor.core.intents.accepted == 0


async def test_a_cloid_belongs_to_one_order_for_ever() -> None:
    """settlement.md, rule 13: else a look-up could find another order's record. The next run knows it, too."""
    async with live(tick_ms=0) as world:

        def refused(request: Order | Modify) -> bool:
            ticket = world.executor.submit(request)
            assert ticket.outcome == NotExecuted("not accepted: cloid_in_use")
            return ticket.admission is Admission.CLOID_IN_USE

        first = world.executor.submit(resting_order(cloid=cloid(7)))
        assert refused(resting_order(cloid=cloid(7))), "under way"
        assert isinstance(await first, Resting)
        assert refused(resting_order(cloid=cloid(7).upper().replace("X", "x"))), "on the book"
        assert await world.executor.submit(cancel(cloid(7))) == Canceled()
        assert isinstance(await world.executor.submit(crossing_order(cloid=cloid(8), tif="Alo")), Rejected)
        dropped = world.executor.submit(resting_order(cloid=cloid(9)))
        world.executor.submit(cancel(cloid(9)))
        assert dropped.outcome == NotExecuted("canceled before it was sent")
        other = world.executor.submit(resting_order(cloid=cloid(10)))
        assert isinstance(await other, Resting)
        for _ in ("this run", "the next one"):
            for number in (7, 8, 9):
                assert refused(crossing_order(cloid=cloid(number)))
                assert refused(Modify(cloid=cloid(10), order=resting_order(cloid=cloid(number))))
            assert refused(crossing_order(cloid=cloid(10)))
            await world.executor.close()
            await world.restart()
        changed = world.executor.submit(Modify(cloid=cloid(10), order=resting_order(cloid=cloid(11))))
        assert isinstance(await changed, Resting), "the order of an earlier run can be replaced"
        assert await world.executor.submit(cancel(cloid(11))) == Canceled()


async def test_the_first_intent_goes_at_once_and_those_of_one_turn_travel_together() -> None:
    async with live(tick_ms=10_000) as world:
        world.executor.driver._sent_ms -= 10_000  # as if the tick since the post that proved the key had passed
        tickets = [world.executor.submit(resting_order(price=str(50_000 + number))) for number in range(10)]
        await outcomes(tickets)  # far sooner than the tick
        assert [len(record.items) for record in world.actions] == [10]
        assert [intent.seq for intent in world.ended] == list(range(1, 11))
        late = world.executor.submit(resting_order())
        await asyncio.sleep(0.3)
        assert late.outcome is None
        assert len(world.actions) == 1


async def test_at_least_a_tick_lies_between_two_posts() -> None:
    async with live(tick_ms=150) as world:
        sent: list[int] = []
        for number in range(5):
            await world.executor.submit(resting_order(price=str(50_000 + number)))
            sent.append(world.actions[-1].time)
        gaps = [later - earlier for earlier, later in pairwise(sent)]
        assert min(gaps) >= 150 - 20, gaps  # the venue notes when it processed, not when we wrote


async def test_cancels_go_first_then_reduce_only_then_new_orders_and_post_only_apart() -> None:
    async with live(tick_ms=50) as world:
        submit = world.executor.submit
        target = submit(resting_order())
        await target
        await submit(crossing_order(size="0.02"))
        await asyncio.sleep(0.06)
        tickets = [
            submit(resting_order(tif="Gtc")),
            submit(resting_order(tif="Alo")),
            submit(resting_order(tif="Alo")),
            submit(resting_order(tif="Gtc")),
            submit(resting_order(side="sell", price="200000", reduce_only=True)),
            submit(cancel(target.cloid)),
        ]
        await outcomes(tickets)
        kinds = [(record.action, len(record.items)) for record in world.actions[2:]]
        assert kinds == [("cancelByCloid", 1), ("order", 1), ("order", 1), ("order", 2), ("order", 1)]
        reduce_only = world.wire.posts()[-4]["request"]["payload"]["action"]["orders"]
        assert [order["r"] for order in reduce_only] == [True]


async def test_one_bad_item_does_not_hide_the_good_ones() -> None:
    """X4."""
    async with live() as world:
        good, bad, trades = await outcomes(
            [
                world.executor.submit(resting_order()),
                world.executor.submit(crossing_order(size=BIG)),
                world.executor.submit(crossing_order()),
            ]
        )
        assert isinstance(good, Resting)
        assert isinstance(bad, Rejected)
        assert "margin" in bad.reason
        assert isinstance(trades, Filled)
        assert len(world.actions) == 1


async def test_an_order_that_still_waits_is_canceled_here() -> None:
    async with live(tick_ms=300) as world:
        await world.executor.submit(resting_order())
        order = world.executor.submit(resting_order())
        stop = world.executor.submit(cancel(order.cloid))
        assert order.outcome == NotExecuted("canceled before it was sent")
        assert await stop == Canceled()
        assert order.cloid not in world.fates
        assert len(world.actions) == 1


async def test_a_full_queue_says_so_and_takes_nothing() -> None:
    async with live(tick_ms=300, queues=Queues(new_order=3)) as world:
        await world.executor.submit(resting_order())
        tickets = [world.executor.submit(resting_order()) for _ in range(5)]
        assert [ticket.admission for ticket in tickets] == [Admission.QUEUED] * 3 + [Admission.QUEUE_FULL] * 2
        assert [ticket.cloid is None for ticket in tickets] == [False] * 3 + [True] * 2
        assert tickets[4].outcome == NotExecuted("not accepted: queue_full")
        assert all(isinstance(outcome, Resting) for outcome in await outcomes(tickets[:3]))
        assert len(world.actions) == 2


async def test_a_full_reduce_only_queue_trips_the_hard_stop() -> None:
    async with live(tick_ms=300, queues=Queues(reduce_only=2)) as world:
        await world.executor.submit(crossing_order())
        closing = resting_order(side="sell", price="99000", tif="Ioc", size="0.001", reduce_only=True)
        tickets = [world.executor.submit(closing) for _ in range(3)]
        assert [ticket.admission for ticket in tickets] == [Admission.QUEUED] * 2 + [Admission.QUEUE_FULL]
        assert world.executor.core.hard_stop.reason == "the reduce-only queue is full"
        assert world.executor.submit(resting_order()).admission is Admission.HALTED
        assert all(isinstance(outcome, Filled) for outcome in await outcomes(tickets[:2]))


async def test_the_operator_halts_and_resets() -> None:
    async with live(tick_ms=300) as world:
        executor = world.executor
        rests = executor.submit(resting_order())
        await rests
        await executor.submit(crossing_order())
        queued = executor.submit(resting_order())
        executor.halt("lunch")
        executor.halt("dinner")  # the first reason stays
        assert executor.core.hard_stop.reason == "operator: lunch"
        assert await queued == NotExecuted("halted: operator: lunch")
        refused = executor.submit(resting_order())
        assert (refused.admission, refused.outcome) == (Admission.HALTED, NotExecuted("not accepted: halted"))
        (closing,) = await executor.flatten("BTC")
        assert isinstance(await closing, Filled), "reduce-only passes"
        assert await executor.submit(cancel(rests.cloid)) == Canceled()
        executor.reset("back")
        assert executor.core.hard_stop.reset_reason == "back"
        with pytest.raises(IllegalEvent, match="reset"):
            executor.reset("twice")
        assert isinstance(await executor.submit(resting_order()), Resting)
        halts = [event for event in world.seen if isinstance(event, ev.Halted)]
        assert halts == [ev.Halted("operator: lunch")]


async def test_rejections_in_a_row_trip_the_hard_stop_but_benign_ones_do_not() -> None:
    """X8."""
    async with live(tick_ms=0, rejections_to_halt=3) as world:
        missing = resting_order(tif="Ioc")
        for _ in range(5):
            assert isinstance(await world.executor.submit(missing), Rejected)
        assert not world.executor.core.hard_stop.tripped
        for _ in range(3):
            assert isinstance(await world.executor.submit(crossing_order(size=BIG)), Rejected)
        assert "3 posts rejected in a row" in str(world.executor.core.hard_stop.reason)
        assert world.executor.submit(resting_order()).admission is Admission.HALTED
        world.executor.reset("the size was wrong")
        assert isinstance(await world.executor.submit(resting_order()), Resting)


async def open_positions(world: Live) -> None:
    """Long BTC, short xyz:TSLA."""
    await outcomes([world.executor.submit(crossing_order()), world.executor.submit(Order(**TSLA_SELLS))])
    assert set(world.positions) == {"BTC", "xyz:TSLA"}


async def test_flatten_one_market_then_all() -> None:
    async with live() as world:
        await open_positions(world)
        (closed,) = await outcomes(await world.executor.flatten("xyz:TSLA"))
        assert isinstance(closed, Filled)
        assert Decimal(closed.size) == 2
        assert set(world.positions) == {"BTC"}
        await outcomes([world.executor.submit(Order(**TSLA_SELLS))])
        tickets = await world.executor.flatten()
        assert len(tickets) == 2
        assert all(isinstance(outcome, Filled) for outcome in await outcomes(tickets))
        assert world.positions == {}
        assert await world.executor.flatten() == []
        assert await world.executor.flatten("ETH") == []
        with pytest.raises(UnknownMarket):
            await world.executor.flatten("NOPE")


async def test_flatten_keeps_to_its_slippage_bound_on_both_sides() -> None:
    async with live(slippage="0.01") as world:
        await open_positions(world)
        await outcomes(await world.executor.flatten())
        orders = {order["a"]: order for order in world.wire.posts()[-1]["request"]["payload"]["action"]["orders"]}
        btc, tsla = orders[0], orders[120_000]  # dex 2 of perpDexs: null, void, xyz (protocol.md §7)
        assert (btc["b"], btc["r"], btc["t"]) == (False, True, {"limit": {"tif": "Ioc"}})
        assert (tsla["b"], tsla["r"]) == (True, True)
        assert Decimal(99_000) <= Decimal(btc["p"]) < Decimal(100_000)
        assert Decimal(400) < Decimal(tsla["p"]) <= Decimal(404)


async def test_flatten_gives_up_no_more_than_the_bound() -> None:
    """The best bid is 100 basis points away, the bound is 10: it does not trade."""
    async with live(venue={"liquidity": Liquidity(volatility_bps=0, spread_bps=100)}, slippage="0.001") as world:
        await world.executor.submit(crossing_order(price="102000"))
        (kept,) = await outcomes(await world.executor.flatten())
        assert isinstance(kept, Rejected)
        assert kept.reason.startswith("Order could not immediately match")
        assert world.positions == {"BTC": "0.01"}


async def test_two_flattens_at_once_are_one_order_a_market() -> None:
    """X9."""
    async with live() as world:
        await open_positions(world)
        first, second = await asyncio.gather(world.executor.flatten(), world.executor.flatten())
        admissions = [[ticket.admission for ticket in tickets] for tickets in (first, second)]
        assert admissions == [[Admission.QUEUED] * 2, [Admission.ALREADY_FLATTENING] * 2]
        assert [ticket.cloid for ticket in first] == [ticket.cloid for ticket in second]
        assert await outcomes(first) == await outcomes(second)
        assert len([record for record in world.actions if len(record.items) == 2]) == 2  # opened, closed
        assert world.positions == {}
        # Closed: the next request looks anew.
        assert await world.executor.flatten() == []


async def test_flatten_without_prices_or_markets_says_so() -> None:
    async with live() as world:
        await world.executor.submit(crossing_order())
        world.set_faults(error_unprocessed=1.0)
        with pytest.raises(VenueUnreachable, match="HTTP 502"):
            await world.executor.flatten()
        world.set_faults()
    idle = Executor(msgspec.structs.replace(world.config, journal=JournalTerms()), Signer(KEY))
    with pytest.raises(VenueUnreachable, match="before the venue's markets are known"):
        await idle.flatten()
    await idle.close()


async def test_a_waiter_that_gives_up_leaves_the_outcome_to_the_others() -> None:
    async with live() as world:
        world.wire.answers.clear()
        ticket = world.executor.submit(resting_order())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ticket, 0.05)

        async def wait() -> object:
            return await ticket

        waiters = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[1].cancel()
        assert repr(ticket) == f"<Ticket {ticket.cloid} queued: None>"
        world.wire.answers.set()
        first, given_up, last = await asyncio.gather(*waiters, return_exceptions=True)
        assert isinstance(first, Resting)
        assert isinstance(given_up, asyncio.CancelledError)
        assert first == last == await ticket == await ticket == ticket.outcome
        assert "Resting" in repr(ticket)


async def test_events_come_in_order_and_to_every_reader() -> None:
    async with live() as world:
        reader = world.executor.events()
        ticket = world.executor.submit(crossing_order())
        await ticket
        await until(lambda: any(isinstance(event, UserFill) for event in world.seen))
        reader.close()
        mine = [event async for event in reader]
        assert mine == world.seen[-len(mine) :]
        kinds = [type(event) for event in mine]
        assert kinds.index(ev.PostEnded) < kinds.index(ev.IntentEnded)
        fill = next(event for event in mine if isinstance(event, UserFill))
        update = next(event for event in mine if isinstance(event, OrderUpdate))
        assert (fill.cloid, fill.side, fill.size) == (ticket.cloid, "buy", Decimal("0.01"))
        assert (update.order.cloid, update.status) == (ticket.cloid, "filled")
        changes = [event for event in world.seen if isinstance(event, SessionChanged)]
        assert changes == [
            SessionChanged(SessionState.CONNECTING, 0),
            SessionChanged(SessionState.SYNCING, 1),
            SessionChanged(SessionState.READY, 1),
        ]


async def test_an_api_wallet_signs_for_its_account() -> None:
    agent, owner = Signer(AGENT_KEY), Signer(KEY)
    async with live(signer=agent, venue={"agents": {agent.address: owner.address}}) as world:
        assert isinstance(await world.executor.submit(crossing_order()), Filled)
        assert world.positions == {"BTC": "0.01"}
        assert world.actions[0].signer == agent.address
        (closed,) = await outcomes(await world.executor.flatten())
        assert isinstance(closed, Filled)


async def test_a_vault_is_traded_by_its_leader() -> None:
    leader, vault = Signer(KEY), "0x" + "Ab" * 20
    venue = {"accounts": {leader.address: USDC, vault: USDC}, "vaults": {vault: leader.address}}
    async with live(account=vault, vault_address=vault, venue=venue) as world:
        assert isinstance(await world.executor.submit(crossing_order()), Filled)
        assert world.actions[0].user == vault.lower()
        assert world.wire.posts()[-1]["request"]["payload"]["vaultAddress"] == vault.lower()
        assert world.positions == {"BTC": "0.01"}
        assert world.venue.core.state(leader.address)["positions"] == {}
        (closed,) = await outcomes(await world.executor.flatten())
        assert isinstance(closed, Filled)
        assert world.positions == {}


async def test_a_used_up_action_budget_slows_orders_down_but_no_cancels() -> None:
    """protocol.md §3: one action per 10 s when the budget is used up; cancels have an allowance of their own."""
    async with live(tick_ms=0, venue={"limits": Limits(address_budget=3)}) as world:
        rests = world.executor.submit(resting_order())
        await rests
        while world.executor.core.budget.allows_order(world.executor.core._now):
            await world.executor.submit(resting_order())
        held = world.executor.submit(resting_order())
        assert held.admission is Admission.QUEUED
        assert isinstance(await world.executor.submit(cancel(rests.cloid)), Canceled)
        await asyncio.sleep(0.2)
        assert held.outcome is None


async def test_the_message_rate_counts_posts_subscriptions_and_pings() -> None:
    async with live(tick_ms=0, messages_per_minute=7, silence_ms=1_000, drain_ms=0) as world:
        # Two subscriptions and the post that proves the key; so four messages are left.
        await world.executor.submit(resting_order())
        await world.executor.submit(resting_order())
        begun = time.monotonic()
        await until(lambda: time.monotonic() - begun > 1.2)  # two pings went out at half a second each
        held = world.executor.submit(resting_order())
        await asyncio.sleep(0.3)
        assert held.outcome is None
        assert len(world.actions) == 2
        # The keep-alive goes on: a venue that hears nothing would hang up.
        assert world.executor.core.session.epoch == 1


async def test_degraded_and_full_inflight_hold_back_what_they_should() -> None:
    """B4, B5, B6: from the watermark on new orders wait; at the limit cancels do, too."""
    async with live(tick_ms=0, inflight_limit=3, high_watermark=2) as world:
        submit, core = world.executor.submit, world.executor.core
        world.wire.answers.clear()
        flying = [submit(resting_order())]
        await until(lambda: core.inflight.count == 1)
        flying.append(submit(resting_order()))
        await until(lambda: core.inflight.count == 2)
        delayed = submit(resting_order())
        assert delayed.admission is Admission.QUEUED_DEGRADED
        stop = submit(cancel(cloid(1)))
        assert stop.admission is Admission.QUEUED
        await until(lambda: core.inflight.count == 3)
        assert submit(resting_order()).admission is Admission.INFLIGHT_FULL
        stuck = submit(cancel(cloid(2)))
        assert stuck.admission is Admission.QUEUED_DEGRADED
        await asyncio.sleep(0.25)
        assert core.inflight.count == 3
        assert (delayed.outcome, stuck.outcome) == (None, None)
        world.wire.answers.set()
        await outcomes([*flying, delayed, stop, stuck])


async def test_open_waits_until_orders_pass_and_shuts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer(KEY)
    monkeypatch.setenv("HIP3_TEST_KEY", KEY)
    async with venue_in_process(signer) as venue:
        async with Executor.open(config_for(venue, signer.address)) as executor:
            assert executor.core.new_orders_pass
            ticket = executor.submit(resting_order())
            await executor.wait_ready()
        assert ticket.outcome is not None
        assert executor.core.session.state is SessionState.CLOSED
