"""The executor when something goes wrong: on the wire, at the venue, in the clock, and in itself."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.executor import SETTLEMENT_STEPS, ExecutorEvent
from adapters.hyperliquid.info import VenueUnreachable
from adapters.hyperliquid.markets import Markets
from adapters.hyperliquid.records import UserFill
from adapters.ticket import Ticket
from machines import events as ev
from machines.intent import Admission, Canceled, Filled, Intent, NotExecuted, Order, Rejected, Resting
from machines.nonce import Drift
from machines.post import PostState
from machines.session import SessionState
from machines.settlement import SettlementState
from tests.adapters.live import (
    PATIENCE_S,
    Live,
    cancel,
    cloid,
    crossing_order,
    live,
    outcomes,
    resting_order,
    until,
)


def ended_states(world: Live) -> list[PostState]:
    """How posts ended, in order."""
    return [event.post.state for event in world.seen if isinstance(event, ev.PostEnded)]


def fills_of(events: list[ExecutorEvent], name: str | None) -> list[UserFill]:
    """The fills of one order that the events tell of."""
    return [event for event in events if isinstance(event, UserFill) and event.cloid == name]


def told(ticket: Ticket) -> list[str]:
    """What the owner of a ticket reads, from the moment at which its fate was not known."""
    sentences = [what for _, what in ticket.history]
    return sentences[next(place for place, what in enumerate(sentences) if what.startswith("unknown: ")) :]


FENCE_WON = "its fence won: it never ran and never can"
NEVER_RAN = [
    SETTLEMENT_STEPS[state]
    for state in (SettlementState.UNKNOWN, SettlementState.FENCING, SettlementState.NEVER_EXECUTED)
] + [FENCE_WON]
RAN = [
    SETTLEMENT_STEPS[state]
    for state in (
        SettlementState.UNKNOWN,
        SettlementState.FENCING,
        SettlementState.LOOKING_UP,
        SettlementState.EXECUTED,
    )
] + ["the venue's record"]


async def in_flight(world: Live, *orders: Order) -> list[Any]:
    """Submit orders whose answers are held up; returns their tickets once they are with the venue."""
    world.wire.answers.clear()
    done = len(world.actions)
    tickets = [world.executor.submit(order) for order in orders]
    await until(lambda: len(world.actions) > done)
    return tickets


# ------------------------------------------------------------------------------------------------ the hand-over


async def test_what_can_not_be_handed_over_was_never_sent_cancels_and_reduce_only_come_back() -> None:
    """P7: refused before the first byte. The frames can't be made while the markets are gone."""
    async with live(tick_ms=20) as world:
        executor, markets = world.executor, world.executor.driver.markets
        target = executor.submit(resting_order())
        await outcomes([target, executor.submit(crossing_order())])
        await asyncio.sleep(0.03)
        closing = resting_order(side="sell", price="99000", tif="Ioc", reduce_only=True)
        new = executor.submit(resting_order())
        kept = [executor.submit(closing), executor.submit(cancel(cloid(5))), executor.submit(cancel(target.cloid))]
        before = len(world.actions)
        executor.driver.markets = Markets(())
        await until(lambda: executor.endings[PostState.UNSENT] >= 2)
        assert all(ticket.outcome is None for ticket in kept)
        executor.driver.markets = markets
        missing, canceled = (await outcomes(kept))[1:]
        assert isinstance(missing, Rejected)
        assert canceled == Canceled()
        sent = [(record.action, [item.cloid for item in record.items]) for record in world.actions[before:]]
        assert sent[0][0] == "cancelByCloid"
        assert len(sent[0][1]) == 2, "in their original order, in one post"
        # The cancels came first all the time; so the new order was never touched.
        assert isinstance(await new, Resting)


async def test_a_new_order_that_can_not_be_handed_over_ends_not_executed() -> None:
    async with live(tick_ms=0) as world:
        markets = world.executor.driver.markets
        ticket = world.executor.submit(resting_order())
        world.executor.driver.markets = Markets(())
        outcome = await asyncio.wait_for(ticket, PATIENCE_S)
        world.executor.driver.markets = markets
        assert isinstance(outcome, NotExecuted)
        assert outcome.reason.startswith("not sent: UnknownMarket")
        assert world.executor.core.inflight.count == 0
        assert ticket.cloid not in world.fates
        assert isinstance(await world.executor.submit(resting_order()), Resting)


async def test_a_tick_on_a_socket_that_just_closed_sends_nothing() -> None:
    async with live(tick_ms=10_000) as world:
        ticket = world.executor.submit(resting_order())
        world.executor.driver.transport.abort("the test closes it")
        world.executor.driver.drive(ev.Tick())  # in the same turn, before anybody is told
        assert await ticket == NotExecuted("not sent: the connection is not open")
        assert ended_states(world) == [PostState.ACKED, PostState.UNSENT]


async def test_a_hand_over_that_breaks_off_is_unknown_until_its_fence_won_and_never_sent_again() -> None:
    """X1: the connection is reset in the turn in which the order is submitted; the write itself meets it."""
    async with live(tick_ms=0) as world:
        await asyncio.sleep(0.05)
        new = world.executor.submit(resting_order())
        world.wire.reset()
        outcome = await asyncio.wait_for(new, PATIENCE_S)
        assert outcome == NotExecuted(FENCE_WON)
        assert told(new)[0].startswith("unknown: the hand-over to the socket broke off: ")
        assert told(new)[1:] == NEVER_RAN
        await world.ready()
        assert isinstance(await world.executor.submit(resting_order()), Resting)
        assert new.cloid not in world.fates
        sent = [intent for intent in world.ended if intent.cloid == new.cloid]
        assert [len(intent.attempts) for intent in sent] == [1]
        lost = next(event for event in world.seen if isinstance(event, ev.PostEnded) and event.post.items)
        assert lost.post.state is PostState.DISCONNECTED


async def test_a_connection_on_which_a_write_failed_is_dropped() -> None:
    async with live(tick_ms=0) as world:
        driver = world.executor.driver
        ticket = world.executor.submit(resting_order())
        connection = driver.transport._connection
        assert connection is not None
        connection.transport.write_eof()  # so that the next write fails
        driver.drive(ev.Tick())
        assert connection.transport.is_closing()
        assert await asyncio.wait_for(ticket, PATIENCE_S) == NotExecuted(FENCE_WON)
        assert told(ticket)[0].startswith("unknown: the hand-over to the socket broke off: ")
        await until(lambda: world.executor.core.session.epoch == 2)
        await world.ready()


async def test_a_ping_that_can_not_be_written_breaks_nothing() -> None:
    async with live() as world:
        driver = world.executor.driver
        driver.transport.abort("the test closes it")
        driver.write_auxiliary('{"method":"ping"}')
        await until(lambda: world.executor.core.session.epoch == 2)
        await world.ready()
        world.wire.reset()
        driver.write_auxiliary('{"method":"ping"}')
        await until(lambda: world.executor.core.session.epoch == 3)
        await world.ready()
        assert driver.fault is None
        assert isinstance(await asyncio.wait_for(world.executor.submit(resting_order()), PATIENCE_S), Resting)


# ------------------------------------------------------------------------------------------------ lost replies


async def test_a_timeout_is_on_time_and_a_late_reply_tells_the_truth() -> None:
    """P6, P2, X1; settlement.md, rule 10."""
    async with live(tick_ms=0, post_timeout_ms=3_000) as world:
        core, begun = world.executor.core, time.monotonic()
        (ticket,) = await in_flight(world, resting_order())
        stop = world.executor.submit(cancel(cloid(1)))
        await asyncio.sleep(1.0)
        other = world.executor.submit(resting_order())
        await until(lambda: len(ticket.history) > 1)
        assert 2.9 <= time.monotonic() - begun < 4.5
        assert told(ticket)[0] == "unknown: no reply within 3000 ms"
        assert other.history[1:] == [], "it was sent a second later, and has its own deadline"
        await until(lambda: len(other.history) > 1)
        assert time.monotonic() - begun >= 3.9
        assert world.executor.endings[PostState.TIMED_OUT] == core.inflight.quarantined == 3
        assert (ticket.outcome, stop.outcome, other.outcome) == (None, None, None)
        assert world.fates[str(ticket.cloid)].rested, "it was on the book all the time: unknown was the truth"
        world.wire.answers.set()
        assert all(isinstance(outcome, Resting) for outcome in await outcomes((ticket, other)))
        assert told(ticket)[-1] == told(other)[-1] == "its own late reply"
        assert core.inflight.quarantined == 0
        # A cancel is sent again without a fence (rule 19); that it never did anything only the record can tell.
        assert await asyncio.wait_for(stop, PATIENCE_S) == NotExecuted("its nonce is spent and it left no record")
        assert len([action for action in world.actions if action.action == "cancelByCloid"]) == 2
        assert core.session.epoch == 1


async def test_a_connection_lost_with_posts_in_flight() -> None:
    """Unknown first, whether the venue saw the post or not; then the truth of each, and nothing is sent twice."""
    async with live(tick_ms=0) as world:
        (seen,) = await in_flight(world, resting_order())
        world.wire.requests.clear()
        unseen = world.executor.submit(resting_order())
        await until(lambda: world.executor.core.inflight.count == 2)
        world.wire.reset()
        await until(lambda: world.executor.core.settler.open_items == 2)
        assert (seen.outcome, unseen.outcome) == (None, None)
        world.wire.requests.set()
        world.wire.answers.set()
        rests, never_ran = await outcomes((seen, unseen))
        assert isinstance(rests, Resting)
        assert never_ran == NotExecuted(FENCE_WON)
        for ticket in (seen, unseen):
            assert told(ticket)[0].startswith("unknown: the connection was lost: closed by the venue")
        assert (told(seen)[1:], told(unseen)[1:]) == (RAN, NEVER_RAN)
        await world.ready()
        assert world.states == [
            SessionState.CONNECTING,
            SessionState.SYNCING,
            SessionState.READY,
            SessionState.DISCONNECTED,
            SessionState.CONNECTING,
            SessionState.SYNCING,
            SessionState.READY,
        ]
        assert isinstance(await world.executor.submit(resting_order()), Resting)
        assert str(seen.cloid) in world.fates
        assert str(unseen.cloid) not in world.fates
        assert ended_states(world).count(PostState.DISCONNECTED) == 2


async def test_the_venue_takes_an_order_and_hangs_up() -> None:
    async with live(tick_ms=0) as world:
        world.set_faults(close_after=1.0, drop_update=1.0)
        ticket = world.executor.submit(crossing_order())
        await until(lambda: len(world.trades) == 1 and world.executor.core.settler.open_items == 1)
        world.set_faults()
        outcome = await asyncio.wait_for(ticket, PATIENCE_S)
        assert outcome == Filled(world.trades[0].oid, "0.01", None)
        await world.ready()
        # What the stream could not tell, the snapshot of the next connection does: once.
        await until(lambda: fills_of(world.seen, ticket.cloid) != [])
        await world.disconnect()
        await world.ready()
        assert len(fills_of(world.seen, ticket.cloid)) == len(world.trades) == 1


async def test_what_waits_for_a_connection_is_sent_on_the_next_one() -> None:
    async with live(tick_ms=0) as world:
        target = world.executor.submit(resting_order())
        await outcomes([target, world.executor.submit(crossing_order())])
        world.wire.refusing = True
        await world.disconnect()
        await until(lambda: world.states.count(SessionState.CONNECTING) >= 3)
        refused = world.executor.submit(resting_order())
        assert refused.admission is Admission.NOT_READY
        closing = world.executor.submit(resting_order(side="sell", price="99000", tif="Ioc", reduce_only=True))
        stop = world.executor.submit(cancel(target.cloid))
        assert [closing.admission, stop.admission] == [Admission.QUEUED_DEGRADED] * 2
        world.wire.refusing = False
        filled, canceled = await outcomes([closing, stop])
        assert isinstance(filled, Filled)
        assert canceled == Canceled()


async def test_reconnecting_leaves_nothing_of_the_old_connections_behind() -> None:
    async with live(silence_ms=1_000) as world:
        for _ in range(5):
            await world.disconnect()
            await world.ready()
        working = [task for task in asyncio.all_tasks() if task.get_name() == "hip3 synchroniser"]
        assert len(working) == 1
        before = len(world.wire.frames("ping"))
        await asyncio.sleep(1.2)
        assert 1 <= len(world.wire.frames("ping")) - before <= 4, "one ping each half second, not six"


async def test_who_waits_for_ready_waits_for_this_connection() -> None:
    async with live() as world:
        world.wire.refusing = True
        await world.disconnect()
        with pytest.raises(VenueUnreachable, match=r"not ready after 0\.05 s"):
            await world.executor.wait_ready(0.05)
        world.wire.refusing = False
        await world.executor.wait_ready(PATIENCE_S)
        assert world.executor.core.new_orders_pass


async def test_orders_that_ended_while_nobody_listened_are_found_out() -> None:
    """protocol.md §8: no snapshot of orders on subscribing; so open orders are asked for."""
    async with live(tick_ms=0) as world:
        names = [cloid(number) for number in (1, 2, 3)]
        prices = ("99000", "50000", "50000")
        placed = [resting_order(cloid=name, price=price) for name, price in zip(names, prices, strict=True)]
        placed.append(resting_order(market="xyz:TSLA", size="1", price="200", cloid=cloid(4)))
        await outcomes(map(world.executor.submit, placed))
        world.wire.refusing = True
        await world.disconnect()
        world.set_price("BTC", "98000")  # the first one trades
        trading = world.venue.core.trading
        account = world.venue.core.accounts.by_address[world.config.account]
        trading.cancel(next(order for order in account.open_orders.values() if order.cloid == names[1]))
        world.wire.refusing = False
        await world.ready()
        await until(lambda: fills_of(world.seen, names[0]) != [])
        resting = world.executor.core.intents.resting_cloids
        await until(lambda: resting() == [names[2], cloid(4)])
        again = [world.executor.submit(resting_order(cloid=name)) for name in names]
        assert [ticket.admission for ticket in again] == [Admission.CLOID_IN_USE] * 3, "once used is used for ever"
        assert len(fills_of(world.seen, names[0])) == len(world.trades) == 1


# ------------------------------------------------------------------------------------------- frames out of order


def reply(post_id: int, response: object) -> str:
    """A reply frame."""
    return json.dumps({"channel": "post", "data": {"id": post_id, "response": response}})


def error_frame(text: str) -> str:
    """An error that is no reply."""
    return json.dumps({"channel": "error", "data": text})


async def injected(world: Live, text: str) -> Any:
    """Send an order whose real answer is held up, answer it with `text` (id for %d), and return the ticket."""
    (ticket,) = await in_flight(world, resting_order())
    post_id = world.wire.posts()[-1]["id"]
    await world.wire.inject(text.replace("%d", str(post_id)))
    return ticket


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (reply(-1, {"type": "action", "payload": {"status": "ok", "response": {"type": "default"}}}), "0 statuses"),
        (reply(-1, {"type": "action", "payload": {"status": "ok"}}), "unreadable reply"),
        (reply(-1, {"type": "error", "payload": "502 Bad Gateway"}), "502 Bad Gateway"),
        (
            reply(-1, {"type": "action", "payload": {"status": "err", "response": "Invalid nonce: duplicate nonce 5"}}),
            "Invalid nonce: duplicate nonce",
        ),
        (
            reply(
                -1,
                {
                    "type": "action",
                    "payload": {
                        "status": "ok",
                        "response": {"type": "cancel", "data": {"statuses": ["success"]}},
                    },
                },
            ),
            "do not fit",
        ),
    ],
)
async def test_an_answer_that_proves_nothing_settles_nothing(text: str, reason: str) -> None:
    """settlement.md, rules 5 to 8."""
    async with live(tick_ms=0) as world:
        ticket = await injected(world, text.replace("-1", "%d"))
        await until(lambda: any(what.startswith("unknown: ") for _, what in ticket.history))
        assert reason in told(ticket)[0]
        if "duplicate nonce" in reason:  # so the nonce is spent, and the record says by what
            proof = "the venue's record"
            await until(lambda: ticket.outcome is not None)
        else:
            proof = "its own late reply"
            await asyncio.sleep(0.1)
            assert ticket.outcome is None
        world.wire.answers.set()
        assert isinstance(await asyncio.wait_for(ticket, PATIENCE_S), Resting)
        assert told(ticket)[-1] == proof


async def test_a_post_that_the_gate_refused_never_ran() -> None:
    async with live(tick_ms=0) as world:
        target = world.executor.submit(resting_order())
        await target
        world.set_faults(refuse=1.0)
        new, stop = world.executor.submit(resting_order()), world.executor.submit(cancel(target.cloid))
        outcome = await asyncio.wait_for(new, PATIENCE_S)
        assert outcome == NotExecuted("refused by the venue's gate: 429 Too Many Requests")
        assert stop.outcome is None
        world.set_faults()
        assert await asyncio.wait_for(stop, PATIENCE_S) == Canceled(), "it went back to its place"
        ended = next(intent for intent in world.ended if intent.cloid == target.cloid and intent.kind.value != "order")
        assert len(ended.attempts) >= 2


async def test_an_error_frame_ends_only_the_post_that_it_names() -> None:
    """X5."""
    async with live(tick_ms=0) as world:
        submit, core = world.executor.submit, world.executor.core
        world.wire.requests.clear()  # so that it is true: the venue has not run them
        first = submit(resting_order())
        await until(lambda: len(world.wire.posts()) == 2)
        post_id = world.wire.posts()[-1]["id"]
        second = submit(resting_order())
        await until(lambda: core.inflight.count == 2)
        await world.wire.inject(error_frame("Cannot send more than 2000 messages per minute."))
        await world.wire.inject(error_frame("too many pending post requests id=99999"))
        await until(lambda: world.executor.reception.errors == 2)
        assert (first.outcome, second.outcome) == (None, None)
        assert world.executor.strays == 1
        await world.wire.inject(error_frame(f"too many pending post requests id={post_id}"))
        outcome = await asyncio.wait_for(first, PATIENCE_S)
        assert isinstance(outcome, NotExecuted)
        assert second.outcome is None
        held = submit(resting_order())
        await asyncio.sleep(0.2)
        assert held.outcome is None, "told to speak less, it does for a second"
        assert core.inflight.count == 1
        world.wire.reset()
        world.wire.requests.set()
        assert await asyncio.wait_for(second, PATIENCE_S) == NotExecuted(FENCE_WON)
        assert isinstance(await asyncio.wait_for(held, PATIENCE_S), Resting)


async def test_frames_that_make_no_sense_change_nothing() -> None:
    async with live(tick_ms=0) as world:
        (ticket,) = await in_flight(world, resting_order())
        for text in ("", "{", "null", "[]", '{"channel":5}', '{"channel":"post","data":{"id":"x"}}', "\u0000" * 200):
            await world.wire.inject(text)
        for _ in range(3):
            await world.wire.inject('{"channel":"weather","data":{}}')
        await world.wire.inject('{"channel":"pong"}')
        await world.wire.inject('{"channel":"post","data":{"id":1,"response":{"type":"info","payload":{"data":1}}}}')
        reception = world.executor.reception
        await until(lambda: reception.unread_channels["weather"] == 3)
        assert reception.malformed == 7
        assert ticket.outcome is None
        world.wire.answers.set()
        assert isinstance(await asyncio.wait_for(ticket, PATIENCE_S), Resting)


async def test_a_reply_of_an_earlier_connection_is_a_stray() -> None:
    async with live(tick_ms=0) as world:
        await world.disconnect()
        await world.ready()
        (ticket,) = await in_flight(world, resting_order())
        frame = reply(world.wire.posts()[-1]["id"], {"type": "error", "payload": "429 Too Many Requests"}).encode()
        world.executor.reception.receive(frame, epoch=1)
        assert world.executor.strays == 1
        assert ticket.outcome is None
        world.wire.answers.set()
        assert isinstance(await asyncio.wait_for(ticket, PATIENCE_S), Resting)


async def test_replies_said_twice_count_once() -> None:
    async with live(tick_ms=0) as world:
        world.set_faults(duplicate_reply=1.0, garbage=1.0)
        for _ in range(5):
            assert isinstance(await world.executor.submit(resting_order()), Resting)
        await until(lambda: world.executor.strays == 5)
        assert world.executor.reception.malformed >= 5
        assert world.executor.core.intents.ended == 5


# ------------------------------------------------------------------------------------------------- many faults


async def test_after_any_sequence_of_faults_everything_flows_again() -> None:
    """D3."""
    async with live(tick_ms=0, post_timeout_ms=3_000, venue={"seed": 11}) as world:
        world.set_faults(
            refuse=0.2,
            error_processed=0.1,
            error_unprocessed=0.1,
            drop_reply=0.1,
            duplicate_reply=0.2,
            close_before=0.05,
            close_after=0.05,
            garbage=0.2,
            update_delay_ms=20,
            drop_update=0.1,
        )
        tickets = []
        for number in range(60):
            await until(lambda: world.executor.core.new_orders_pass)
            tickets.append(world.executor.submit(resting_order(price=str(50_000 + number))))
            tickets.append(world.executor.submit(cancel(cloid(number))))
            await asyncio.sleep(0.01)
        accepted = [ticket for ticket in tickets if ticket.admission.accepted]
        world.set_faults()
        results = await outcomes(accepted)
        assert {type(outcome) for outcome in results} == {NotExecuted, Resting, Rejected}, "none is left unknown"
        await world.ready()
        assert world.executor.core.inflight.count == 0
        await until(lambda: world.executor.core.idle)
        assert isinstance(await world.executor.submit(crossing_order()), Filled)
        (closed,) = await outcomes(await world.executor.flatten("BTC"))
        assert isinstance(closed, Filled)


async def test_a_silent_venue_is_replaced_and_pings_keep_a_quiet_one() -> None:
    async with live(silence_ms=1_000) as world:
        await asyncio.sleep(1.3)
        assert world.executor.core.session.epoch == 1, "pings keep it"
        world.wire.answers.clear()
        await until(lambda: SessionState.DISCONNECTED in world.states)
        world.wire.answers.set()
        await world.ready()
        assert world.executor.core.session.epoch == 2


# ---------------------------------------------------------------------------------------------------- the clock


async def test_a_clock_far_off_stops_new_orders_and_lets_risk_be_closed() -> None:
    """N5, B5."""
    async with live(tick_ms=0) as world:
        target = world.executor.submit(resting_order())
        await outcomes([target, world.executor.submit(crossing_order())])
        world.set_faults(clock_offset_ms=6_000)
        await world.disconnect()
        await until(lambda: world.executor.core.hard_stop.tripped)
        assert "ms off the server's" in str(world.executor.core.hard_stop.reason)
        await until(lambda: world.executor.core.session.connected)
        assert world.executor.submit(resting_order()).admission is Admission.HALTED
        (closed,) = await outcomes(await world.executor.flatten())
        assert isinstance(closed, Filled)
        assert await asyncio.wait_for(world.executor.submit(cancel(target.cloid)), PATIENCE_S) == Canceled()
        drifts = [event.drift for event in world.seen if isinstance(event, ev.DriftSeen)]
        assert Drift.ERROR in drifts
        assert world.executor.core.session.state is SessionState.SYNCING
        world.set_faults()
        await world.disconnect()
        await until(lambda: world.executor.core.session.ready)
        assert world.executor.submit(resting_order()).admission is Admission.HALTED, "the operator decides"
        world.executor.reset("the clock is right again")
        assert isinstance(await world.executor.submit(resting_order()), Resting)


async def test_a_clock_somewhat_off_is_told_and_corrected_for() -> None:
    async with live(tick_ms=0, venue={}) as world:
        world.set_faults(clock_offset_ms=-3_000)
        await world.disconnect()
        await world.ready()
        drifts = [event for event in world.seen if isinstance(event, ev.DriftSeen)]
        assert [event.drift for event in drifts] == [Drift.WARN]
        assert abs(drifts[0].offset_ms + 3_000) < 1_000
        assert isinstance(await world.executor.submit(resting_order()), Resting)


class _ClockThatWentBack(SystemClock):
    """A local clock that falls when told to."""

    back_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() - self.back_ms


async def test_nonces_rise_when_the_clock_falls() -> None:
    clock = _ClockThatWentBack()
    async with live(tick_ms=0, clock=clock) as world:
        await world.executor.submit(resting_order())
        clock.back_ms = 4_000
        await world.executor.submit(resting_order())
        nonces = [post["request"]["payload"]["nonce"] for post in world.wire.posts()]
        assert nonces == sorted(set(nonces))


# --------------------------------------------------------------------------------------------------- strict order


async def test_outcomes_are_told_once_each_and_in_the_order_of_the_batch() -> None:
    async with live(tick_ms=0) as world:
        tickets = [world.executor.submit(resting_order(price=str(50_000 + number))) for number in range(50)]
        await outcomes(tickets)
        ended: list[Intent] = world.ended
        assert [intent.cloid for intent in ended] == [ticket.cloid for ticket in tickets]
        assert all(intent.outcomes == 1 for intent in ended)
