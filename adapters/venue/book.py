"""A limit order book with price-time priority.

Each side is a dictionary of price levels and a sorted list of their prices, best last: the best level is read in
O(1), a level is found by binary search, and an order joins or leaves its level in O(1). What a level trades first is
what came first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import Final, TypeAlias

from adapters.venue.orders import Order

Depth: TypeAlias = list[tuple[int, int, int]]
"""Levels, best first: (price in steps, size in lots, number of orders)."""


class _Level:
    __slots__ = ("orders", "size")

    def __init__(self) -> None:
        self.orders: Final[OrderedDict[int, Order]] = OrderedDict()
        self.size = 0


class _Side:
    """Bids (`sign` 1) or asks (`sign` -1); prices are kept times `sign`, so that the best is the highest."""

    __slots__ = ("_levels", "_prices", "_sign")

    def __init__(self, sign: int) -> None:
        self._sign: Final = sign
        self._prices: Final[list[int]] = []
        self._levels: Final[dict[int, _Level]] = {}

    def add(self, order: Order) -> None:
        level = self._levels.get(order.px)
        if level is None:
            level = self._levels[order.px] = _Level()
            price = order.px * self._sign
            self._prices.insert(bisect_left(self._prices, price), price)
        level.orders[order.oid] = order
        level.size += order.sz

    def remove(self, order: Order) -> None:
        level = self._levels[order.px]
        del level.orders[order.oid]
        level.size -= order.sz
        if not level.orders:
            del self._levels[order.px]
            del self._prices[bisect_left(self._prices, order.px * self._sign)]

    def shrink(self, order: Order, lots: int) -> None:
        order.sz -= lots
        level = self._levels[order.px]
        level.size -= lots
        if not order.sz:
            self.remove(order)

    def first(self) -> Order | None:
        """The order that trades next."""
        if not self._prices:
            return None
        level = self._levels[self._prices[-1] * self._sign]
        return next(iter(level.orders.values()))

    def best(self) -> int | None:
        return self._prices[-1] * self._sign if self._prices else None

    def depth(self, levels: int) -> Depth:
        shown: Depth = []
        for price in reversed(self._prices[-levels:]):
            level = self._levels[price * self._sign]
            shown.append((price * self._sign, level.size, len(level.orders)))
        return shown


class Book:
    """The resting orders of one market.

    Attributes:
        version: Counts up at every change; lets a stream send only what is new.
    """

    __slots__ = ("_asks", "_bids", "version")

    def __init__(self) -> None:
        self._bids: Final = _Side(1)
        self._asks: Final = _Side(-1)
        self.version = 0

    def add(self, order: Order) -> None:
        """Put an order at the end of the queue at its price."""
        self.version += 1
        (self._bids if order.is_buy else self._asks).add(order)

    def remove(self, order: Order) -> None:
        """Take a resting order off the book."""
        self.version += 1
        (self._bids if order.is_buy else self._asks).remove(order)

    def shrink(self, order: Order, lots: int) -> None:
        """Trade `lots` of a resting order; it leaves the book when nothing is left, and keeps its place otherwise."""
        self.version += 1
        (self._bids if order.is_buy else self._asks).shrink(order, lots)

    def counterpart(self, *, is_buy: bool, px: int) -> Order | None:
        """The resting order that an order with this side and limit trades with next; None if it crosses nothing."""
        maker = (self._asks if is_buy else self._bids).first()
        if maker is None or (maker.px > px if is_buy else maker.px < px):
            return None
        return maker

    def best_bid(self) -> int | None:
        """The highest bid, in price steps."""
        return self._bids.best()

    def best_ask(self) -> int | None:
        """The lowest ask, in price steps."""
        return self._asks.best()

    def depth(self, levels: int) -> tuple[Depth, Depth]:
        """The best `levels` of bids and asks."""
        return self._bids.depth(levels), self._asks.depth(levels)
