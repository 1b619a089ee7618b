"""Journal first: nothing leaves and nothing is told before it is on disk. And what happens when it can't be written."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any

import msgspec
import pytest

from adapters import driver
from adapters.commands import CommandSession
from adapters.config import JournalTerms
from adapters.driver import FLUSH_MS
from adapters.executor import Executor
from adapters.hyperliquid.signing import Signer
from adapters.journal import IntentRow, JournalInUse, JournalUnwritable, PostRow, redo
from adapters.journal.snapshot import open_to_read
from adapters.outcomes import outcome_from
from adapters.ticket import Ticket
from machines.intent import Admission, Canceled, Filled, Intent, NotExecuted, Order, Outcome, Resting
from machines.post import PostState
from tests.adapters.live import (
    AGENT_KEY,
    KEY,
    PATIENCE_S,
    Live,
    cancel,
    crossing_order,
    live,
    outcomes,
    resting_order,
    steps_of,
    until,
)

# ------------------------------------------------------------------------------------------------- what is on disk


def posts_on_disk(path: Path) -> dict[int, PostRow]:
    """The posts as another program finds them in the files."""
    return {row.post_id: row for row in rows_on_disk(path, "posts", PostRow)}


def intents_on_disk(path: Path) -> dict[int, IntentRow]:
    """The intents as another program finds them in the files."""
    return {row.seq: row for row in rows_on_disk(path, "intents", IntentRow)}


def rows_on_disk(path: Path, table: str, kind: type[Any]) -> list[Any]:
    """The rows of a table, read from the files alone: what the system has been given, and no more."""
    with closing(open_to_read(path)) as db:
        bodies = db.execute(f"SELECT body FROM {table}").fetchall()  # noqa: S608 - one of two tables
    return [msgspec.json.decode(body, type=kind) for (body,) in bodies]


class Probe:
    """Looks into the journal's file at the moments that count, and lets everything happen as it would.

    Attributes:
        sent: Posts whose frames were handed to the socket.
        told: Intents whose outcome was told to their owner.
    """

    def __init__(self, world: Live) -> None:
        """Stand between the executor and its socket, and between it and its owners."""
        self.sent: list[PostRow] = []
        self.told: list[IntentRow] = []
        self._path = world.journal
        transport = world.executor.driver.transport
        self._stage, self._flush, self._finish = transport.stage, transport.flush, world.executor._finish
        self._staged: list[dict[str, Any]] = []
        transport.stage = self.stage  # type: ignore[method-assign]
        transport.flush = self.flush  # type: ignore[method-assign]
        world.executor._finish = self.finish  # type: ignore[method-assign]

    def stage(self, frame: str) -> None:
        """A frame is to leave with the next flush."""
        self._staged.append(json.loads(frame))
        self._stage(frame)

    def flush(self) -> None:
        """Frames are about to leave; all but the last of them are said to have been handed over."""
        posts, intents = posts_on_disk(self._path), intents_on_disk(self._path)
        for message in self._staged:
            row = posts[message["id"]]
            assert row.nonce == message["request"]["payload"]["nonce"]
            assert row.state == ("queued" if message is self._staged[-1] else "sent")
            assert all(intents[seq].open for seq in row.items)
            self.sent.append(row)
        self._staged.clear()
        self._flush()

    def finish(self, intent: Intent, outcome: Outcome) -> None:
        """An outcome is about to be told."""
        row = intents_on_disk(self._path)[intent.seq]
        assert row.outcome is not None
        assert outcome_from(row.outcome) == outcome
        self.told.append(row)
        self._finish(intent, outcome)


async def test_a_post_is_on_disk_before_its_frame_leaves_and_an_outcome_before_it_is_told() -> None:
    """settlement.md, rules 1 and 2; fences, re-sends and what the stream tells included."""
    async with live(tick_ms=0) as world:
        probe = Probe(world)
        tickets: list[Ticket] = []
        for fault in ("none", "close_after", "close_before", "error_unprocessed"):
            for number in range(5):
                tickets.append(world.executor.submit(resting_order(price=str(50_000 + number))))
                tickets.append(world.executor.submit(crossing_order(size="0.001")))
                await asyncio.sleep(0.005)
            world.set_faults(**({} if fault == "none" else {fault: 1.0, "drop_update": 1.0}))
            tickets.append(world.executor.submit(resting_order(size="0.02")))
            await asyncio.sleep(0)
            tickets += [world.executor.submit(cancel(ticket.cloid)) for ticket in tickets[-5:]]
            await asyncio.sleep(0.05)
            world.set_faults()
            await outcomes(tickets)
            await world.ready()
        assert len(probe.told) == len(world.ended) == len(tickets) == 64
        fences = [row for row in probe.sent if row.fence_of is not None]
        assert len(fences) >= 3
        assert len(probe.sent) - len(fences) > 20


async def test_a_submit_is_written_with_the_next_frame_or_a_little_later_or_when_it_has_to_be() -> None:
    async with live(tick_ms=500) as world:
        submit = world.executor.submit
        await outcomes([submit(resting_order())])  # the next frame leaves half a second later
        first = submit(resting_order())
        written = len(intents_on_disk(world.journal))
        world.executor.driver.make_durable()
        assert len(intents_on_disk(world.journal)) == written + 1
        second = submit(resting_order())
        assert len(intents_on_disk(world.journal)) == written + 1
        await asyncio.sleep(5 * FLUSH_MS / 1_000)
        assert len(intents_on_disk(world.journal)) == written + 2
        assert (first.outcome, second.outcome) == (None, None)
        await outcomes([first, second])


async def test_what_another_process_is_told_was_accepted_is_written() -> None:
    async with live(tick_ms=500) as world:
        await outcomes([world.executor.submit(resting_order())])
        on_disk: list[int] = []

        def answer(told: dict[str, Any]) -> None:
            if "admission" in told:
                on_disk.append(sum(row.open for row in intents_on_disk(world.journal).values()))

        async def lines() -> AsyncIterator[bytes]:
            for number in range(3):
                yield json.dumps(
                    {
                        "op": "order",
                        "ref": str(number),
                        "market": "BTC",
                        "side": "buy",
                        "size": "0.01",
                        "price": "50000",
                    }
                ).encode()

        session = CommandSession(world.executor, answer)
        await session.serve(lines())
        assert on_disk == [1, 2, 3]
        await session.told()


# ------------------------------------------------------------------------------------------------- a journal that fails


@contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """Somebody tidies up, and takes the file that is written to."""
    log, aside = redo.path_of(path), path.with_name("aside")
    log.rename(aside)
    try:
        yield
    finally:
        aside.rename(log)


@contextmanager
def replaced(path: Path) -> Iterator[None]:
    """Somebody puts a copy in its place: what is written to the old file would be lost."""
    with moved_away(path):
        copyfile(path.with_name("aside"), redo.path_of(path))
        try:
            yield
        finally:
            redo.path_of(path).unlink()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program, such as an `sqlite3` shell, holds a lock on it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            db.rollback()


@contextmanager
def full(path: Path) -> Iterator[None]:
    """No file may grow beyond what the journal's redo log has by now."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(redo.read(path)), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


Breaking = Callable[[Path], AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("breaking", "said"),
    [
        (moved_away, "JournalUnwritable: the journal"),
        (replaced, "JournalUnwritable: "),
        (full, "JournalFull: there is no room for the journal"),
    ],
)
async def test_when_the_journal_fails_only_what_closes_risk_goes_on(
    breaking: Breaking, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="hip3")
    async with live(tick_ms=250) as world:
        executor, submit = world.executor, world.executor.submit
        target = submit(resting_order())
        await outcomes([target, submit(crossing_order())])
        queued = submit(resting_order())
        executor.driver.make_durable()
        recorded = len(steps_of(world.journal)[1])
        with breaking(world.journal):
            dropped = submit(resting_order())
            for outcome in await outcomes([queued, dropped]):
                assert isinstance(outcome, NotExecuted)
                assert outcome.reason.startswith("halted: the journal failed: ")
            assert submit(resting_order()).admission is Admission.HALTED
            assert await submit(cancel(target.cloid)) == Canceled()
            (flat,) = await outcomes(await executor.flatten())
            assert isinstance(flat, Filled)
            executor.reset("hope")
            assert executor.core.hard_stop.tripped
            assert submit(resting_order()).admission is Admission.HALTED
        executor.reset("it was mended")
        assert str(executor.core.hard_stop.reason).startswith("the journal failed: "), "only a new start records again"
        report = await asyncio.wait_for(executor.close(), PATIENCE_S)
        assert report.clean
        assert world.positions == {}
        (line,) = [record.getMessage() for record in caplog.records]
        assert "journal_failed" in line
        assert said in line
        assert len(steps_of(world.journal)[1]) == recorded, "nothing was written after the failure"
        await world.restart()
        assert not world.executor.journal.recovered.clean
        assert await left(world, queued.cloid) == NotExecuted("never sent before the restart")
        assert world.executor.ticket_of(str(dropped.cloid)) is None, "it was not recorded, and had no effect"
        assert isinstance(await world.executor.submit(resting_order()), Resting)


@contextmanager
def without_its_database(path: Path) -> Iterator[None]:
    """Somebody tidies up, and leaves the redo log alone."""
    aside = path.with_name("aside")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


@pytest.mark.parametrize(
    ("breaking", "said"),
    [(without_its_database, "can't be opened or written"), (locked, "another program holds a lock")],
)
async def test_what_can_not_be_put_away_is_recorded_all_the_same_and_nothing_after_it(
    breaking: Breaking, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The redo log takes the steps; that the database does not is noticed some milliseconds later."""
    monkeypatch.setattr(driver, "FLUSH_MS", 500)  # time enough for the answer, on a slow machine too
    async with live(tick_ms=0) as world:
        await outcomes([world.executor.submit(resting_order())])
        with breaking(world.journal):
            last = world.executor.submit(resting_order())
            assert isinstance((await outcomes([last]))[0], Resting)
            await until(lambda: world.executor.core.hard_stop.tripped)
            assert said in str(world.executor.core.hard_stop.reason)
            assert world.executor.submit(resting_order()).admission is Admission.HALTED
        await world.executor.close()
        await world.restart(ready=False)
        assert not world.executor.journal.recovered.clean
        assert isinstance(await left(world, last.cloid), Resting)


async def left(world: Live, cloid: str | None) -> Outcome:
    """What became of an order of the run before."""
    ticket = world.executor.ticket_of(str(cloid))
    assert ticket is not None
    return await asyncio.wait_for(ticket, PATIENCE_S)


CLOSING = resting_order(side="sell", price="99000", tif="Ioc", reduce_only=True)


@pytest.mark.parametrize(("order", "goes_out"), [(resting_order(), False), (CLOSING, True)])
async def test_a_journal_that_fails_in_the_step_that_sends_lets_no_new_order_out(
    order: Order, goes_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "FLUSH_MS", 500)  # else the failure may be noticed before that step
    async with live(tick_ms=0) as world:
        await world.executor.submit(crossing_order())
        ticket = world.executor.submit(order)
        with moved_away(world.journal):  # in the same turn: the submit is recorded, the post is not
            outcome = await asyncio.wait_for(ticket, PATIENCE_S)
        assert isinstance(outcome, Filled if goes_out else NotExecuted)
        assert isinstance(outcome, Filled) or outcome.reason.startswith("not sent: the journal failed: ")
        assert (ticket.cloid in world.fates) is goes_out
        assert world.executor.endings[PostState.UNSENT] == (0 if goes_out else 1)


async def test_an_outcome_that_could_not_be_recorded_is_found_again_by_the_next_run() -> None:
    """It is told all the same: its owner must know that the order rests. The post was recorded; so it is settled.

    The next run waits until all that may have been sent unrecorded has expired: a second, and the margin of rule 11.
    """
    async with live(tick_ms=0, expires_after_ms=1_000) as world:
        world.wire.answers.clear()
        ticket = world.executor.submit(resting_order())
        await until(lambda: len(world.actions) == 1)
        with moved_away(world.journal):
            world.wire.answers.set()
            told = await asyncio.wait_for(ticket, PATIENCE_S)
        assert isinstance(told, Resting)
        assert world.executor.driver.journal_fault is not None
        await world.executor.close()
        assert intents_on_disk(world.journal)[1].outcome is None
        await world.restart(ready=False)
        await world.executor.wait_ready(2 * PATIENCE_S)
        assert await left(world, ticket.cloid) == told


async def test_house_keeping_that_fails_halts_at_once_though_nothing_else_happens() -> None:
    async with live() as world:
        await world.executor.submit(resting_order())
        with locked(world.journal):
            await until(lambda: world.executor.core.hard_stop.tripped)
        assert "the journal failed: another program holds a lock" in str(world.executor.core.hard_stop.reason)


# ----------------------------------------------------------------------------------------------- one executor a journal


async def test_a_second_executor_on_the_same_journal_is_refused_and_the_first_goes_on() -> None:
    async with live(tick_ms=0) as world:
        link = world.journal.with_name("link")
        link.symlink_to(world.journal)
        by_link = msgspec.structs.replace(world.config, journal=JournalTerms(file=str(link)))
        for config in (world.config, by_link):
            for key in (KEY, AGENT_KEY):
                with pytest.raises(JournalInUse, match=r"is in use by process \d+, signer 0x.*; stop that executor"):
                    Executor(config, Signer(key))
        assert isinstance(await world.executor.submit(resting_order()), Resting)
        await world.executor.close()
        await world.restart()
        assert isinstance(await world.executor.submit(resting_order()), Resting)


async def test_a_journal_that_can_not_be_had_leaves_nothing_behind(tmp_path: Path) -> None:
    async with live() as world:
        config = msgspec.structs.replace(world.config, journal=JournalTerms(file=str(tmp_path / "no" / "journal")))
        with pytest.raises(JournalUnwritable, match="see that its folder exists"):
            Executor(config, Signer(KEY))
    assert list(tmp_path.iterdir()) == []
