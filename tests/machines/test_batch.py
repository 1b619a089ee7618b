"""The queues: admission, priority, what a batch carries, and the way back."""

from __future__ import annotations

from itertools import permutations

import pytest

from machines.batch import BatchScheduler, QueueLimits
from machines.errors import InvalidSetting
from machines.inflight import InflightState
from machines.intent import INTENT, ActionKind, Admission, Intent, IntentEvent, IntentState, NotExecuted, Priority
from tests.machines.builders import cancel_intent, fields, intent, reduce_intent, scheduler, seqs, tracker

CANCEL, REDUCE_ONLY, NEW_ORDER = Priority.CANCEL, Priority.REDUCE_ONLY, Priority.NEW_ORDER
MAKE = {CANCEL: cancel_intent, REDUCE_ONLY: reduce_intent, NEW_ORDER: intent}


def _tick(queues: BatchScheduler, *, new_orders: bool = True) -> list[int] | None:
    batch = queues.tick(new_orders=new_orders)
    return None if batch is None else seqs(batch.items)


def _queued(queues: BatchScheduler) -> list[int]:
    return [queues.queued(priority) for priority in Priority]


# ------------------------------------------------------------------------------------------------------- admission


def test_b3_every_queue_is_bounded_by_default() -> None:
    limits = QueueLimits()
    assert [limits.of(priority) for priority in Priority] == [200, 500, 1_000]
    assert limits.batch == 50


@pytest.mark.parametrize(("priority", "limit"), [(CANCEL, 200), (REDUCE_ONLY, 500), (NEW_ORDER, 1_000)])
def test_b3_item_beyond_the_limit_is_answered_queue_full(priority: Priority, limit: int) -> None:
    queues = scheduler(*(MAKE[priority](seq) for seq in range(limit)))
    extra = MAKE[priority](limit)
    before = fields(extra)
    assert queues.enqueue(extra) is Admission.QUEUE_FULL
    assert fields(extra) == before
    assert (queues.queued(priority), queues.outstanding[priority]) == (limit, limit)


def test_b3_limits_are_configurable() -> None:
    queues = scheduler(cancel_intent(1), reduce_intent(2), intent(3), cancel=1, reduce_only=1, new_order=1, batch=1)
    answers = [queues.enqueue(made) for made in (cancel_intent(4), reduce_intent(5), intent(6))]
    assert answers == [Admission.QUEUE_FULL] * 3


@pytest.mark.parametrize("name", ["cancel", "reduce_only", "new_order", "batch"])
def test_b3_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=f"queue limit '{name}' must be at least 1, got 0"):
        QueueLimits(**{name: 0})


def test_b3_cancel_queue_counts_outstanding_items_so_that_a_return_finds_its_place() -> None:
    queues = scheduler(cancel_intent(1), cancel_intent(2), cancel=2)
    batch = queues.tick(new_orders=True)
    assert batch is not None
    assert queues.enqueue(cancel_intent(3)) is Admission.QUEUE_FULL
    queues.requeue(batch.items)
    assert (queues.queued(CANCEL), queues.outstanding[CANCEL]) == (2, 2)
    queues.drop_all()
    queues.ended(batch.items[0])
    assert queues.enqueue(cancel_intent(3)) is Admission.QUEUED


def test_b3_new_order_queue_counts_waiting_items_only() -> None:
    queues = scheduler(intent(1), new_order=1)
    assert _tick(queues) == [1]
    assert queues.enqueue(intent(2)) is Admission.QUEUED
    assert queues.outstanding[NEW_ORDER] == 2


@pytest.mark.parametrize(
    ("count", "answers"),
    [
        (0, [Admission.QUEUED, Admission.QUEUED, Admission.QUEUED]),
        (79, [Admission.QUEUED, Admission.QUEUED, Admission.QUEUED]),
        (80, [Admission.QUEUED, Admission.QUEUED, Admission.QUEUED_DEGRADED]),
        (99, [Admission.QUEUED, Admission.QUEUED, Admission.QUEUED_DEGRADED]),
        (100, [Admission.QUEUED_DEGRADED, Admission.QUEUED_DEGRADED, Admission.INFLIGHT_FULL]),
    ],
)
def test_b4_answers_at_each_load_are_distinct(count: int, answers: list[Admission]) -> None:
    queues = BatchScheduler(tracker(count))
    assert [queues.enqueue(MAKE[priority](seq)) for seq, priority in enumerate(Priority)] == answers
    assert _queued(queues) == [int(answer.accepted) for answer in answers]


def test_b4_admitted_item_is_queued_and_refused_one_is_untouched() -> None:
    queues = BatchScheduler(tracker(100))
    kept, refused = cancel_intent(1), intent(2)
    queues.enqueue(kept)
    queues.enqueue(refused)
    assert (kept.state, refused.state) == (IntentState.QUEUED, IntentState.ACCEPTED)
    assert queues.outstanding == {CANCEL: 1, REDUCE_ONLY: 0, NEW_ORDER: 0}


def test_b4_full_queue_is_told_apart_from_full_inflight() -> None:
    queues = scheduler(intent(1), new_order=1, inflight=tracker(99))
    assert queues.enqueue(intent(2)) is Admission.QUEUE_FULL


@pytest.mark.parametrize("admission", list(Admission))
def test_b4_only_queued_answers_mean_accepted(admission: Admission) -> None:
    assert admission.accepted is (admission in (Admission.QUEUED, Admission.QUEUED_DEGRADED))


# -------------------------------------------------------------------------------------------------------- priority


@pytest.mark.parametrize("order", list(permutations((CANCEL, REDUCE_ONLY, NEW_ORDER))))
def test_b5_cancels_go_before_reduce_only_before_new_orders(order: tuple[Priority, ...]) -> None:
    queues = scheduler(*(MAKE[priority](seq) for seq, priority in enumerate(order)))
    batches = [queues.tick(new_orders=True) for _ in range(3)]
    assert [batch and batch.priority for batch in batches] == [CANCEL, REDUCE_ONLY, NEW_ORDER]
    assert queues.tick(new_orders=True) is None


@pytest.mark.parametrize(("count", "new_orders"), [(80, True), (99, True), (0, False)])
def test_b5_reduce_only_passes_where_new_orders_wait(count: int, new_orders: bool) -> None:
    queues = scheduler(intent(1), reduce_intent(2), cancel_intent(3), inflight=tracker(count))
    ticks = [_tick(queues, new_orders=new_orders) for _ in range(3)]
    assert ticks == [[3], [2], None]
    assert queues.queued(NEW_ORDER) == 1


def test_new_orders_pass_right_below_the_watermark() -> None:
    assert _tick(scheduler(intent(1), inflight=tracker(79))) == [1]


def test_b6_nothing_is_given_at_the_limit_cancels_included() -> None:
    slots = tracker(99)
    queues = scheduler(cancel_intent(1), reduce_intent(2), intent(3), inflight=slots)
    slots.acquire()
    assert queues.tick(new_orders=True) is None
    assert _queued(queues) == [1, 1, 1]
    slots.release()
    assert _tick(queues) == [1]


def test_empty_queues_give_nothing() -> None:
    assert scheduler().tick(new_orders=True) is None
    assert scheduler().tick(new_orders=False) is None


# ----------------------------------------------------------------------------------------------------- the batch


def test_b1_batch_is_of_one_queue() -> None:
    queues = scheduler(cancel_intent(1), intent(2), cancel_intent(3), intent(4))
    assert [_tick(queues), _tick(queues), _tick(queues)] == [[1, 3], [2, 4], None]


@pytest.mark.parametrize(
    ("priority", "one", "other"),
    [
        (CANCEL, ActionKind.CANCEL_BY_CLOID, ActionKind.CANCEL),
        (REDUCE_ONLY, ActionKind.ORDER, ActionKind.MODIFY),
        (NEW_ORDER, ActionKind.ORDER, ActionKind.MODIFY),
    ],
)
def test_b1_batch_is_of_one_action_kind(priority: Priority, one: ActionKind, other: ActionKind) -> None:
    queues = scheduler(*(intent(seq, priority, kind) for seq, kind in enumerate([one, one, other, one])))
    batches = [queues.tick(new_orders=True) for _ in range(3)]
    assert [(batch.kind, seqs(batch.items)) for batch in batches if batch] == [
        (one, [0, 1]),
        (other, [2]),
        (one, [3]),
    ]


def test_b1_post_only_orders_go_apart() -> None:
    queues = scheduler(intent(1), intent(2, alo=True), intent(3, alo=True), intent(4))
    assert [_tick(queues) for _ in range(4)] == [[1], [2, 3], [4], None]


def test_b2_batch_holds_the_first_items_and_leaves_the_rest_in_order() -> None:
    queues = scheduler(*(intent(seq) for seq in range(120)))
    assert _tick(queues) == list(range(50))
    assert queues.head(NEW_ORDER) == 50
    assert _tick(queues) == list(range(50, 100))
    assert _tick(queues) == list(range(100, 120))
    assert queues.head(NEW_ORDER) is None


def test_b2_tick_changes_no_counter() -> None:
    slots = tracker(3)
    item = intent(1)
    queues = scheduler(item, inflight=slots)
    before = fields(item)
    queues.tick(new_orders=True)
    assert (slots.count, slots.state) == (3, InflightState.NORMAL)
    assert queues.outstanding[NEW_ORDER] == 1
    assert fields(item) == before


# ------------------------------------------------------------------------------------------------------ the way back


@pytest.mark.parametrize("priority", list(Priority))
def test_p7_items_come_back_to_the_head_in_their_order(priority: Priority) -> None:
    queues = scheduler(*(MAKE[priority](seq) for seq in range(5)), batch=3)
    batch = queues.tick(new_orders=True)
    assert batch is not None
    queues.requeue(batch.items)
    assert [_tick(queues), _tick(queues)] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_p7_batches_that_come_back_in_any_order_take_their_old_places(order: tuple[int, ...]) -> None:
    queues = scheduler(*(reduce_intent(seq) for seq in range(8)), batch=2)
    batches = [queues.tick(new_orders=True) for _ in range(3)]
    for number in order:
        batch = batches[number]
        assert batch is not None
        queues.requeue(batch.items)
    assert queues.head(REDUCE_ONLY) == 0
    assert [_tick(queues) for _ in range(5)] == [[0, 1], [2, 3], [4, 5], [6, 7], None]


def test_p7_items_of_different_batches_that_interleave_are_sorted() -> None:
    made = [cancel_intent(seq) for seq in range(6)]
    queues = scheduler(*made, cancel_intent(6))
    for item in made:
        queues.withdraw(item)
    queues.requeue((made[1], made[4]))
    queues.requeue((made[0], made[2], made[5]))
    queues.requeue((made[3],))
    assert _tick(queues) == [0, 1, 2, 3, 4, 5, 6]


# ------------------------------------------------------------------------------------------------- withdraw and drop


def test_withdrawn_item_is_not_sent() -> None:
    items = [intent(seq) for seq in range(3)]
    queues = scheduler(*items)
    queues.withdraw(items[1])
    assert _tick(queues) == [0, 2]


def _three(queues: BatchScheduler) -> list[Intent]:
    items = [intent(1), cancel_intent(2), reduce_intent(3), intent(4)]
    for item in items:
        queues.enqueue(item)
    return items


def test_new_orders_are_dropped_alone() -> None:
    queues = scheduler()
    _three(queues)
    assert seqs(queues.drop_new_orders()) == [1, 4]
    assert _queued(queues) == [1, 1, 0]
    assert queues.drop_new_orders() == []


def test_everything_is_dropped() -> None:
    queues = scheduler()
    _three(queues)
    assert seqs(queues.drop_all()) == [2, 3, 1, 4]
    assert _queued(queues) == [0, 0, 0]


def test_dropped_items_stay_outstanding_until_they_have_their_outcome() -> None:
    queues = scheduler()
    items = _three(queues)
    queues.drop_all()
    assert queues.outstanding == {CANCEL: 1, REDUCE_ONLY: 1, NEW_ORDER: 2}
    for item in items:
        INTENT.step(item, IntentEvent.DROP, outcome=NotExecuted("test"))
        queues.ended(item)
    assert queues.outstanding == {CANCEL: 0, REDUCE_ONLY: 0, NEW_ORDER: 0}
