"""The mistakes that the findings forbid, each as a small patch that puts it back (findings.md, third column).

A mistake names the finding, the state machine that has to notice it, and what it does to the machines. The patches
are undone after each test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final, TypeAlias

import pytest

from machines import events as ev
from machines import executor, hard_stop, nonce, post, verdict
from machines.batch import PRIORITIES, Batch, BatchScheduler
from machines.errors import IllegalEvent
from machines.executor import ExecutorCore
from machines.inflight import InflightTracker
from machines.intent import Admission, Intent, IntentEvent, ItemResult, Priority, Rejected
from machines.nonce import Drift, NonceManager
from machines.post import PostEvent, PostRequest, PostRequestManager
from machines.table import StateMachine
from machines.verdict import Answered
from tests.stateful.composed import ComposedCore
from tests.stateful.nonces import Nonces
from tests.stateful.posts import Posts
from tests.stateful.queues import Queues
from tests.stateful.record import Explorer
from tests.stateful.slots import Slots

Patch: TypeAlias = pytest.MonkeyPatch
Apply: TypeAlias = Callable[[Patch], None]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        finding: The finding that forbids it.
        machine: The state machine that has to notice it.
        put_back: Patches the machines.
    """

    finding: str
    machine: type[Explorer]
    put_back: Apply


MISTAKES: Final[list[Mistake]] = []


def mistake(finding: str, machine: type[Explorer]) -> Callable[[Apply], Apply]:
    """Register a patch as a mistake."""

    def register(put_back: Apply) -> Apply:
        MISTAKES.append(Mistake(finding, machine, put_back))
        return put_back

    return register


def with_effect(
    patch: Patch, module: ModuleType, machine: StateMachine[Any, Any], event: Any, effect: Callable[..., None]
) -> None:
    """Rebuild the machine of `module` with another effect on all rows of `event`."""
    table = tuple(replace(row, effect=effect) if row.event is event else row for row in machine.table)
    rebuilt = StateMachine(
        machine.name, machine.states, machine.events, initial=machine.initial, final=machine.final, table=table
    )
    patch.setattr(module, machine.name.upper(), rebuilt)


# --------------------------------------------------------------------------------------------------------- nonces


@mistake("N1", Nonces)
def nonce_is_issued_outside_the_window(patch: Patch) -> None:
    patch.setattr(nonce, "WINDOW_FUTURE_MS", 100 * nonce.DAY_MS)


@mistake("N1", ComposedCore)
def counter_starts_at_0(patch: Patch) -> None:
    patch.setattr(NonceManager, "approx_server_time_ms", lambda self: self.last)


@mistake("N2", Nonces)
def nonce_is_plainly_last_plus_1(patch: Patch) -> None:
    def plain(self: NonceManager) -> int:
        self._last += 1
        return self._last

    patch.setattr(NonceManager, "next", plain)


@mistake("N2", ComposedCore)
def nonce_is_plain_clock_time(patch: Patch) -> None:
    patch.setattr(NonceManager, "next", NonceManager.approx_server_time_ms)


@mistake("N3", Nonces)
def sync_leaves_the_counter_behind(patch: Patch) -> None:
    def store_the_offset(self: NonceManager, server_time_ms: int) -> Drift:
        self._offset_ms = server_time_ms - self.clock.now_ms()
        return self.drift

    patch.setattr(NonceManager, "sync", store_the_offset)


@mistake("N4", Nonces)
def offset_has_the_wrong_sign(patch: Patch) -> None:
    patch.setattr(NonceManager, "approx_server_time_ms", lambda self: self.clock.now_ms() - self.offset_ms)


@mistake("N5", Nonces)
def two_threads_get_one_nonce(patch: Patch) -> None:
    def unguarded(self: NonceManager) -> int:
        last = self._last
        self._last = max(last + 1, self.approx_server_time_ms())
        return self._last

    patch.setattr(NonceManager, "next", unguarded)


@mistake("N5", Nonces)
def drift_of_5001_ms_is_accepted(patch: Patch) -> None:
    patch.setattr(nonce, "DRIFT_ERROR_MS", 5_001)


# ------------------------------------------------------------------------------------------------ queues and batches


@mistake("B1", Queues)
def cancels_of_both_kinds_share_a_post(patch: Patch) -> None:
    def take_anything(self: BatchScheduler, priority: Priority, queue: dict[int, Intent]) -> Batch:
        items = list(queue.values())[: self.limits.batch]
        for item in items:
            del queue[item.seq]
        return Batch(priority, items[0].kind, tuple(items))

    patch.setattr(BatchScheduler, "_take", take_anything)


@mistake("B2", Queues)
def tick_takes_the_slot(patch: Patch) -> None:
    tick = BatchScheduler.tick

    def greedy(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        given = tick(self, new_orders=new_orders)
        if given is not None:
            self._inflight.acquire()
        return given

    patch.setattr(BatchScheduler, "tick", greedy)


@mistake("B2", ComposedCore)
def tick_drops_part_of_its_batch(patch: Patch) -> None:
    tick = BatchScheduler.tick

    def forgetful(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        given = tick(self, new_orders=new_orders)
        return given and replace(given, items=given.items[:1])

    patch.setattr(BatchScheduler, "tick", forgetful)


@mistake("B3", ComposedCore)
def cancel_queue_is_unbounded(patch: Patch) -> None:
    patch.setattr(
        executor,
        "BatchScheduler",
        lambda inflight, limits: BatchScheduler(inflight, replace(limits, cancel=10**6)),
    )


@mistake("B4", ComposedCore)
def degraded_is_reported_as_queued(patch: Patch) -> None:
    enqueue = BatchScheduler.enqueue

    def cheerful(self: BatchScheduler, intent: Intent) -> Admission:
        answer = enqueue(self, intent)
        return Admission.QUEUED if answer is Admission.QUEUED_DEGRADED else answer

    patch.setattr(BatchScheduler, "enqueue", cheerful)


@mistake("B4", ComposedCore)
def order_is_returned_unqueued(patch: Patch) -> None:
    enqueue = BatchScheduler.enqueue

    def polite(self: BatchScheduler, intent: Intent) -> Admission:
        return Admission.QUEUED if self._inflight.degraded else enqueue(self, intent)

    patch.setattr(BatchScheduler, "enqueue", polite)


@mistake("B5", ComposedCore)
def one_queue_for_reduce_only_and_new_orders(patch: Patch) -> None:
    def first_come(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        waiting = [priority for priority in PRIORITIES if self._queues[priority]]
        if self._inflight.full or not waiting:
            return None
        if waiting[0] is not Priority.CANCEL:
            waiting.sort(key=lambda priority: self.head(priority) or 0)
        if waiting[0] is Priority.NEW_ORDER and (not new_orders or self._inflight.degraded):
            return None
        return self._take(waiting[0], self._queues[waiting[0]])

    patch.setattr(BatchScheduler, "tick", first_come)


@mistake("B5", ComposedCore)
def degraded_mode_holds_reduce_only_back(patch: Patch) -> None:
    tick = BatchScheduler.tick

    def timid(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        held = self._inflight.degraded and not self.queued(Priority.CANCEL)
        return None if held else tick(self, new_orders=new_orders)

    patch.setattr(BatchScheduler, "tick", timid)


@mistake("B5", ComposedCore)
def hard_stop_holds_reduce_only_back(patch: Patch) -> None:
    tick = ExecutorCore._on_tick
    patch.setattr(ExecutorCore, "_on_tick", lambda self, event: None if self.hard_stop.tripped else tick(self, event))


@mistake("B6", Queues)
def cancel_is_sent_at_the_limit(patch: Patch) -> None:
    tick = BatchScheduler.tick

    def urgent(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        cancels = self._queues[Priority.CANCEL]
        return self._take(Priority.CANCEL, cancels) if cancels else tick(self, new_orders=new_orders)

    patch.setattr(BatchScheduler, "tick", urgent)


@mistake("B7", ComposedCore)
def another_nonce_may_be_signed(patch: Patch) -> None:
    def trusting(made: PostRequest, inflight: InflightTracker, signed_nonce: int, epoch: int, deadline_ms: int) -> None:
        post._register(made, inflight, made.nonce, epoch, deadline_ms)
        made.signed_nonce = signed_nonce

    with_effect(patch, post, post.POST, PostEvent.SEND, trusting)


# ------------------------------------------------------------------------------------------------------ life of a post


@mistake("P1", ComposedCore)
def post_is_counted_before_it_is_sent(patch: Patch) -> None:
    prepare = PostRequestManager.prepare

    def early(self: PostRequestManager, *facts: Any) -> PostRequest:
        self.inflight.acquire()
        return prepare(self, *facts)

    def uncounted(made: PostRequest, inflight: InflightTracker, **facts: int) -> None:
        post._register(made, inflight, **facts)
        inflight.release()

    patch.setattr(PostRequestManager, "prepare", early)
    with_effect(patch, post, post.POST, PostEvent.SEND, uncounted)


@mistake("P2", ComposedCore)
def second_reply_releases_a_second_slot(patch: Patch) -> None:
    on_reply = ExecutorCore._on_reply

    def generous(self: ExecutorCore, event: ev.ReplyReceived) -> None:
        if self.posts.find(event.post_id, event.epoch) is None and self.inflight.count:
            self.inflight.release()
        on_reply(self, event)

    patch.setattr(ExecutorCore, "_on_reply", generous)


@mistake("P3", Posts)
def timeout_leaks_the_slot(patch: Patch) -> None:
    with_effect(patch, post, post.POST, PostEvent.TIME_OUT, _complete_and_keep_the_slot)


@mistake("P3", ComposedCore)
def send_error_leaks_the_slot(patch: Patch) -> None:
    on_broken = ExecutorCore._on_broken

    def leaking(self: ExecutorCore, event: ev.SendBroken) -> None:
        on_broken(self, event)
        self.inflight.acquire()

    patch.setattr(ExecutorCore, "_on_broken", leaking)


def _complete_and_keep_the_slot(made: PostRequest, inflight: InflightTracker, unclear: bool = False) -> None:
    post._complete(made, inflight, unclear)
    inflight.acquire()


@mistake("P4", Posts)
def reply_counts_whatever_its_connection(patch: Patch) -> None:
    patch.setattr(PostRequestManager, "find", lambda self, post_id, epoch: self._open.get(post_id))


@mistake("P5", Posts)
def unsent_post_gives_a_slot_back(patch: Patch) -> None:
    refused = PostRequestManager.refused

    def generous(self: PostRequestManager, post_id: int) -> PostRequest:
        if self.inflight.count:
            self.inflight.release()
        return refused(self, post_id)

    patch.setattr(PostRequestManager, "refused", generous)


@mistake("P6", Posts)
def first_post_delays_later_timeouts(patch: Patch) -> None:
    def one_by_one(self: PostRequestManager, now: int) -> list[PostRequest]:
        due = [made for made in self._open.values() if made.deadline_ms <= now][:1]
        for made in due:
            self.end(made, PostEvent.TIME_OUT)
        return due

    patch.setattr(PostRequestManager, "expire", one_by_one)


@mistake("P7", Queues)
def batch_comes_back_at_the_tail(patch: Patch) -> None:
    patch.setattr(
        BatchScheduler,
        "requeue",
        lambda self, items: self._queues[items[0].priority].update((item.seq, item) for item in items),
    )


@mistake("P7", Queues)
def batch_comes_back_reversed(patch: Patch) -> None:
    def reverse(self: BatchScheduler, items: tuple[Intent, ...]) -> None:
        for item in items:
            self._queues[item.priority][item.seq] = item
            self._queues[item.priority].move_to_end(item.seq, last=False)

    patch.setattr(BatchScheduler, "requeue", reverse)


@mistake("P7", ComposedCore)
def batch_is_dropped_on_a_send_error(patch: Patch) -> None:
    patch.setattr(ExecutorCore, "_on_refused", lambda self, event: self._post_ended(self.posts.refused(event.post_id)))


# ------------------------------------------------------------------------------------------------- the inflight count


@mistake("I1", Slots)
def count_saturates_silently(patch: Patch) -> None:
    def shrug(step: Callable[[InflightTracker], None]) -> Callable[[InflightTracker], None]:
        def quiet(self: InflightTracker) -> None:
            try:
                step(self)
            except IllegalEvent:
                return

        return quiet

    patch.setattr(InflightTracker, "acquire", shrug(InflightTracker.acquire))
    patch.setattr(InflightTracker, "release", shrug(InflightTracker.release))


@mistake("I1", ComposedCore)
def limit_is_exceeded_by_one(patch: Patch) -> None:
    patch.setattr(executor, "InflightTracker", lambda limit, watermark: InflightTracker(limit + 1, watermark))


@mistake("I2", ComposedCore)
def scheduler_reads_a_count_of_its_own(patch: Patch) -> None:
    patch.setattr(
        executor,
        "BatchScheduler",
        lambda inflight, limits: BatchScheduler(InflightTracker(inflight.limit, inflight.high_watermark), limits),
    )


@mistake("D1", ComposedCore)
def disconnect_is_reclaimed_twice(patch: Patch) -> None:
    disconnect = PostRequestManager.disconnect

    def thorough(self: PostRequestManager) -> list[PostRequest]:
        lost = disconnect(self)
        self.inflight.count = -len(lost)
        return lost

    patch.setattr(PostRequestManager, "disconnect", thorough)


@mistake("D2", ComposedCore)
def disconnect_does_not_tell_the_owners(patch: Patch) -> None:
    def silent(self: ExecutorCore, _: str) -> None:
        for lost in self.posts.disconnect():
            self._post_ended(lost)

    patch.setattr(ExecutorCore, "_lose_open_posts", silent)


@mistake("D3", ComposedCore)
def slot_is_lost_when_the_venue_answers_with_an_error(patch: Patch) -> None:
    with_effect(patch, post, post.POST, PostEvent.FAIL, _complete_and_keep_the_slot)


# ----------------------------------------------------------------------------------------------------------- outcomes


@mistake("X1", ComposedCore)
def timed_out_items_are_sent_again(patch: Patch) -> None:
    def hopeful(self: ExecutorCore, _: ev.TimePassed) -> None:
        for late in self.posts.expire(self._now):
            self._post_ended(late)
            self._take_back(late, "no reply")

    patch.setattr(ExecutorCore, "_on_time_passed", hopeful)


@mistake("X1", ComposedCore)
def unknown_is_reported_as_rejected(patch: Patch) -> None:
    def sure(self: ExecutorCore, lost: PostRequest, reason: str) -> None:
        for item in lost.items:
            self._end_intent(item, IntentEvent.REJECT, Rejected(reason))

    patch.setattr(ExecutorCore, "_lose", sure)


@mistake("X1", ComposedCore)
def broken_hand_over_is_taken_for_refused(patch: Patch) -> None:
    patch.setattr(ExecutorCore, "_on_broken", ExecutorCore._on_refused)


@mistake("X2", ComposedCore)
def spent_nonce_is_taken_for_a_rejection(patch: Patch) -> None:
    patch.setattr(verdict, "SPENT_NONCE", ("no such text",))


@mistake("X2", ComposedCore)
def unknown_gateway_error_is_taken_for_a_refusal(patch: Patch) -> None:
    patch.setattr(verdict, "PROOFS_OF_REFUSAL", "")


@mistake("X4", ComposedCore)
def one_bad_item_hides_the_good_ones(patch: Patch) -> None:
    on_results = verdict._on_results

    def hasty(results: tuple[ItemResult, ...], *facts: Any) -> object:
        judged = on_results(results, *facts)
        bad = [result for result in results if isinstance(result, Rejected)]
        return Answered((bad[0],) * len(judged.results)) if bad and isinstance(judged, Answered) else judged

    patch.setattr(verdict, "_on_results", hasty)


@mistake("X4", ComposedCore)
def one_error_for_the_batch_is_not_understood(patch: Patch) -> None:
    on_results = verdict._on_results

    def literal(results: tuple[ItemResult, ...], kind: Any, items: int) -> object:
        return on_results(results, kind, items) if len(results) == items else verdict.Unclear("count")

    patch.setattr(verdict, "_on_results", literal)


@mistake("X5", ComposedCore)
def error_without_an_id_ends_the_first_post(patch: Patch) -> None:
    on_error = ExecutorCore._on_error

    def guess(self: ExecutorCore, event: ev.ErrorReceived) -> None:
        first = next(iter(self.posts._open), None)
        on_error(self, event if event.post_id is not None else replace(event, post_id=first))

    patch.setattr(ExecutorCore, "_on_error", guess)


@mistake("X6", ComposedCore)
def signed_post_may_be_held_back(patch: Patch) -> None:
    patch.setattr(executor, "_HAND_OVER", (object,))


@mistake("X7", ComposedCore)
def order_stream_closes_an_order_that_has_not_left(patch: Patch) -> None:
    def eager(self: ExecutorCore, event: ev.OrderClosed) -> None:
        self._open_cloids.pop(event.cloid, None)

    patch.setattr(ExecutorCore, "_on_order_closed", eager)


@mistake("X8", ComposedCore)
def benign_rejections_trip_the_hard_stop(patch: Patch) -> None:
    patch.setattr(hard_stop, "BENIGN_REJECTIONS", ())


@mistake("X9", ComposedCore)
def second_flatten_becomes_a_second_order(patch: Patch) -> None:
    submit = ExecutorCore._on_submit

    def forgetful(self: ExecutorCore, event: ev.Submit) -> None:
        self._flattening.clear()
        submit(self, event)

    patch.setattr(ExecutorCore, "_on_submit", forgetful)
