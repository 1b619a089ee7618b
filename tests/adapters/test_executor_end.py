"""How an executor ends: by a shutdown, by a key that nobody knows, or by a fault of its own."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from typing import Any

import pytest

from adapters.config import Config, KeySource, Queues
from adapters.driver import ExecutorFailed
from adapters.executor import SETTLEMENT_STEPS, CloseReport, Executor, KeyNotAccepted
from adapters.feed import Subscription
from adapters.hyperliquid.info import VenueUnreachable
from adapters.hyperliquid.signing import Signer
from adapters.keys import KeyMissing
from machines import events as ev
from machines.inflight import InflightState
from machines.intent import Admission, Canceled, Filled, IntentState, NotExecuted, Priority, Resting, Unknown
from machines.post import PostState
from machines.session import SessionState
from machines.settlement import SettlementState
from tests.adapters.live import (
    AGENT_KEY,
    KEY,
    KEY_VARIABLE,
    PATIENCE_S,
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

# -------------------------------------------------------------------------------------------------- the shutdown


async def closed(executor: Executor) -> CloseReport:
    """The report of a shutdown that does not hang."""
    return await asyncio.wait_for(executor.close(), PATIENCE_S)


@pytest.mark.parametrize("reconnected", [False, True])
async def test_a_shutdown_sends_what_closes_risk_and_lists_what_it_dropped(reconnected: bool) -> None:
    """Also after a reconnect: a connection that was lost before must not end the drain."""
    async with live(tick_ms=60, queues=Queues(batch=2)) as world:
        submit = world.executor.submit
        targets = [submit(resting_order(price=str(50_000 + number))) for number in range(5)]
        await outcomes([*targets, submit(crossing_order())])
        if reconnected:
            await world.disconnect()
            await world.ready()
        cancels = [submit(cancel(target.cloid)) for target in targets]
        closing = submit(resting_order(side="sell", price="99000", tif="Ioc", reduce_only=True))
        dropped = [submit(resting_order()) for _ in range(3)]
        report = await closed(world.executor)
        assert await outcomes(cancels) == [Canceled()] * 5
        assert isinstance(closing.outcome, Filled)
        assert {ticket.outcome for ticket in dropped} == {NotExecuted("shut down before it was sent")}
        assert [intent.cloid for intent in report.not_executed] == [ticket.cloid for ticket in dropped]
        assert report.unknown == ()
        assert not report.clean
        assert world.executor.core.session.state is SessionState.CLOSED
        assert world.positions == {}


async def test_a_shutdown_waits_for_open_posts() -> None:
    async with live(tick_ms=0) as world:
        world.wire.answers.clear()
        ticket = world.executor.submit(resting_order())
        await until(lambda: len(world.actions) == 1)
        closing = asyncio.create_task(world.executor.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        world.wire.answers.set()
        report = await asyncio.wait_for(closing, PATIENCE_S)
        assert report.clean
        assert isinstance(ticket.outcome, Resting)


async def test_a_shutdown_out_of_time_lists_what_is_unknown_and_the_next_run_settles_it() -> None:
    async with live(tick_ms=0, drain_ms=200) as world:
        world.wire.answers.clear()
        ticket = world.executor.submit(resting_order())
        await until(lambda: len(world.actions) == 1)
        report = await closed(world.executor)
        assert [intent.cloid for intent in report.unknown] == [ticket.cloid]
        assert ticket.outcome == Unknown("shut down before its fate was known")
        assert [what for _, what in ticket.history] == [
            "queued",
            "unknown: shut down before the reply came",
            "left for the next run to settle: shut down before its fate was known",
        ]
        assert report.not_executed == ()
        world.wire.answers.set()
        await world.restart()
        found = world.executor.ticket_of(str(ticket.cloid))
        assert found is not None
        assert isinstance(await found, Resting)


class AtOnce(random.Random):
    """Draws no pause at all before the next connection."""

    def randint(self, a: int, b: int) -> int:
        return a


async def test_a_connection_lost_in_the_drain_ends_it() -> None:
    async with live(tick_ms=10_000) as world:
        world.executor.driver.transport._jitter = AtOnce()
        waits = world.executor.submit(cancel(cloid(1)))
        closing = asyncio.create_task(world.executor.close())
        await until(lambda: world.executor.core.session.state is SessionState.DRAINING)
        world.wire.reset()
        report = await asyncio.wait_for(closing, PATIENCE_S)
        assert waits.outcome == NotExecuted("shut down before it was sent")
        assert len(report.not_executed) == 1
        assert world.wire.accepted == 1, "it does not connect again"
        assert world.executor.driver.fault is None


async def test_a_shutdown_without_a_connection_drops_at_once() -> None:
    async with live(tick_ms=0) as world:
        world.wire.refusing = True
        await world.disconnect()
        waits = world.executor.submit(cancel(cloid(1)))
        assert waits.admission is Admission.QUEUED_DEGRADED
        report = await closed(world.executor)
        assert [intent.outcome for intent in report.not_executed] == [NotExecuted("shut down before it was sent")]
        assert waits.outcome is not None


async def test_a_shutdown_is_done_once_whoever_asks_and_gives_up() -> None:
    async with live(tick_ms=0) as world:
        world.wire.answers.clear()
        ticket = world.executor.submit(resting_order())
        await until(lambda: len(world.actions) == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(world.executor.close(), 0.05)
        others = [asyncio.create_task(world.executor.close()) for _ in range(2)]
        world.wire.answers.set()
        first, second = await asyncio.wait_for(asyncio.gather(*others), PATIENCE_S)
        assert first == second == await closed(world.executor)
        assert isinstance(ticket.outcome, Resting)


async def test_after_a_shutdown_nothing_is_taken_and_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    async with live() as world:
        waiting = asyncio.create_task(world.executor.wait_ready())
        await waiting
        await closed(world.executor)
        for request in (resting_order(), resting_order(cloid=cloid(1)), cancel(cloid(1))):
            refused = world.executor.submit(request)
            assert (refused.admission, refused.outcome) == (Admission.NOT_READY, NotExecuted("not accepted: not_ready"))
        world.executor.halt("too late")
        assert "journal" not in caplog.text, "it is closed, and not asked any more"
        assert [event async for event in world.executor.events()] == []
        with pytest.raises(VenueUnreachable, match=r"not ready before the shutdown: the session to .* is closed"):
            await world.executor.wait_ready()


async def test_who_waits_for_ready_is_told_of_a_shutdown() -> None:
    executor = Executor(unreachable(), Signer(KEY))
    executor.start()
    waiting = asyncio.create_task(executor.wait_ready())
    await asyncio.sleep(0.05)
    assert (await closed(executor)).clean
    with pytest.raises(VenueUnreachable, match="before the shutdown"):
        await asyncio.wait_for(waiting, PATIENCE_S)


async def test_an_executor_that_was_never_started_can_be_closed() -> None:
    executor = Executor(unreachable(), Signer(KEY))
    assert executor.submit(resting_order()).admission is Admission.NOT_READY
    assert (await closed(executor)).clean


# ------------------------------------------------------------------------------------------------- never ready


def unreachable() -> Config:
    """A venue that does not run."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return Config(
        network="local",
        account=Signer(KEY).address,
        key=KeySource(env=KEY_VARIABLE),
        ws_url=f"ws://127.0.0.1:{port}/ws",
        http_url=f"http://127.0.0.1:{port}",
    )


async def test_open_with_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with pytest.raises(VenueUnreachable, match=r"not ready after 0\.2 s: the session to ws://127\.0\.0\.1:\d+/ws is"):
        async with Executor.open(unreachable(), ready_s=0.2):
            pytest.fail("nobody is there")


async def test_open_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(KeyMissing):
        async with Executor.open(unreachable()):
            pytest.fail("there is no key")


async def test_open_with_a_clock_far_off_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    signer = Signer(KEY)
    async with venue_in_process(signer) as venue:
        venue.core.faults.settings = type(venue.core.faults.settings)(clock_offset_ms=7_000)
        with pytest.raises(VenueUnreachable, match=r"new orders are halted \(the clock is \d+ ms off the server's\)"):
            async with Executor.open(config_for(venue, signer.address), ready_s=0.5):
                pytest.fail("the clock is wrong")


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"network": "mainnet"}, KEY), ({}, AGENT_KEY)],
    ids=["the key of another network", "an agent that nobody approved"],
)
async def test_a_key_that_the_venue_does_not_know(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], key: str
) -> None:
    owner = Signer(KEY)
    monkeypatch.setenv(KEY_VARIABLE, key)
    async with venue_in_process(owner, **settings) as venue:
        with pytest.raises(KeyNotAccepted) as caught:
            async with Executor.open(config_for(venue, owner.address)):
                pytest.fail("the key is not accepted")
    message = str(caught.value)
    assert "does not exist" in message
    assert Signer(key).address in message
    assert "network 'local'" in message
    assert key not in message


async def test_a_refused_key_stays_refused_across_connections() -> None:
    async with live(signer=Signer(AGENT_KEY), ready=False) as world:
        with pytest.raises(KeyNotAccepted):
            await world.executor.wait_ready(PATIENCE_S)
        await world.disconnect()
        with pytest.raises(KeyNotAccepted):
            await world.executor.wait_ready(PATIENCE_S)
        assert world.executor.submit(resting_order()).admission is Admission.NOT_READY
        assert [event for event in world.seen if isinstance(event, ev.KeyRefused)] != []


async def test_info_questions_that_stay_unanswered_are_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    async with live(ready=False) as world:
        world.set_faults(error_unprocessed=1.0)
        await until(lambda: "venue_question_unanswered" in caplog.text)
        world.set_faults()
        await world.executor.wait_ready(PATIENCE_S)
        assert isinstance(await world.executor.submit(resting_order()), Resting)


# ------------------------------------------------------------------------------------------------ our own faults


async def collect(reader: Subscription[Any]) -> list[Any]:
    """Everything that a reader is told until the feed ends."""
    return [event async for event in reader]


async def broken(world: Live) -> tuple[list[Any], asyncio.Task[Any], asyncio.Task[None]]:
    """Work in flight and in the queue, a reader, and somebody who waits for a fault."""
    world.corrupted = True
    world.wire.answers.clear()
    flying = world.executor.submit(resting_order())
    await until(lambda: world.executor.core.inflight.count == 1)
    queued = [world.executor.submit(resting_order()), world.executor.submit(cancel(cloid(3)))]
    reading = asyncio.create_task(collect(world.executor.events()))
    waiting = asyncio.create_task(world.executor.wait_fault())
    await until(lambda: world.executor.driver._flush is None)  # it looks at the invariants, and would halt first
    return [flying, *queued], reading, waiting


async def everybody_is_told(world: Live, tickets: list[Any], reading: asyncio.Task[Any], text: str) -> None:
    executor = world.executor
    for ticket in tickets:
        with pytest.raises(ExecutorFailed, match=text):
            await asyncio.wait_for(ticket, PATIENCE_S)
        with pytest.raises(ExecutorFailed, match=text):
            _ = ticket.outcome
    await asyncio.wait_for(reading, PATIENCE_S)
    with pytest.raises(ExecutorFailed):
        executor.submit(resting_order())
    with pytest.raises(ExecutorFailed):
        executor.halt("too late")
    with pytest.raises(ExecutorFailed):
        await executor.wait_ready(PATIENCE_S)
    report = await closed(executor)
    assert {intent.cloid for intent in report.unknown} == {ticket.cloid for ticket in tickets}
    assert not report.clean


async def test_a_fault_of_the_core_is_told_to_everybody_and_nothing_hangs() -> None:
    """The count is made to say that no slot is taken: the reply then gives back one that nobody has."""
    async with live(tick_ms=10_000) as world:
        world.executor.driver._sent_ms -= 10_000
        tickets, reading, waiting = await broken(world)
        world.executor.core.inflight.count = 0
        world.executor.core.inflight.state = InflightState.IDLE
        world.wire.answers.set()
        with pytest.raises(ExecutorFailed, match="fault of its own: IllegalEvent: inflight"):
            await asyncio.wait_for(waiting, PATIENCE_S)
        life = world.executor.driver._life
        assert life is not None
        assert life.cancelled(), "it pings no more"
        await everybody_is_told(world, tickets, reading, "IllegalEvent")
        accepted = world.wire.accepted
        await asyncio.sleep(0.3)
        assert world.wire.accepted == accepted, "it does not connect again"


async def test_a_fault_in_a_submit_is_raised_to_who_submits() -> None:
    async with live(tick_ms=10_000) as world:
        world.executor.driver._sent_ms -= 10_000
        tickets, reading, waiting = await broken(world)
        del world.executor.core.scheduler.outstanding[Priority.CANCEL]
        with pytest.raises(ExecutorFailed, match="KeyError"):
            world.executor.submit(cancel(cloid(4)))
        await asyncio.gather(waiting, return_exceptions=True)
        await everybody_is_told(world, tickets, reading, "KeyError")


async def test_a_transport_that_dies_is_a_fault() -> None:
    """An address that no check has seen: the library raises what nobody expects."""
    async with live(tick_ms=10_000) as world:
        world.executor.driver._sent_ms -= 10_000
        tickets, reading, waiting = await broken(world)
        world.executor.driver.transport.url = "ws://127.0.0.1:99999/ws"
        world.wire.reset()
        with pytest.raises(ExecutorFailed, match="ValueError: Port out of range"):
            await asyncio.wait_for(waiting, PATIENCE_S)
        # The post in flight had ended with its connection, before the fault; what became of it is not known.
        assert SETTLEMENT_STEPS[SettlementState.UNKNOWN] in [what for _, what in tickets[0].history]
        await everybody_is_told(world, tickets, reading, "Port out of range")


async def test_a_synchroniser_that_dies_is_a_fault() -> None:
    async with live(tick_ms=0) as world:
        world.corrupted = True
        synchroniser: Any = world.executor._synchroniser
        synchroniser._account = object()
        world.wire.reset()
        with pytest.raises(ExecutorFailed, match="TypeError"):
            await asyncio.wait_for(world.executor.wait_fault(), PATIENCE_S)


async def test_a_fault_while_closing_does_not_hold_it_up() -> None:
    async with live(tick_ms=0) as world:
        world.corrupted = True
        world.wire.answers.clear()
        ticket = world.executor.submit(resting_order())
        await until(lambda: len(world.actions) == 1)
        closing = asyncio.create_task(world.executor.close())
        await asyncio.sleep(0.05)
        world.executor.driver.fail(RuntimeError("for the test"))
        world.executor.driver.fail(RuntimeError("a second one adds nothing"))
        report = await asyncio.wait_for(closing, PATIENCE_S)
        assert [intent.cloid for intent in report.unknown] == [ticket.cloid]
        with pytest.raises(ExecutorFailed, match="RuntimeError: for the test"):
            await ticket


async def test_a_violated_invariant_halts_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """The count of accepted intents is made wrong; what closes risk still passes, and a reset does not stick."""
    caplog.set_level(logging.CRITICAL, logger="hip3")
    async with live(tick_ms=0) as world:
        world.corrupted = True
        executor = world.executor
        target = executor.submit(resting_order())
        await outcomes([target, executor.submit(crossing_order())])
        executor.core.intents.population[IntentState.UNKNOWN] += 1
        ticket = executor.submit(resting_order())
        outcome = await asyncio.wait_for(ticket, PATIENCE_S)
        assert isinstance(outcome, NotExecuted)
        assert "invariant violated: EveryAcceptedIntentHasOneOutcome" in outcome.reason
        assert executor.submit(resting_order()).admission is Admission.HALTED
        assert await executor.submit(cancel(target.cloid)) == Canceled()
        (flat,) = await outcomes(await executor.flatten())
        assert isinstance(flat, Filled)
        executor.reset("hope")
        assert executor.core.hard_stop.tripped
        executor.core.intents.population[IntentState.UNKNOWN] -= 1
        executor.reset("it was found and repaired")
        assert isinstance(await executor.submit(resting_order()), Resting)
        assert executor.driver.monitor.violated > 1
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]


async def test_a_new_order_in_whose_post_an_invariant_is_violated_is_not_sent() -> None:
    async with live(tick_ms=0) as world:
        world.corrupted = True
        ticket = world.executor.submit(resting_order())
        world.executor.core.intents.population[IntentState.UNKNOWN] += 1  # seen first by the step that makes the post
        outcome = await asyncio.wait_for(ticket, PATIENCE_S)
        assert isinstance(outcome, NotExecuted)
        assert outcome.reason.startswith("not sent: invariant violated: EveryAcceptedIntentHasOneOutcome")
        assert world.actions == []
        assert world.executor.endings[PostState.UNSENT] == 1
