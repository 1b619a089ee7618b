"""The venue of the exhaustive search: small, and it knows the truth.

It takes each nonce once (protocol.md §4), executes what it takes, and keeps the record of each order, which look-ups
see after a lag of up to 2 s (§5). An order that a cancel names by its oid is none of ours; such a cancel succeeds.

What must never happen is found out here, where both sides are known: an order executed twice, one executed after its
owner was told that it was not, an outcome that the venue knows nothing of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from machines.hard_stop import MISSING_ORDER
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Intent,
    ItemResult,
    NotExecuted,
    Rejected,
)
from machines.reply import Accepted, PostReply, Refused
from machines.settlement import VENUE_LAG_MS, OrderRecord, outcome_of

FATES: Final[Mapping[str, tuple[str, str]]] = {
    "rests": ("open", "0"),
    "fills": ("filled", "1"),
    "is rejected": ("perpMarginRejected", "0"),
}
"""What the venue may do with an order: the record's status, and what traded."""


class PromiseBroken(Exception):
    """Something happened that must never happen; the message names the promise and what was seen."""


@dataclass(slots=True, eq=False)
class Frame:
    """A post on the wire, on connection `epoch`.

    Attributes:
        items: What it carries.
        forget_ms: When the venue has forgotten it, if it was not answered, in monotonic ms (settlement.md, rule 16).
    """

    post_id: int
    epoch: int
    nonce: int
    kind: ActionKind
    items: tuple[Intent, ...]
    forget_ms: int


@dataclass(slots=True, eq=False)
class VenueOrder:
    """An order that the venue took.

    Attributes:
        history: Its records, each with the monotonic ms from which on it was true.
        is_news: Whether the order stream has yet to tell the last one.
    """

    history: list[tuple[int, OrderRecord]]
    is_news: bool

    @property
    def record(self) -> OrderRecord:
        """The record as it is."""
        return self.history[-1][1]


@dataclass(slots=True, eq=False)
class SmallVenue:
    """The venue.

    Attributes:
        streams: Whether its order stream tells what became of orders.
        orders: The orders that it took, by cloid.
        nonces: The nonces that it has seen.
        cancels: The order that each cancel took off the book, by the cancel's number.
    """

    streams: bool
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    nonces: set[int] = field(default_factory=set)
    cancels: dict[int, str] = field(default_factory=dict)

    def take(self, frame: Frame, fate: str, now: int) -> PostReply:
        """A frame arrives: what the venue answers.

        Raises:
            PromiseBroken: It must not be executed.
        """
        if frame.nonce in self.nonces:
            return Refused("Invalid nonce: duplicate nonce")
        self.nonces.add(frame.nonce)
        return Accepted(tuple(self._execute(item, fate, now) for item in frame.items))

    def visible(self, cloid: str, now: int) -> list[int]:
        """What a look-up may find: places in the order's history, or -1 for no such order."""
        history = self.orders[cloid].history if cloid in self.orders else []
        settled = [at for at, (since, _) in enumerate(history) if since <= now - VENUE_LAG_MS]
        return list(range(settled[-1] if settled else -1, len(history)))

    def judge(self, intent: Intent) -> None:
        """The owner is told an outcome.

        Raises:
            PromiseBroken: It is not the truth.
        """
        outcome = intent.outcome
        order = self.orders.get(intent.cloid or "")
        if isinstance(intent.request, Cancel):
            true = self._is_true_of_cancel(intent, order)
        elif order is None or order.record.status == FATES["is rejected"][0]:
            true = isinstance(outcome, NotExecuted) or (isinstance(outcome, Rejected) and order is not None)
        else:
            told = [outcome_of(record) for _, record in order.history]
            true = any(type(outcome) is type(result) for result in told)
        if not true:
            truth = "has no such order" if order is None else f"has {order.record}"
            raise PromiseBroken(f"OutcomeIsTrue: intent {intent.seq} is told {outcome}, the venue {truth}")

    def _is_true_of_cancel(self, cancel: Intent, order: VenueOrder | None) -> bool:
        if isinstance(cancel.outcome, Canceled):
            return not cancel.attempts or order is None or order.record.status == "canceled"
        return cancel.seq not in self.cancels

    def _execute(self, item: Intent, fate: str, now: int) -> ItemResult:
        denied = isinstance(item.outcome, Rejected | NotExecuted)
        if isinstance(item.request, Cancel):
            return self._cancel(item, denied, now)
        cloid = item.cloid or ""
        if cloid in self.orders:
            raise PromiseBroken(f"ExecutedOnce: order {item.seq} is executed again")
        if denied:
            raise PromiseBroken(f"NothingDeadRuns: order {item.seq} is executed, its owner was told {item.outcome}")
        status, traded = FATES[fate]
        record = OrderRecord(item.seq, status, traded)
        self.orders[cloid] = VenueOrder([(now, record)], self.streams)
        return Rejected("Insufficient margin to place order.") if record.refused else outcome_of(record)

    def _cancel(self, cancel: Intent, denied: bool, now: int) -> ItemResult:
        if cancel.cloid is None:
            return Canceled()
        order = self.orders.get(cancel.cloid)
        if order is None or not order.record.on_book:
            return Rejected(f"{MISSING_ORDER}.")
        if denied:
            raise PromiseBroken(
                f"NothingDeadRuns: cancel {cancel.seq} is executed, its owner was told {cancel.outcome}"
            )
        order.history.append((now, OrderRecord(order.record.oid, "canceled", order.record.traded)))
        order.is_news = self.streams
        self.cancels[cancel.seq] = cancel.cloid
        return Canceled()
