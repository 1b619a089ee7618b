"""A seeded stream of intents of every kind, through a real executor, against a venue in a process of its own."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp

from adapters.config import Config, KeySource
from adapters.demo.venue_process import VenueProcess
from adapters.executor import Executor
from adapters.hyperliquid.info import InfoClient
from adapters.hyperliquid.markets import Market
from adapters.hyperliquid.signing import Signer
from adapters.ticket import Ticket
from machines import events as ev
from machines.intent import Admission, Cancel, Intent, Modify, Order, Request, Side

KEY = "HIP3_E2E_KEY"
MARKETS = ("BTC", "ETH", "xyz:TSLA", "xyz:NVDA")


@asynccontextmanager
async def venue_and_config(*options: str, **settings: object) -> AsyncIterator[tuple[VenueProcess, Config]]:
    """A venue process with one funded account, and the configuration of an executor for it."""
    key = "0x" + secrets.token_hex(32)
    os.environ[KEY] = key
    account = Signer(key).address
    async with VenueProcess("--account", account, *options) as venue:
        known = {"network": "local", "account": account, "ws_url": venue.ws_url, "http_url": venue.url}
        yield venue, Config(**{**known, "key": KeySource(env=KEY), **settings})  # type: ignore[arg-type]


class Workload:
    """Draws intents, submits them as fast as the queues take them, and keeps what ended.

    Attributes:
        tickets: One for every accepted intent.
        ended: Accepted intents that ended, in order.
        admissions: What submits were answered.
    """

    def __init__(self, executor: Executor, mids: dict[str, Decimal], seed: int) -> None:
        """Draw from `seed`, at prices around `mids`."""
        self.tickets: list[Ticket] = []
        self.ended: list[Intent] = []
        self.admissions: Counter[Admission] = Counter()
        self._executor = executor
        self._mids = mids
        self._random = random.Random(seed)
        self._resting: list[tuple[str, Ticket]] = []

    @classmethod
    async def around_the_market(cls, executor: Executor, url: str, seed: int) -> Workload:
        """A workload at the venue's present prices."""
        async with aiohttp.ClientSession() as session:
            info = InfoClient(url, session)
            mids = {**await info.all_mids(), **await info.all_mids("xyz")}
        return cls(executor, mids, seed)

    async def run(self, intents: int) -> None:
        """Submit until `intents` were accepted, then wait until each has ended."""
        reading = asyncio.create_task(self._read(intents))
        await asyncio.sleep(0)
        while len(self.tickets) < intents:  # noqa: ASYNC110 - it paces the submits
            await asyncio.sleep(0.02 if self.submit() is None else 0.001)
        await asyncio.wait_for(asyncio.gather(*self.tickets), 240)
        await asyncio.wait_for(reading, 10)

    def submit(self) -> Ticket | None:
        """Draw an intent and submit it; its ticket if it was accepted."""
        market, request = self._draw()
        ticket = self._executor.submit(request)
        self.admissions[ticket.admission] += 1
        if not ticket.admission.accepted:
            return None
        self.tickets.append(ticket)
        if isinstance(request, Order) and request.tif != "Ioc":
            self._resting.append((market, ticket))
        return ticket

    async def _read(self, intents: int) -> None:
        async for event in self._executor.events():
            if isinstance(event, ev.IntentEnded):
                self.ended.append(event.intent)
                if len(self.ended) == intents:
                    return

    def _draw(self) -> tuple[str, Request]:
        draw = self._random.random()
        if draw < 0.30 and self._resting:
            place = self._random.randrange(len(self._resting))
            market, ticket = self._resting[place]
            # Mostly orders that rest; now and then one that still waits or is under way.
            if ticket.outcome is not None or self._random.random() < 0.1:
                del self._resting[place]
                if draw < 0.05:
                    return market, Modify(cloid=ticket.cloid, order=self._order(market, "Gtc", reduce_only=False))
                return market, Cancel(market=market, cloid=ticket.cloid)
        market = self._random.choice(MARKETS)
        if draw < 0.40:
            return market, self._order(market, "Ioc", reduce_only=True)
        tif = self._random.choice(("Gtc", "Gtc", "Alo", "Ioc"))
        return market, self._order(market, tif, reduce_only=False)

    def _order(self, name: str, tif: str, *, reduce_only: bool) -> Order:
        market: Market = self._executor.driver.markets.get(name)
        side: Side = self._random.choice(("buy", "sell"))
        # Aggressive by 2 % for IOC; passive by 5 to 20 % for what is to rest, a few of which cross after all.
        away = Decimal(self._random.randint(50, 200)) / 1000
        if tif == "Ioc" or self._random.random() < 0.1:
            away = Decimal("-0.02")
        factor = 1 - away if side == "buy" else 1 + away
        price = market.round_price(self._mids[name] * factor, toward="down")
        size = market.round_size(Decimal(self._random.randint(20, 200)) / Decimal(price) + market_lot(market))
        return Order(market=name, side=side, size=size or "1", price=price, tif=tif, reduce_only=reduce_only)  # type: ignore[arg-type]


def market_lot(market: Market) -> Decimal:
    """The smallest size."""
    return Decimal(1).scaleb(-market.size_decimals)
