"""What we send, against what the official SDK sends for the same wish."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, get_args

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.utils.types import Cloid
from hypothesis import given
from hypothesis import strategies as st

from adapters.hyperliquid.markets import UnknownMarket
from adapters.hyperliquid.signing import Network, Signer, recover_l1_signer
from adapters.hyperliquid.wire import (
    NOOP_ACTION,
    UnsendableRequest,
    action_of,
    ping_frame,
    post_frame,
    schedule_cancel_action,
    subscribe_frame,
    update_leverage_action,
)
from machines.intent import ActionKind, Cancel, Modify, Order, Request, Trigger
from tests.adapters.hyperliquid.samples import ACTIONS, ADDRESSES, CLOIDS, META, NONCES, SPOT_META, U64, markets

MARKETS = markets()
KEY = bytes(range(1, 33))
BUILDER = "0x" + "b1" * 20


class OfflineExchange(Exchange):  # type: ignore[misc]  # the SDK has no types
    """The SDK's client, with the action that it would post as its answer."""

    def __init__(self) -> None:
        super().__init__(Account.from_key(KEY), "http://unused", meta=META, spot_meta=SPOT_META)

    def _post_action(self, action: Any, _signature: Any, _nonce: int) -> Any:
        return action


SDK = OfflineExchange()


def in_order(value: Any) -> str:
    """A text that shows the order of all fields, on which the hash depends."""
    return json.dumps(value, indent=1)


# --- requests, as ours and as the SDK's ---------------------------------------------------------------------------

wires = st.sampled_from(["1", "12.5", "26954", "0.0003", "3.1415", "250000", "0.1"])
# The SDK names spot pairs in both ways, and without a network knows no builder dex (test_markets compares its ids).
names = st.sampled_from(["BTC", "kPEPE", "PURR/USDC", "@107"])
triggers = st.builds(Trigger, price=wires, is_market=st.booleans(), kind=st.sampled_from(["tp", "sl"]))
orders = st.builds(
    Order,
    market=names,
    side=st.sampled_from(["buy", "sell"]),
    size=wires,
    price=wires,
    tif=st.sampled_from(["Gtc", "Ioc", "Alo"]),
    reduce_only=st.booleans(),
    cloid=st.none() | CLOIDS,
    trigger=st.none() | triggers,
)


def sdk_order(order: Order) -> dict[str, Any]:
    """The order in the SDK's words, where numbers are floats."""
    kind: dict[str, Any] = {"limit": {"tif": order.tif}}
    if order.trigger is not None:
        trigger = order.trigger
        kind = {
            "trigger": {"triggerPx": float(trigger.price), "isMarket": trigger.is_market, "tpsl": trigger.kind},
        }
    return {
        "coin": order.market,
        "is_buy": order.side == "buy",
        "sz": float(order.size),
        "limit_px": float(order.price),
        "order_type": kind,
        "reduce_only": order.reduce_only,
        "cloid": None if order.cloid is None else Cloid(order.cloid),
    }


@given(st.lists(orders, min_size=1, max_size=5), st.none() | st.integers(1, 100))
def test_order_action(requests: list[Order], fee: int | None) -> None:
    builder = None if fee is None else {"b": BUILDER, "f": fee}
    expected = SDK.bulk_orders([sdk_order(order) for order in requests], builder)
    given_builder: Any = None if fee is None else {"f": fee, "b": BUILDER}  # its order is ours to keep
    ours = action_of(ActionKind.ORDER, requests, MARKETS, builder=given_builder)
    assert in_order(ours) == in_order(expected)


@given(st.lists(st.tuples(names, U64), min_size=1, max_size=5))
def test_cancel_action(targets: list[tuple[str, int]]) -> None:
    expected = SDK.bulk_cancel([{"coin": name, "oid": oid} for name, oid in targets])
    ours = action_of(ActionKind.CANCEL, [Cancel(market=name, oid=oid) for name, oid in targets], MARKETS)
    assert in_order(ours) == in_order(expected)


@given(st.lists(st.tuples(names, CLOIDS), min_size=1, max_size=5))
def test_cancel_by_cloid_action(targets: list[tuple[str, str]]) -> None:
    expected = SDK.bulk_cancel_by_cloid([{"coin": name, "cloid": Cloid(cloid)} for name, cloid in targets])
    requests = [Cancel(market=name, cloid=cloid) for name, cloid in targets]
    assert in_order(action_of(ActionKind.CANCEL_BY_CLOID, requests, MARKETS)) == in_order(expected)


@given(st.lists(st.tuples(orders, U64 | CLOIDS), min_size=1, max_size=5))
def test_modify_action(targets: list[tuple[Order, int | str]]) -> None:
    expected = SDK.bulk_modify_orders_new(
        [
            {"oid": Cloid(target) if isinstance(target, str) else target, "order": sdk_order(order)}
            for order, target in targets
        ]
    )
    requests = [
        Modify(order=order, cloid=target) if isinstance(target, str) else Modify(order=order, oid=target)
        for order, target in targets
    ]
    assert in_order(action_of(ActionKind.MODIFY, requests, MARKETS)) == in_order(expected)


def test_noop_action() -> None:
    assert in_order(NOOP_ACTION) == in_order(SDK.noop(1)) == in_order(action_of(ActionKind.NOOP, [], MARKETS))


@pytest.mark.parametrize("time_ms", [None, 0, 1_700_000_000_000])
def test_schedule_cancel_action(time_ms: int | None) -> None:
    assert in_order(schedule_cancel_action(time_ms)) == in_order(SDK.schedule_cancel(time_ms))


@pytest.mark.parametrize("is_cross", [True, False])
def test_update_leverage_action(is_cross: bool) -> None:
    ours = update_leverage_action(MARKETS.get("kPEPE"), 7, is_cross=is_cross)
    assert in_order(ours) == in_order(SDK.update_leverage(7, "kPEPE", is_cross))


def test_markets_of_builder_dexes_are_sent_by_their_ids() -> None:
    order = Order(market="abc:GOLD", side="buy", size="1", price="20")
    assert action_of(ActionKind.ORDER, [order], MARKETS)["orders"][0]["a"] == 140_001


# --- mistakes of the caller ---------------------------------------------------------------------------------------

ORDER = Order(market="BTC", side="buy", size="1", price="20")
REQUESTS: dict[ActionKind, Request] = {
    ActionKind.ORDER: ORDER,
    ActionKind.CANCEL: Cancel(market="BTC", oid=1),
    ActionKind.CANCEL_BY_CLOID: Cancel(market="BTC", cloid="0x" + "1" * 32),
    ActionKind.MODIFY: Modify(order=ORDER, oid=1),
}


@pytest.mark.parametrize("kind", ActionKind)
@pytest.mark.parametrize("fitting", REQUESTS)
def test_an_action_carries_one_kind_of_request(kind: ActionKind, fitting: ActionKind) -> None:
    if kind is fitting:
        assert action_of(kind, [REQUESTS[fitting]], MARKETS)["type"] == kind.value
    else:
        with pytest.raises(UnsendableRequest):
            action_of(kind, [REQUESTS[fitting]], MARKETS)


@pytest.mark.parametrize(
    "order",
    [
        Order(market="BTC", side="buy", size=Decimal(1), price="20"),
        Order(market="BTC", side="buy", size="1", price=Decimal(20)),
        Order(
            market="BTC",
            side="buy",
            size="1",
            price="20",
            trigger=Trigger(price=Decimal(20), is_market=True, kind="sl"),
        ),
    ],
)
def test_a_request_that_was_not_checked_is_refused(order: Order) -> None:
    for kind, request in ((ActionKind.ORDER, order), (ActionKind.MODIFY, Modify(order=order, oid=1))):
        with pytest.raises(UnsendableRequest, match=r"Markets\.checked"):
            action_of(kind, [request], MARKETS)


def test_a_modify_without_a_target_is_refused() -> None:
    with pytest.raises(UnsendableRequest, match="modify by oid or cloid"):
        action_of(ActionKind.MODIFY, [Modify(order=ORDER)], MARKETS)


def test_an_unknown_market_is_refused() -> None:
    with pytest.raises(UnknownMarket):
        action_of(ActionKind.CANCEL, [Cancel(market="NOPE", oid=1)], MARKETS)


# --- frames -------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 2**63 - 1),
    ACTIONS,
    NONCES,
    st.sampled_from(get_args(Network)),
    st.none() | ADDRESSES,
    st.none() | U64,
)
def test_the_venue_reads_in_a_post_what_was_signed(
    post_id: int, action: dict[str, Any], nonce: int, network: Network, vault: str | None, expiry: int | None
) -> None:
    signer = Signer(KEY)
    signature = signer.sign(action, nonce, network=network, vault_address=vault, expires_after=expiry)
    text = post_frame(post_id, action, nonce, signature, vault_address=vault, expires_after=expiry)
    assert isinstance(text, str)

    frame = json.loads(text)
    payload = frame["request"]["payload"]
    optional = {"vaultAddress": vault, "expiresAfter": expiry}
    assert frame == {
        "method": "post",
        "id": post_id,
        "request": {
            "type": "action",
            "payload": {"action": action, "nonce": nonce, "signature": signature}
            | {name: value for name, value in optional.items() if value is not None},
        },
    }
    assert in_order(payload["action"]) == in_order(action)
    found = recover_l1_signer(
        payload["action"],
        payload["nonce"],
        payload["signature"],
        network=network,
        vault_address=payload.get("vaultAddress"),
        expires_after=payload.get("expiresAfter"),
    )
    assert found == signer.address


def test_other_frames() -> None:
    assert json.loads(ping_frame()) == {"method": "ping"}
    subscription = {"type": "orderUpdates", "user": "0x" + "1" * 40}
    assert json.loads(subscribe_frame(subscription)) == {"method": "subscribe", "subscription": subscription}
