"""Money and quantity are conserved, whatever is ordered, canceled, modified and triggered."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.venue.config import VenueConfig
from adapters.venue.core import VenueCore
from adapters.venue.limits import Limits
from adapters.venue.liquidity import Liquidity
from adapters.venue.markets import QUOTE
from adapters.venue.truth import FillRecord, fate_by_cloid
from tests.adapters.venue.support import BTC, PURR, TSLA, Desk, cloid, order, orders

PRICES = {BTC: range(99_000, 101_000, 250), TSLA: range(396, 405), PURR: range(1, 3)}


@st.composite
def wires(draw: st.DrawFn) -> dict[str, Any]:
    asset = draw(st.sampled_from([BTC, TSLA, PURR]))
    size = {BTC: "0.0{}", TSLA: "{}.5", PURR: "{}00"}[asset].format(draw(st.integers(1, 9)))
    trigger = None
    if draw(st.integers(0, 5)) == 0:
        px = str(draw(st.sampled_from(PRICES[asset])))
        trigger = {"isMarket": draw(st.booleans()), "triggerPx": px, "tpsl": draw(st.sampled_from(["tp", "sl"]))}
    return order(
        asset,
        buy=draw(st.booleans()),
        px=str(draw(st.sampled_from(PRICES[asset]))),
        sz=size,
        tif=draw(st.sampled_from(["Gtc", "Gtc", "Ioc", "Alo"])),
        reduce_only=draw(st.integers(0, 3)) == 0,
        cloid=draw(st.none() | st.integers(0, 5).map(cloid)),
        trigger=trigger,
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.integers(0, 2), st.lists(wires(), min_size=1, max_size=4)),
        st.tuples(st.just("cancel"), st.integers(0, 2), st.integers(0, 5)),
        st.tuples(st.just("modify"), st.integers(0, 2), st.integers(0, 5), wires()),
        st.tuples(st.just("price"), st.sampled_from(["BTC", "xyz:TSLA"]), st.integers(-3, 3)),
        st.tuples(st.just("makers")),
    ),
    max_size=25,
)


def perp_money(core: VenueCore, dex: str) -> int:
    """Balances plus unrealized profit of everyone in a dex."""
    return sum(one.clearinghouses[dex].equity(core.trading.marks) for one in core.accounts.by_address.values())


def tokens(core: VenueCore, token: str) -> int:
    return sum(account.spot[token].total for account in core.accounts.by_address.values())


def perform(desk: Desk, step: tuple[Any, ...]) -> None:
    kind = step[0]
    if kind == "order":
        desk.send(desk.traders[step[1]], orders(*step[2]))
    elif kind == "cancel":
        action = {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": cloid(step[2])}]}
        desk.send(desk.traders[step[1]], action)
    elif kind == "modify":
        wire = {name: value for name, value in step[3].items() if name != "c"}
        action = {"type": "batchModify", "modifies": [{"oid": cloid(step[2]), "order": wire}]}
        desk.send(desk.traders[step[1]], action)
    elif kind == "price":
        base = {"BTC": 100_000, "xyz:TSLA": 400}[step[1]]
        desk.core.set_price(step[1], str(base + base * step[2] // 100))
    else:
        desk.core.makers.step()


def check_holdings(core: VenueCore) -> None:
    """What accounts hold back is what their open orders need; books and accounts agree on what is open."""
    on_books = 0
    for account in core.accounts.by_address.values():
        resting = [one for one in account.open_orders.values() if one.is_live]
        on_books += len(resting)
        for dex, clearinghouse in account.clearinghouses.items():
            perps = [one for one in resting if not one.market.is_spot and one.market.dex == dex]
            assert clearinghouse.reserved == sum(one.reserved_lots * one.reserved_rate for one in perps)
        spot = [one for one in resting if one.market.is_spot]
        buys = sum(one.reserved_lots * one.reserved_rate for one in spot if one.is_buy)
        assert account.spot[QUOTE].hold == buys
        assert account.spot["PURR"].hold == sum(one.sz for one in spot if not one.is_buy)
        for balance in account.spot.values():
            assert balance.total >= balance.hold >= 0
    depths = [core.trading.books[market.asset].depth(10_000) for market in core.universe.markets]
    assert on_books == sum(count for bids, asks in depths for _, _, count in bids + asks)


def check_truth(desk: Desk) -> None:
    """The record, replayed, gives the accounts' positions; and nothing trades that was not placed."""
    records = desk.truth()
    assert [one.seq for one in records] == list(range(len(records)))
    for trader in desk.traders:
        replayed: dict[str, Decimal] = {}
        for record in records:
            if isinstance(record, FillRecord) and record.user == trader.address and record.coin != "PURR/USDC":
                sign = 1 if record.side == "B" else -1
                replayed[record.coin] = replayed.get(record.coin, Decimal(0)) + sign * Decimal(record.sz)
        told = desk.core.state(trader.address)["positions"]
        assert {coin: size for coin, size in replayed.items() if size} == {
            coin: Decimal(size) for coin, size in told.items()
        }
    assert all(fate.placed for fate in fate_by_cloid(records).values() if fate.filled)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.booleans())
def test_nothing_is_made_or_lost(steps: list[tuple[Any, ...]], makers: bool) -> None:
    liquidity = Liquidity(levels=3 if makers else 0, depth_usd=2_000, volatility_bps=20.0)
    desk = Desk(VenueConfig(liquidity=liquidity, limits=Limits(address_budget=10**6)), funded=3)
    core = desk.core
    for trader in desk.traders:
        core.accounts.by_address[trader.address].spot["PURR"].total = 2_000
    before = {dex: perp_money(core, dex) for dex in core.universe.dexs}
    spot_before = {token: tokens(core, token) for token in core.universe.tokens}
    for step in steps:
        perform(desk, step)
        assert {dex: perp_money(core, dex) for dex in core.universe.dexs} == before
        assert {token: tokens(core, token) for token in core.universe.tokens} == spot_before
        for market in core.universe.markets:
            if not market.is_spot:
                everyone = core.accounts.by_address.values()
                assert sum(one.clearinghouses[market.dex].size(market) for one in everyone) == 0
        check_holdings(core)
    check_truth(desk)
