"""The simulated venue's orders: what became of each, what the records say of it, and when.

Matching is left to chance: what matters here is that every kind of answer comes, that what is done is done once, and
that records and the order stream tell of it late, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.messages import Fill, Frame, Update
from adapters.simulation.network import Network
from adapters.simulation.timeline import Timeline
from machines.hard_stop import MISSING_ORDER
from machines.intent import Cancel, Canceled, Filled, ItemResult, Modify, Order, Rejected, Request, Resting
from machines.settlement import OrderRecord

_MARGIN: Final = "Insufficient margin to place order. asset=0"
_REDUCE_ONLY: Final = "Reduce only order would increase position. asset=0"
_IOC: Final = "Order could not immediately match against any resting orders. asset=0"
_ALO: Final = "Post only order would have immediately matched, bbo was 99@101. asset=0"
_MODIFY: Final = "Cannot modify canceled or filled order"
_MISSING: Final = f"{MISSING_ORDER}. asset=0"
Item: TypeAlias = tuple[int, int]
"""An item of an action: the post that carried it, and the number of the intent that it is."""

_STREAM_LAG_MS: Final = 150
POSITION: Final = 8
"""What the account holds of each market to begin with, in orders of the strategy's size."""
_PRICE: Final = "100"


@dataclass(slots=True, eq=False)
class VenueOrder:
    """One order.

    Attributes:
        cloid: Its client order id.
        oid: The venue's id.
        request: What was asked for.
        placed: Whether it had any effect; a refused order has a record, and no effect.
        history: Since when it has which status, and what had traded of it.
    """

    cloid: str
    oid: int
    request: Order
    placed: bool
    history: list[tuple[int, OrderRecord]] = field(default_factory=list)

    @property
    def record(self) -> OrderRecord:
        """How it stands."""
        return self.history[-1][1]

    def as_of(self, ms: int) -> OrderRecord | None:
        """How it stood at unix `ms`; None if it was not there."""
        return next((record for since, record in reversed(self.history) if since <= ms), None)


Effect: TypeAlias = Callable[[VenueOrder, Item], None]
"""Is told which order an item had an effect on."""


class Book:
    """All orders of the account.

    Attributes:
        orders: By cloid; the latest, where an order without effect was sent again.
        open: Those on the book.
    """

    def __init__(
        self,
        timeline: Timeline,
        troubles: Troubles,
        network: Network,
        on_placed: Effect,
        on_canceled: Effect,
    ) -> None:
        """Begin empty; the judge hears of each order placed and each cancel carried out, and by which item."""
        self.orders: dict[str, VenueOrder] = {}
        self.open: dict[str, VenueOrder] = {}
        self._by_oid: dict[int, VenueOrder] = {}
        self._positions: dict[str, int] = {}
        self._timeline = timeline
        self._troubles = troubles
        self._network = network
        self._on_placed = on_placed
        self._on_canceled = on_canceled
        self._told: dict[type[Update | Fill], int] = {}

    # ------------------------------------------------------------------------------------------------------ actions

    def run(self, frame: Frame) -> Iterator[ItemResult]:
        """Carry out the items of an action."""
        for request, seq in zip(frame.requests, frame.seqs, strict=True):
            item = (frame.post_id, seq)
            if isinstance(request, Order):
                yield self._place(request, item)
            elif isinstance(request, Modify):
                yield self._modify(request, item)
            else:
                yield self._cancel(request, item)

    def _find(self, request: Request) -> VenueOrder | None:
        """The open order that a cancel or modify names."""
        if isinstance(request, Order):
            return None
        found = self.orders.get(request.cloid or "") if request.oid is None else self._by_oid.get(request.oid)
        return found if found is not None and found.record.on_book else None

    def _cancel(self, request: Cancel, item: Item) -> ItemResult:
        order = self._find(request)
        if order is None:
            return Rejected(_MISSING)
        self._take_off(order, "canceled", item)
        return Canceled()

    def _modify(self, request: Modify, item: Item) -> ItemResult:
        """Replace an order; if the new one is refused, the old one stays (protocol.md §6 does not say: ?)."""
        order = self._find(request)
        if order is None:
            return Rejected(_MODIFY)
        result = self._place(request.order, item)
        if not isinstance(result, Rejected):
            self._take_off(order, "canceled", item)
        return result

    def _place(self, request: Order, item: Item) -> ItemResult:
        result = self._fate(request)
        refused = isinstance(result, Rejected)
        # A refused order leaves a record or none (protocol.md §5, §8).
        if refused and self._troubles.rng.random() < 0.3:
            return result
        oid = len(self._by_oid) + 1
        order = VenueOrder(request.cloid or "", oid, request, placed=not refused)
        if order.placed:
            self._on_placed(order, item)
        self.orders[order.cloid] = order
        self._by_oid[oid] = order
        if refused:
            self._now(order, "perpMarginRejected", "0")
            return result
        if isinstance(result, Filled):
            self._trade(order, str(request.size))
            return Filled(oid, str(request.size), _PRICE)
        self.open[order.cloid] = order
        self._now(order, "open", "0")
        return Resting(None if request.trigger is not None else oid)

    def _fate(self, request: Order) -> ItemResult:
        chance = self._troubles.rng.random()
        if chance < 0.05:
            return Rejected(_MARGIN)
        if request.reduce_only and self._positions.get(request.market, POSITION) <= 0:
            return Rejected(_REDUCE_ONLY)
        if request.trigger is not None:
            return Resting(None)
        if request.tif == "Ioc":
            return Filled(0, "", None) if chance < 0.7 else Rejected(_IOC)
        if request.tif == "Alo":
            return Resting(0) if chance < 0.85 else Rejected(_ALO)
        return Filled(0, "", None) if chance < 0.4 else Resting(0)

    # ------------------------------------------------------------------------------------------------------- changes

    def cancel_all(self) -> None:
        """The dead-man's switch goes off."""
        for order in list(self.open.values()):
            self._take_off(order, "scheduledCancel", None)

    def stir(self) -> None:
        """The market moves: an open order trades, in part or whole, or the venue cancels it."""
        if not self.open:
            return
        order = list(self.open.values())[self._troubles.between(0, len(self.open) - 1)]
        what = self._troubles.between(0, 3)
        if what == 0:
            self._now(order, "open", "0.5")
            self._tell(Fill(order.cloid, order.oid, "0.5"))
        elif what == 1:
            self._take_off(order, "marginCanceled", None)
        else:
            self._trade(order, str(order.request.size))

    def _trade(self, order: VenueOrder, size: str) -> None:
        market = order.request.market
        change = 1 if order.request.side == "buy" else -1
        self._positions[market] = self._positions.get(market, POSITION) + change
        self.open.pop(order.cloid, None)
        self._now(order, "filled", size)
        self._tell(Fill(order.cloid, order.oid, size))

    def _take_off(self, order: VenueOrder, status: str, item: Item | None) -> None:
        if item is not None:
            self._on_canceled(order, item)
        del self.open[order.cloid]
        self._now(order, status, order.record.traded)

    def _now(self, order: VenueOrder, status: str, traded: str) -> None:
        """An order has a new status."""
        record = OrderRecord(order.oid, status, traded)
        order.history.append((self._timeline.now, record))
        self._tell(Update(order.cloid, record))

    def _tell(self, news: Update | Fill) -> None:
        """A stream tells of it, a little later and in order, or misses it; one is not in step with the other."""
        stream = type(news)
        told = max(self._told.get(stream, 0), self._timeline.now + self._troubles.between(0, _STREAM_LAG_MS))
        self._told[stream] = told

        def tell() -> None:
            for connection in tuple(self._network.connections):
                if not self._troubles.strikes(Fault.STREAM_MISSED):
                    connection.send(news)

        self._timeline.at(told, tell)

    # ------------------------------------------------------------------------------------------------------ questions

    def oid_of(self, cloid: str) -> int | None:
        """The venue's id of an order, if there is one."""
        order = self.orders.get(cloid)
        return None if order is None else order.oid

    def look_up(self, key: str | int, lag_ms: int) -> OrderRecord | None:
        """The record of an order by cloid or oid, as a replica that is `lag_ms` behind has it."""
        order = self._by_oid.get(key) if isinstance(key, int) else self.orders.get(key)
        if order is None:
            return None
        record = order.as_of(self._timeline.now - lag_ms)
        self._troubles.saw(Sight.RECORD_LAGS, record is not order.record)
        return record

    def open_orders(self, lag_ms: int) -> list[str]:
        """The cloids of the orders on the book, as a replica that is `lag_ms` behind has them."""
        records = ((cloid, order.as_of(self._timeline.now - lag_ms)) for cloid, order in self.orders.items())
        return [cloid for cloid, record in records if record is not None and record.on_book]
