"""The mistakes of nonces, queues, posts and slots (findings.md: N, B, P, I, D), each as a patch that puts it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from machines import events as ev
from machines import executor, nonce, post
from machines.batch import PRIORITIES, Batch, BatchScheduler
from machines.errors import IllegalEvent
from machines.executor import ExecutorCore
from machines.inflight import InflightTracker
from machines.intent import Admission, Intent, Priority
from machines.nonce import Drift, NonceManager
from machines.post import PostEvent, PostRequest, PostRequestManager
from machines.reply import PostReply
from tests.stateful.composed import ComposedCore
from tests.stateful.mistake import Patch, mistake, with_effect
from tests.stateful.nonces import Nonces
from tests.stateful.posts import Posts
from tests.stateful.queues import Queues
from tests.stateful.settlements import Settlements
from tests.stateful.slots import Slots

# --------------------------------------------------------------------------------------------------------- nonces


@mistake("N1", by=Nonces)
def nonce_is_issued_outside_the_window(patch: Patch) -> None:
    """A nonce is issued though it lies further ahead than the venue takes."""
    patch.setattr(nonce, "WINDOW_FUTURE_MS", 100 * nonce.DAY_MS)


@mistake("N1", by=ComposedCore)
def counter_starts_at_0(patch: Patch) -> None:
    """Nonces count up from the last one, without a look at the time."""
    patch.setattr(NonceManager, "approx_server_time_ms", lambda self: self.last)


@mistake("N2", by=Nonces)
def nonce_is_plainly_last_plus_1(patch: Patch) -> None:
    """The next nonce is the last one plus 1, whatever the time."""

    def plain(self: NonceManager) -> int:
        self._last += 1
        return self._last

    patch.setattr(NonceManager, "next", plain)


@mistake("N2", by=ComposedCore)
def nonce_is_plain_clock_time(patch: Patch) -> None:
    """The nonce is the clock's time, so that two within one ms are equal."""
    patch.setattr(NonceManager, "next", NonceManager.approx_server_time_ms)


@mistake("N3", by=Nonces)
def sync_leaves_the_counter_behind(patch: Patch) -> None:
    """A sync stores the offset only."""

    def store_the_offset(self: NonceManager, server_time_ms: int) -> Drift:
        self._offset_ms = server_time_ms - self.clock.now_ms()
        return self.drift

    patch.setattr(NonceManager, "sync", store_the_offset)


@mistake("N4", by=Nonces)
def offset_has_the_wrong_sign(patch: Patch) -> None:
    """The server's time is taken for local time less the offset."""
    patch.setattr(NonceManager, "approx_server_time_ms", lambda self: self.clock.now_ms() - self.offset_ms)


@mistake("N5", by=Nonces)
def two_threads_get_one_nonce(patch: Patch) -> None:
    """The counter is read and written without a lock."""

    def unguarded(self: NonceManager) -> int:
        last = self._last
        self._last = max(last + 1, self.approx_server_time_ms())
        return self._last

    patch.setattr(NonceManager, "next", unguarded)


@mistake("N5", by=Nonces)
def nonce_falls_with_the_clock(patch: Patch) -> None:
    """A clock that runs backwards takes the nonce with it."""

    def forgetful(self: NonceManager) -> int:
        self._last = self.approx_server_time_ms()
        return self._last

    patch.setattr(NonceManager, "next", forgetful)


@mistake("N5", by=Nonces)
def drift_of_5001_ms_is_accepted(patch: Patch) -> None:
    """A clock that is 5001 ms off is not off by too much."""
    patch.setattr(nonce, "DRIFT_ERROR_MS", 5_001)


# ------------------------------------------------------------------------------------------------ queues and batches


@mistake("B1", by=Queues)
def cancels_of_both_kinds_share_a_post(patch: Patch) -> None:
    """A batch is whatever waits first, of any kind."""

    def take_anything(self: BatchScheduler, priority: Priority, queue: dict[int, Intent]) -> Batch:
        items = list(queue.values())[: self.limits.batch]
        for item in items:
            del queue[item.seq]
        return Batch(priority, items[0].kind, tuple(items))

    patch.setattr(BatchScheduler, "_take", take_anything)


@mistake("B1", by=ComposedCore)
def a_tick_sends_two_posts(patch: Patch) -> None:
    """A tick transmits a second batch when one more waits."""
    tick = ExecutorCore._on_tick

    def greedy(self: ExecutorCore, event: ev.Tick) -> None:
        tick(self, event)
        first, self.posts.in_hand = self.posts.in_hand, None
        if first is not None:
            tick(self, event)
        self.posts.in_hand = first

    patch.setattr(ExecutorCore, "_on_tick", greedy)


@mistake("B2", by=Queues)
def tick_takes_the_slot(patch: Patch) -> None:
    """The scheduler takes the slot when it gives a batch."""
    tick = BatchScheduler.tick

    def greedy(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        given = tick(self, new_orders=new_orders)
        if given is not None:
            self._inflight.acquire()
        return given

    patch.setattr(BatchScheduler, "tick", greedy)


@mistake("B2", by=ComposedCore)
def tick_drops_part_of_its_batch(patch: Patch) -> None:
    """Only the first item of a batch is sent, and the others are in no queue any more."""
    tick = BatchScheduler.tick

    def forgetful(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        given = tick(self, new_orders=new_orders)
        return given and replace(given, items=given.items[:1])

    patch.setattr(BatchScheduler, "tick", forgetful)


@mistake("B3", by=ComposedCore)
def cancel_queue_is_unbounded(patch: Patch) -> None:
    """Cancels are admitted without a limit."""
    patch.setattr(
        executor,
        "BatchScheduler",
        lambda inflight, limits: BatchScheduler(inflight, replace(limits, cancel=10**6)),
    )


@mistake("B4", by=ComposedCore)
def degraded_is_reported_as_queued(patch: Patch) -> None:
    """An order that has to wait for slots is answered like one that has not."""
    enqueue = BatchScheduler.enqueue

    def cheerful(self: BatchScheduler, intent: Intent) -> Admission:
        answer = enqueue(self, intent)
        return Admission.QUEUED if answer is Admission.QUEUED_DEGRADED else answer

    patch.setattr(BatchScheduler, "enqueue", cheerful)


@mistake("B4", by=ComposedCore)
def order_is_returned_unqueued(patch: Patch) -> None:
    """Over the watermark an order is called queued, and is in no queue."""
    enqueue = BatchScheduler.enqueue

    def polite(self: BatchScheduler, intent: Intent) -> Admission:
        return Admission.QUEUED if self._inflight.degraded else enqueue(self, intent)

    patch.setattr(BatchScheduler, "enqueue", polite)


@mistake("B5", by=ComposedCore)
def one_queue_for_reduce_only_and_new_orders(patch: Patch) -> None:
    """Reduce-only orders wait behind new orders that came before them."""

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


@mistake("B5", by=Settlements)
def degraded_mode_holds_reduce_only_back(patch: Patch) -> None:
    """Over the watermark, reduce-only orders wait like new ones."""
    tick = BatchScheduler.tick

    def timid(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        held = self._inflight.degraded and not self.queued(Priority.CANCEL)
        return None if held else tick(self, new_orders=new_orders)

    patch.setattr(BatchScheduler, "tick", timid)


@mistake("B5", by=ComposedCore)
def hard_stop_holds_reduce_only_back(patch: Patch) -> None:
    """While the hard stop is tripped, nothing is sent at all."""
    tick = ExecutorCore._on_tick
    patch.setattr(ExecutorCore, "_on_tick", lambda self, event: None if self.hard_stop.tripped else tick(self, event))


@mistake("B6", by=Queues)
def cancel_is_sent_at_the_limit(patch: Patch) -> None:
    """A cancel is given to be sent though no slot is free."""
    tick = BatchScheduler.tick

    def urgent(self: BatchScheduler, *, new_orders: bool) -> Batch | None:
        cancels = self._queues[Priority.CANCEL]
        return self._take(Priority.CANCEL, cancels) if cancels else tick(self, new_orders=new_orders)

    patch.setattr(BatchScheduler, "tick", urgent)


@mistake("B7", by=ComposedCore)
def another_nonce_may_be_signed(patch: Patch) -> None:
    """A post is registered though another nonce than its own was signed."""

    def trusting(made: PostRequest, inflight: InflightTracker, signed_nonce: int, epoch: int, deadline_ms: int) -> None:
        post._register(made, inflight, made.nonce, epoch, deadline_ms)
        made.signed_nonce = signed_nonce

    with_effect(patch, post, post.POST, PostEvent.SEND, trusting)


@mistake("B7", by=ComposedCore)
def nonces_are_allotted_in_two_places(patch: Patch) -> None:
    """Registering a post allots one more nonce, which nobody signs."""
    register = ExecutorCore._register

    def wasteful(self: ExecutorCore, event: ev.PostWritten) -> PostRequest:
        self.nonces.next()
        return register(self, event)

    patch.setattr(ExecutorCore, "_register", wasteful)


# ------------------------------------------------------------------------------------------------------ life of a post


@mistake("P1", by=ComposedCore)
def post_is_counted_before_it_is_sent(patch: Patch) -> None:
    """The slot is taken when the post is made, and not when it is written."""
    prepare = PostRequestManager.prepare

    def early(self: PostRequestManager, *facts: Any, **more: Any) -> PostRequest:
        self.inflight.acquire()
        return prepare(self, *facts, **more)

    def uncounted(made: PostRequest, inflight: InflightTracker, **facts: int) -> None:
        post._register(made, inflight, **facts)
        inflight.release()

    patch.setattr(PostRequestManager, "prepare", early)
    with_effect(patch, post, post.POST, PostEvent.SEND, uncounted)


@mistake("P1", by=Posts)
def post_is_registered_before_it_is_counted(patch: Patch) -> None:
    """A post is called sent before its slot is taken, so that it stays so if there is none."""
    sent = PostRequestManager.sent

    def hasty(self: PostRequestManager, post_id: int, *facts: int) -> PostRequest:
        if self.in_hand is not None and self.in_hand.post_id == post_id and self.inflight.full:
            self._open[post_id] = self.in_hand
        return sent(self, post_id, *facts)

    patch.setattr(PostRequestManager, "sent", hasty)


@mistake("P2", by=ComposedCore)
def second_reply_releases_a_second_slot(patch: Patch) -> None:
    """A reply for no open post gives a slot back all the same."""
    on_reply = ExecutorCore._on_reply

    def generous(self: ExecutorCore, event: ev.ReplyReceived) -> None:
        if self.posts.find(event.post_id, event.epoch) is None and self.inflight.count:
            self.inflight.release()
        on_reply(self, event)

    patch.setattr(ExecutorCore, "_on_reply", generous)


@mistake("P3", by=Posts)
def timeout_leaks_the_slot(patch: Patch) -> None:
    """A post that timed out keeps its slot for ever."""
    with_effect(patch, post, post.POST, PostEvent.TIME_OUT, _complete_and_keep_the_slot)


@mistake("P3", by=ComposedCore)
def send_error_leaks_the_slot(patch: Patch) -> None:
    """A hand-over that broke off takes one slot more than it gives back."""
    on_broken = ExecutorCore._on_broken

    def leaking(self: ExecutorCore, event: ev.SendBroken) -> None:
        on_broken(self, event)
        self.inflight.acquire()

    patch.setattr(ExecutorCore, "_on_broken", leaking)


def _complete_and_keep_the_slot(made: PostRequest, inflight: InflightTracker, **facts: Any) -> None:
    post._complete(made, inflight, **facts)
    inflight.acquire()


@mistake("P4", by=Settlements, rules=(14,))
def rule_14_a_reply_counts_whatever_its_connection(patch: Patch) -> None:
    """A reply that a dead connection still brings ends the post of a new one."""
    patch.setattr(PostRequestManager, "find", lambda self, post_id, epoch: self._open.get(post_id))


@mistake("P4", by=ComposedCore)
def replies_are_correlated_by_their_order(patch: Patch) -> None:
    """A reply is taken to be that of the oldest open post."""
    answered = ExecutorCore._answered

    def in_turn(self: ExecutorCore, post_id: int, epoch: int, reply: PostReply) -> None:
        answered(self, next(iter(self.posts._open), post_id), epoch, reply)

    patch.setattr(ExecutorCore, "_answered", in_turn)


@mistake("P5", by=Posts)
def unsent_post_gives_a_slot_back(patch: Patch) -> None:
    """A post that was refused before any byte gives back a slot that it never took."""
    refused = PostRequestManager.refused

    def generous(self: PostRequestManager, post_id: int) -> PostRequest:
        if self.inflight.count:
            self.inflight.release()
        return refused(self, post_id)

    patch.setattr(PostRequestManager, "refused", generous)


@mistake("P6", by=Settlements)
def first_post_delays_later_timeouts(patch: Patch) -> None:
    """Each look at the clock ends one post at the most."""

    def one_by_one(self: PostRequestManager, now: int) -> list[PostRequest]:
        due = [made for made in self._open.values() if made.deadline_ms <= now][:1]
        for made in due:
            self.end(made, PostEvent.TIME_OUT, now)
        return due

    patch.setattr(PostRequestManager, "expire", one_by_one)


@mistake("P7", by=Queues, rules=(17,))
def rule_17_a_batch_comes_back_at_the_tail(patch: Patch) -> None:
    """Items that come back go to the end of their queue."""
    patch.setattr(
        BatchScheduler,
        "requeue",
        lambda self, items: self._queues[items[0].priority].update((item.seq, item) for item in items),
    )


@mistake("P7", by=Queues, rules=(17,))
def rule_17_a_batch_comes_back_at_the_head(patch: Patch) -> None:
    """Items that come back go before all others, even before those that came back earlier and are older."""

    def to_the_head(self: BatchScheduler, items: tuple[Intent, ...]) -> None:
        for item in reversed(items):
            self._queues[item.priority][item.seq] = item
            self._queues[item.priority].move_to_end(item.seq, last=False)

    patch.setattr(BatchScheduler, "requeue", to_the_head)


@mistake("P7", by=Queues)
def batch_comes_back_reversed(patch: Patch) -> None:
    """Items come back to the head of their queue, the last one first."""

    def reverse(self: BatchScheduler, items: tuple[Intent, ...]) -> None:
        for item in items:
            self._queues[item.priority][item.seq] = item
            self._queues[item.priority].move_to_end(item.seq, last=False)

    patch.setattr(BatchScheduler, "requeue", reverse)


@mistake("P7", by=ComposedCore)
def batch_is_dropped_on_a_send_error(patch: Patch) -> None:
    """The items of a post that was not sent are in no queue, and have no outcome."""
    patch.setattr(ExecutorCore, "_on_refused", lambda self, event: self._post_ended(self.posts.refused(event.post_id)))


# ------------------------------------------------------------------------------------------------- the inflight count


@mistake("I1", by=Slots)
def count_saturates_silently(patch: Patch) -> None:
    """Taking a slot at the limit, or giving one back at 0, is ignored."""

    def shrug(step: Callable[[InflightTracker], None]) -> Callable[[InflightTracker], None]:
        def quiet(self: InflightTracker) -> None:
            try:
                step(self)
            except IllegalEvent:
                return

        return quiet

    patch.setattr(InflightTracker, "acquire", shrug(InflightTracker.acquire))
    patch.setattr(InflightTracker, "release", shrug(InflightTracker.release))


@mistake("I1", by=ComposedCore)
def limit_is_exceeded_by_one(patch: Patch) -> None:
    """One slot more than the limit may be taken."""
    patch.setattr(executor, "InflightTracker", lambda limit, watermark: InflightTracker(limit + 1, watermark))


@mistake("I2", by=ComposedCore)
def scheduler_reads_a_count_of_its_own(patch: Patch) -> None:
    """The scheduler has an inflight count that nobody else moves."""
    patch.setattr(
        executor,
        "BatchScheduler",
        lambda inflight, limits: BatchScheduler(InflightTracker(inflight.limit, inflight.high_watermark), limits),
    )


@mistake("D1", by=Settlements)
def disconnect_is_reclaimed_twice(patch: Patch) -> None:
    """A disconnect gives back the slots, and then takes them off the count once more."""
    disconnect = PostRequestManager.disconnect

    def thorough(self: PostRequestManager, now: int) -> list[PostRequest]:
        lost = disconnect(self, now)
        self.inflight.count = -len(lost)
        return lost

    patch.setattr(PostRequestManager, "disconnect", thorough)


@mistake("D2", by=Settlements)
def disconnect_does_not_tell_the_owners(patch: Patch) -> None:
    """Posts end with their connection, and nobody asks what became of their items."""

    def silent(self: ExecutorCore, _: str) -> None:
        for lost in self.posts.disconnect(self._now):
            self._post_ended(lost)

    patch.setattr(ExecutorCore, "_lose_open_posts", silent)


@mistake("D3", by=ComposedCore)
def slot_is_lost_when_the_venue_answers_with_an_error(patch: Patch) -> None:
    """An error reply leaves the slot taken."""
    with_effect(patch, post, post.POST, PostEvent.FAIL, _complete_and_keep_the_slot)


@mistake("D3", "X3", by=Settlements)
def quarantine_never_ends_by_time(patch: Patch) -> None:
    """Slots of posts that are never answered stay occupied for ever: a deadlock."""
    patch.setattr(PostRequestManager, "expire_quarantine", lambda self, now: [])
