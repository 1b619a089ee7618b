"""The market makers: seeded, two-sided, legal prices, and no harm to anybody who does not trade with them."""

from __future__ import annotations

from typing import Any

from adapters.venue.config import VenueConfig
from adapters.venue.liquidity import HOUSE, Liquidity
from adapters.venue.units import parse_units, significant_figures
from tests.adapters.venue.support import BTC, Desk, cloid, order


def books(seed: int, steps: int) -> list[Any]:
    desk = Desk(VenueConfig(seed=seed, liquidity=Liquidity(volatility_bps=5.0)))
    seen = []
    for _ in range(steps):
        desk.core.makers.step()
        seen.append([desk.ask("l2Book", coin=market.coin)["levels"] for market in desk.core.universe.markets])
    return seen


def test_the_same_seed_gives_the_same_books_and_another_one_others() -> None:
    assert books(1, 5) == books(1, 5)
    assert books(1, 5) != books(2, 5)


def test_books_are_two_sided_uncrossed_and_at_legal_prices() -> None:
    desk = Desk(VenueConfig(liquidity=Liquidity(volatility_bps=50.0)))
    for _ in range(200):
        desk.core.makers.step()
        for market in desk.core.universe.markets:
            bids, asks = desk.ask("l2Book", coin=market.coin)["levels"]
            best_bid, best_ask = (
                parse_units(side[0]["px"].removesuffix(".0"), market.px_decimals) for side in (bids, asks)
            )
            assert best_bid is not None
            assert best_ask is not None
            assert best_bid < best_ask
            for level in (*bids, *asks):
                assert significant_figures(level["px"].removesuffix(".0")) <= 5


def test_a_price_near_zero_stays_above_it() -> None:
    desk = Desk(VenueConfig(liquidity=Liquidity(volatility_bps=9_000.0)))
    for _ in range(300):
        desk.core.makers.step()
    assert min(desk.core.trading.marks.values()) > 0


def test_still_prices_stand_still() -> None:
    desk = Desk(VenueConfig(liquidity=Liquidity(volatility_bps=0.0)))
    before = dict(desk.core.trading.marks)
    desk.core.makers.step()
    assert desk.core.trading.marks == before


def test_the_makers_withdraw_their_quotes_and_nobody_elses() -> None:
    desk = Desk(VenueConfig(liquidity=Liquidity(levels=3)))
    alice, _ = desk.traders
    desk.place(alice, order(BTC, px="99999", sz="0.001", cloid=cloid(1)), order(BTC, px="50000", cloid=cloid(2)))
    for _ in range(20):
        desk.core.makers.step()
    house = desk.core.accounts.by_address[HOUSE]
    assert len(house.open_orders) <= 6 * len(desk.core.universe.markets)
    assert desk.ask("orderStatus", user=alice.address, oid=cloid(2))["order"]["status"] == "open"
    assert desk.ask("orderStatus", user=alice.address, oid=cloid(1))["order"]["status"] in ("open", "filled")
