"""The venue's markets: their asset ids, and which prices and sizes are legal in them (protocol.md §7).

The rules, as the venue states them:

* A **price** has at most 5 significant figures and at most `6 - size_decimals` decimals (`8 - size_decimals` for
  spot); an integer is always legal. In other words: a price is a multiple of `10**-k`, where `k` is the smaller of
  that maximum and of what leaves 5 figures at the price's own magnitude. That is how it is computed here.
* A **size** has at most `size_decimals` decimals.
* An **order** that does not reduce a position is worth at least 10 USD.
* On the wire a number is plain decimal text without trailing zeros: `canonical` below.

`Markets.checked` applies all of them to a request before it is accepted, so that a strategy hears of a mistake at
once, with the nearest legal value, and no nonce is spent on it. Nothing is rounded silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, overload

import msgspec
from msgspec.structs import replace

from adapters.hyperliquid.shown import shown
from machines.intent import Cancel, Modify, Order, Request, Trigger

MINIMUM_VALUE_USD: Final = Decimal(10)
"""Least value of an order that is not reduce-only (protocol.md §7)."""

_SIGNIFICANT_FIGURES: Final = 5
_MAX_DECIMALS_PERP: Final = 6
_MAX_DECIMALS_SPOT: Final = 8
_SPOT_OFFSET: Final = 10_000
_BUILDER_OFFSET: Final = 100_000
_BUILDER_STRIDE: Final = 10_000
# No market has numbers of this length; the limit keeps `1e999999999` from being written out.
_MAX_DIGITS: Final = 40
_EXACT: Final = Context(prec=3 * _MAX_DIGITS)
_UNITS: Final = tuple(Decimal((0, (1,), -decimals)) for decimals in range(_MAX_DIGITS + 1))
# Longer than any name; comparing takes time with the square of the length.
_MAX_NAME: Final = 40
_PLAIN: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_NUMBER: Final = re.compile(rf"[-+0-9.eE]{{1,{2 * _MAX_DIGITS}}}")
_CLOID: Final = re.compile(r"0x[0-9a-fA-F]{32}")


class BadRequest(ValueError):
    """Base of everything that `Markets.checked` finds wrong with a request."""


class UnknownMarket(BadRequest):
    """No market has this name or asset id."""


class IllegalPrice(BadRequest):
    """A price that is no positive finite decimal number."""


class IllegalTick(BadRequest):
    """A price between two legal ones."""


class IllegalSize(BadRequest):
    """A size that is no positive finite decimal number."""


class IllegalLot(BadRequest):
    """A size with more decimals than the market has."""


class BelowMinimumValue(BadRequest):
    """An order worth less than 10 USD that is not reduce-only."""


class MalformedCloid(BadRequest):
    """A client order id that is not `0x` and 32 hex digits."""


class IllegalRequest(BadRequest):
    """A request whose fields contradict each other, or hold none of the values they may have."""


class MalformedMarkets(ValueError):
    """The venue's description of its markets can't be read; the message says where."""


def dex_offsets(perp_dexs: Sequence[Any]) -> dict[str, int]:
    """The asset id of each dex's first market, by the dex's name; the venue's own dex has the empty name.

    Args:
        perp_dexs: Answer to `{"type":"perpDexs"}`. Positions count, those of null entries included (protocol.md §7).

    Raises:
        MalformedMarkets: It has not the expected form.
    """
    offsets = {"": 0}
    for position, entry in enumerate(_read("perpDexs", perp_dexs, list[_PerpDex | None])):
        if entry is not None and entry.name:
            offsets[entry.name] = _BUILDER_OFFSET + position * _BUILDER_STRIDE
    return offsets


def canonical(number: Decimal) -> str:
    """The wire form of a finite number: no exponent, no trailing zeros (protocol.md §7)."""
    text = str(number)
    if "E" in text:
        text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True)
class Market:
    """One market.

    Attributes:
        name: As the venue writes it: `BTC`, `PURR/USDC`, `@107`, `xyz:TSLA`.
        asset: The number that stands for it in actions.
        size_decimals: Decimals that a size may have.
        is_spot: Spot or perpetual; they have different price rules.
        dex: The builder dex that runs it; empty for the venue's own.
    """

    name: str
    asset: int
    size_decimals: int
    is_spot: bool = False
    dex: str = ""

    @property
    def price_decimals(self) -> int:
        """The most decimals that any price may have here."""
        return max(0, (_MAX_DECIMALS_SPOT if self.is_spot else _MAX_DECIMALS_PERP) - self.size_decimals)

    def legal_price(self, price: Decimal | str) -> str:
        """The wire form of a legal price, in USD.

        Raises:
            IllegalPrice: It is no positive finite number, or a float.
            IllegalTick: It is not legal in this market; the message names its legal neighbours.
        """
        exact = _positive(price, "price", self.name, IllegalPrice)
        tick = self._tick(exact)
        if exact != exact.quantize(tick, ROUND_FLOOR, _EXACT):
            raise IllegalTick(
                f"{self.name}: price {canonical(exact)} is between ticks; prices have at most {_SIGNIFICANT_FIGURES} "
                f"significant figures and {self.price_decimals} decimals: {self._neighbours(exact, tick)}"
            )
        return canonical(exact)

    def legal_size(self, size: Decimal | str) -> str:
        """The wire form of a legal size, in contracts (base units).

        Raises:
            IllegalSize: It is no positive finite number, or a float.
            IllegalLot: It has too many decimals; the message names its legal neighbours.
        """
        exact = _positive(size, "size", self.name, IllegalSize)
        lot = _unit(self.size_decimals)
        if exact != exact.quantize(lot, ROUND_FLOOR, _EXACT):
            raise IllegalLot(
                f"{self.name}: size {canonical(exact)} is no multiple of the lot {canonical(lot)}: "
                f"{self._neighbours(exact, lot)}"
            )
        return canonical(exact)

    def round_price(self, price: Decimal | str, *, toward: Literal["up", "down"]) -> str:
        """The wire form of the nearest legal price at or above (`up`), at or below (`down`) this one.

        Raises:
            IllegalPrice: It is no positive finite number, or there is no legal price below it.
        """
        exact = _positive(price, "price", self.name, IllegalPrice)
        tick = self._tick(exact)
        rounded = exact.quantize(tick, ROUND_CEILING if toward == "up" else ROUND_FLOOR, _EXACT)
        if not rounded:
            raise IllegalPrice(f"{self.name}: no legal price is below {canonical(exact)}; the lowest is {tick:f}")
        return canonical(rounded)

    def round_size(self, size: Decimal | str) -> str | None:
        """The wire form of the largest legal size that is not above this one; None if that is nothing.

        Raises:
            IllegalSize: It is no positive finite number.
        """
        exact = _positive(size, "size", self.name, IllegalSize)
        rounded = exact.quantize(_unit(self.size_decimals), ROUND_FLOOR, _EXACT)
        return canonical(rounded) if rounded else None

    def _tick(self, price: Decimal) -> Decimal:
        """The distance of legal prices at this price's magnitude."""
        figures_left = _SIGNIFICANT_FIGURES - 1 - price.adjusted()
        return _unit(min(self.price_decimals, max(0, figures_left)))

    @staticmethod
    def _neighbours(number: Decimal, step: Decimal) -> str:
        below, above = (canonical(number.quantize(step, way, _EXACT)) for way in (ROUND_FLOOR, ROUND_CEILING))
        return f"the nearest legal ones are {below} and {above}" if below != "0" else f"the lowest legal one is {above}"


class Markets:
    """All markets of the venue; immutable, found by name or by asset id in constant time.

    A spot pair is found by the name that the venue lists (`@107`) and by the names of its tokens (`HYPE/USDC`). A
    name that would lead to two markets leads to none.

    Args:
        markets: The markets.
        aliases: More names, each with the market that it leads to.
    """

    __slots__ = ("_by_asset", "_by_name", "_markets")

    def __init__(self, markets: Iterable[Market], aliases: Iterable[tuple[str, Market]] = ()) -> None:
        self._markets = tuple(markets)
        self._by_asset = {market.asset: market for market in self._markets}
        index = _index(aliases) | _index((market.name, market) for market in self._markets)
        self._by_name = {name: market for name, market in index.items() if market is not None}

    @classmethod
    def from_info(cls, metas: Mapping[str, Any], spot_meta: Any, perp_dexs: Sequence[Any]) -> Markets:
        """Build the index from the venue's own description (protocol.md §7).

        A dex that `perp_dexs` lists but `metas` lacks has no markets here; its position counts all the same, as do
        null entries and dexes without markets.

        Args:
            metas: Answer to `{"type":"meta","dex":NAME}` by NAME; the venue's own dex has the empty name.
            spot_meta: Answer to `{"type":"spotMeta"}`.
            perp_dexs: Answer to `{"type":"perpDexs"}`.

        Raises:
            MalformedMarkets: One of them has not the expected form, or `metas` has a dex that `perp_dexs` lacks.
        """
        offsets = dex_offsets(perp_dexs)
        markets: list[Market] = []
        for dex, meta in metas.items():
            if dex not in offsets:
                raise MalformedMarkets(f"perpDexs does not list the dex {dex!r}, so its asset ids are not known")
            for index, coin in enumerate(_read(f"meta of dex {dex!r}", meta, _PerpMeta).universe):
                markets.append(Market(coin.name, offsets[dex] + index, coin.size_decimals, dex=dex))
        spot = _read("spotMeta", spot_meta, _SpotMeta)
        tokens = {token.index: token for token in spot.tokens}
        aliases: list[tuple[str, Market]] = []
        for pair in spot.universe:
            try:
                base, quote = (tokens[index] for index in pair.tokens)
            except KeyError as error:
                raise MalformedMarkets(f"spotMeta: pair {pair.name!r} has the unlisted token {error}") from None
            market = Market(pair.name, _SPOT_OFFSET + pair.index, base.size_decimals, is_spot=True)
            markets.append(market)
            aliases.append((f"{base.name}/{quote.name}", market))
        return cls(markets, aliases)

    def __iter__(self) -> Iterator[Market]:
        """The markets, in the order in which the venue lists them."""
        return iter(self._markets)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._markets)

    def __repr__(self) -> str:
        """The number of markets; not their hundreds of names."""
        return f"<Markets: {len(self)} in {len(self.dexes)} dexes>"

    @property
    def dexes(self) -> tuple[str, ...]:
        """Names of the dexes that have perpetuals here; the venue's own is the empty one."""
        return tuple(dict.fromkeys(market.dex for market in self._markets if not market.is_spot))

    def get(self, name: str) -> Market:
        """The market of this name.

        Raises:
            UnknownMarket: There is none; the message suggests names that are close.
        """
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            raise UnknownMarket(f"no market is called {shown(name)}{self._suggestion(name)}") from None

    def by_asset(self, asset: int) -> Market:
        """The market with this asset id.

        Raises:
            UnknownMarket: There is none.
        """
        try:
            return self._by_asset[asset]
        except KeyError:
            raise UnknownMarket(f"no market has the asset id {asset}") from None

    @overload
    def checked(self, request: Order) -> Order: ...
    @overload
    def checked(self, request: Cancel) -> Cancel: ...
    @overload
    def checked(self, request: Modify) -> Modify: ...
    def checked(self, request: Request) -> Request:
        """The request in canonical form: listed market name, wire strings, lower-case cloid.

        Raises:
            BadRequest: One of its subclasses says what is wrong with it.
        """
        match request:
            case Order():
                return self._checked_order(request)
            case Cancel(cloid=cloid, oid=oid):
                _exactly_one("Cancel", cloid, oid)
                return replace(request, market=self.get(request.market).name, cloid=_checked_cloid(cloid))
            case Modify(cloid=cloid, oid=oid):
                _exactly_one("Modify", cloid, oid)
                order, target = self._checked_order(request.order), _checked_cloid(cloid)
                if target is not None and order.cloid == target:
                    raise IllegalRequest(f"Modify: the new order needs a cloid of its own, not its target's, {target}")
                return replace(request, order=order, cloid=target)
            case _:
                raise IllegalRequest(f"a request is an Order, a Cancel or a Modify, not {shown(request)}")

    def _checked_order(self, order: Order) -> Order:
        market = self.get(order.market)
        _one_of("side", order.side, ("buy", "sell"))
        _one_of("tif", order.tif, ("Gtc", "Ioc", "Alo"))
        _one_of("reduce_only", order.reduce_only, (True, False))
        price, size = market.legal_price(order.price), market.legal_size(order.size)
        value = _EXACT.multiply(Decimal(price), Decimal(size))
        if value < MINIMUM_VALUE_USD and not order.reduce_only:
            lot = _unit(market.size_decimals)
            least = canonical(_EXACT.divide(MINIMUM_VALUE_USD, Decimal(price)).quantize(lot, ROUND_CEILING, _EXACT))
            raise BelowMinimumValue(
                f"{market.name}: {size} at {price} is worth {canonical(value)} USD, less than "
                f"{MINIMUM_VALUE_USD}; at this price the least size is {least}"
            )
        cloid = _checked_cloid(order.cloid)
        trigger = None if order.trigger is None else _checked_trigger(order.trigger, market)
        canonical_already = (order.market, order.price, order.size, order.cloid) == (market.name, price, size, cloid)
        if canonical_already and trigger is None:
            return order
        return replace(order, market=market.name, price=price, size=size, cloid=cloid, trigger=trigger)

    def _suggestion(self, name: object) -> str:
        """`; did you mean …?`, comparing without case and with or without the dex's name."""
        if not isinstance(name, str):
            return ""
        spellings: dict[str, list[str]] = {}
        for known in self._by_name:
            for spelling in {known.casefold(), known.rpartition(":")[2].casefold()}:
                spellings.setdefault(spelling, []).append(known)
        matches = get_close_matches(name[:_MAX_NAME].casefold(), spellings)
        close = list(dict.fromkeys(known for match in matches for known in spellings[match]))
        return f"; did you mean {' or '.join(close[:3])}?" if close else ""


# --- the checks that need no market -------------------------------------------------------------------------------


def _positive(value: object, what: str, where: str, error: type[BadRequest]) -> Decimal:
    """`value` as a positive number that is exact and of sane length, or `error` saying why not."""
    if isinstance(value, float):
        raise error(f"{where}: {what} {value!r} is refused: a float is not exact, give a Decimal or a str")
    if isinstance(value, str) and len(value) <= _MAX_DIGITS and _PLAIN.fullmatch(value):
        digits = Decimal(value)  # finite, of sane length, and positive unless all of them are zeros
        if digits:
            return digits
    number = value if isinstance(value, Decimal) else _parsed(value)
    if number is None:
        raise error(f"{where}: {what} is refused: {shown(value)} is no decimal number")
    if not number.is_finite() or number <= 0:
        raise error(f"{where}: {what} is refused: {shown(value)} is not positive and finite")
    if len(number.as_tuple().digits) > _MAX_DIGITS or abs(number.adjusted()) > _MAX_DIGITS:
        raise error(f"{where}: {what} is refused: {shown(value)} has more than {_MAX_DIGITS} digits")
    return number


def _parsed(text: object) -> Decimal | None:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _unit(decimals: int) -> Decimal:
    """One step of a number with so many decimals: 0.01 for 2."""
    return _UNITS[decimals]


def _exactly_one(kind: str, cloid: object, oid: object) -> None:
    if (cloid is None) == (oid is None):
        raise IllegalRequest(f"{kind}: name the order by cloid or by oid, exactly one; got cloid={cloid}, oid={oid}")
    if oid is not None and (type(oid) is not int or not 0 <= oid < 1 << 64):
        raise IllegalRequest(f"{kind}: oid {shown(oid)} is not an order number of the venue")


def _one_of(field: str, value: object, allowed: tuple[object, ...]) -> None:
    for choice in allowed:
        if type(value) is type(choice) and value == choice:
            return
    raise IllegalRequest(f"{field} must be {' or '.join(map(repr, allowed))}, not {shown(value)}")


def _checked_cloid(cloid: object) -> str | None:
    if cloid is None:
        return None
    if not isinstance(cloid, str) or not _CLOID.fullmatch(cloid):
        raise MalformedCloid(f"cloid {shown(cloid)} is not 0x and 32 hex digits")
    return cloid.lower()


def _checked_trigger(trigger: Trigger, market: Market) -> Trigger:
    _one_of("trigger.kind", trigger.kind, ("tp", "sl"))
    _one_of("trigger.is_market", trigger.is_market, (True, False))
    return replace(trigger, price=market.legal_price(trigger.price))


# --- the venue's description ------------------------------------------------------------------------------------

# Far above the venue's 8; it leaves exact arithmetic room beside numbers of _MAX_DIGITS digits.
_SizeDecimals: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=_MAX_DIGITS)]


class _PerpDex(msgspec.Struct):
    name: str = ""


class _Perp(msgspec.Struct):
    name: str
    size_decimals: _SizeDecimals = msgspec.field(name="szDecimals")


class _PerpMeta(msgspec.Struct):
    universe: list[_Perp]


class _Token(msgspec.Struct):
    name: str
    index: int
    size_decimals: _SizeDecimals = msgspec.field(name="szDecimals")


class _Pair(msgspec.Struct):
    name: str
    index: int
    tokens: tuple[int, int]


class _SpotMeta(msgspec.Struct):
    universe: list[_Pair]
    tokens: list[_Token]


T = TypeVar("T")


def _read(what: str, answer: object, form: type[T]) -> T:
    try:
        return msgspec.convert(answer, form)
    except msgspec.ValidationError as error:
        raise MalformedMarkets(f"{what}: {error}") from error


def _index(names: Iterable[tuple[str, Market]]) -> dict[str, Market | None]:
    """Markets by name, None where a name leads to more than one."""
    index: dict[str, Market | None] = {}
    for name, market in names:
        index[name] = market if index.get(name, market) == market else None
    return index
