"""Closing orders from what a venue answers, here a real HTTP server that answers what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.flatten import flattening_orders
from adapters.hyperliquid.info import InfoClient, VenueAnswerUnreadable, VenueUnreachable
from adapters.hyperliquid.markets import Market, Markets, UnknownMarket
from machines.intent import Order

ACCOUNT = "0x" + "11" * 20
MARKETS = Markets(
    [
        Market("BTC", 0, 5),
        Market("ETH", 1, 4),
        Market("PURR/USDC", 10_000, 0, is_spot=True),
        Market("xyz:TSLA", 120_000, 3, dex="xyz"),
    ]
)


@asynccontextmanager
async def venue(positions: dict[str, dict[str, str]], mids: dict[str, dict[str, str]]) -> AsyncIterator[InfoClient]:
    """Answers positions and mid prices, by dex."""

    async def info(request: web.Request) -> web.Response:
        asked: dict[str, Any] = await request.json()
        if asked["type"] == "allMids":
            return web.json_response(mids[asked["dex"]])
        assert asked["user"] == ACCOUNT
        held = positions[asked["dex"]]
        entries = [{"position": {"coin": coin, "szi": size, "entryPx": None}} for coin, size in held.items()]
        return web.json_response({"assetPositions": entries})

    application = web.Application()
    application.add_routes([web.post("/info", info)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield InfoClient(f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    finally:
        await runner.cleanup()


async def orders(
    positions: dict[str, dict[str, str]], mids: dict[str, dict[str, str]], market: str | None = None
) -> list[Order]:
    """The closing orders, with 1 % slippage."""
    async with venue(positions, mids) as info:
        return await flattening_orders(info, ACCOUNT, MARKETS, Decimal("0.01"), market)


LONG_AND_SHORT = {"": {"BTC": "0.12345", "ETH": "0.0"}, "xyz": {"xyz:TSLA": "-2.5"}}
MIDS = {"": {"BTC": "99999.5", "ETH": "3500.05", "PURR/USDC": "0.2"}, "xyz": {"xyz:TSLA": "401.23"}}


async def test_long_and_short_in_every_dex() -> None:
    btc, tsla = await orders(LONG_AND_SHORT, MIDS)
    assert (btc.market, btc.side, btc.size) == ("BTC", "sell", "0.12345")
    assert (tsla.market, tsla.side, tsla.size) == ("xyz:TSLA", "buy", "2.5")
    for order in (btc, tsla):
        assert (order.tif, order.reduce_only, order.flatten) == ("Ioc", True, True)
    # Rounded to the tick toward the mid: never beyond the bound.
    assert Decimal("99999.5") * Decimal("0.99") <= Decimal(btc.price) < Decimal("99999.5")
    assert Decimal("401.23") < Decimal(tsla.price) <= Decimal("401.23") * Decimal("1.01")
    assert MARKETS.checked(btc).price == btc.price
    assert MARKETS.checked(tsla).size == tsla.size


@pytest.mark.parametrize(("market", "found"), [("BTC", ["BTC"]), ("ETH", []), ("xyz:TSLA", ["xyz:TSLA"])])
async def test_one_market_alone(market: str, found: list[str]) -> None:
    assert [order.market for order in await orders(LONG_AND_SHORT, MIDS, market)] == found


async def test_what_can_not_be_closed_is_said() -> None:
    with pytest.raises(UnknownMarket, match="NOPE"):
        await orders(LONG_AND_SHORT, MIDS, "NOPE")
    with pytest.raises(VenueAnswerUnreadable, match="no mid price for xyz:TSLA"):
        await orders(LONG_AND_SHORT, {**MIDS, "xyz": {}})
    with pytest.raises(VenueUnreachable, match="HTTP 500"):
        await orders({"": {}}, {"": {}})
    # Only what is wanted is asked for.
    assert [order.market for order in await orders(LONG_AND_SHORT, {"": MIDS[""]}, "BTC")] == ["BTC"]
