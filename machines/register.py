"""All intents that are not over: counted by state, found by cloid.

What `PostRequestManager` is for posts, this is for intents: the one place where their state moves. A cloid belongs to
one intent (settlement.md, rule 13); it is free again once the order is known to be off the book. The latest ended
intents are remembered for a while, so that what a second source says of them can be compared (finding X7).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any, Final

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
"""Ended intents kept for comparison; the order stream lags by seconds, not by thousands of orders."""


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
        priority = Priority.REDUCE_ONLY if order.reduce_only else Priority.NEW_ORDER
        alo = order.tif == "Alo" and order.trigger is None
        return Intent(seq, request, order.cloid, priority, kind, alo)

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
        before = intent.state
        INTENT.step(intent, event, **facts)
        self.population[before] -= 1
        self.population[intent.state] += 1
        self.moved.append(intent)

    def end(self, intent: Intent, event: IntentEvent, outcome: Outcome, proof: str | None) -> None:
        """Give an intent its outcome; `proof` says what showed it, where that was not the reply to its post."""
        self.move(intent, event, outcome=outcome, proof=proof)
        request = intent.request
        if isinstance(request, Cancel):
            return
        if isinstance(request, Order) and self._flattening.get(request.market) is intent:
            del self._flattening[request.market]
        if intent.state is not IntentState.RESTING:
            self.off_book(intent)

    def off_book(self, intent: Intent) -> None:
        """An order is known to be on the book no more: its cloid is free, and it is remembered for a while."""
        cloid = intent.cloid or ""
        if self._open.get(cloid) is intent:
            del self._open[cloid]
            self._recent[cloid] = intent
            if len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)

    def _with_cloid(self, order: Order, seq: int) -> Order:
        return order if order.cloid is not None else replace(order, cloid=f"{self._cloid_prefix}{seq:016x}")
