"""The venue that these tests talk about: a few markets in every form, and actions of every kind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from adapters.hyperliquid.markets import Markets

META: dict[str, Any] = {
    "universe": [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 40, "marginTableId": 56},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 25},
        {"name": "DOGE", "szDecimals": 0, "maxLeverage": 10, "isDelisted": True},
        {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10},
    ],
    "marginTables": [],
}
XYZ_META: dict[str, Any] = {
    "universe": [{"name": "xyz:XYZ100", "szDecimals": 4}, {"name": "xyz:TSLA", "szDecimals": 3}],
    "collateralToken": 0,
}
ABC_META: dict[str, Any] = {"universe": [{"name": "abc:TSLA", "szDecimals": 2}, {"name": "abc:GOLD", "szDecimals": 6}]}
EMPTY_META: dict[str, Any] = {"universe": []}
SPOT_META: dict[str, Any] = {
    "universe": [
        {"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True},
        {"name": "@1", "tokens": [2, 0], "index": 1, "isCanonical": False},
        {"name": "@107", "tokens": [150, 0], "index": 107, "isCanonical": False},
        {"name": "@140", "tokens": [151, 0], "index": 140, "isCanonical": False},
        {"name": "@141", "tokens": [152, 0], "index": 141, "isCanonical": False},
    ],
    "tokens": [
        {"name": "USDC", "szDecimals": 8, "weiDecimals": 8, "index": 0, "isCanonical": True},
        {"name": "PURR", "szDecimals": 0, "weiDecimals": 5, "index": 1, "isCanonical": True},
        {"name": "HFUN", "szDecimals": 2, "weiDecimals": 8, "index": 2, "isCanonical": False},
        {"name": "HYPE", "szDecimals": 2, "weiDecimals": 8, "index": 150, "isCanonical": False},
        # Two tokens of one name: the pairs BASE/QUOTE of both are ambiguous.
        {"name": "TWIN", "szDecimals": 1, "weiDecimals": 8, "index": 151, "isCanonical": False},
        {"name": "TWIN", "szDecimals": 3, "weiDecimals": 8, "index": 152, "isCanonical": False},
    ],
}
PERP_DEXS: list[Any] = [None, {"name": "xyz", "fullName": "XYZ"}, None, {"name": "empty"}, {"name": "abc"}]
METAS: dict[str, Any] = {"": META, "xyz": XYZ_META, "empty": EMPTY_META, "abc": ABC_META}


def markets() -> Markets:
    """The index of all of them."""
    return Markets.from_info(METAS, SPOT_META, PERP_DEXS)


# --- actions as JSON-like data (protocol.md §6), built here field by field and not by the code under test -----------

U64 = st.integers(0, 2**64 - 1)
NONCES = st.integers(1_500_000_000_000, 2_500_000_000_000) | U64
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
CLOIDS = st.binary(min_size=16, max_size=16).map(lambda raw: "0x" + raw.hex())
PRIVATE_KEYS = st.integers(1, 2**255).map(lambda number: number.to_bytes(32, "big"))

_assets = st.integers(0, 300) | st.integers(10_000, 10_300) | st.integers(100_000, 2_000_000)
_numbers = st.from_regex(r"(0|[1-9][0-9]{0,6})(\.[0-9]{0,5}[1-9])?", fullmatch=True)
_targets = st.integers(0, 2**53) | CLOIDS
_limits = st.sampled_from(["Gtc", "Ioc", "Alo"]).map(lambda tif: {"limit": {"tif": tif}})
_triggers = st.builds(
    lambda is_market, price, tpsl: {"trigger": {"isMarket": is_market, "triggerPx": price, "tpsl": tpsl}},
    st.booleans(),
    _numbers,
    st.sampled_from(["tp", "sl"]),
)


@st.composite
def _orders(draw: st.DrawFn) -> dict[str, Any]:
    order: dict[str, Any] = {
        "a": draw(_assets),
        "b": draw(st.booleans()),
        "p": draw(_numbers),
        "s": draw(_numbers),
        "r": draw(st.booleans()),
        "t": draw(_limits | _triggers),
    }
    if draw(st.booleans()):
        order["c"] = draw(CLOIDS)
    return order


@st.composite
def _order_actions(draw: st.DrawFn) -> dict[str, Any]:
    action: dict[str, Any] = {
        "type": "order",
        # 20 orders make a msgpack array of more than 15, which has another header.
        "orders": draw(st.lists(_orders(), min_size=1, max_size=20)),
        "grouping": draw(st.sampled_from(["na", "normalTpsl", "positionTpsl"])),
    }
    if draw(st.booleans()):
        action["builder"] = {"b": draw(ADDRESSES), "f": draw(st.integers(0, 100))}
    return action


_modifications = st.builds(lambda oid, order: {"oid": oid, "order": order}, _targets, _orders())
_cancels = st.builds(lambda asset, oid: {"a": asset, "o": oid}, _assets, U64)
_cloid_cancels = st.builds(lambda asset, cloid: {"asset": asset, "cloid": cloid}, _assets, CLOIDS)

ACTIONS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _order_actions(),
    st.lists(_cancels, min_size=1, max_size=50).map(lambda items: {"type": "cancel", "cancels": items}),
    st.lists(_cloid_cancels, min_size=1, max_size=5).map(lambda items: {"type": "cancelByCloid", "cancels": items}),
    _modifications.map(lambda item: {"type": "modify", **item}),
    st.lists(_modifications, min_size=1, max_size=3).map(lambda items: {"type": "batchModify", "modifies": items}),
    st.just({"type": "scheduleCancel"}),
    U64.map(lambda time: {"type": "scheduleCancel", "time": time}),
    st.builds(
        lambda asset, cross, leverage: {
            "type": "updateLeverage",
            "asset": asset,
            "isCross": cross,
            "leverage": leverage,
        },
        _assets,
        st.booleans(),
        st.integers(1, 50),
    ),
    st.just({"type": "noop"}),
)

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
