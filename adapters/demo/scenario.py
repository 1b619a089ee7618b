"""The demo's story: every way in which an intent can end, on a real socket, against a venue that verifies all of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from decimal import ROUND_UP, Decimal
from typing import Final

from adapters.demo.books import Books
from adapters.demo.venue_process import VenueProcess
from adapters.demo.view import View
from adapters.executor import Executor
from adapters.hyperliquid.info import InfoClient
from adapters.hyperliquid.markets import BadRequest, Market, canonical
from adapters.outcomes import OUTCOME_NAMES
from adapters.ticket import Ticket
from machines.intent import (
    Cancel,
    Canceled,
    Filled,
    NotExecuted,
    Order,
    Outcome,
    Rejected,
    Resting,
    Side,
    Tif,
    Unknown,
)
from machines.session import SessionState

MARKETS: Final = ("BTC", "xyz:TSLA")
"""One of the venue's own perps and one of a builder's (HIP-3)."""
BURST: Final = 300
"""Orders submitted at once, into a queue of 200."""
_WAIT_S: Final = 20.0


class Scenario:
    """Runs the scenes, one after another."""

    def __init__(self, executor: Executor, info: InfoClient, venue: VenueProcess, view: View, books: Books) -> None:
        """Prepare the scenes."""
        self._executor = executor
        self._info = info
        self._venue = venue
        self._view = view
        self._books = books
        self._resting: list[Ticket] = []

    async def play(self) -> None:
        """All scenes."""
        scenes = (
            self._rest,
            self._fill,
            self._cancel,
            self._reject,
            self._overflow,
            self._lose_connection,
            self._flatten,
        )
        for scene in scenes:
            await scene()
            await self._view.pause()

    async def _rest(self) -> None:
        self._view.say("1  Rest: a buy 5 % below the market, on BTC and on a builder's market", "scene")
        orders = [await self._order(name, "buy", "0.95", usd=500) for name in MARKETS]
        self._resting = [self._executor.submit(order) for order in orders]
        await self._tell(self._resting)

    async def _fill(self) -> None:
        self._view.say("2  Fill: an immediate-or-cancel buy across the spread", "scene")
        orders = [await self._order(name, "buy", "1.01", usd=2_000, tif="Ioc") for name in MARKETS]
        await self._tell([self._executor.submit(order) for order in orders])

    async def _cancel(self) -> None:
        self._view.say("3  Cancel the resting orders by cloid", "scene")
        cancels = [Cancel(market=name, cloid=ticket.cloid) for name, ticket in zip(MARKETS, self._resting, strict=True)]
        await self._tell([self._executor.submit(cancel) for cancel in cancels])

    async def _reject(self) -> None:
        self._view.say("4  Reject: a post-only order that would trade; and one that never leaves the house", "scene")
        await self._tell([self._executor.submit(await self._order("BTC", "buy", "1.01", usd=500, tif="Alo"))])
        try:
            self._executor.submit(Order(market="BTC", side="buy", size="0.01", price="50000.123"))
        except BadRequest as error:
            self._view.say(f"   refused before it was accepted: {type(error).__name__}: {error}")

    async def _overflow(self) -> None:
        self._view.say(f"5  Overflow: {BURST} orders at once into a queue of 200; then cancel what rests", "scene")
        order = await self._order("BTC", "buy", "0.90", usd=20)
        tickets = [self._executor.submit(order) for _ in range(BURST)]
        accepted = [ticket for ticket in tickets if ticket.admission.accepted]
        last = self._executor.submit(Cancel(market="BTC", cloid=accepted[-1].cloid))
        admissions = Counter(ticket.admission.value for ticket in tickets)
        self._view.say("   admissions: " + ", ".join(f"{count} {name}" for name, count in admissions.items()))
        outcomes = await self._all(tickets)
        self._view.say("   outcomes: " + _tally(outcomes))
        self._view.say(f"   the last one was canceled while it waited: {_sentence((await self._all([last]))[0])}")
        resting = [ticket for ticket in accepted if isinstance(ticket.outcome, Resting)]
        cancels = [self._executor.submit(Cancel(market="BTC", cloid=ticket.cloid)) for ticket in resting]
        self._view.say("   cancels: " + _tally(await self._all(cancels)))

    async def _lose_connection(self) -> None:
        self._view.say(
            "6  Lose the connection mid-flight: the venue takes an order, then hangs up and tells nothing", "scene"
        )
        await self._settle(close_after=1.0, drop_update=1.0)
        self._view.say("7  Once more, but now it hangs up before it takes the order", "scene")
        await self._settle(close_before=1.0)

    async def _settle(self, **faults: float) -> None:
        """Send one order into the faults, and show how its fate is found out."""
        order = await self._order("BTC", "buy", "1.01", usd=1_000, tif="Ioc")
        await self._venue.set_faults(**faults)
        ticket = self._executor.submit(order)
        await self._until(lambda: self._executor.core.session.state is not SessionState.READY)
        await self._venue.set_faults()
        await self._all([ticket])
        started = ticket.history[0][0]
        for unix_ms, what in ticket.history[1:]:
            self._view.say(f"   after {unix_ms - started:>5} ms  {what}")
        await self._tell([ticket])

    async def _flatten(self) -> None:
        self._view.say("8  Flatten: close every position, reduce-only, inside the slippage bound", "scene")
        await self._tell(await self._executor.flatten())
        await self._until(lambda: not self._books.held())

    # ---------------------------------------------------------------------------------------------------- helpers

    async def _order(self, name: str, side: Side, factor: str, usd: int, tif: Tif = "Gtc") -> Order:
        """An order worth about `usd`, at the mid price times `factor`."""
        market = self._executor.driver.markets.get(name)
        mid = (await self._info.all_mids(market.dex))[name]
        price = market.round_price(mid * Decimal(factor), toward="down")
        return Order(market=name, side=side, size=_size(market, usd, Decimal(price)), price=price, tif=tif)

    async def _tell(self, tickets: list[Ticket]) -> None:
        for ticket, outcome in zip(tickets, await self._all(tickets), strict=True):
            self._view.say(f"   {ticket.cloid}: {_sentence(outcome)}")

    async def _all(self, tickets: list[Ticket]) -> list[Outcome]:
        return list(await asyncio.wait_for(asyncio.gather(*tickets), _WAIT_S))

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait for the books, or the session, to come to something; both move only with an event that they note."""
        async with asyncio.timeout(_WAIT_S):
            while not condition():
                self._books.moved.clear()
                await self._books.moved.wait()


def _size(market: Market, usd: int, price: Decimal) -> str:
    """The least legal size that is worth at least `usd`."""
    lot = Decimal(1).scaleb(-market.size_decimals)
    return canonical((Decimal(usd) / price).quantize(lot, ROUND_UP))


def _sentence(outcome: Outcome) -> str:
    name = OUTCOME_NAMES[type(outcome)]
    match outcome:
        case Filled(size=size, average_price=None):
            return f"{name} {size}"
        case Filled(size=size, average_price=price):
            return f"{name} {size} at {price}"
        case Resting(oid=oid):
            return f"{name}, oid {oid}"
        case Rejected(reason=reason) | NotExecuted(reason=reason) | Unknown(reason=reason):
            return f"{name}: {reason}"
        case Canceled():
            return name


def _tally(outcomes: list[Outcome]) -> str:
    counts = Counter(OUTCOME_NAMES[type(outcome)] for outcome in outcomes)
    return ", ".join(f"{count} {name}" for name, count in counts.items())
