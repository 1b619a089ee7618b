"""An order as the venue keeps it, and the bounded memory of orders past."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

from adapters.venue.markets import Market
from adapters.venue.units import format_units

if TYPE_CHECKING:
    from adapters.venue.accounts import Account

Tif = Literal["Gtc", "Ioc", "Alo"]


class Trigger:
    """What turns a waiting order into a live one.

    Attributes:
        px: Trigger price, in price steps.
        is_market: Whether the order then takes what the book has, within the slippage allowance.
        kind: Take-profit or stop-loss.
    """

    __slots__ = ("is_market", "kind", "px")

    def __init__(self, px: int, *, is_market: bool, kind: Literal["tp", "sl"]) -> None:
        self.px = px
        self.is_market = is_market
        self.kind = kind

    def rises(self, is_buy: bool) -> bool:
        """Whether it fires on the way up: a stop that buys, or a profit that sells."""
        return is_buy == (self.kind == "sl")

    def holds(self, is_buy: bool, mark: int) -> bool:
        """Whether the mark price has reached it."""
        return mark >= self.px if self.rises(is_buy) else mark <= self.px


class Order:
    """One order, from its placement on; `status` and `sz` change, the rest stays.

    Attributes:
        oid: The venue's id, or 0 before it has one.
        account: Whose it is.
        px: Limit price, in price steps.
        sz: What is left, in lots.
        orig_sz: What was ordered, in lots.
        timestamp: When it was placed, unix ms.
        is_live: Whether it is or was on the book; False while it waits for its trigger.
        status: As `orderStatus` tells it: `open`, `filled`, `canceled`, `triggered`, `…Rejected`, `…Canceled`.
        status_time: When `status` came about, unix ms.
        reserved_lots: How many of the remaining lots hold back margin or balance.
        reserved_rate: Money units held back per lot.
    """

    __slots__ = (
        "account",
        "cloid",
        "is_buy",
        "is_live",
        "market",
        "oid",
        "orig_sz",
        "px",
        "reduce_only",
        "reserved_lots",
        "reserved_rate",
        "status",
        "status_time",
        "sz",
        "tif",
        "timestamp",
        "trigger",
    )

    def __init__(
        self,
        *,
        account: Account,
        market: Market,
        is_buy: bool,
        px: int,
        sz: int,
        tif: Tif,
        reduce_only: bool,
        cloid: str | None,
        trigger: Trigger | None,
    ) -> None:
        self.account = account
        self.market = market
        self.is_buy = is_buy
        self.px = px
        self.sz = sz
        self.orig_sz = sz
        self.tif: Tif = tif
        self.reduce_only = reduce_only
        self.cloid = cloid
        self.trigger = trigger
        self.is_live = trigger is None
        self.oid = 0
        self.timestamp = 0
        self.status = "open"
        self.status_time = 0
        self.reserved_lots = 0
        self.reserved_rate = 0

    def basic(self, sz: int) -> dict[str, Any]:
        """The order as streams and `openOrders` show it, with `sz` lots left."""
        market = self.market
        shown: dict[str, Any] = {
            "coin": market.coin,
            "side": "B" if self.is_buy else "A",
            "limitPx": format_units(self.px, market.px_decimals),
            "sz": format_units(sz, market.sz_decimals),
            "oid": self.oid,
            "timestamp": self.timestamp,
            "origSz": format_units(self.orig_sz, market.sz_decimals),
        }
        if self.cloid is not None:
            shown["cloid"] = self.cloid
        return shown

    def full(self) -> dict[str, Any]:
        """The order as `orderStatus` and `frontendOpenOrders` show it."""
        trigger = self.trigger
        price = "0.0" if trigger is None else format_units(trigger.px, self.market.px_decimals)
        if trigger is None:
            order_type, condition = "Limit", "N/A"
        else:
            flavour = "Market" if trigger.is_market else "Limit"
            order_type = f"{'Take Profit' if trigger.kind == 'tp' else 'Stop'} {flavour}"
            condition = f"Price {'above' if trigger.rises(self.is_buy) else 'below'} {price}"
        return {
            **self.basic(self.sz),
            "cloid": self.cloid,
            "reduceOnly": self.reduce_only,
            "orderType": order_type,
            "tif": self.tif if trigger is None else None,
            "isTrigger": trigger is not None,
            "triggerPx": price,
            "triggerCondition": condition,
            "isPositionTpsl": False,
            "children": [],
        }


class OrderHistory:
    """Every open order and the last `limit` ended ones, found by oid or by cloid (the latest of a cloid wins, §6)."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._by_oid: Final[dict[int, Order]] = {}
        self._by_cloid: Final[dict[tuple[str, str], Order]] = {}
        self._ended: Final[deque[Order]] = deque()

    def add(self, order: Order) -> None:
        """Remember an order that has just got its oid."""
        self._by_oid[order.oid] = order
        if order.cloid is not None:
            self._by_cloid[order.account.address, order.cloid] = order

    def end(self, order: Order) -> None:
        """Note that an order ended; forgets the one that ended longest ago when there are too many."""
        self._ended.append(order)
        if len(self._ended) > self._limit:
            oldest = self._ended.popleft()
            del self._by_oid[oldest.oid]
            if oldest.cloid is not None and self._by_cloid.get((oldest.account.address, oldest.cloid)) is oldest:
                del self._by_cloid[oldest.account.address, oldest.cloid]

    def find(self, address: str, key: int | str) -> Order | None:
        """The order of an account with this oid, or the latest one with this cloid."""
        if isinstance(key, str):
            return self._by_cloid.get((address, key))
        order = self._by_oid.get(key)
        return order if order is not None and order.account.address == address else None
