"""A restart finds out what the run before left: the truth of each post, once, before new orders pass."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from adapters.clock import SystemClock
from adapters.config import ConfigError
from adapters.driver import ExecutorFailed
from adapters.executor import SETTLEMENT_STEPS, Executor
from adapters.hyperliquid.signing import Signer
from adapters.journal import redo
from adapters.ticket import Ticket
from adapters.venue.truth import ActionRecord
from machines.intent import (
    Admission,
    Cancel,
    Canceled,
    Filled,
    Intent,
    Modify,
    NotExecuted,
    Order,
    Outcome,
    Rejected,
    Resting,
    Trigger,
)
from machines.settlement import SettlementState
from tests.adapters.live import (
    AGENT_KEY,
    KEY,
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

FENCE_WON = NotExecuted("its fence won: it never ran and never can")
NEVER_SENT = NotExecuted("never sent before the restart")
CLOSING = resting_order(side="sell", price="99000", size="0.001", tif="Ioc", reduce_only=True)


async def left(world: Live, name: str | None) -> Outcome:
    """What became of an order of an earlier run."""
    return await asyncio.wait_for(ticket_of(world, name), PATIENCE_S)


def ticket_of(world: Live, name: str | None) -> Ticket:
    """The ticket of an order of an earlier run."""
    ticket = world.executor.ticket_of(str(name))
    assert ticket is not None
    return ticket


def ended_cancel(world: Live, name: str | None) -> Intent:
    """The cancel of this order that ended in this run."""
    (intent,) = [intent for intent in world.ended if isinstance(intent.request, Cancel) and intent.cloid == name]
    return intent


def submitted(world: Live, *requests: Order | Modify | Cancel) -> list[Ticket]:
    """Submit, one after another."""
    return [world.executor.submit(request) for request in requests]


async def sent(world: Live, *requests: Order | Modify | Cancel) -> list[Ticket]:
    """Submit, and wait until everything has left; nothing is answered any more."""
    world.wire.answers.clear()
    tickets = submitted(world, *requests)
    seqs = set(world.executor._open)
    await until(lambda: seqs <= {item.seq for post in world.executor.core.posts._open.values() for item in post.items})
    return tickets


async def crash(world: Live) -> None:
    """The executor dies; what was under way is gone with its connection."""
    await world.abandon()
    world.wire.requests.set()
    world.wire.answers.set()


# ----------------------------------------------------------------------------------------------- everything at once


async def test_whatever_a_crash_left_ends_in_the_truth() -> None:
    async with live(tick_ms=0) as world:
        kept, lost_cancel, done_cancel, unsent_cancel = submitted(
            world, *(resting_order(price=str(50_000 + number)) for number in range(4))
        )
        await outcomes([kept, lost_cancel, done_cancel, unsent_cancel, *submitted(world, crossing_order(size="0.05"))])

        # These arrive, and are not answered.
        stop = Trigger(price="90000", is_market=True, kind="sl")
        waits_for_trigger = resting_order(side="sell", price="90000", trigger=stop, reduce_only=True)
        ran, traded, closed, changed, triggered, _ = await sent(
            world,
            resting_order(),
            crossing_order(),
            CLOSING,
            Modify(cloid=kept.cloid, order=resting_order(price="51000", cloid=cloid(77))),
            waits_for_trigger,
            cancel(done_cancel.cloid),
        )
        await until(lambda: world.fates[str(done_cancel.cloid)].canceled is not None and cloid(77) in world.fates)
        await until(lambda: {ticket.cloid for ticket in (ran, traded, closed, triggered)} <= world.fates.keys())

        # These leave, and never arrive.
        world.wire.requests.clear()
        vanished, vanished_closing, _ = await sent(world, resting_order(), CLOSING, cancel(lost_cancel.cloid))

        # These are not even sent.
        waiting = submitted(world, resting_order(), CLOSING, cancel(unsent_cancel.cloid))
        world.executor.driver.make_durable()
        before = len(world.actions)
        open_posts = len(world.executor.core.posts)
        numbers = last_numbers(world.executor)
        await crash(world)

        await world.restart()
        assert isinstance(await left(world, ran.cloid), Resting)
        assert await left(world, traded.cloid) == Filled(oid_of(world, traded), "0.01", None)
        assert await left(world, closed.cloid) == Filled(oid_of(world, closed), "0.001", None)
        assert isinstance(await left(world, changed.cloid), Resting)
        assert isinstance(await left(world, triggered.cloid), Resting)
        assert await left(world, vanished.cloid) == FENCE_WON
        assert await left(world, vanished_closing.cloid) == FENCE_WON, "a stale order is not sent by itself"
        assert [await left(world, ticket.cloid) for ticket in waiting[:2]] == [NEVER_SENT] * 2

        # A cancel that was sent goes out again (rule 19); one that was not ends.
        await until(lambda: len(world.ended) == world.executor.core.intents.accepted)
        assert ended_cancel(world, lost_cancel.cloid).outcome == Canceled()
        assert ended_cancel(world, done_cancel.cloid).outcome == Canceled()
        assert ended_cancel(world, unsent_cancel.cloid).outcome == NEVER_SENT
        assert world.fates[str(lost_cancel.cloid)].canceled is not None
        assert world.fates[str(unsent_cancel.cloid)].canceled is None
        resent = [record.action for record in world.actions[before:]]
        assert set(resent) == {"cancelByCloid"}, "no order was sent by itself"
        assert await left(world, kept.cloid) == kept.outcome, "as it was told then"

        # Numbers go on where the run before ended (rules 13 and 14), and its posts are in quarantine again (rule 15).
        assert world.executor.core.inflight.quarantined == open_posts
        fresh = world.executor.submit(resting_order())
        assert isinstance(await fresh, Resting)
        assert all(later > earlier for earlier, later in zip(numbers, last_numbers(world.executor), strict=True))
        ids = [post["id"] for post in world.wire.posts()]
        assert len(ids) == len(set(ids))
        refused = world.executor.submit(resting_order(cloid=vanished.cloid))
        assert refused.admission is Admission.CLOID_IN_USE
        assert world.executor.ticket_of(cloid(5)) is None


def last_numbers(executor: Executor) -> tuple[int, int, int]:
    """The highest nonce, post id and sequence number."""
    return executor.core.nonces.last, executor.core.posts.last_id, executor.core.intents.last_seq


def oid_of(world: Live, ticket: Ticket) -> int:
    """The venue's number of an order that traded."""
    return next(trade.oid for trade in world.trades if trade.cloid == ticket.cloid)


async def test_new_orders_pass_only_when_the_fate_of_the_earlier_ones_is_known() -> None:
    """The venue's record lags behind; all else is there."""
    async with live(tick_ms=0) as world:
        await outcomes(submitted(world, crossing_order()))
        (ran,) = await sent(world, resting_order())
        await until(lambda: str(ran.cloid) in world.fates)
        await crash(world)
        world.set_faults(lookup_lag_ms=1_500)
        await world.restart(ready=False)
        session, earlier = world.executor.core.session, ticket_of(world, ran.cloid)
        await until(lambda: session.key_accepted and session.clock_synced and session.markets_loaded)
        await until(lambda: any(attempt.look_ups for attempt in world.executor.core.settler.attempts.values()))
        assert not session.ready
        assert world.executor.submit(resting_order()).admission is Admission.NOT_READY
        closing = world.executor.submit(CLOSING)
        assert isinstance(await asyncio.wait_for(closing, PATIENCE_S), Filled), "what closes risk passes"
        assert (earlier.outcome, session.ready) == (None, False)
        await world.executor.wait_ready(PATIENCE_S)
        assert isinstance(earlier.outcome, Resting)
        assert [what for _, what in earlier.history] == [
            "left open by an earlier run",
            *(
                SETTLEMENT_STEPS[state]
                for state in (
                    SettlementState.UNKNOWN,
                    SettlementState.FENCING,
                    SettlementState.LOOKING_UP,
                    SettlementState.EXECUTED,
                )
            ),
            "the venue's record",
        ]
        assert world.executor.submit(resting_order()).admission is Admission.QUEUED


async def test_a_run_that_left_nothing_is_taken_up_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="hip3")
    async with live(tick_ms=0) as world:
        rests = world.executor.submit(resting_order())
        await rests
        for ending in (world.executor.close, world.abandon):
            await ending()
            await world.restart()
            assert await left(world, rests.cloid) == rests.outcome
            assert world.executor.core.idle
            assert isinstance(await asyncio.wait_for(world.executor.submit(cancel(cloid(9))), PATIENCE_S), Rejected)
        assert "recovering" not in caplog.text


# --------------------------------------------------------------------------------------- crashes at the worst moments


class Crash(BaseException):
    """The process ends here."""


def crashing(call: Any, after: bool) -> Any:
    """A call that ends the process, before or after it did its work."""

    def crash_now(*arguments: Any) -> None:
        if after:
            call(*arguments)
        raise Crash

    return crash_now


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_between_the_record_and_the_write_or_right_after_it(after: bool) -> None:
    """settlement.md, rule 1: the journal can't know which of the two it was; the venue can."""
    async with live(tick_ms=0) as world:
        world.wire.answers.clear()
        transport: Any = world.executor.driver.transport
        transport.flush = crashing(transport.flush, after)
        ticket = world.executor.submit(resting_order())
        loop, crashed = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda _, context: crashed.set())
        await asyncio.wait_for(crashed.wait(), PATIENCE_S)
        loop.set_exception_handler(None)
        if after:
            await until(lambda: len(world.actions) == 1)
        await crash(world)
        await world.restart()
        outcome = await left(world, ticket.cloid)
        assert isinstance(outcome, Resting) if after else outcome == FENCE_WON


async def test_a_crash_between_the_record_of_an_outcome_and_its_telling() -> None:
    """settlement.md, rule 2: the owner asks again, and gets that outcome."""
    async with live(tick_ms=0) as world:
        executor: Any = world.executor
        executor._finish = crashing(executor._finish, False)
        ticket = world.executor.submit(crossing_order())
        with pytest.raises(Crash):
            await asyncio.wait_for(executor._connecting, PATIENCE_S)
        with pytest.raises(ExecutorFailed):
            _ = ticket.outcome  # this owner never read it
        await crash(world)
        before = len(world.wire.posts())
        await world.restart()
        outcome = ticket_of(world, ticket.cloid).outcome
        assert isinstance(outcome, Filled)
        assert outcome.average_price is not None, "as the reply told it"
        assert len(world.wire.posts()) == before + 1, "the post that proves the key, no fence"


async def test_crashes_again_and_again_in_the_middle_of_the_settlement() -> None:
    async with live(tick_ms=0) as world:
        (ran,) = await sent(world, resting_order())
        await until(lambda: str(ran.cloid) in world.fates)
        world.wire.requests.clear()
        (vanished,) = await sent(world, CLOSING)
        await crash(world)
        fences: list[int] = []
        for unanswered in (2, 5, 8):  # the two orders; then each time two fences and the post that proves the key
            world.set_faults(error_unprocessed=1.0)  # so that nothing is sent until the answers are held up
            await world.restart(ready=False)
            await until(lambda: world.executor.core.session.connected)
            world.wire.answers.clear()
            world.set_faults()
            assert (ticket_of(world, ran.cloid).outcome, ticket_of(world, vanished.cloid).outcome) == (None, None)
            assert world.executor.core.inflight.quarantined == unanswered, "rule 15"
            fences += await next_fences(world, len(fences))
            await crash(world)
        assert len(set(fences)) == len(fences) == 6, "each has an id of its own (rule 14)"
        await world.restart()
        assert isinstance(await left(world, ran.cloid), Resting)
        # The first fence of it won without a word; so the nonce is spent, and the record alone can tell (rule 5).
        assert await left(world, vanished.cloid) == NotExecuted("its nonce is spent and it left no record")
        assert str(vanished.cloid) not in world.fates


async def next_fences(world: Live, before: int) -> list[int]:
    """The ids of the two fences that go out now, once they are with the venue, as `before` others were."""
    await until(lambda: len(fences_under_way(world)) == 2)
    await until(lambda: fences_processed(world) == before + 2)
    return fences_under_way(world)


def fences_processed(world: Live) -> int:
    """How many fences the venue took, or refused because their nonce was spent."""
    nonces = {attempt.post.nonce for attempt in world.executor.core.settler.attempts.values()}
    records = [record for record in world.venue.core.truth.since(0) if isinstance(record, ActionRecord)]
    return sum(record.action == "noop" and record.nonce in nonces for record in records)


def fences_under_way(world: Live) -> list[int]:
    """The ids of fences that were sent and not answered."""
    attempts = world.executor.core.settler.attempts.values()
    return [attempt.fence_id for attempt in attempts if attempt.fence_id is not None]


# ----------------------------------------------------------------------------------------- another key, other limits


class Ahead(SystemClock):
    """A clock that can be put forward."""

    by_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.by_ms

    def monotonic_ms(self) -> int:
        return super().monotonic_ms() + self.by_ms


async def test_with_another_key_fences_prove_nothing_so_their_expiry_is_waited_for() -> None:
    """settlement.md, rules 3 and 11: only then does the record count. Time is put forward, the venue's too."""
    agent, owner, clock = Signer(AGENT_KEY), Signer(KEY), Ahead()
    async with live(tick_ms=0, clock=clock, venue={"agents": {agent.address: owner.address}}) as world:
        (ran,) = await sent(world, resting_order())
        await until(lambda: str(ran.cloid) in world.fates)
        world.wire.requests.clear()
        (vanished,) = await sent(world, resting_order())
        await crash(world)
        await world.restart(signer=agent, clock=clock, ready=False)
        session, settler = world.executor.core.session, world.executor.core.settler
        await until(lambda: session.key_accepted and session.clock_synced and session.markets_loaded)
        nonces = {attempt.post.nonce for attempt in settler.attempts.values()}
        await asyncio.sleep(1.2)
        assert [attempt.state for attempt in settler.attempts.values()] == [SettlementState.UNKNOWN] * 2
        assert not session.ready
        before = len(world.wire.posts())
        clock.by_ms = 6_000 + 10_000  # the expiry, worst drift and margin
        world.set_faults(clock_offset_ms=clock.by_ms)
        assert isinstance(await left(world, ran.cloid), Resting)
        assert await left(world, vanished.cloid) == NotExecuted("its nonce is spent and it left no record")
        await world.ready()
        later = [post["request"]["payload"]["nonce"] for post in world.wire.posts()[before:]]
        assert nonces.isdisjoint(later), "no fence was sent"
        assert isinstance(await world.executor.submit(resting_order()), Resting)


async def test_a_limit_below_what_the_venue_may_still_count_is_refused() -> None:
    async with live(tick_ms=0) as world:
        await sent(world, resting_order())
        await sent(world, resting_order())
        await crash(world)
        with pytest.raises(ConfigError, match="inflight_limit: expected at least 2, because so many posts"):
            await world.restart(inflight_limit=1, high_watermark=1)
        await world.executor.close()
        await world.restart(inflight_limit=4, high_watermark=4)
        assert isinstance(await asyncio.wait_for(world.executor.submit(resting_order()), PATIENCE_S), Resting)


# ---------------------------------------------------------------------------------- what a run sent unrecorded


async def test_what_a_run_sent_after_its_journal_had_failed_is_found_out_and_not_called_never_sent() -> None:
    """The record says that the order waits; it has traded since, as the stream of trades shows."""
    async with live(tick_ms=0) as world:
        world.corrupted = True  # outcomes are told that are not in the journal
        submit = world.executor.submit
        await outcomes([submit(crossing_order())])
        out = submit(CLOSING)
        world.executor.driver.make_durable()
        log, aside = redo.path_of(world.journal), world.journal.with_name("aside")
        log.rename(aside)  # from here on nothing can be recorded
        assert isinstance((await outcomes([out]))[0], Filled)
        unknown_to_all = submit(CLOSING)
        await outcomes([unknown_to_all])
        aside.rename(log)
        await world.abandon()
        await world.restart(ready=False)
        assert world.executor.journal.recovered.unrecorded
        assert world.executor.ticket_of(unknown_to_all.cloid or "") is None, "it is in no journal"
        assert isinstance(await left(world, out.cloid), Filled)
        await world.ready()
        await world.executor.close()
        await world.restart(ready=False)
        assert not world.executor.journal.recovered.unrecorded, "all of it is settled"
