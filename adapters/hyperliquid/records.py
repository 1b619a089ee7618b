"""What the venue says of orders, fills and positions, in the streams (protocol.md §8) and in answers of `/info`.

The same order record comes from three places: the `orderUpdates` stream, `orderStatus` and `frontendOpenOrders`. So
there is one type for it, read straight from the JSON. A record with a wrong type or an absurd number is
refused while it is read; fields that are not named here are ignored.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from machines.intent import Side

_MAX_MAGNITUDE: Final = 40
_Letter: TypeAlias = Literal["B", "A"]


def _side(letter: _Letter) -> Side:
    return "buy" if letter == "B" else "sell"


def require_plain(name: str, number: Decimal | None) -> None:
    """Refuse what `Decimal` reads from text but no market has: NaN, infinity, `1e999999`.

    Raises:
        ValueError: The decoder that asks reports it as its own, with the place.
    """
    if number is not None and not (number.is_finite() and abs(number.adjusted()) <= _MAX_MAGNITUDE):
        raise ValueError(f"{name} is {number}, which is no price or size")


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An order as the venue shows it.

    Attributes:
        coin: Its market, as listed.
        side_letter: The venue's `B` (bid, buy) or `A` (ask, sell); `side` says it in words.
        price: Limit price in USD.
        size: What is left of it, in contracts.
        original_size: What it was placed with; None where the venue does not say.
        oid: The venue's order number.
        cloid: The client order id, if it has one.
        placed_ms: When it was placed, unix ms.
    """

    coin: str
    side_letter: _Letter = msgspec.field(name="side")
    price: Decimal = msgspec.field(name="limitPx")
    size: Decimal = msgspec.field(name="sz")
    original_size: Decimal | None = msgspec.field(name="origSz", default=None)
    oid: int
    cloid: str | None = None
    placed_ms: int = msgspec.field(name="timestamp")

    def __post_init__(self) -> None:
        require_plain("limitPx", self.price)
        require_plain("sz", self.size)
        require_plain("origSz", self.original_size)

    @property
    def side(self) -> Side:
        """`buy` or `sell`."""
        return _side(self.side_letter)


class OrderUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """An order with its state, from the stream or from a look-up.

    Attributes:
        order: The order.
        status: The venue's word for its state: `open`, `filled`, `canceled`, `rejected` and many more.
        status_ms: Since when it is in this state, unix ms.
    """

    order: OrderRecord
    status: str
    status_ms: int = msgspec.field(name="statusTimestamp")


class UserFill(msgspec.Struct, frozen=True, kw_only=True):
    """One trade of an order.

    Attributes:
        coin: Its market, as listed.
        side_letter: `B` or `A`, as in `OrderRecord`.
        price: In USD.
        size: In contracts.
        time_ms: Unix ms.
        oid: The order that traded.
        tid: The trade's number: a fill that is seen twice has it twice.
        cloid: The order's client order id, if it has one.
    """

    coin: str
    side_letter: _Letter = msgspec.field(name="side")
    price: Decimal = msgspec.field(name="px")
    size: Decimal = msgspec.field(name="sz")
    time_ms: int = msgspec.field(name="time")
    oid: int
    tid: int
    cloid: str | None = None

    def __post_init__(self) -> None:
        require_plain("px", self.price)
        require_plain("sz", self.size)

    @property
    def side(self) -> Side:
        """`buy` or `sell`."""
        return _side(self.side_letter)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """What an account holds in one perpetual.

    Attributes:
        coin: Its market, as listed.
        size: In contracts; positive is long, negative is short.
        entry_price: Average price of entry in USD; None where the venue gives none.
    """

    coin: str
    size: Decimal = msgspec.field(name="szi")
    entry_price: Decimal | None = msgspec.field(name="entryPx", default=None)

    def __post_init__(self) -> None:
        require_plain("szi", self.size)
        require_plain("entryPx", self.entry_price)
