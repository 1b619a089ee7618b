"""The batch scheduler against three sorted lists."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from machines.batch import Batch, BatchScheduler, QueueLimits
from machines.inflight import InflightTracker
from machines.intent import ActionKind, Admission, Intent, Order, Priority
from tests.stateful.record import RECORD, Explorer, rule

LIMIT = 3
ORDER = Order(market="BTC", side="buy", size="1", price="400")
KINDS = {
    Priority.CANCEL: (ActionKind.CANCEL, ActionKind.CANCEL_BY_CLOID),
    Priority.REDUCE_ONLY: (ActionKind.ORDER, ActionKind.MODIFY),
    Priority.NEW_ORDER: (ActionKind.ORDER, ActionKind.MODIFY),
}


def alike(first: Intent) -> Callable[[Intent], bool]:
    """Whether an intent may share a post with `first`."""
    return lambda intent: (intent.kind, intent.alo) == (first.kind, first.alo)


class Queues(Explorer):
    """What is admitted, what a tick gives, and where items come back to (findings B1 to B6, P7)."""

    @initialize(
        limits=st.builds(
            QueueLimits,
            cancel=st.integers(1, 4),
            reduce_only=st.integers(1, 4),
            new_order=st.integers(1, 4),
            batch=st.integers(1, 3),
        ),
        may_be_emptied=st.booleans(),
    )
    def begin(self, limits: QueueLimits, may_be_emptied: bool) -> None:
        self.may_be_emptied = may_be_emptied
        self.inflight = InflightTracker(LIMIT, LIMIT - 1)
        self.scheduler = BatchScheduler(self.inflight, limits)
        self.limits = limits
        self.seq = 0
        self.out: list[Batch] = []
        self.queues: dict[Priority, list[Intent]] = {priority: [] for priority in Priority}
        self.under_way: dict[Priority, int] = dict.fromkeys(Priority, 0)

    def expected_admission(self, priority: Priority) -> Admission:
        """The answer that an intent has to get."""
        waiting, is_new = len(self.queues[priority]), priority is Priority.NEW_ORDER
        if waiting + (0 if is_new else self.under_way[priority]) >= self.limits.of(priority):
            return Admission.QUEUE_FULL
        if is_new and self.inflight.count == LIMIT:
            return Admission.INFLIGHT_FULL
        late = self.inflight.count >= (LIMIT - 1 if is_new else LIMIT)
        return Admission.QUEUED_DEGRADED if late else Admission.QUEUED

    def expected_batch(self, new_orders: bool) -> list[Intent]:
        """What a tick has to give."""
        if self.inflight.count == LIMIT:
            return []
        for priority, queue in self.queues.items():
            if priority is Priority.NEW_ORDER and (not new_orders or self.inflight.count >= LIMIT - 1):
                return []
            if queue:
                return list(takewhile(alike(queue[0]), queue))[: self.limits.batch]
        return []

    @rule(
        wanted=st.lists(st.tuples(st.sampled_from(Priority), st.integers(0, 1), st.booleans()), min_size=1, max_size=4)
    )
    def intents_are_submitted(self, wanted: list[tuple[Priority, int, bool]]) -> None:
        for priority, kind, alo in wanted:
            intent = Intent(self.seq + 1, ORDER, None, priority, KINDS[priority][kind], alo)
            expected = self.expected_admission(priority)
            assert self.scheduler.enqueue(intent) is expected
            if expected.accepted:
                self.seq += 1
                self.queues[priority].append(intent)

    def take(self, new_orders: bool) -> Batch | None:
        """A tick."""
        expected = self.expected_batch(new_orders)
        slots = self.inflight.count
        batch = self.scheduler.tick(new_orders=new_orders)
        assert self.inflight.count == slots, "a tick changes no counter (finding B2)"
        assert (list(batch.items) if batch else []) == expected
        if batch:
            assert {(item.kind, item.priority) for item in batch.items} == {(batch.kind, batch.priority)}
            del self.queues[batch.priority][: len(expected)]
            self.under_way[batch.priority] += len(expected)
        return batch

    def put_back(self, batch: Batch) -> None:
        """A batch that did not run comes back."""
        self.scheduler.requeue(batch.items)
        self.under_way[batch.priority] -= len(batch.items)
        queue = sorted([*self.queues[batch.priority], *batch.items], key=lambda intent: intent.seq)
        RECORD.sometimes("a batch comes back before others", queue[-1] not in batch.items)
        RECORD.sometimes("a batch comes back behind others", queue[0] not in batch.items)
        self.queues[batch.priority] = queue

    @rule(
        new_orders=st.sampled_from((True, True, False)),
        times=st.integers(1, 4),
        slots=st.sampled_from((0, LIMIT, 1, LIMIT - 1, 0)),
        ends=st.lists(st.tuples(st.integers(0, 3), st.sampled_from((False, False, True))), max_size=4),
    )
    def posts_leave_and_end(self, new_orders: bool, times: int, slots: int, ends: list[tuple[int, bool]]) -> None:
        """Ticks, while `slots` slots are taken; then posts end, in any order: they ran, or their items come back."""
        while self.inflight.count < slots:
            self.inflight.acquire()
        while self.inflight.count > slots:
            self.inflight.release()
        taken = [self.take(new_orders) for _ in range(times)]
        self.out += [batch for batch in taken if batch is not None]
        for which, ran in ends[: len(self.out)]:
            batch = self.out.pop(which % len(self.out))
            if not ran:
                self.put_back(batch)
                continue
            for item in batch.items:
                self.scheduler.ended(item)
            self.under_way[batch.priority] -= len(batch.items)

    @rule(
        priority=st.sampled_from(Priority), place=st.integers(0, 3), empties=st.sampled_from((None, None, False, True))
    )
    def items_are_taken_out(self, priority: Priority, place: int, empties: bool | None) -> None:
        """The owner withdraws one; or the queue of new orders is emptied, or all queues are."""
        if empties is not None and self.may_be_emptied:
            queues = tuple(Priority) if empties else (Priority.NEW_ORDER,)
            taken = [intent for queue in queues for intent in self.queues[queue]]
            assert (self.scheduler.drop_all() if empties else self.scheduler.drop_new_orders()) == taken
        else:
            taken = self.queues[priority][place : place + 1]
            for intent in taken:
                self.scheduler.withdraw(intent)
        for intent in taken:
            self.scheduler.ended(intent)
            self.queues[intent.priority].remove(intent)

    @invariant()
    def queues_are_right(self) -> None:
        for priority, queue in self.queues.items():
            assert self.scheduler.queued(priority) == len(queue)
            assert self.scheduler.head(priority) == (queue[0].seq if queue else None)
            assert self.scheduler.outstanding[priority] == len(queue) + self.under_way[priority]
