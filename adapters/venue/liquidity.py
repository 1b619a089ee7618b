"""Market makers of the venue's own: two-sided books around a seeded random walk.

Each step moves every market's mark price by a small random factor, lets waiting triggers fire, withdraws the makers'
quotes and places new ones around the new price. The makers are one well-funded account that trades like any other:
users' accounts change only by trades with it.
"""

from __future__ import annotations

import random
from typing import Annotated, Final

import msgspec

from adapters.venue.accounts import Account
from adapters.venue.markets import Market
from adapters.venue.orders import Order
from adapters.venue.trading import Trading
from adapters.venue.units import POWERS, USD

HOUSE: Final = "0x" + "ff" * 20
"""Address of the makers' account."""

HOUSE_FUNDS: Final = 10**12 * USD


_BPS: Final = 10_000
_FIGURES: Final = 5


class Liquidity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the market makers do.

    Attributes:
        levels: Quotes on each side of each book; 0 for no makers at all.
        spread_bps: Distance of the best quotes from the mark price, and of the quotes from each other.
        depth_usd: Value of one quote.
        volatility_bps: Standard deviation of one step of the random walk; 0 for a price that stands still.
    """

    levels: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    spread_bps: Annotated[int, msgspec.Meta(ge=1, le=99)] = 2
    depth_usd: Annotated[int, msgspec.Meta(ge=10, le=10**9)] = 500_000
    volatility_bps: Annotated[float, msgspec.Meta(ge=0, le=_BPS)] = 1.0


class MarketMakers:
    """Quotes in all markets.

    Args:
        house: The makers' account.
        trading: Where they trade.
        seed: Of the random walk.
        settings: What they do.
    """

    def __init__(self, house: Account, trading: Trading, seed: int, settings: Liquidity) -> None:
        self._house: Final = house
        self._trading: Final = trading
        self._settings: Final = settings
        self._quotes: Final[dict[int, list[Order]]] = {}
        self._random: Final = random.Random(f"liquidity {seed}")  # noqa: S311 - repeatable, guards nothing
        for market in trading.universe.markets:
            if market.is_spot:
                house.spot[market.token].total += HOUSE_FUNDS // USD

    def step(self) -> None:
        """Move the prices and quote anew."""
        for market in self._trading.universe.markets:
            move = self._random.gauss(0.0, self._settings.volatility_bps)
            mark = self._trading.marks[market.asset]
            # A walk that came near zero would have no price steps left to move by.
            self.set_price(market, max(_BPS, round(mark * (1 + move / _BPS))))

    def set_price(self, market: Market, px: int) -> None:
        """Put the mark price of one market where it is wanted, and the quotes around it."""
        for order in self._quotes.pop(market.asset, ()):
            if order.status == "open":
                self._trading.cancel(order)
        self._trading.set_mark(market, px)
        for level in range(1, self._settings.levels + 1):
            distance = px * self._settings.spread_bps * level // _BPS
            self._quote(market, px - distance, is_buy=True)
            self._quote(market, px + max(1, distance), is_buy=False)

    def _quote(self, market: Market, px: int, *, is_buy: bool) -> None:
        px = _legal(px, market)
        sz = self._settings.depth_usd * USD // (px * market.money_per_unit) if px else 0
        if sz:
            order = Order(
                account=self._house,
                market=market,
                is_buy=is_buy,
                px=px,
                sz=sz,
                tif="Gtc",
                reduce_only=False,
                cloid=None,
                trigger=None,
            )
            self._trading.place(order)
            self._quotes.setdefault(market.asset, []).append(order)


def _legal(px: int, market: Market) -> int:
    """The price rounded down to five significant figures, unless it is a whole number already (§7)."""
    step = POWERS[min(max(0, len(str(px)) - _FIGURES), market.px_decimals)]
    return px - px % step
