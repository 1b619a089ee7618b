"""Closing positions: reduce-only IOC orders against what the account holds, inside a slippage bound."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from adapters.hyperliquid.info import InfoClient, VenueAnswerUnreadable
from adapters.hyperliquid.markets import Market, Markets, canonical
from adapters.hyperliquid.records import Position
from machines.intent import Order


async def flattening_orders(
    info: InfoClient, account: str, markets: Markets, slippage: Decimal, market: str | None = None
) -> list[Order]:
    """The orders that close the account's position in `market`, or in all markets of all dexes.

    Args:
        info: Where positions and prices are asked for, dex by dex (protocol.md §7).
        account: The account's own address.
        markets: The venue's markets.
        slippage: The most that an order may give up against the mid price, as a fraction of it.
        market: One market; None means all.

    Raises:
        UnknownMarket: There is no such market.
        VenueUnreachable: Positions or prices can't be had.
        VenueAnswerUnreadable: There is a position in a market that the venue gives no price for.
    """
    wanted = None if market is None else markets.get(market)
    dexes = markets.dexes if wanted is None else (wanted.dex,)
    orders = []
    for positions, mids in await asyncio.gather(*(_held_in(info, account, dex) for dex in dexes)):
        for position in positions:
            held = markets.get(position.coin)
            if position.size and (wanted is None or held is wanted):
                if position.coin not in mids:
                    raise VenueAnswerUnreadable(f"the venue gives no mid price for {position.coin}")
                orders.append(_closing_order(held, position.size, mids[position.coin], slippage))
    return orders


async def _held_in(info: InfoClient, account: str, dex: str) -> tuple[tuple[Position, ...], dict[str, Decimal]]:
    return await asyncio.gather(info.clearinghouse_state(account, dex), info.all_mids(dex))


def _closing_order(market: Market, size: Decimal, mid: Decimal, slippage: Decimal) -> Order:
    long = size > 0
    worst = mid * (1 - slippage if long else 1 + slippage)
    return Order(
        market=market.name,
        side="sell" if long else "buy",
        size=canonical(abs(size)),
        # Rounded toward the mid: the bound holds to the tick.
        price=market.round_price(worst, toward="up" if long else "down"),
        tif="Ioc",
        reduce_only=True,
        flatten=True,
    )
