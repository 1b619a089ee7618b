"""A real executor with a journal of its own, a real venue in the same process, and a breakable wire between them.

Whatever a test does to them, in the end every invariant must have held, no slot may be taken, no outcome may contradict
what the venue really did, the journal must agree with itself, and every run in it must replay through fresh machines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from adapters.audit import contradictions
from adapters.config import Config, JournalTerms, KeySource
from adapters.executor import Executor, ExecutorEvent, SessionChanged
from adapters.feed import Subscription
from adapters.hyperliquid.signing import Signer
from adapters.journal import SqliteJournal, Step, verify
from adapters.journal.reading import reading
from adapters.replay import Divergence, replay
from adapters.ticket import Ticket
from adapters.venue.config import VenueConfig
from adapters.venue.faults import Faults
from adapters.venue.liquidity import Liquidity
from adapters.venue.server import Venue
from adapters.venue.truth import ActionRecord, Fate, FillRecord, fate_by_cloid
from machines import events as ev
from machines.clock import Clock
from machines.intent import Cancel, Intent, Order, Outcome
from machines.session import SessionState
from tests.adapters.wire import Wire

KEY: Final = "0x" + "5e" * 32
AGENT_KEY: Final = "0x" + "a6" * 32
KEY_VARIABLE: Final = "HIP3_TEST_KEY"
USDC: Final = Decimal(1_000_000)
STILL: Final = Liquidity(volatility_bps=0)
"""Prices that stand still: BTC at 100 000, xyz:TSLA at 400."""
PATIENCE_S: Final = 15.0


def resting_order(**changes: Any) -> Order:
    """A buy of BTC so far below the market that it rests."""
    return Order(**{"market": "BTC", "side": "buy", "size": "0.01", "price": "50000", **changes})


def crossing_order(**changes: Any) -> Order:
    """A buy of BTC that trades at once."""
    return Order(**{"market": "BTC", "side": "buy", "size": "0.01", "price": "101000", "tif": "Ioc", **changes})


def cancel(cloid: str | None, market: str = "BTC") -> Cancel:
    """A cancel by cloid."""
    return Cancel(market=market, cloid=cloid)


def cloid(number: int) -> str:
    """A client order id."""
    return f"0x{number:032x}"


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - conditions are of many kinds, some on the venue's side
            await asyncio.sleep(0.005)


async def outcomes(tickets: Iterable[Ticket]) -> list[Outcome]:
    """What the tickets end with."""
    return list(await asyncio.wait_for(asyncio.gather(*tickets), PATIENCE_S))


def steps_of(path: Path) -> dict[int, list[Step]]:
    """The steps of every run in a journal."""
    with reading(path) as journal:
        by_run = groupby(journal.steps(), key=lambda entry: entry.run)
        return {run: [entry.step for entry in entries] for run, entries in by_run}


def divergences(steps: Iterable[Step]) -> list[Divergence]:
    """Where the replay of a run parts from its record."""
    return [divergence for divergence in replay(steps) if divergence is not None]


def see_that_it_agrees(path: Path) -> None:
    """A journal agrees with itself, and the machines with every run in it."""
    assert verify(path).findings == ()
    for run, steps in steps_of(path).items():
        assert list(map(str, divergences(steps))) == [], f"run {run}"


@dataclass
class Live:
    """What a test works with.

    Attributes:
        journal: Where the journal is.
        corrupted: Set by a test that breaks the executor itself; then nothing is checked in the end.
        alive: Whether the executor was not abandoned.
        earlier: Executors of the runs before.
    """

    venue: Venue
    wire: Wire
    config: Config
    executor: Executor
    reader: Subscription[ExecutorEvent]
    journal: Path
    corrupted: bool = False
    alive: bool = True
    earlier: list[Executor] = field(default_factory=list)
    _seen: list[ExecutorEvent] = field(default_factory=list)
    _ended_before: list[Intent] = field(default_factory=list)
    _reading: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def seen(self) -> list[ExecutorEvent]:
        """What `Executor.events` said up to this moment, also what its reader has not been woken for yet."""
        self._seen.extend(self.reader._waiting)
        self.reader._waiting.clear()
        return self._seen

    def begin(self) -> None:
        """Start the executor, and read its events as they come, so that none is lost however many there are."""
        self._reading.append(asyncio.create_task(_keep_reading(self.reader, self._seen)))
        self.executor.start()

    async def abandon(self) -> None:
        """Stop the executor where it stands, as a crash does: nothing more is recorded, sent or told.

        The journal's file stays open until the test ends, so that its log stays as it is, too; the lock is let go.
        """
        executor, journal, self.alive = self.executor, self.executor.journal, False
        assert isinstance(journal, SqliteJournal)
        executor.driver.stop()
        tasks = executor._cancel_tasks()
        self.wire.reset()
        journal._lock.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert executor._session is not None
        await executor._session.close()
        executor._feed.close()

    async def restart(
        self, *, signer: Signer | None = None, clock: Clock | None = None, ready: bool = True, **settings: Any
    ) -> None:
        """Begin a new run on the journal of the executor that was abandoned or closed."""
        self._ended_before = self.all_ended
        self.earlier.append(self.executor)
        self.config = msgspec.structs.replace(self.config, **settings)
        self.executor = Executor(self.config, signer or Signer(KEY), clock=clock)
        self.reader = self.executor.events()
        self._seen = []
        self.alive = True
        self.begin()
        if ready:
            await self.executor.wait_ready(PATIENCE_S)

    async def finish(self) -> None:
        """Shut the executor down, and let go of what was abandoned."""
        if self.alive:
            await self.executor.close()
        for executor in self.earlier:
            assert isinstance(executor.journal, SqliteJournal)
            executor.journal._db.close()
        await asyncio.gather(*self._reading)

    def set_faults(self, **faults: Any) -> None:
        """Replace the venue's faults; none means that all goes well."""
        self.venue.core.faults.settings = Faults(**faults)

    def set_price(self, coin: str, price: str) -> None:
        """Move a market."""
        self.venue.core.set_price(coin, price)

    @property
    def fates(self) -> dict[str, Fate]:
        """What became of each cloid at the venue."""
        return fate_by_cloid(self.venue.core.truth.since(0))

    @property
    def actions(self) -> list[ActionRecord]:
        """The actions that the venue processed, but for those that only prove a key."""
        records = self.venue.core.truth.since(0)
        return [record for record in records if isinstance(record, ActionRecord) and record.action != "noop"]

    @property
    def trades(self) -> list[FillRecord]:
        """The executor's trades."""
        records = self.venue.core.truth.since(0)
        return [record for record in records if isinstance(record, FillRecord) and record.user == self.config.account]

    @property
    def positions(self) -> dict[str, str]:
        """What the account holds at the venue."""
        held: dict[str, str] = self.venue.core.state(self.config.account)["positions"]
        return held

    @property
    def ended(self) -> list[Intent]:
        """Intents of which the executor said that they ended."""
        return [event.intent for event in self.seen if isinstance(event, ev.IntentEnded)]

    @property
    def all_ended(self) -> list[Intent]:
        """The same, of this run and the ones before."""
        return [*self._ended_before, *self.ended]

    @property
    def unsettled(self) -> list[Intent]:
        """Intents that a shutdown left for the next run to settle."""
        return [event.intent for event in self.seen if isinstance(event, ev.IntentUnsettled)]

    @property
    def states(self) -> list[SessionState]:
        """The states that the session went through."""
        return [event.state for event in self.seen if isinstance(event, SessionChanged)]

    async def disconnect(self) -> None:
        """Break the connection, and wait until the executor has noticed."""
        epoch = self.executor.core.session.epoch
        self.wire.reset()
        await until(lambda: not self.executor.core.session.connected or self.executor.core.session.epoch > epoch)

    async def ready(self) -> None:
        """Wait until new orders pass."""
        await until(lambda: self.executor.core.new_orders_pass)


@asynccontextmanager
async def venue_in_process(signer: Signer, **settings: Any) -> AsyncIterator[Venue]:
    """A venue with one funded account and still prices."""
    known = {"accounts": {signer.address: USDC}, "liquidity": STILL}
    async with Venue(VenueConfig(**{**known, **settings})) as venue:
        yield venue


def config_for(venue: Venue, account: str, **settings: Any) -> Config:
    """The configuration of an executor for a local venue."""
    known = {"network": "local", "account": account, "ws_url": venue.ws_url, "http_url": venue.url}
    return Config(**{**known, "key": KeySource(env=KEY_VARIABLE), **settings})


@asynccontextmanager
async def live(
    *,
    signer: Signer | None = None,
    account: str | None = None,
    venue: dict[str, Any] | None = None,
    clock: Clock | None = None,
    ready: bool = True,
    **settings: Any,
) -> AsyncIterator[Live]:
    """A venue and an executor, ready to trade; checked in the end."""
    owner = Signer(KEY)
    async with venue_in_process(owner, **(venue or {})) as running, Wire(running.ws_url) as wire:
        with TemporaryDirectory(prefix="hip3-") as folder:
            journal = Path(folder) / "executor.journal"
            known = {"ws_url": wire.ws_url, "journal": JournalTerms(file=str(journal))}
            config = config_for(running, account or owner.address, **{**known, **settings})
            executor = Executor(config, signer or owner, clock=clock)
            world = Live(running, wire, config, executor, executor.events(), journal)
            world.begin()
            try:
                if ready:
                    await executor.wait_ready(PATIENCE_S)
                yield world
            finally:
                wire.requests.set()
                wire.answers.set()
                await world.finish()
            if not world.corrupted:
                _check(world)


async def _keep_reading(reader: Subscription[ExecutorEvent], seen: list[ExecutorEvent]) -> None:
    async for event in reader:
        seen.append(event)  # noqa: PERF401 - one by one, as they come


def _check(world: Live) -> None:
    for executor in (*world.earlier, world.executor):
        monitor = executor.driver.monitor
        assert monitor.violated == 0, monitor.first
        assert monitor.checks > 0
    core = world.executor.core
    assert core.inflight.count == 0
    assert core.intents.ended == len(world.ended)
    assert core.intents.accepted == core.intents.ended + len(world.unsettled)
    told = [(intent.seq, intent.cloid) for intent in world.all_ended]
    recorded = all(executor.driver.journal_fault is None for executor in (*world.earlier, world.executor))
    assert not recorded or len(told) == len(set(told)), "an outcome was told twice"
    assert list(contradictions(world.all_ended, world.fates)) == []
    see_that_it_agrees(world.journal)
