"""What comes together is written down, sent and told together; and what may go wrong halfway."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from adapters.config import Queues
from machines.intent import Admission, NotExecuted, Rejected, Resting
from machines.post import PostState
from machines.settings import CoreSettings
from tests.adapters.live import Live, live, outcomes, resting_order, until

BURST = 40
"""Orders, one a post: below the high watermark, so that all of them may be in flight."""
ONE_A_POST = Queues(batch=1)


class Count:
    """How often some methods of an executor's parts are called."""

    def __init__(self, world: Live) -> None:
        """Count from now on; the parts do what they always do."""
        driver = world.executor.driver
        self.flushes: list[tuple[int, int]] = []  # bytes, and records written before
        self.appends = 0
        flush, append = driver.transport.flush, world.executor.journal.append

        def counted_flush() -> None:
            self.flushes.append((driver.transport.staged, self.appends))
            flush()

        def counted_append(*arguments: Any) -> int:
            self.appends += 1
            return append(*arguments)

        driver.transport.flush = counted_flush  # type: ignore[method-assign]
        world.executor.journal.append = counted_append  # type: ignore[method-assign, assignment]


def burst(world: Live) -> list[Any]:
    """Submit orders, all in one turn of the event loop."""
    return [world.executor.submit(resting_order()) for _ in range(BURST)]


async def test_the_posts_of_a_turn_leave_in_one_write_after_one_record() -> None:
    async with live(tick_ms=0, queues=ONE_A_POST) as world:
        world.wire.answers.clear()
        count = Count(world)
        tickets = burst(world)
        await until(lambda: len(world.executor.core.posts) == BURST)
        ((size, records),) = count.flushes
        assert size > 100 * BURST
        assert records == 1
        world.wire.answers.set()
        assert all(isinstance(outcome, Resting) for outcome in await outcomes(tickets))
        assert len(world.actions) == BURST


async def test_the_frames_of_one_read_are_told_after_one_record() -> None:
    async with live(tick_ms=0, queues=ONE_A_POST) as world:
        reads: list[tuple[int, int]] = []
        count = Count(world)
        connection: Any = world.executor.driver.transport._connection
        take = connection.sink

        def counted(frames: list[bytes]) -> None:
            before = count.appends
            take(frames)
            reads.append((len(frames), count.appends - before))

        connection.sink = counted
        world.wire.answers.clear()  # all answers come at once
        tickets = burst(world)
        await until(lambda: len(world.actions) == BURST)
        world.wire.answers.set()
        await outcomes(tickets)
        assert max(frames for frames, _ in reads) > 1
        assert all(appends <= 1 for _, appends in reads)


async def test_with_a_tick_there_is_one_post_at_a_time() -> None:
    async with live(tick_ms=20, queues=ONE_A_POST) as world:
        count = Count(world)
        tickets = [world.executor.submit(resting_order()) for _ in range(4)]
        await outcomes(tickets)
        assert len(count.flushes) == 4


async def test_what_is_staged_leaves_though_nothing_more_may_follow() -> None:
    """The limit on messages is reached in the middle of a turn."""
    async with live(tick_ms=0, queues=ONE_A_POST, messages_per_minute=20) as world:
        tickets = burst(world)
        core, endings = world.executor.core, world.executor.endings
        await until(lambda: endings[PostState.ACKED] > 1 and not len(core.posts))  # the first one proved the key
        left = [ticket for ticket in tickets if ticket.outcome is None]
        assert 0 < len(left) < BURST
        assert len(world.actions) == BURST - len(left)
        world.executor.halt("the test needs no more")
        assert all(isinstance(outcome, NotExecuted) for outcome in await outcomes(left))


@contextmanager
def no_room() -> Iterator[None]:
    """No file may grow at all."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_staged_frames_that_could_not_be_recorded_do_not_leave(caplog: pytest.LogCaptureFixture) -> None:
    """Their posts end with the connection, and are proven never to have run."""
    caplog.set_level(logging.CRITICAL, logger="hip3")
    async with live(tick_ms=0, queues=ONE_A_POST) as world:
        with no_room():
            tickets = burst(world)
            ended = await outcomes(tickets)
        assert all(isinstance(outcome, NotExecuted) for outcome in ended)
        assert world.actions == []
        assert world.executor.endings[PostState.DISCONNECTED] == BURST - 1
        assert world.executor.endings[PostState.UNSENT] == 1
        assert isinstance(ended[-1], NotExecuted)
        assert ended[-1].reason.startswith("not sent: the journal failed: ")
        assert world.executor.submit(resting_order()).admission is Admission.HALTED
        assert ["journal_failed" in record.getMessage() for record in caplog.records] == [True]


async def test_a_write_that_breaks_loses_all_that_was_staged_and_nothing_for_good() -> None:
    async with live(tick_ms=0, queues=ONE_A_POST) as world:
        connection: Any = world.executor.driver.transport._connection
        connection.transport.write_eof()  # so that the write fails
        tickets = burst(world)
        ended = await outcomes(tickets)
        assert all(isinstance(outcome, NotExecuted | Rejected) for outcome in ended)
        assert world.actions == []
        assert world.executor.endings[PostState.DISCONNECTED] == BURST
        await world.ready()
        assert isinstance((await outcomes([world.executor.submit(resting_order())]))[0], Resting)


def test_the_burst_stays_below_the_watermark() -> None:
    assert CoreSettings().high_watermark > BURST
