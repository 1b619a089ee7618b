"""The executor's own books: positions and open orders, kept from what it was told, and nothing else.

They are what a strategy could keep itself from `Executor.events`: fills change positions, order updates open and
close orders. At the end they are compared with the venue's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from decimal import Decimal

from adapters.executor import ExecutorEvent
from adapters.hyperliquid.records import OrderUpdate, UserFill
from machines import events as ev
from machines.intent import Intent
from machines.settlement import ON_BOOK


class Books:
    """What the executor believes.

    Attributes:
        positions: Signed size in contracts, by market.
        open_oids: Orders on the book.
        ended: Intents with their outcomes.
        fills: How many fills were seen, by market.
        moved: Set with every event that is noted.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.positions: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.open_oids: set[int] = set()
        self.ended: list[Intent] = []
        self.fills: Counter[str] = Counter()
        self.moved = asyncio.Event()

    def note(self, event: ExecutorEvent) -> None:
        """Take an event into the books."""
        self.moved.set()
        match event:
            case UserFill(coin=coin, side=side, size=size):
                self.positions[coin] += size if side == "buy" else -size
                self.fills[coin] += 1
            case OrderUpdate(order=order, status=status):
                if status in ON_BOOK:
                    self.open_oids.add(order.oid)
                else:
                    self.open_oids.discard(order.oid)
            case ev.IntentEnded(intent):
                self.ended.append(intent)
            case _:
                pass

    def held(self) -> dict[str, Decimal]:
        """The positions that are not zero."""
        return {market: size for market, size in self.positions.items() if size}
