"""What the executor asks the venue beside trading: its time, its markets, the action budget, the open orders.

It asks over HTTP, because a question over the WebSocket would take an inflight slot (protocol.md §3). It runs for as
long as a connection is open, and asks again a second later when there is no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from adapters.hyperliquid.info import InfoClient, VenueError
from adapters.hyperliquid.markets import Markets
from adapters.logs import get_logger
from machines import events as ev
from machines.clock import Clock
from machines.executor import ExecutorCore
from machines.settlement import VENUE_LAG_MS

REPEAT_S: Final = 60.0
"""How often time and budget are asked for again while connected."""
RETRY_S: Final = 1.0

log = get_logger("synchroniser")


class Synchroniser:
    """Brings the core up to date with the venue, once per connection and then every minute.

    Attributes:
        info: The HTTP client.
    """

    def __init__(
        self,
        info: InfoClient,
        account: str,
        clock: Clock,
        core: ExecutorCore,
        drive: Callable[[ev.Event], None],
        keep_markets: Callable[[Markets], None],
    ) -> None:
        """Ask for `account`; give events to `drive` and the markets to `keep_markets`."""
        self.info = info
        self._account = account
        self._clock = clock
        self._core = core
        self._drive = drive
        self._keep_markets = keep_markets
        self._markets: Markets | None = None

    async def run(self) -> None:
        """Synchronise now and every minute, until cancelled."""
        while True:
            # Orders that rest now, and that the venue does not list as open once its record has caught up, were closed
            # unseen: while nobody listened, or because an update was lost.
            resting = self._core.intents.resting_cloids()
            try:
                await self._time()
                markets = await self._load_markets()
                await self._budget()
                if resting:
                    await asyncio.sleep(VENUE_LAG_MS / 1_000)
                    await self._reconcile(resting, markets)
            except VenueError as error:
                log.warning("venue_question_unanswered", error=str(error), retry_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
            else:
                await asyncio.sleep(REPEAT_S)

    async def _time(self) -> None:
        asked = self._clock.monotonic_ms()
        server_time = await self.info.exchange_time_ms()
        # The answer is as old as its way back, which is about half of the round trip.
        self._drive(ev.ServerTimeLearned(server_time + (self._clock.monotonic_ms() - asked) // 2))

    async def _load_markets(self) -> Markets:
        if self._markets is None:
            self._markets = await self.info.load_markets()
            self._keep_markets(self._markets)
            self._drive(ev.MarketsLoaded())
        return self._markets

    async def _budget(self) -> None:
        used, cap = await self.info.user_rate_limit(self._account)
        self._drive(ev.BudgetReported(used, cap))

    async def _reconcile(self, resting: list[str], markets: Markets) -> None:
        """Close what the order stream did not tell of (protocol.md §8: no snapshot, and updates may be missing)."""
        answers = await asyncio.gather(*(self.info.open_orders(self._account, dex) for dex in markets.dexes))
        still_open = {order.cloid for orders in answers for order in orders}
        for cloid in resting:
            if cloid not in still_open:
                self._drive(ev.OrderGone(cloid))
