"""A plain model of the executor: what it must tell its shell, event by event.

It predicts every effect: what is admitted, what a tick sends under which nonce, which posts end how, which owners hear
what, which look-ups are asked for, and which alarms are raised. `world.py` compares. This half knows the owner, the
sending and the session; `settling.py` knows what the answers prove, `ledger.py` what is where.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Final

from machines.clock import ManualClock
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    Modify,
    NotExecuted,
    Order,
    Priority,
    Request,
)
from machines.nonce import Drift
from machines.post import PostState
from machines.settings import CoreSettings
from tests.stateful.ledger import Item, Key, Link, Place, Post, Told
from tests.stateful.settling import Settling
from tests.stateful.venue import DAY_MS, MARGIN_MS

MINUTE_MS: Final = 60_000
EXHAUSTED_INTERVAL_MS: Final = 10_000
_EXPIRING: Final = (ActionKind.ORDER, ActionKind.MODIFY)


def alike(first: Item) -> Callable[[Item], bool]:
    """Whether an item may share a post with `first`."""
    return lambda item: (item.kind, item.alo) == (first.kind, first.alo)


class Model(Settling):
    """What must be true of the executor.

    Attributes:
        run_id: The first half of the cloids that it allots.
        ahead_ms: The venue's time less the monotonic clock, as it said itself; None before it was heard.
    """

    def __init__(self, settings: CoreSettings, clock: ManualClock, run_id: int, last: tuple[int, int, int]) -> None:
        """`last`: the highest nonce, post id and intent number of earlier runs."""
        super().__init__(settings, clock)
        self.run_id = run_id
        self.last_nonce, self.last_post_id, self.last_seq = last
        self.epoch = 0
        self.synced = False
        self.markets = False
        self.offset_ms = 0
        self.ahead_ms: int | None = None
        self.messages: list[int] = []
        self.actions_used = 0
        self.actions_cap: int | None = None
        self.last_action_ms: int | None = None

    # ---------------------------------------------------------------------------------------------- what holds now

    @property
    def connected(self) -> bool:
        """Whether posts can be written."""
        return self.link in (Link.UP, Link.DRAINING)

    @property
    def ready(self) -> bool:
        """Whether all is known that new orders wait for, and everything of earlier runs is settled."""
        settled = not any(attempt.earlier for attempt in self.attempts.values())
        return self.link is Link.UP and self.synced and self.markets and self.key is Key.PROVEN and settled

    @property
    def server_time_ms(self) -> int:
        """What the executor must take the venue's time for."""
        return self.clock.now_ms() + self.offset_ms

    @property
    def venue_time_ms(self) -> int | None:
        """The venue's time by its own word, however the local clock is stepped (rule 11)."""
        return None if self.ahead_ms is None else self.now + self.ahead_ms

    @property
    def drift(self) -> Drift:
        """The offset, graded."""
        if abs(self.offset_ms) > 5_000:
            return Drift.ERROR
        return Drift.WARN if abs(self.offset_ms) > 2_000 else Drift.OK

    @property
    def new_orders_pass(self) -> bool:
        """Whether new orders may leave, as far as connection, clock and hard stop are concerned."""
        return self.ready and not self.halted and self.drift is not Drift.ERROR

    def queue_of(self, request: Request) -> Priority:
        """The queue that a request belongs to; a modify does not overtake a new order that it replaces."""
        if isinstance(request, Cancel):
            return Priority.CANCEL
        order = request.order if isinstance(request, Modify) else request
        replaced = self.holders.get(request.cloid or "") if isinstance(request, Modify) else None
        behind = replaced is not None and replaced.place is Place.WAITING and replaced.queue is Priority.NEW_ORDER
        closing = (order.reduce_only or order.flatten) and not behind
        return Priority.REDUCE_ONLY if closing else Priority.NEW_ORDER

    # ---------------------------------------------------------------------------------------------------- the owner

    def submit(self, request: Request) -> Told:
        """The owner submits."""
        told = self._begin()
        running = self._running_flatten(request)
        if running is not None:
            told.admission, told.intent = Admission.ALREADY_FLATTENING, running.seq
            return told
        item = self._item_of(request)
        named = self.target(item)
        if named is not None and named.place is Place.WAITING:
            told.admission, told.intent = Admission.QUEUED, item.seq
            item.in_queue = False
            self.last_seq = item.seq
            self._accept(item)
            self._end(named, NotExecuted)
            self._end(item, Canceled())
            return told
        told.admission = self._admission(item)
        if not told.admission.accepted:
            if told.admission is Admission.QUEUE_FULL and item.queue is Priority.REDUCE_ONLY:
                self._halt()
            return told
        told.intent = self.last_seq = item.seq
        self._accept(item)
        self.queues[item.queue].append(item)
        if named is not None:
            named.cancel_wanted = True
        return told

    def trip(self) -> Told:
        """The operator stops new orders."""
        told = self._begin()
        self._halt()
        return told

    def reset(self) -> Told:
        """The operator lets them pass again."""
        self.halted = False
        self.rejected_in_a_row = 0
        return self._begin()

    def drain(self) -> Told:
        """The executor is to shut down."""
        told = self._begin()
        if self.link is Link.UP:
            self.link = Link.DRAINING
            self._drop(Priority.NEW_ORDER)
        else:
            self._shut()
        return told

    def close(self) -> Told:
        """Draining is over."""
        told = self._begin()
        self._lose_posts(self.sent.values())
        self._shut()
        return told

    def _item_of(self, request: Request) -> Item:
        seq = self.last_seq + 1
        queue = self.queue_of(request)
        if isinstance(request, Cancel):
            kind = ActionKind.CANCEL if request.oid is not None else ActionKind.CANCEL_BY_CLOID
            return Item(seq, request, queue, kind, alo=False, cloid=request.cloid)
        order = request.order if isinstance(request, Modify) else request
        kind = ActionKind.MODIFY if isinstance(request, Modify) else ActionKind.ORDER
        alo = order.trigger is None and order.tif == "Alo"
        return Item(seq, request, queue, kind, alo, order.cloid or f"0x{self.run_id:016x}{seq:016x}")

    def _running_flatten(self, request: Request) -> Item | None:
        if not (isinstance(request, Order) and request.flatten):
            return None
        running = (
            item
            for item in self.items
            if isinstance(item.request, Order)
            and item.request.flatten
            and item.request.market == request.market
            and item.place is not Place.ENDED
        )
        return next(running, None)

    def _admission(self, item: Item) -> Admission:
        is_new = item.queue is Priority.NEW_ORDER
        held = len(self.queues[item.queue]) if is_new else self.outstanding(item.queue)
        replaced = item.request.cloid if isinstance(item.request, Modify) else None
        taken = item.cloid in self.known or item.cloid == replaced
        refusals = (
            (self.epoch == 0 or self.link in (Link.DRAINING, Link.CLOSED), Admission.NOT_READY),
            (item.queue is not Priority.CANCEL and taken, Admission.CLOID_IN_USE),
            (is_new and self.halted, Admission.HALTED),
            (is_new and not self.new_orders_pass, Admission.NOT_READY),
            (is_new and item.market in self.blocked, Admission.MARKET_BLOCKED),
            (held >= self.settings.queues.of(item.queue), Admission.QUEUE_FULL),
            (is_new and self.full, Admission.INFLIGHT_FULL),
        )
        for applies, refusal in refusals:
            if applies:
                return refusal
        waits = self.full or not self.connected or (is_new and self.degraded)
        return Admission.QUEUED_DEGRADED if waits else Admission.QUEUED

    # ------------------------------------------------------------------------------------------------------ sending

    def tick(self) -> Told:
        """What goes out next: the key's proof, a fence, or a batch."""
        told = self._begin()
        if not self.connected or not self._may_speak():
            return told
        fenced = None if self.queues[Priority.CANCEL] else self._fence_wanted()
        if self._key_is_wanted():
            self._take(ActionKind.NOOP, [])
        elif self._switch_is_wanted():
            self._take(ActionKind.SCHEDULE_CANCEL, [])
        elif fenced is not None:
            self.last_post_id += 1
            self.in_hand = Post(self.last_post_id, fenced.nonce, ActionKind.NOOP, [], fence_of=fenced.post_id)
            self.attempts[fenced.post_id].fence = self.last_post_id
        elif batch := self._next_batch():
            self._take(batch[0].kind, batch)
        post = self.in_hand
        if post is not None:
            items = [item.seq for item in post.items]
            told.transmit = (post.post_id, post.nonce, items, post.expires_ms, post.fence_of)
        return told

    def written(self) -> Told:
        """The post in hand was written."""
        told = self._begin()
        self._register()
        return told

    def refused(self) -> Told:
        """The post in hand was refused before any byte."""
        told = self._begin()
        post = self._put_down()
        told.posts[post.post_id] = PostState.UNSENT
        self._switch_failed(post)
        self._fence_failed(post)
        for item in post.items:
            if item.queue is Priority.NEW_ORDER:
                self._end(item, NotExecuted)
            else:
                self._return(item)
        return told

    def broken(self) -> Told:
        """The hand-over broke off."""
        told = self._begin()
        self._lose_posts([self._register()])
        return told

    def message(self) -> Told:
        """A message that is no post was written."""
        self.messages.append(self.now)
        return self._begin()

    def _take(self, kind: ActionKind, batch: list[Item]) -> None:
        """A post in hand with the next nonce; without a legal one, trading halts."""
        now = self.server_time_ms
        nonce = max(self.last_nonce + 1, now)
        if nonce - now >= DAY_MS - MARGIN_MS:
            self._halt()
            return
        life = self.settings.expires_after_ms if kind in _EXPIRING else None
        expires = None if life is None else (self.venue_time_ms or now) + life
        self.last_nonce = nonce
        self.last_post_id += 1
        self.in_hand = Post(self.last_post_id, nonce, kind, batch, expires)
        for item in batch:
            self.queues[item.queue].remove(item)
        if kind is ActionKind.SCHEDULE_CANCEL:
            self.renew_ms = self.now + (self.settings.schedule_cancel_ms or 0) // 2

    def _may_speak(self) -> bool:
        lately = sum(sent > self.now - MINUTE_MS for sent in self.messages)
        return lately < self.settings.messages_per_minute and self.now >= self.silent_until

    def _key_is_wanted(self) -> bool:
        asked = any(post.kind is ActionKind.NOOP and post.fence_of is None for post in self.sent.values())
        proving = self.link is Link.UP and not self.ready and self.key is Key.UNPROVEN
        return proving and not asked and not self.full

    def _switch_is_wanted(self) -> bool:
        under_way = any(post.kind is ActionKind.SCHEDULE_CANCEL for post in self.sent.values())
        healthy = self.ready and not self.halted and not self.full
        return self.settings.schedule_cancel_ms is not None and healthy and not under_way and self.now >= self.renew_ms

    def _fence_wanted(self) -> Post | None:
        """The oldest post that wants a fence; those of new orders wait at the high watermark (rules 3 and 18)."""
        for attempt in self.attempts.values():
            wanted = attempt.fenceable and attempt.searches is None and attempt.fence is None
            if wanted and not self.full and not (self.degraded and attempt.queue is Priority.NEW_ORDER):
                return attempt.post
        return None

    def _next_batch(self) -> list[Item]:
        if self.full:
            return []
        exhausted = self.actions_cap is not None and self.actions_used >= self.actions_cap
        too_soon = self.last_action_ms is not None and self.now - self.last_action_ms < EXHAUSTED_INTERVAL_MS
        pass_now = self.new_orders_pass and not self.degraded and not (exhausted and too_soon)
        for priority, queue in self.queues.items():
            if priority is Priority.NEW_ORDER and not pass_now:
                return []
            if queue:
                return list(takewhile(alike(queue[0]), queue))[: self.settings.queues.batch]
        return []

    def _put_down(self) -> Post:
        post = self.in_hand
        assert post is not None, "the world reports a hand-over while nothing is in hand"
        self.in_hand = None
        return post

    def _register(self) -> Post:
        post = self._put_down()
        post.epoch = self.epoch
        post.deadline_ms = self.now + self.settings.post_timeout_ms
        self.sent[post.post_id] = post
        self.messages.append(self.now)
        self.actions_used += max(1, len(post.items))
        self.last_action_ms = self.now
        for item in post.items:
            target = self.target(item)
            item.overtook = target is not None and target.place in (Place.POSTED, Place.UNKNOWN)
        for item in post.items:
            item.place = Place.POSTED
            item.posts.append(post.post_id)
        return post

    # ------------------------------------------------------------------------------------------- connection and time

    def dial(self) -> Told:
        """A connection attempt begins."""
        self.link = Link.DIALING
        return self._begin()

    def open(self) -> Told:
        """It succeeds."""
        self.link = Link.UP
        self.epoch += 1
        self.synced = False
        return self._begin()

    def lose(self) -> Told:
        """The connection, or the attempt, is gone."""
        told = self._begin()
        draining = self.link is Link.DRAINING
        self.link = Link.DOWN
        self._lose_posts(self.sent.values())
        if draining:
            self._shut()
        return told

    def error_without_post(self, *, too_many_messages: bool) -> Told:
        """An error frame that names no post."""
        if too_many_messages:
            self._be_silent()
        return self._begin()

    def time_passed(self) -> Told:
        """Deadlines are looked at."""
        told = self._begin()
        due = [post for post in self.sent.values() if post.deadline_ms <= self.now]
        self._lose_posts(due, PostState.TIMED_OUT)
        for post in [post for post in self.quarantine.values() if post.free_ms <= self.now]:
            del self.quarantine[post.post_id]
        self._settle_in_time(self.venue_time_ms)
        return told

    def server_time(self, server_time_ms: int) -> Told:
        """The server's time is learnt."""
        told = self._begin()
        self.offset_ms = server_time_ms - self.clock.now_ms()
        self.ahead_ms = server_time_ms - self.now
        self.last_nonce = max(self.last_nonce, server_time_ms)
        if self.drift is not Drift.OK:
            told.drift = self.drift
        if self.drift is Drift.ERROR:
            self._halt()
        self.synced = self.ready or self.drift is not Drift.ERROR
        return told

    def markets_loaded(self) -> Told:
        """The markets are known."""
        self.markets = True
        return self._begin()

    def budget(self, used: int, cap: int) -> Told:
        """The address's budget is reported."""
        self.actions_used, self.actions_cap = used, cap
        return self._begin()

    def _shut(self) -> None:
        """Nothing more will be sent; what may have run is left for the next run."""
        self.link = Link.CLOSED
        self._drop(*Priority)
        for item in [item for item in self.items if item.place is Place.HELD and not item.lost]:
            self._end(item, NotExecuted)
        self._told.unsettled = {item.seq for item in self.items if item.place is not Place.ENDED}
