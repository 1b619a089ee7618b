"""Orders that wait for the mark price of one market to reach their trigger."""

from __future__ import annotations

import heapq
from typing import Final

from adapters.venue.orders import Order, Trigger


class TriggerQueue:
    """Waiting orders, nearest trigger first in either direction; an order that ended meanwhile is skipped."""

    __slots__ = ("_falling", "_rising")

    def __init__(self) -> None:
        self._rising: Final[list[tuple[int, int, Order]]] = []
        self._falling: Final[list[tuple[int, int, Order]]] = []

    def add(self, order: Order, trigger: Trigger) -> None:
        """Let an order wait."""
        if trigger.rises(order.is_buy):
            heapq.heappush(self._rising, (trigger.px, order.oid, order))
        else:
            heapq.heappush(self._falling, (-trigger.px, order.oid, order))

    def pop_due(self, mark: int) -> Order | None:
        """Take out the next order whose trigger the mark price has reached; None if there is none."""
        for queue, reached in ((self._rising, mark), (self._falling, -mark)):
            while queue and queue[0][0] <= reached:
                order = heapq.heappop(queue)[2]
                if order.status == "open":
                    return order
        return None
