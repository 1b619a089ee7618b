"""What happens to orders: every rule of placement, matching and ending, through signed actions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.venue.config import VenueConfig
from adapters.venue.limits import Limits
from adapters.venue.liquidity import Liquidity
from adapters.venue.truth import EndRecord, FillRecord
from adapters.venue.units import USD
from tests.adapters.venue.support import (
    BTC,
    ETH,
    NO_MAKERS,
    PURR,
    STILL,
    TSLA,
    Desk,
    Trader,
    cloid,
    order,
    orders,
    statuses,
)


@pytest.fixture
def desk() -> Desk:
    """Two funded traders and empty books; BTC marks 100000."""
    return Desk()


@pytest.fixture
def alice(desk: Desk) -> Trader:
    return desk.traders[0]


@pytest.fixture
def bob(desk: Desk) -> Trader:
    return desk.traders[1]


def position(desk: Desk, trader: Trader, coin: str = "BTC") -> Decimal:
    return Decimal(desk.core.state(trader.address)["positions"].get(coin, "0"))


def status_of(desk: Desk, trader: Trader, oid: int | str) -> tuple[str, str]:
    """Status and remaining size, as `orderStatus` tells them."""
    found = desk.ask("orderStatus", user=trader.address, oid=oid)["order"]
    return found["status"], found["order"]["sz"]


# --- placement ------------------------------------------------------------------------------------------------


def test_a_gtc_order_rests_with_its_cloid(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(px="90000", cloid=cloid(7)))
    oid = status["resting"]["oid"]
    assert status == {"resting": {"oid": oid, "cloid": cloid(7)}}
    assert status_of(desk, alice, oid) == status_of(desk, alice, cloid(7)) == ("open", "0.001")


def test_a_crossing_order_trades_at_the_makers_prices(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100100", sz="0.01"), order(buy=False, px="100000", sz="0.01"))
    (status,) = desk.place(bob, order(px="101000", sz="0.015", tif="Ioc"))
    assert status["filled"]["totalSz"] == "0.015"
    assert Decimal(status["filled"]["avgPx"]) == Decimal("100033.33333")
    assert position(desk, bob) == Decimal("0.015")
    assert position(desk, alice) == Decimal("-0.015")


def test_an_ioc_order_keeps_nothing_on_the_book(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100000", sz="0.01"))
    (status,) = desk.place(bob, order(px="100000", sz="0.03", tif="Ioc"))
    oid = status["filled"]["oid"]
    assert status["filled"]["totalSz"] == "0.01"
    assert status_of(desk, bob, oid) == ("canceled", "0.02")
    assert desk.ask("openOrders", user=bob.address) == []


def test_an_ioc_order_without_a_match_is_rejected_with_a_record(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(px="90000", tif="Ioc", cloid=cloid(1)))
    assert status == {"error": "Order could not immediately match against any resting orders. asset=0"}
    assert status_of(desk, alice, cloid(1)) == ("iocCancelRejected", "0.001")


def test_a_gtc_order_that_trades_in_part_rests_with_the_rest(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100000", sz="0.01"))
    (status,) = desk.place(bob, order(px="100000", sz="0.03", cloid=cloid(2)))
    assert set(status) == {"resting"}
    assert status_of(desk, bob, cloid(2)) == ("open", "0.02")


def test_a_post_only_order_that_would_match_names_the_bbo(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100000", sz="0.01"), order(px="99000", sz="0.01"))
    (status,) = desk.place(bob, order(px="100000", tif="Alo"))
    assert status == {"error": "Post only order would have immediately matched, bbo was 99000@100000. asset=0"}
    assert desk.place(bob, order(px="99999", tif="Alo"))[0]["resting"]


def test_a_post_only_order_does_not_name_a_side_that_is_empty(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100000", sz="0.01"))
    (status,) = desk.place(bob, order(px="100000", tif="Alo"))
    assert "bbo was 0@100000." in status["error"]


def test_orders_below_10_dollars_are_refused(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(px="90000", sz="0.00011"))
    assert status == {"error": "Order must have minimum value of $10. asset=0"}
    assert desk.place(alice, order(px="90000", sz="0.00012"))[0]["resting"]


def test_a_position_below_10_dollars_can_be_closed(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100000", sz="0.0002"), order(px="99999", sz="0.001"))
    desk.place(bob, order(px="100000", sz="0.0002"))
    assert desk.place(bob, order(buy=False, px="99999", sz="0.00012", tif="Ioc"))[0]["filled"]
    (status,) = desk.place(bob, order(buy=False, px="99999", sz="0.00008", tif="Ioc", reduce_only=True))
    assert status["filled"]["totalSz"] == "0.00008"
    assert position(desk, bob) == 0


def test_too_many_significant_figures_reject_the_item_alone(desk: Desk, alice: Trader) -> None:
    bad, good = desk.place(alice, order(px="90000.5", cloid=cloid(1)), order(px="90000"))
    assert bad == {"error": "Price must be divisible by tick size. asset=0"}
    assert good["resting"]
    assert status_of(desk, alice, cloid(1))[0] == "tickRejected"


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (order(asset=7), "Order has invalid asset."),
        (order(px="90000.55"), "Order has invalid price."),
        (order(px="90000.0"), "Order has invalid price."),
        (order(px="0"), "Order has invalid price."),
        (order(px="-1"), "Order has invalid price."),
        (order(sz="0.000001"), "Order has invalid size."),
        (order(sz="0"), "Order has invalid size."),
        (order(trigger={"isMarket": True, "triggerPx": "1.005", "tpsl": "sl"}), "Order has invalid price."),
    ],
)
def test_one_malformed_item_refuses_the_whole_batch_without_a_record(
    desk: Desk, alice: Trader, wire: dict[str, Any], error: str
) -> None:
    reply = desk.send(alice, orders(order(cloid=cloid(1)), wire))
    assert reply == {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"error": error}]}}}
    assert desk.ask("orderStatus", user=alice.address, oid=cloid(1)) == {"status": "unknownOid"}
    assert desk.ask("openOrders", user=alice.address) == []


def test_empty_batches_and_groupings_are_refused_as_a_whole(desk: Desk, alice: Trader) -> None:
    assert statuses(desk.send(alice, orders())) == [{"error": "Batch contains no items."}]
    assert statuses(desk.send(alice, {"type": "cancel", "cancels": []})) == [{"error": "Batch contains no items."}]
    refused = statuses(desk.send(alice, orders(order(), grouping="normalTpsl")))
    assert refused == [{"error": "The local venue supports grouping na only."}]


def test_a_cloid_of_an_open_order_is_refused_and_look_ups_still_find_the_order(desk: Desk, alice: Trader) -> None:
    (first,) = desk.place(alice, order(px="90000", cloid=cloid(3)))
    (second,) = desk.place(alice, order(px="91000", cloid=cloid(3)))
    assert second == {"error": "Cloid belongs to an open order. asset=0"}
    assert desk.ask("orderStatus", user=alice.address, oid=cloid(3))["order"]["order"]["oid"] == first["resting"]["oid"]


def test_a_cloid_can_be_reused_once_its_order_ended_and_the_latest_wins(desk: Desk, alice: Trader) -> None:
    desk.place(alice, order(px="90000", cloid=cloid(3)))
    desk.send(alice, {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": cloid(3)}]})
    (again,) = desk.place(alice, order(px="91000", cloid=cloid(3)))
    assert status_of(desk, alice, cloid(3)) == ("open", "0.001")
    assert desk.ask("orderStatus", user=alice.address, oid=cloid(3))["order"]["order"]["oid"] == again["resting"]["oid"]


# --- margin and balances --------------------------------------------------------------------------------------


def test_an_order_needs_margin_at_its_leverage() -> None:
    desk = Desk(usdc=Decimal(1000))
    (alice, _) = desk.traders
    assert desk.place(alice, order(px="100000", sz="0.2"))[0]["resting"]  # 20000 USD at 20x: exactly 1000
    (status,) = desk.place(alice, order(px="100000", sz="0.0002"))
    assert status == {"error": "Insufficient margin to place order. asset=0"}


def test_canceling_gives_margin_back_and_lower_leverage_needs_more() -> None:
    desk = Desk(usdc=Decimal(1000))
    (alice, _) = desk.traders
    (status,) = desk.place(alice, order(px="100000", sz="0.2"))
    desk.send(alice, {"type": "cancel", "cancels": [{"a": BTC, "o": status["resting"]["oid"]}]})
    assert desk.core.accounts.by_address[alice.address].clearinghouses[""].reserved == 0
    desk.send(alice, {"type": "updateLeverage", "asset": BTC, "isCross": True, "leverage": 10})
    assert "error" in desk.place(alice, order(px="100000", sz="0.2"))[0]
    assert desk.place(alice, order(px="100000", sz="0.1"))[0]["resting"]


def test_an_order_that_closes_needs_no_margin() -> None:
    desk = Desk(usdc=Decimal(1000))
    alice, bob = desk.traders
    desk.place(bob, order(buy=False, px="100000", sz="0.2"))
    assert desk.place(alice, order(px="100000", sz="0.2"))[0]["filled"]
    assert desk.place(alice, order(buy=False, px="100000", sz="0.2"))[0]["resting"]


def test_a_resting_order_whose_account_lost_its_cover_is_canceled_instead_of_traded() -> None:
    desk = Desk(usdc=Decimal(1000), funded=3)
    alice, bob, carol = desk.traders
    desk.place(bob, order(buy=False, px="100000", sz="0.1"))
    desk.place(alice, order(px="100000", sz="0.1"), order(px="90000", sz="0.1", cloid=cloid(1)))
    desk.core.set_price("BTC", "91000")  # a loss of 900 of the 1000
    (status,) = desk.place(carol, order(buy=False, px="90000", sz="0.05", tif="Ioc"))
    assert "error" in status
    assert status_of(desk, alice, cloid(1)) == ("marginCanceled", "0.1")


def test_spot_orders_hold_what_they_need() -> None:
    desk = Desk(usdc=Decimal(100))
    alice, bob = desk.traders
    assert "error" in desk.place(alice, order(PURR, buy=False, px="0.2", sz="100"))[0]
    assert desk.place(alice, order(PURR, px="0.2", sz="400"))[0]["resting"]
    (status,) = desk.place(alice, order(PURR, px="0.2", sz="200"))
    assert status == {"error": "Order has insufficient spot balance to trade asset=10000"}
    desk.core.accounts.by_address[bob.address].spot["PURR"].total = 300
    assert desk.place(bob, order(PURR, buy=False, px="0.2", sz="300"))[0]["filled"]
    balances = {one["coin"]: one for one in desk.ask("spotClearinghouseState", user=alice.address)["balances"]}
    assert (balances["USDC"]["total"], balances["USDC"]["hold"]) == ("40.0", "20.0")
    assert balances["PURR"]["total"] == "300.0"


def test_spot_orders_can_not_be_reduce_only(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(PURR, px="0.2", sz="100", reduce_only=True))
    assert status["error"].startswith("Reduce only order would increase position.")


def test_builder_dexes_have_a_clearinghouse_of_their_own(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(TSLA, buy=False, px="400", sz="10"))
    assert desk.place(alice, order(TSLA, px="400", sz="10"))[0]["filled"]
    core, builder = (desk.ask("clearinghouseState", user=alice.address, dex=dex) for dex in ("", "xyz"))
    assert core["assetPositions"] == []
    assert builder["assetPositions"][0]["position"]["coin"] == "xyz:TSLA"
    assert builder["marginSummary"]["totalMarginUsed"] == "400.0"  # 4000 USD at 10x


def test_open_orders_are_limited_and_beyond_the_limit_reduce_only_and_triggers_too() -> None:
    desk = Desk(VenueConfig(liquidity=NO_MAKERS, limits=Limits(open_orders=2)))
    (alice, _) = desk.traders
    assert all("resting" in status for status in desk.place(alice, order(), order()))
    assert desk.place(alice, order())[0] == {"error": "Too many open orders. asset=0"}
    desk.core.accounts.by_address[alice.address].traded = 5_000_000 * USD
    stop = {"isMarket": True, "triggerPx": "80000", "tpsl": "sl"}
    assert "error" in desk.place(alice, order(buy=False, trigger=stop))[0]
    assert desk.place(alice, order())[0]["resting"]
    assert "error" in desk.place(alice, order())[0]


# --- self-trade, reduce-only ----------------------------------------------------------------------------------


def test_trading_with_oneself_cancels_the_resting_order(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(alice, order(buy=False, px="100000", sz="0.01", cloid=cloid(1)))
    desk.place(bob, order(buy=False, px="100000", sz="0.01"))
    (status,) = desk.place(alice, order(px="100000", sz="0.01"))
    assert status["filled"]["totalSz"] == "0.01"
    assert status_of(desk, alice, cloid(1)) == ("selfTradeCanceled", "0.01")
    assert position(desk, bob) == Decimal("-0.01")


def test_reduce_only_needs_a_position_on_the_other_side(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"))
    refused = {"error": "Reduce only order would increase position. asset=0"}
    assert desk.place(alice, order(px="100000", reduce_only=True)) == [refused]
    desk.place(alice, order(px="100000", sz="0.01"))
    assert desk.place(alice, order(px="90000", reduce_only=True)) == [refused]
    assert desk.place(alice, order(buy=False, px="110000", reduce_only=True))[0]["resting"]


def test_reduce_only_never_trades_more_than_the_position(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"), order(px="99000", sz="1"))
    desk.place(alice, order(px="100000", sz="0.01"))
    (status,) = desk.place(alice, order(buy=False, px="99000", sz="0.05", reduce_only=True, cloid=cloid(1)))
    assert status["filled"]["totalSz"] == "0.01"
    assert position(desk, alice) == 0
    assert status_of(desk, alice, cloid(1)) == ("reduceOnlyCanceled", "0.04")


def test_resting_reduce_only_orders_go_when_nothing_is_left_to_reduce(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"), order(px="99000", sz="1"))
    desk.place(alice, order(px="100000", sz="0.01"))
    desk.place(alice, order(buy=False, px="110000", sz="0.01", reduce_only=True, cloid=cloid(1)))
    desk.place(alice, order(buy=False, px="99000", sz="0.01"))
    assert status_of(desk, alice, cloid(1)) == ("reduceOnlyCanceled", "0.01")


def test_a_resting_reduce_only_order_larger_than_the_position_is_cut(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"))
    desk.place(alice, order(px="100000", sz="0.01"))
    desk.place(alice, order(buy=False, px="101000", sz="0.05", reduce_only=True, cloid=cloid(1)))
    (status,) = desk.place(bob, order(px="101000", sz="0.05", tif="Ioc"))
    assert status["filled"]["totalSz"] == "0.01"
    assert position(desk, alice) == 0
    assert status_of(desk, alice, cloid(1)) == ("reduceOnlyCanceled", "0.04")


# --- triggers -------------------------------------------------------------------------------------------------


def stop(px: str, kind: str = "sl", *, market: bool = True) -> dict[str, Any]:
    return {"isMarket": market, "triggerPx": px, "tpsl": kind}


def test_a_stop_sells_when_the_mark_price_falls_to_it(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"), order(px="94000", sz="1"))
    desk.place(alice, order(px="100000", sz="0.01"))
    wire = order(buy=False, px="90000", sz="0.01", reduce_only=True, cloid=cloid(1), trigger=stop("95000"))
    assert desk.place(alice, wire)[0]["resting"]
    desk.core.set_price("BTC", "95001")
    assert position(desk, alice) == Decimal("0.01")
    desk.core.set_price("BTC", "95000")
    assert position(desk, alice) == 0
    assert status_of(desk, alice, cloid(1)) == ("filled", "0.0")


@pytest.mark.parametrize(
    ("buy", "kind", "fires_at", "not_at"),
    [
        (True, "sl", "105000", "104999"),
        (False, "tp", "105000", "104999"),
        (True, "tp", "95000", "95001"),
        (False, "sl", "95000", "95001"),
    ],
)
def test_each_kind_of_trigger_fires_in_its_direction(
    desk: Desk, alice: Trader, *, buy: bool, kind: str, fires_at: str, not_at: str
) -> None:
    limit = "50000" if buy else "200000"
    wire = order(buy=buy, px=limit, sz="0.001", cloid=cloid(1), trigger=stop(fires_at, kind, market=False))
    desk.place(alice, wire)
    desk.core.set_price("BTC", not_at)
    assert desk.ask("frontendOpenOrders", user=alice.address)[0]["isTrigger"]
    assert desk.ask("l2Book", coin="BTC")["levels"] == [[], []]
    desk.core.set_price("BTC", fires_at)
    bids, asks = desk.ask("l2Book", coin="BTC")["levels"]
    assert (bids if buy else asks)[0]["px"] == f"{limit}.0"


def test_a_trigger_that_the_mark_price_has_passed_is_refused(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(buy=False, px="90000", trigger=stop("100000")))
    assert status == {"error": "Invalid TP/SL price. asset=0"}


def test_a_triggered_market_order_that_finds_nothing_ends_rejected(desk: Desk, alice: Trader) -> None:
    desk.place(alice, order(buy=False, px="90000", sz="0.01", cloid=cloid(1), trigger=stop("95000")))
    desk.core.set_price("BTC", "95000")
    assert status_of(desk, alice, cloid(1)) == ("marketOrderNoLiquidityRejected", "0.01")
    assert desk.truth()[-1] == EndRecord(
        seq=1,
        time=desk.clock.now_ms(),
        user=alice.address,
        oid=desk.ask("orderStatus", user=alice.address, oid=cloid(1))["order"]["order"]["oid"],
        cloid=cloid(1),
        status="marketOrderNoLiquidityRejected",
    )


def test_a_triggered_reduce_only_order_without_a_position_ends_rejected(desk: Desk, alice: Trader) -> None:
    wire = order(buy=False, px="90000", sz="0.01", cloid=cloid(1), reduce_only=True, trigger=stop("95000"))
    desk.place(alice, wire)
    desk.core.set_price("BTC", "94000")
    assert status_of(desk, alice, cloid(1))[0] == "reduceOnlyRejected"


def test_a_canceled_trigger_never_fires(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(buy=False, px="90000", trigger=stop("95000", market=False)))
    oid = status["resting"]["oid"]
    assert statuses(desk.send(alice, {"type": "cancel", "cancels": [{"a": BTC, "o": oid}]})) == ["success"]
    desk.core.set_price("BTC", "90000")
    assert status_of(desk, alice, oid)[0] == "canceled"


# --- cancel, modify -------------------------------------------------------------------------------------------

MISSING = {"error": "Order was never placed, already canceled, or filled. asset=0"}


def test_cancels_have_a_fate_each(desk: Desk, alice: Trader, bob: Trader) -> None:
    (mine,) = desk.place(alice, order())
    (theirs,) = desk.place(bob, order())
    oids = [mine["resting"]["oid"], theirs["resting"]["oid"], 5, mine["resting"]["oid"]]
    reply = desk.send(alice, {"type": "cancel", "cancels": [{"a": BTC, "o": oid} for oid in oids]})
    assert reply["response"]["type"] == "cancel"
    assert statuses(reply) == ["success", MISSING, MISSING, MISSING]


def test_cancels_need_the_right_market(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(cloid=cloid(1)))
    wrong = {"error": MISSING["error"].replace("asset=0", "asset=1")}
    oid = status["resting"]["oid"]
    assert statuses(desk.send(alice, {"type": "cancel", "cancels": [{"a": ETH, "o": oid}]})) == [wrong]
    by_cloid = {"type": "cancelByCloid", "cancels": [{"asset": ETH, "cloid": cloid(1)}]}
    assert statuses(desk.send(alice, by_cloid)) == [wrong]


@pytest.mark.parametrize("kind", ["cancel", "cancelByCloid"])
def test_a_cancel_in_an_unknown_market_refuses_the_whole_batch(desk: Desk, alice: Trader, kind: str) -> None:
    (status,) = desk.place(alice, order(cloid=cloid(1)))
    good = {"a": BTC, "o": status["resting"]["oid"]} if kind == "cancel" else {"asset": BTC, "cloid": cloid(1)}
    bad = {"a": 7, "o": 1} if kind == "cancel" else {"asset": 7, "cloid": cloid(2)}
    reply = desk.send(alice, {"type": kind, "cancels": [good, bad]})
    assert statuses(reply) == [{"error": "Order has invalid asset."}]
    assert status_of(desk, alice, cloid(1))[0] == "open"


def test_cloids_are_the_same_in_upper_and_lower_case(desk: Desk, alice: Trader) -> None:
    desk.place(alice, order(cloid="0x" + "AB" * 16))
    reply = desk.send(alice, {"type": "cancelByCloid", "cancels": [{"asset": BTC, "cloid": "0x" + "ab" * 16}]})
    assert statuses(reply) == ["success"]


def test_modify_gives_a_new_oid_and_keeps_the_cloid(desk: Desk, alice: Trader) -> None:
    (status,) = desk.place(alice, order(px="90000", cloid=cloid(1)))
    old = status["resting"]["oid"]
    reply = desk.send(alice, {"type": "batchModify", "modifies": [{"oid": old, "order": order(px="91000")}]})
    (new,) = statuses(reply)
    assert reply["response"]["type"] == "order"
    assert new["resting"]["cloid"] == cloid(1)
    assert new["resting"]["oid"] != old
    assert status_of(desk, alice, old)[0] == "canceled"
    assert desk.ask("openOrders", user=alice.address)[0]["limitPx"] == "91000.0"


def test_modify_takes_a_new_cloid_and_finds_its_target_by_cloid(desk: Desk, alice: Trader) -> None:
    desk.place(alice, order(px="90000", cloid=cloid(1)))
    action = {"type": "modify", "oid": cloid(1), "order": order(px="91000", cloid=cloid(2))}
    assert desk.send(alice, action) == {"status": "ok", "response": {"type": "default"}}
    assert status_of(desk, alice, cloid(2))[0] == "open"
    assert status_of(desk, alice, cloid(1))[0] == "canceled"


def test_modify_of_an_ended_order_changes_nothing(desk: Desk, alice: Trader) -> None:
    action = {"type": "batchModify", "modifies": [{"oid": 5, "order": order(cloid=cloid(1))}]}
    assert statuses(desk.send(alice, action)) == [{"error": "Cannot modify canceled or filled order asset=0"}]
    single = {"type": "modify", "oid": 5, "order": order()}
    expected = {"status": "err", "response": "Cannot modify canceled or filled order asset=0"}
    assert desk.send(alice, single) == expected
    assert desk.ask("openOrders", user=alice.address) == []


def test_modify_whose_new_order_is_refused_leaves_the_old_one_canceled(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"))
    desk.place(alice, order(px="90000", cloid=cloid(1)))
    wire = order(px="100000", tif="Alo", cloid=cloid(2))
    (status,) = statuses(desk.send(alice, {"type": "batchModify", "modifies": [{"oid": cloid(1), "order": wire}]}))
    assert status["error"].startswith("Error placing new order during modify: Post only order would have")
    assert status_of(desk, alice, cloid(1))[0] == "canceled"
    assert status_of(desk, alice, cloid(2))[0] == "badAloPxRejected"


def test_a_malformed_modify_refuses_the_batch(desk: Desk, alice: Trader) -> None:
    desk.place(alice, order(px="90000", cloid=cloid(1)))
    bad = {"oid": cloid(1), "order": order(px="1.23456")}
    assert statuses(desk.send(alice, {"type": "batchModify", "modifies": [bad]})) == [
        {"error": "Order has invalid price."}
    ]
    refused = desk.send(alice, {"type": "modify", **bad})
    assert refused == {"status": "err", "response": "Order has invalid price."}
    assert statuses(desk.send(alice, {"type": "batchModify", "modifies": []})) == [
        {"error": "Batch contains no items."}
    ]
    assert status_of(desk, alice, cloid(1))[0] == "open"


# --- records --------------------------------------------------------------------------------------------------


def test_fills_tell_position_direction_and_profit(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"), order(px="99000", sz="0.03"))
    desk.place(alice, order(px="100000", sz="0.01", cloid=cloid(1)))
    desk.place(alice, order(buy=False, px="99000", sz="0.03"))
    flip, opened = desk.ask("userFills", user=alice.address)
    assert opened["dir"] == "Open Long"
    assert opened["startPosition"] == "0.0"
    assert opened["cloid"] == cloid(1)
    assert opened["crossed"] is True
    assert flip["dir"] == "Long > Short"
    assert flip["startPosition"] == "0.01"
    assert flip["closedPnl"] == "-10.0"
    assert desk.ask("userFills", user=bob.address)[0]["dir"] == "Short > Long"
    assert flip["tid"] == desk.ask("userFills", user=bob.address)[0]["tid"] != opened["tid"]


def test_both_sides_of_a_trade_are_in_the_truth(desk: Desk, alice: Trader, bob: Trader) -> None:
    desk.place(bob, order(buy=False, px="100000", sz="0.01"))
    desk.place(alice, order(px="100000", sz="0.004"))
    fills = [record for record in desk.truth() if isinstance(record, FillRecord)]
    assert [(fill.user, fill.sz, fill.left, fill.crossed) for fill in fills] == [
        (alice.address, "0.004", "0.0", True),
        (bob.address, "0.004", "0.006", False),
    ]


def test_the_market_makers_leave_no_records_and_take_no_user_order_off() -> None:
    desk = Desk(VenueConfig(liquidity=Liquidity(volatility_bps=3.0)))
    (alice, _) = desk.traders
    desk.place(alice, order(px="50000", cloid=cloid(1)))
    before = len(desk.truth())
    for _ in range(50):
        desk.core.makers.step()
    assert len(desk.truth()) == before
    assert status_of(desk, alice, cloid(1)) == ("open", "0.001")
    for market in desk.core.universe.markets:
        bids, asks = desk.ask("l2Book", coin=market.coin)["levels"]
        assert Decimal(bids[0]["px"]) < Decimal(asks[0]["px"])


def test_a_user_order_in_the_makers_way_trades() -> None:
    desk = Desk(VenueConfig(liquidity=STILL))
    (alice, _) = desk.traders
    desk.place(alice, order(px="99000", sz="0.01", cloid=cloid(1)))
    desk.core.set_price("BTC", "98000")
    assert status_of(desk, alice, cloid(1)) == ("filled", "0.0")
