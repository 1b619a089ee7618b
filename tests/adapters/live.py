"""A real executor against a real venue in the same process, with a breakable wire between them.

Whatever a test does to them, in the end every invariant must have held, no slot may be taken, and no outcome may
contradict what the venue really did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from adapters.audit import contradictions
from adapters.config import Config, KeySource
from adapters.executor import Executor, ExecutorEvent, SessionChanged
from adapters.feed import Subscription
from adapters.hyperliquid.signing import Signer
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


@dataclass
class Live:
    """What a test works with.

    Attributes:
        corrupted: Set by a test that breaks the executor itself; then nothing is checked in the end.
        cloids_reused: Set by a test that gives a cloid to two orders, which the audit can't tell from one sent twice.
    """

    venue: Venue
    wire: Wire
    config: Config
    executor: Executor
    reader: Subscription[ExecutorEvent]
    corrupted: bool = False
    cloids_reused: bool = False
    _seen: list[ExecutorEvent] = field(default_factory=list)

    @property
    def seen(self) -> list[ExecutorEvent]:
        """What `Executor.events` said up to this moment, also what its reader has not been woken for yet."""
        self._seen.extend(self.reader._waiting)
        self.reader._waiting.clear()
        return self._seen

    async def keep_reading(self) -> None:
        """Read the events as they come, so that none is lost however many there are."""
        async for event in self.reader:
            self._seen.append(event)

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
        config = config_for(running, account or owner.address, **{"ws_url": wire.ws_url, **settings})
        executor = Executor(config, signer or owner, clock=clock)
        world = Live(running, wire, config, executor, executor.events())
        reading = asyncio.create_task(world.keep_reading())
        executor.start()
        try:
            if ready:
                await executor.wait_ready(PATIENCE_S)
            yield world
        finally:
            wire.requests.set()
            wire.answers.set()
            await executor.close()
        await reading
        if not world.corrupted:
            _check(world)


def _check(world: Live) -> None:
    core, monitor = world.executor.core, world.executor.driver.monitor
    assert monitor.violated == 0, monitor.first
    assert monitor.checks > 0
    assert core.inflight.count == 0
    assert core.intents.accepted == core.intents.ended == len(world.ended)
    if not world.cloids_reused:
        assert list(contradictions(world.ended, world.fates)) == []
