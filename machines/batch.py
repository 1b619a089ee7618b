"""Three bounded queues, and the choice of what the next post carries.

Strict priority: cancels, then reduce-only orders, then new orders (finding B5). A tick gives at most one batch, of
items that one L1 action can carry: one action kind, and post-only orders apart from the others, because the venue
sequences them differently (protocol.md §4). The batch is the longest such run from the head of the queue, so that
the order of submission is kept. Taking a batch changes no counter: the slot is taken when the frame is handed to the
socket (finding B2).

* At the inflight limit nothing is given, cancels included (finding B6).
* From the high watermark on, new orders wait; cancels and reduce-only orders pass.
* Items that come back (their post was provably never run) take the place of their sequence number again, in whatever
  order batches come back (finding P7). For that, the cancel and reduce-only queues admit by **outstanding** items,
  in the queue or under way, so that a returning item always finds its place (settlement.md, rule 18).
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice, takewhile
from typing import Final

from msgspec import Struct

from machines.errors import InvalidSetting
from machines.inflight import InflightTracker
from machines.intent import INTENT, ActionKind, Admission, Intent, IntentEvent, Priority
from machines.snapshot import QueueView
from machines.value import Value

PRIORITIES: Final = tuple(Priority)


class QueueLimits(Value, frozen=True, kw_only=True):
    """The most items that each queue holds, and that a batch carries (finding B3).

    Raises:
        InvalidSetting: One of them is less than 1.
    """

    cancel: int = 200
    reduce_only: int = 500
    new_order: int = 1_000
    batch: int = 50

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise InvalidSetting(f"queue limit {name!r} must be at least 1, got {getattr(self, name)}")

    def of(self, priority: Priority) -> int:
        """The limit of one queue."""
        limit: int = getattr(self, priority.value)
        return limit


class Batch(Struct, frozen=True):
    """What one post carries: items of one queue, one action kind, in order of submission."""

    priority: Priority
    kind: ActionKind
    items: tuple[Intent, ...]


class BatchScheduler:
    """The queues. Reads the inflight count, never changes it.

    Attributes:
        limits: Sizes of queues and batches.
        outstanding: Per queue, the admitted items that have no outcome yet.
    """

    __slots__ = ("_inflight", "_limit_of", "_queues", "limits", "outstanding")

    def __init__(self, inflight: InflightTracker, limits: QueueLimits | None = None) -> None:
        """Begin with empty queues."""
        self._inflight = inflight
        self.limits = limits or QueueLimits()
        self._limit_of = {priority: self.limits.of(priority) for priority in PRIORITIES}
        self.outstanding = dict.fromkeys(PRIORITIES, 0)
        self._queues: dict[Priority, OrderedDict[int, Intent]] = {p: OrderedDict() for p in PRIORITIES}

    @property
    def waiting(self) -> bool:
        """Whether any item waits."""
        return any(self._queues.values())

    def queued(self, priority: Priority) -> int:
        """How many items wait in a queue."""
        return len(self._queues[priority])

    def head(self, priority: Priority) -> int | None:
        """The sequence number of the first waiting item; None when the queue is empty."""
        return next(iter(self._queues[priority]), None)

    def view(self) -> dict[Priority, QueueView]:
        """The queues as the invariants see them."""
        return {
            priority: QueueView(
                len(queue), self.outstanding[priority], self._limit_of[priority], next(iter(queue), None)
            )
            for priority, queue in self._queues.items()
        }

    def enqueue(self, intent: Intent) -> Admission:
        """Admit an intent to the end of its queue, or say why not (finding B4).

        A new order is refused while all slots are taken; a cancel or a reduce-only order is kept and waits.
        """
        priority = intent.priority
        is_new = priority is Priority.NEW_ORDER
        queue = self._queues[priority]
        occupied = len(queue) if is_new else self.outstanding[priority]
        if occupied >= self._limit_of[priority]:
            return Admission.QUEUE_FULL
        if is_new and self._inflight.full:
            return Admission.INFLIGHT_FULL
        INTENT.step(intent, IntentEvent.ENQUEUE)
        queue[intent.seq] = intent
        self.outstanding[priority] += 1
        waits = self._inflight.degraded if is_new else self._inflight.full
        return Admission.QUEUED_DEGRADED if waits else Admission.QUEUED

    def tick(self, *, new_orders: bool) -> Batch | None:
        """Take the next batch out of the queues, or None if nothing may be sent now.

        Args:
            new_orders: Whether new orders may pass as far as session, hard stop and address budget are concerned;
                the high watermark is seen to here.
        """
        if self._inflight.full:
            return None
        for priority in PRIORITIES:
            if priority is Priority.NEW_ORDER and (not new_orders or self._inflight.degraded):
                return None
            queue = self._queues[priority]
            if queue:
                return self._take(priority, queue)
        return None

    def requeue(self, items: tuple[Intent, ...]) -> None:
        """Put the items of one batch back at the places of their sequence numbers."""
        queue = self._queues[items[0].priority]
        merged = list(items)
        # Whatever stands before the last of them came back earlier; usually that is nothing.
        while queue and next(iter(queue)) < items[-1].seq:
            merged.append(queue.popitem(last=False)[1])
        for item in sorted(merged, key=lambda intent: intent.seq, reverse=True):
            queue[item.seq] = item
            queue.move_to_end(item.seq, last=False)

    def withdraw(self, intent: Intent) -> None:
        """Take a waiting item out of its queue, because its owner cancelled it."""
        del self._queues[intent.priority][intent.seq]

    def drop_new_orders(self) -> list[Intent]:
        """Empty the queue of new orders; the items are the caller's to end."""
        return self._empty(Priority.NEW_ORDER)

    def drop_all(self) -> list[Intent]:
        """Empty all queues; the items are the caller's to end."""
        return [item for priority in PRIORITIES for item in self._empty(priority)]

    def _empty(self, priority: Priority) -> list[Intent]:
        items = list(self._queues[priority].values())
        self._queues[priority].clear()
        return items

    def ended(self, intent: Intent) -> None:
        """An admitted item got its outcome: it is outstanding no more."""
        self.outstanding[intent.priority] -= 1

    def _take(self, priority: Priority, queue: OrderedDict[int, Intent]) -> Batch:
        first = next(iter(queue.values()))
        alike = takewhile(lambda item: item.kind is first.kind and item.alo is first.alo, queue.values())
        items = tuple(islice(alike, self.limits.batch))
        for item in items:
            del queue[item.seq]
        return Batch(priority, first.kind, items)
