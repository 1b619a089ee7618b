"""All intents that are not over: counted by state, found by cloid.

What `PostRequestManager` is for posts, this is for intents: the one place where their state moves. A cloid belongs to
one intent for ever, so that a look-up never finds another order's record (settlement.md, rule 13). The latest intents
whose order is off the book are remembered: for that, and to compare what a second source says of them (finding X7).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from msgspec.structs import replace

from machines.intent import (
    INTENT,
    ActionKind,
    Cancel,
    Intent,
    IntentEvent,
    IntentState,
    Modify,
    Order,
    Outcome,
    Priority,
    Request,
)

REMEMBERED: Final = 4_096
"""Ended intents kept: the order stream lags by seconds, not by thousands of orders, and so does the venue's record."""


class IntentRegister:
    """The intents.

    Attributes:
        population: How many accepted intents are in each state.
        moved: Intents that the present step moved; the core empties it.
        last_seq: The highest sequence number given so far.
    """

    __slots__ = ("_cloid_prefix", "_flattening", "_open", "_recent", "last_seq", "moved", "population")

    def __init__(self, run_id: int, last_seq: int) -> None:
        """Begin with cloids of run `run_id` and sequence numbers above `last_seq`."""
        self.population = dict.fromkeys(IntentState, 0)
        self.moved: list[Intent] = []
        self.last_seq = last_seq
        self._cloid_prefix = f"0x{run_id:016x}"
        self._open: dict[str, Intent] = {}
        self._recent: OrderedDict[str, Intent] = OrderedDict()
        self._flattening: dict[str, Intent] = {}

    @property
    def accepted(self) -> int:
        """Intents accepted so far."""
        return sum(self.population.values())

    @property
    def ended(self) -> int:
        """Intents that got an outcome so far."""
        return sum(self.population[state] for state in INTENT.final)

    # ------------------------------------------------------------------------------------------------- finding

    def order(self, cloid: str) -> Intent | None:
        """The order or modify that uses `cloid` and may still be open."""
        return self._open.get(cloid)

    def remembered(self, cloid: str) -> Intent | None:
        """The order or modify with `cloid`, if it is open or ended lately."""
        return self._open.get(cloid) or self._recent.get(cloid)

    def cloid_taken(self, intent: Intent) -> bool:
        """Whether another order has the cloid of a new one, or the order that it is to replace (rule 13)."""
        request = intent.request
        if isinstance(request, Cancel):
            return False
        replaced = request.cloid if isinstance(request, Modify) else None
        return intent.cloid == replaced or self.remembered(intent.cloid or "") is not None

    def target(self, cancel: Intent) -> Intent | None:
        """The order that a cancel by cloid names, if it may still be open."""
        if cancel.kind is not ActionKind.CANCEL_BY_CLOID:
            return None
        return self._open.get(cancel.cloid or "")

    def flattening(self, request: Request) -> Intent | None:
        """The flattening order that is under way in the market of the flattening order `request`."""
        is_flatten = isinstance(request, Order) and request.flatten
        return self._flattening.get(request.market) if is_flatten and isinstance(request, Order) else None

    def resting_cloids(self) -> list[str]:
        """The cloids of orders that rest on the book, as far as is known."""
        return [cloid for cloid, intent in self._open.items() if intent.state is IntentState.RESTING]

    # -------------------------------------------------------------------------------------------------- moving

    def build(self, request: Request) -> Intent:
        """The intent of a request, with the next sequence number; it counts only once accepted."""
        seq = self.last_seq + 1
        if isinstance(request, Cancel):
            kind = ActionKind.CANCEL if request.cloid is None else ActionKind.CANCEL_BY_CLOID
            return Intent(seq, request, request.cloid, Priority.CANCEL, kind, alo=False)
        if isinstance(request, Modify):
            order = self._with_cloid(request.order, seq)
            kind = ActionKind.MODIFY
            request = replace(request, order=order)
        else:
            order = request = self._with_cloid(request, seq)
            kind = ActionKind.ORDER
        alo = order.tif == "Alo" and order.trigger is None
        return Intent(seq, request, order.cloid, self._queue_of(request, order), kind, alo)

    def accept(self, intent: Intent) -> None:
        """Count an intent that was admitted, and let it be found by its cloid."""
        self.last_seq = max(self.last_seq, intent.seq)
        self.population[intent.state] += 1
        self.moved.append(intent)
        if intent.priority is not Priority.CANCEL and intent.cloid is not None:
            self._open[intent.cloid] = intent
        request = intent.request
        if isinstance(request, Order) and request.flatten:
            self._flattening[request.market] = intent

    def move(self, intent: Intent, event: IntentEvent, **facts: Any) -> None:
        """Move an accepted intent.

        Raises:
            IllegalEvent: Not allowed in its present state; nothing changed.
        """
        before, population = intent.state, self.population
        INTENT.step(intent, event, **facts)
        population[before] -= 1
        population[intent.state] += 1
        self.moved.append(intent)

    def end(self, intent: Intent, event: IntentEvent, outcome: Outcome, proof: str | None) -> None:
        """Give an intent its outcome; `proof` says what showed it, if it was not the reply in time."""
        self.move(intent, event, outcome=outcome, proof=proof)
        request = intent.request
        if isinstance(request, Cancel):
            return
        if isinstance(request, Order) and self._flattening.get(request.market) is intent:
            del self._flattening[request.market]
        if intent.state is not IntentState.RESTING:
            self.off_book(intent)

    def off_book(self, intent: Intent) -> None:
        """An order is known to be on the book no more; it is remembered for a while."""
        cloid = intent.cloid or ""
        if self._open.get(cloid) is intent:
            del self._open[cloid]
            self._recent[cloid] = intent
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)

    def _queue_of(self, request: Request, order: Order) -> Priority:
        target = self._open.get(request.cloid or "") if isinstance(request, Modify) else None
        # A modify must not overtake the new order that it replaces.
        behind = target is not None and target.state is IntentState.QUEUED and target.priority is Priority.NEW_ORDER
        return Priority.REDUCE_ONLY if order.reduce_only and not behind else Priority.NEW_ORDER

    def _with_cloid(self, order: Order, seq: int) -> Order:
        """The order with a cloid; a flattening one is reduce-only, whatever else it says (finding B5)."""
        reduce_only = order.reduce_only or order.flatten
        if order.cloid is not None and reduce_only == order.reduce_only:
            return order
        return replace(order, reduce_only=reduce_only, cloid=order.cloid or f"{self._cloid_prefix}{seq:016x}")
