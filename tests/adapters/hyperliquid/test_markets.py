"""Asset ids, price and size rules, and the check of a request, against rules written a second time in this file."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import pytest
from hyperliquid.info import Info
from hyperliquid.utils.signing import float_to_wire
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.hyperliquid.markets import (
    BadRequest,
    BelowMinimumValue,
    IllegalLot,
    IllegalPrice,
    IllegalRequest,
    IllegalSize,
    IllegalTick,
    MalformedCloid,
    MalformedMarkets,
    Market,
    Markets,
    UnknownMarket,
    canonical,
    dex_offsets,
)
from machines.intent import Cancel, Modify, Order, Request, Trigger
from tests.adapters.hyperliquid.samples import META, METAS, PERP_DEXS, SPOT_META, XYZ_META, markets

CLOID = "0x0123456789abcdef0123456789abcdef"
MARKETS = markets()
BTC = MARKETS.get("BTC")

some_markets = st.builds(
    lambda size_decimals, is_spot: Market("M", 7, size_decimals, is_spot), st.integers(0, 8), st.booleans()
)
decimals = st.builds(
    lambda digits, exponent: Decimal((0, tuple(map(int, str(digits))), exponent)),
    st.integers(1, 10**5) | st.integers(1, 10**12),
    st.integers(-12, 6),
)


def obeys_price_rule(market: Market, text: str) -> bool:
    """protocol.md §7, read off the text: integer, or at most 5 figures and so many decimals."""
    if "." not in text:
        return True
    fraction = text.partition(".")[2]
    figures = text.replace(".", "").lstrip("0")
    return len(figures) <= 5 and len(fraction) <= (8 if market.is_spot else 6) - market.size_decimals


def obeys_size_rule(market: Market, text: str) -> bool:
    """protocol.md §7: at most szDecimals decimals."""
    return len(text.partition(".")[2]) <= market.size_decimals


def is_wire_form(text: str) -> bool:
    """Plain positive decimal text without a superfluous character."""
    whole, point, fraction = text.partition(".")
    return (
        whole.isdigit()
        and (whole == "0" or whole[0] != "0")
        and (not point or (fraction.isdigit() and fraction[-1] != "0"))
        and text != "0"
    )


# --- names and asset ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "asset", "size_decimals", "is_spot", "dex"),
    [
        ("BTC", 0, 5, False, ""),
        ("kPEPE", 3, 0, False, ""),
        ("xyz:XYZ100", 110_000, 4, False, "xyz"),
        ("xyz:TSLA", 110_001, 3, False, "xyz"),
        # The null at position 2 and the empty dex at position 3 count.
        ("abc:TSLA", 140_000, 2, False, "abc"),
        ("abc:GOLD", 140_001, 6, False, "abc"),
        ("PURR/USDC", 10_000, 0, True, ""),
        ("@107", 10_107, 2, True, ""),
    ],
)
def test_asset_ids(name: str, asset: int, size_decimals: int, is_spot: bool, dex: str) -> None:
    market = MARKETS.get(name)
    assert market == Market(name, asset, size_decimals, is_spot, dex)
    assert MARKETS.by_asset(asset) is market


def test_asset_ids_are_those_of_the_official_sdk() -> None:
    class Offline(Info):  # type: ignore[misc]  # the SDK has no types
        def post(self, _path: str, payload: Any = None) -> Any:
            return {"perpDexs": sdk_dexs, "meta": METAS[payload.get("dex", "")]}[payload["type"]]

    # The SDK can't read a null but at the beginning; a nameless stand-in keeps the positions.
    sdk_dexs = [None, *({"name": "gone"} if dex is None else dex for dex in PERP_DEXS[1:])]
    sdk = Offline("http://unused", skip_ws=True, spot_meta=SPOT_META, perp_dexs=["", "xyz", "empty", "abc"])
    assert {market.name: market.asset for market in MARKETS} == sdk.coin_to_asset
    assert {market.asset: market.size_decimals for market in MARKETS} == sdk.asset_to_sz_decimals


def test_index() -> None:
    assert [market.name for market in MARKETS][:5] == ["BTC", "ETH", "DOGE", "kPEPE", "xyz:XYZ100"]
    assert len(MARKETS) == len(list(MARKETS)) == 13
    assert MARKETS.dexes == ("", "xyz", "abc")
    assert repr(MARKETS) == "<Markets: 13 in 3 dexes>"


def test_spot_pairs_have_the_names_of_their_tokens_too_unless_that_is_ambiguous() -> None:
    assert MARKETS.get("HYPE/USDC") is MARKETS.get("@107")
    assert MARKETS.get("PURR/USDC").asset == 10_000
    assert MARKETS.get("@140") != MARKETS.get("@141")
    with pytest.raises(UnknownMarket):
        MARKETS.get("TWIN/USDC")


def test_a_name_listed_twice_leads_to_no_market_but_its_asset_ids_do() -> None:
    twice = Markets([Market("A", 1, 0), Market("A", 2, 0), Market("B", 3, 0)], [("A", Market("B", 3, 0))])
    with pytest.raises(UnknownMarket):
        twice.get("A")
    assert [twice.by_asset(asset).name for asset in (1, 2, 3)] == ["A", "A", "B"]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("btc", "did you mean BTC?"),
        ("BTCC", "did you mean BTC?"),
        ("TSLA", "did you mean xyz:TSLA or abc:TSLA?"),
        ("xyz:TSLAA", "did you mean xyz:TSLA"),
        ("hype/usdc", "HYPE/USDC"),
    ],
)
def test_unknown_market_suggests_close_names(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownMarket, match=f"no market is called '{name}'; .*{suggestion.replace('?', '[?]')}"):
        MARKETS.get(name)


@pytest.mark.parametrize("name", ["", "nothing like it", "z" * 10**6, None, 0, 10**5000, ["BTC"]], ids=lambda _: "")
def test_unknown_market_without_a_close_name(name: Any) -> None:
    with pytest.raises(UnknownMarket, match=r"^no market is called [^;]*$") as refused:
        MARKETS.get(name)
    assert len(str(refused.value)) < 150


def test_unknown_asset_id() -> None:
    with pytest.raises(UnknownMarket, match=r"asset id 4$"):
        MARKETS.by_asset(4)


@pytest.mark.parametrize(
    ("metas", "spot_meta", "perp_dexs", "named"),
    [
        ({"": {}}, SPOT_META, PERP_DEXS, "meta of dex ''.*universe"),
        ({"": {"universe": [{"name": "A"}]}}, SPOT_META, PERP_DEXS, r"szDecimals.*universe\[0\]"),
        ({"": {"universe": [{"name": "A", "szDecimals": -1}]}}, SPOT_META, PERP_DEXS, "szDecimals"),
        ({"": {"universe": [{"name": "A", "szDecimals": 10**6}]}}, SPOT_META, PERP_DEXS, "szDecimals"),
        ({"xyz": XYZ_META}, SPOT_META, [None], "perpDexs does not list the dex 'xyz'"),
        ({"": META}, SPOT_META, {"name": "xyz"}, "perpDexs"),
        ({"": META}, SPOT_META, [{"name": 5}], "perpDexs.*name"),
        ({"": META}, [], PERP_DEXS, "spotMeta"),
        ({"": META}, SPOT_META | {"tokens": SPOT_META["tokens"][:1]}, PERP_DEXS, "'PURR/USDC'.* unlisted token 1"),
    ],
)
def test_malformed_description(metas: Any, spot_meta: Any, perp_dexs: Any, named: str) -> None:
    with pytest.raises(MalformedMarkets, match=named):
        Markets.from_info(metas, spot_meta, perp_dexs)


def test_dex_offsets_count_every_position() -> None:
    assert dex_offsets([None, None, {"name": "a"}, {}, {"name": "b"}]) == {"": 0, "a": 120_000, "b": 140_000}
    assert dex_offsets([]) == {"": 0}


# --- prices -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "price", "wire"),
    [
        ("BTC", "123456", "123456"),  # integers are legal whatever their length
        ("BTC", "1234567890", "1234567890"),
        ("BTC", Decimal("26954.0"), "26954"),
        ("BTC", "1234.5", "1234.5"),
        ("BTC", "0.1", "0.1"),
        ("DOGE", "0.123450", "0.12345"),
        ("DOGE", "1.2e-3", "0.0012"),
        ("DOGE", Decimal("0.000001"), "0.000001"),
        ("DOGE", Decimal("1E+3"), "1000"),
        ("DOGE", "+.5", "0.5"),
        ("DOGE", "5.", "5"),
        ("PURR/USDC", "0.00012345", "0.00012345"),
        ("@107", "0.000123", "0.000123"),
        ("xyz:TSLA", "401.23", "401.23"),
    ],
)
def test_legal_price(market: str, price: Decimal | str, wire: str) -> None:
    assert MARKETS.get(market).legal_price(price) == wire


@pytest.mark.parametrize(
    ("market", "price", "neighbours"),
    [
        ("BTC", "12345.6", "12345 and 12346"),
        ("BTC", "0.123456", "0.1 and 0.2"),
        ("BTC", "0.01", "the lowest legal one is 0.1"),
        ("DOGE", "1.23456", "1.2345 and 1.2346"),
        ("DOGE", "9.99999", "9.9999 and 10"),
        ("DOGE", "0.0000001", "the lowest legal one is 0.000001"),
        ("@107", "0.0001234", "0.000123 and 0.000124"),
        ("xyz:TSLA", "401.234", "401.23 and 401.24"),
        ("abc:GOLD", "1.5", "1 and 2"),
    ],
)
def test_illegal_tick_names_the_neighbours(market: str, price: str, neighbours: str) -> None:
    with pytest.raises(IllegalTick, match=f"{market}: price {price} .*{neighbours}$"):
        MARKETS.get(market).legal_price(price)


NO_NUMBERS: list[Any] = [
    "",
    " 1",
    "1 ",
    "1_000",
    "1,5",
    "0x10",
    "abc",
    "nan",
    "Infinity",
    "-",
    "1e",
    "١",
    "1" * 100,
    "1e999999999",
    "1e-999999999",
    "1e99999999999999999999",
    "0",
    "0.000",
    "-1",
    "-0",
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("-Infinity"),
    Decimal("-1"),
    Decimal("0"),
    Decimal("1e50"),
    Decimal("1." + "0" * 60),
    None,
    True,
    10**5000,
    ["1"],
]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: type(number).__name__)
def test_what_is_no_positive_number(number: Any) -> None:
    for refuse, error in (
        (BTC.legal_price, IllegalPrice),
        (lambda value: BTC.round_price(value, toward="up"), IllegalPrice),
        (BTC.legal_size, IllegalSize),
        (BTC.round_size, IllegalSize),
    ):
        with pytest.raises(error, match=r"^BTC: (price|size) .*refused") as refused:
            refuse(number)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("number", [1.5, 2.0, float("nan"), 1e300])
def test_floats_are_refused(number: Any) -> None:
    with pytest.raises(IllegalPrice, match="float is not exact, give a Decimal or a str"):
        BTC.legal_price(number)
    with pytest.raises(IllegalSize, match="float is not exact, give a Decimal or a str"):
        BTC.legal_size(number)


@given(some_markets, decimals)
def test_a_price_is_accepted_exactly_if_it_obeys_the_rule(market: Market, price: Decimal) -> None:
    try:
        wire = market.legal_price(price)
    except IllegalTick:
        assert not obeys_price_rule(market, canonical(price))
        return
    assert obeys_price_rule(market, wire)
    assert is_wire_form(wire)
    assert Decimal(wire) == price
    assert market.legal_price(wire) == wire


@given(some_markets, decimals, st.sampled_from(["up", "down"]), decimals)
def test_a_rounded_price_is_the_nearest_legal_one_on_its_side(
    market: Market, price: Decimal, toward: Literal["up", "down"], other: Decimal
) -> None:
    try:
        wire = market.round_price(price, toward=toward)
    except IllegalPrice:
        assert toward == "down"
        assert price < Decimal(1).scaleb(-market.price_decimals)
        return
    assert obeys_price_rule(market, wire)
    assert is_wire_form(wire)
    assert market.legal_price(wire) == wire
    assert market.round_price(wire, toward=toward) == wire
    rounded = Decimal(wire)
    assert rounded >= price if toward == "up" else rounded <= price
    # No other legal price lies between.
    assume(obeys_price_rule(market, canonical(other)))
    assert not (price <= other < rounded if toward == "up" else rounded < other <= price)


# The SDK goes through floats, which hold numbers of this length exactly enough.
@given(st.integers(1, 10**7), st.integers(0, 8))
def test_canonical_is_the_official_sdks_wire_form(digits: int, places: int) -> None:
    number = Decimal(digits).scaleb(-places)
    assert canonical(number) == float_to_wire(float(number))
    assert canonical(Decimal(canonical(number))) == canonical(number)


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "size", "wire"),
    [("BTC", "0.00001", "0.00001"), ("BTC", "1.50", "1.5"), ("DOGE", "12.000", "12"), ("DOGE", Decimal("1E2"), "100")],
)
def test_legal_size(market: str, size: Decimal | str, wire: str) -> None:
    assert MARKETS.get(market).legal_size(size) == wire


@pytest.mark.parametrize(
    ("market", "size", "neighbours"),
    [
        ("BTC", "0.000015", "0.00001 and 0.00002"),
        ("BTC", "0.000001", "the lowest legal one is 0.00001"),
        ("DOGE", "1.5", "1 and 2"),
    ],
)
def test_illegal_lot_names_the_neighbours(market: str, size: str, neighbours: str) -> None:
    with pytest.raises(IllegalLot, match=f"{market}: size {size} .*{neighbours}$"):
        MARKETS.get(market).legal_size(size)


@given(some_markets, decimals)
def test_a_size_is_accepted_exactly_if_it_obeys_the_rule(market: Market, size: Decimal) -> None:
    try:
        wire = market.legal_size(size)
    except IllegalLot:
        assert not obeys_size_rule(market, canonical(size))
        return
    assert obeys_size_rule(market, wire)
    assert is_wire_form(wire)
    assert Decimal(wire) == size
    assert market.legal_size(wire) == wire


@given(some_markets, decimals)
def test_a_rounded_size_is_the_largest_legal_one_that_is_not_above(market: Market, size: Decimal) -> None:
    lot = Decimal(1).scaleb(-market.size_decimals)
    wire = market.round_size(size)
    if wire is None:
        assert size < lot
        return
    assert is_wire_form(wire)
    assert market.legal_size(wire) == wire
    assert Decimal(wire) <= size < Decimal(wire) + lot


# --- whole requests -----------------------------------------------------------------------------------------------

ORDER = Order(market="BTC", side="buy", size="0.001", price="50000")


def test_a_checked_order_is_canonical() -> None:
    order = Order(
        market="HYPE/USDC",
        side="sell",
        size=Decimal("1.50"),
        price=Decimal("40.100"),
        tif="Alo",
        cloid="0x" + "ABCDEF01" * 4,
        trigger=Trigger(price=Decimal("4.2E+1"), is_market=True, kind="sl"),
        flatten=True,
    )
    assert MARKETS.checked(order) == Order(
        market="@107",
        side="sell",
        size="1.5",
        price="40.1",
        tif="Alo",
        cloid="0x" + "abcdef01" * 4,
        trigger=Trigger(price="42", is_market=True, kind="sl"),
        flatten=True,
    )


@pytest.mark.parametrize(
    "request_",
    [
        ORDER,
        replace(ORDER, cloid=CLOID, reduce_only=True, tif="Ioc"),
        Cancel(market="xyz:TSLA", oid=0),
        Cancel(market="xyz:TSLA", cloid=CLOID),
        Modify(order=ORDER, oid=2**63),
        Modify(order=replace(ORDER, cloid="0x" + "1" * 32), cloid=CLOID),
    ],
)
def test_checking_what_is_canonical_changes_nothing(request_: Request) -> None:
    match request_:
        case Order() | Cancel() | Modify():
            assert MARKETS.checked(request_) == request_


def test_cancels_and_modifies_become_canonical() -> None:
    upper = "0x" + CLOID[2:].upper()
    assert MARKETS.checked(Cancel(market="HYPE/USDC", cloid=upper)) == Cancel(market="@107", cloid=CLOID)
    assert MARKETS.checked(Modify(order=replace(ORDER, price=Decimal("5.0E+4")), cloid=upper)) == Modify(
        order=ORDER, cloid=CLOID
    )


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"market": "BTX"}, UnknownMarket, "BTC"),
        ({"price": "50000.5"}, IllegalTick, "50000 and 50001"),
        ({"price": "-1"}, IllegalPrice, "-1"),
        ({"size": "0.0010001"}, IllegalLot, "0.001 and 0.00101"),
        ({"size": "0"}, IllegalSize, "'0'"),
        ({"size": "0.00019"}, BelowMinimumValue, r"0.00019 at 50000 is worth 9.5 USD.*least size is 0.0002$"),
        ({"price": "3", "size": "3.33333"}, BelowMinimumValue, "least size is 3.33334$"),
        ({"cloid": "1"}, MalformedCloid, "'1'"),
        ({"cloid": CLOID[2:]}, MalformedCloid, "32 hex digits"),
        ({"cloid": CLOID + "0"}, MalformedCloid, "32 hex digits"),
        ({"cloid": CLOID + "\n"}, MalformedCloid, "32 hex digits"),
        ({"cloid": "0X" + CLOID[2:]}, MalformedCloid, "32 hex digits"),
        ({"cloid": 5}, MalformedCloid, "32 hex digits"),
        ({"side": "B"}, IllegalRequest, "side must be 'buy' or 'sell', not 'B'"),
        ({"side": None}, IllegalRequest, "side"),
        ({"tif": "GTC"}, IllegalRequest, "tif must be 'Gtc' or 'Ioc' or 'Alo', not 'GTC'"),
        ({"reduce_only": 1}, IllegalRequest, "reduce_only must be True or False"),
        ({"trigger": Trigger(price="50000.5", is_market=True, kind="tp")}, IllegalTick, "50000 and 50001"),
        ({"trigger": Trigger(price="1", is_market=1, kind="tp")}, IllegalRequest, "trigger.is_market"),  # type: ignore[arg-type]
        ({"trigger": Trigger(price="1", is_market=True, kind="x")}, IllegalRequest, "trigger.kind"),  # type: ignore[arg-type]
    ],
)
def test_what_is_wrong_with_an_order(change: dict[str, Any], error: type[BadRequest], named: str) -> None:
    order: Order = replace(ORDER, **change)
    with pytest.raises(error, match=named):
        MARKETS.checked(order)
    with pytest.raises(error, match=named):
        MARKETS.checked(Modify(order=order, oid=1))


def test_minimum_value() -> None:
    worth_ten = replace(ORDER, size="0.0002")
    assert MARKETS.checked(worth_ten) == worth_ten
    small = replace(ORDER, size="0.00001", reduce_only=True)
    assert MARKETS.checked(small) == small
    # A trigger order is valued at its limit price.
    trigger = Trigger(price="1", is_market=False, kind="sl")
    assert MARKETS.checked(replace(worth_ten, trigger=trigger)).trigger == trigger
    with pytest.raises(BelowMinimumValue):
        MARKETS.checked(replace(ORDER, size="0.0002", price="40000", trigger=replace(trigger, price="60000")))


@pytest.mark.parametrize("named_by", [{}, {"cloid": CLOID, "oid": 1}])
def test_a_target_is_named_by_cloid_or_oid_but_not_both(named_by: dict[str, Any]) -> None:
    with pytest.raises(IllegalRequest, match=r"Cancel.* exactly one"):
        MARKETS.checked(Cancel(market="BTC", **named_by))
    with pytest.raises(IllegalRequest, match=r"Modify.* exactly one"):
        MARKETS.checked(Modify(order=ORDER, **named_by))


@pytest.mark.parametrize("oid", [-1, 2**64, True, "5", 1.0])
def test_an_oid_is_a_number_of_the_venue(oid: Any) -> None:
    with pytest.raises(IllegalRequest, match="order number"):
        MARKETS.checked(Cancel(market="BTC", oid=oid))


@pytest.mark.parametrize("request_", [None, {"market": "BTC"}, "BTC"])
def test_what_is_no_request_is_refused(request_: Any) -> None:
    with pytest.raises(IllegalRequest, match="an Order, a Cancel or a Modify"):
        MARKETS.checked(request_)


def test_a_modify_gives_its_order_a_cloid_of_its_own() -> None:
    with pytest.raises(IllegalRequest, match=f"cloid of its own, not its target's, {CLOID}"):
        MARKETS.checked(Modify(order=replace(ORDER, cloid=CLOID), cloid="0x" + CLOID[2:].upper()))


@given(
    st.sampled_from([market.name for market in MARKETS]),
    decimals | st.text(max_size=12),
    decimals | st.text(max_size=12),
)
def test_an_order_is_checked_once_and_for_all_or_refused_by_name(
    name: str, price: Decimal | str, size: Decimal | str
) -> None:
    try:
        checked = MARKETS.checked(Order(market=name, side="sell", size=size, price=price))
    except BadRequest:
        return
    assert MARKETS.checked(checked) == checked
    market = MARKETS.get(name)
    assert isinstance(checked.price, str)
    assert isinstance(checked.size, str)
    assert obeys_price_rule(market, checked.price)
    assert obeys_size_rule(market, checked.size)
    assert Decimal(checked.price) * Decimal(checked.size) >= 10
