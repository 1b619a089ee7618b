"""A plain model of the executor: what it must tell its shell, event by event.

Written for obviousness, not speed: lists that are searched, sums that are taken anew, one method per event. It shares
no code with the machines but the names of things (requests, outcomes, admissions), and predicts every effect: what is
admitted, what a tick sends under which nonce, which posts end how, and which owners hear what. `world.py` compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile
from typing import Final, TypeAlias

from machines.clock import ManualClock
from machines.executor import CoreSettings
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    ItemResult,
    Modify,
    NotExecuted,
    Order,
    Priority,
    Rejected,
    Request,
    Resting,
    Unknown,
)
from machines.nonce import Drift
from machines.post import PostState
from machines.reply import Accepted, GatewayError, PostReply, Refused
from tests.stateful.venue import BENIGN_TEXTS, DAY_MS, KEY_TEXTS, MARGIN_MS, Proof, Reply

RUN_ID: Final = 0xABC
BACK_OFF_MS: Final = 1_000
MINUTE_MS: Final = 60_000
EXHAUSTED_INTERVAL_MS: Final = 10_000

Ending: TypeAlias = ItemResult | type[NotExecuted] | type[Unknown]
"""How an intent ends; the wording of the last two is the executor's own."""


class Link(Enum):
    """The connection."""

    DOWN = "down"
    DIALING = "dialing"
    UP = "up"
    DRAINING = "draining"
    CLOSED = "closed"


class Key(Enum):
    """What is known of the signing key."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    REFUSED = "refused"


class Place(Enum):
    """Where an item is."""

    WAITING = "waiting"
    POSTED = "posted"
    ENDED = "ended"


@dataclass(eq=False)
class Item:
    """An accepted request.

    Attributes:
        cloid: The client order id of the order, or of the order that a cancel names.
        in_queue: Whether it ever went to a queue; a cancel of a waiting order does not.
        cancel_wanted: Whether a cancel of this order was accepted.
        place: Where it is.
    """

    seq: int
    request: Request
    queue: Priority
    kind: ActionKind
    alo: bool
    cloid: str | None
    in_queue: bool = True
    cancel_wanted: bool = False
    place: Place = Place.WAITING


@dataclass(eq=False)
class Post:
    """A post in hand or in flight."""

    post_id: int
    kind: ActionKind
    items: list[Item]
    epoch: int = 0
    deadline_ms: int = 0


@dataclass
class Told:
    """What the shell is told in answer to one event.

    Attributes:
        admission: The answer to a submit.
        intent: The sequence number of the intent named with it.
        transmit: Post id, nonce and items of the post to be written; None if there is none.
        posts: The posts that ended.
        intents: The intents that ended.
        halts: How often the hard stop was said to trip.
    """

    admission: Admission | None = None
    intent: int | None = None
    transmit: tuple[int, int, list[int]] | None = None
    posts: dict[int, PostState] = field(default_factory=dict)
    intents: dict[int, Ending] = field(default_factory=dict)
    halts: int = 0
    stray: bool = False
    drift: Drift | None = None
    key_refused: bool = False


def alike(first: Item) -> Callable[[Item], bool]:
    """Whether an item may share a post with `first`."""
    return lambda item: (item.kind, item.alo) == (first.kind, first.alo)


class Model:
    """What must be true of the executor."""

    def __init__(self, settings: CoreSettings, clock: ManualClock) -> None:
        self.settings = settings
        self.clock = clock
        self.items: list[Item] = []
        self.queues: dict[Priority, list[Item]] = {priority: [] for priority in Priority}
        self.sent: dict[int, Post] = {}
        self.in_hand: Post | None = None
        self.holders: dict[str, Item] = {}
        self.link = Link.DOWN
        self.ready = False
        self.epoch = 0
        self.synced = False
        self.markets = False
        self.key = Key.UNPROVEN
        self.halted = False
        self.rejected_in_a_row = 0
        self.offset_ms = 0
        self.last_nonce = 0
        self.last_post_id = 0
        self.messages: list[int] = []
        self.silent_until = 0
        self.actions_used = 0
        self.actions_cap: int | None = None
        self.last_action_ms: int | None = None
        self._told = Told()

    # ---------------------------------------------------------------------------------------------- what holds now

    @property
    def now(self) -> int:
        """Monotonic ms."""
        return self.clock.monotonic_ms()

    @property
    def connected(self) -> bool:
        """Whether posts can be written."""
        return self.link in (Link.UP, Link.DRAINING)

    @property
    def server_time_ms(self) -> int:
        """What the executor must take the venue's time for."""
        return self.clock.now_ms() + self.offset_ms

    @property
    def drift(self) -> Drift:
        """The offset, graded."""
        if abs(self.offset_ms) > 5_000:
            return Drift.ERROR
        return Drift.WARN if abs(self.offset_ms) > 2_000 else Drift.OK

    @property
    def new_orders_pass(self) -> bool:
        """Whether new orders may leave, as far as connection, clock and hard stop are concerned."""
        return self.link is Link.UP and self.ready and not self.halted and self.drift is not Drift.ERROR

    def outstanding(self, queue: Priority) -> int:
        """How many items of a queue have no outcome yet."""
        return sum(item.queue is queue and item.in_queue and item.place is not Place.ENDED for item in self.items)

    def queue_of(self, request: Request) -> Priority:
        """The queue that a request belongs to; a modify does not overtake a new order that it replaces."""
        if isinstance(request, Cancel):
            return Priority.CANCEL
        order = request.order if isinstance(request, Modify) else request
        replaced = self.holders.get(request.cloid or "") if isinstance(request, Modify) else None
        behind = replaced is not None and replaced.place is Place.WAITING and replaced.queue is Priority.NEW_ORDER
        closing = (order.reduce_only or order.flatten) and not behind
        return Priority.REDUCE_ONLY if closing else Priority.NEW_ORDER

    def ended(self) -> int:
        """How many intents have an outcome."""
        return sum(item.place is Place.ENDED for item in self.items)

    # ---------------------------------------------------------------------------------------------------- the owner

    def submit(self, request: Request) -> Told:
        told = self._begin()
        running = self._running_flatten(request)
        if running is not None:
            told.admission, told.intent = Admission.ALREADY_FLATTENING, running.seq
            return told
        item = self._item_of(request)
        named = self.holders.get(item.cloid or "") if item.kind is ActionKind.CANCEL_BY_CLOID else None
        if named is not None and named.place is Place.WAITING:
            told.admission, told.intent = Admission.QUEUED, item.seq
            item.in_queue = False
            self.items.append(item)
            self._end(named, NotExecuted)
            self._end(item, Canceled())
            return told
        told.admission = self._admission(item)
        if not told.admission.accepted:
            if told.admission is Admission.QUEUE_FULL and item.queue is Priority.REDUCE_ONLY:
                self._halt()
            return told
        told.intent = item.seq
        self.items.append(item)
        self.queues[item.queue].append(item)
        if named is not None:
            named.cancel_wanted = True
        if item.queue is not Priority.CANCEL:
            self.holders[item.cloid or ""] = item
        return told

    def trip(self) -> Told:
        told = self._begin()
        self._halt()
        return told

    def reset(self) -> Told:
        self.halted = False
        self.rejected_in_a_row = 0
        return self._begin()

    def drain(self) -> Told:
        told = self._begin()
        if self.link is Link.UP:
            self.link = Link.DRAINING
            self._drop(Priority.NEW_ORDER)
        else:
            self._shut()
        return told

    def close(self) -> Told:
        told = self._begin()
        self._lose_sent(self.sent.values())
        self._shut()
        return told

    # ------------------------------------------------------------------------------------------------------ sending

    def tick(self) -> Told:
        told = self._begin()
        if not self.connected or not self._may_speak():
            return told
        if self._key_is_wanted():
            kind, batch = ActionKind.NOOP, []
        else:
            batch = self._next_batch()
            if not batch:
                return told
            kind = batch[0].kind
        nonce = max(self.last_nonce + 1, self.server_time_ms)
        if nonce - self.server_time_ms >= DAY_MS - MARGIN_MS:
            self._halt()
            return told
        self.last_nonce = nonce
        self.last_post_id += 1
        self.in_hand = Post(self.last_post_id, kind, batch)
        for item in batch:
            self.queues[item.queue].remove(item)
        told.transmit = (self.last_post_id, nonce, [item.seq for item in batch])
        return told

    def written(self) -> Told:
        told = self._begin()
        self._register()
        return told

    def refused(self) -> Told:
        told = self._begin()
        post = self._put_down()
        told.posts[post.post_id] = PostState.UNSENT
        for item in post.items:
            if item.queue is Priority.NEW_ORDER:
                self._end(item, NotExecuted)
            else:
                self._return(item)
        return told

    def broken(self) -> Told:
        told = self._begin()
        self._lose_sent([self._register()])
        return told

    def message(self) -> Told:
        self.messages.append(self.now)
        return self._begin()

    # -------------------------------------------------------------------------------------------- from the connection

    def dial(self) -> Told:
        self.link = Link.DIALING
        return self._begin()

    def open(self) -> Told:
        self.link = Link.UP
        self.epoch += 1
        self.synced = False
        return self._begin()

    def lose(self) -> Told:
        told = self._begin()
        self._lose_sent(self.sent.values())
        if self.link is Link.DRAINING:
            self._shut()
        else:
            self.link = Link.DOWN
            self.ready = False
        return told

    def reply(self, reply: Reply, epoch: int) -> Told:
        """`reply` arrives on connection `epoch`."""
        told = self._begin()
        post = self.sent.get(reply.frame.post_id)
        if post is None or post.epoch != epoch:
            told.stray = True
            return told
        del self.sent[post.post_id]
        meaning = reply.meaning
        took = isinstance(reply.content, Accepted) and not isinstance(meaning, Proof)
        told.posts[post.post_id] = PostState.ACKED if took else PostState.FAILED
        if isinstance(reply.content, GatewayError):
            self._be_silent()
        if meaning is Proof.NEVER_RAN:
            self._take_back(post)
        elif meaning is Proof.NOTHING:
            for item in post.items:
                self._end(item, Unknown)
        else:
            if post.kind is ActionKind.NOOP:
                self._judge_key(reply.content)
            for item, result in zip(post.items, meaning, strict=True):
                self._end(item, result)
            self._count_rejections(meaning)
        return told

    def unknown_reply(self) -> Told:
        told = self._begin()
        told.stray = True
        return told

    def error_without_post(self, *, too_many_messages: bool) -> Told:
        if too_many_messages:
            self._be_silent()
        return self._begin()

    def time_passed(self) -> Told:
        told = self._begin()
        due = [post for post in self.sent.values() if post.deadline_ms <= self.now]
        self._lose_sent(due, PostState.TIMED_OUT)
        return told

    def order_closed(self, cloid: str) -> Told:
        holder = self.holders.get(cloid)
        if holder is not None and holder.place is not Place.WAITING:
            del self.holders[cloid]
        return self._begin()

    def server_time(self, server_time_ms: int) -> Told:
        told = self._begin()
        self.offset_ms = server_time_ms - self.clock.now_ms()
        self.last_nonce = max(self.last_nonce, server_time_ms)
        if self.drift is not Drift.OK:
            told.drift = self.drift
        if self.drift is Drift.ERROR:
            self._halt()
        self.synced = self.drift is not Drift.ERROR
        self._maybe_ready()
        return told

    def markets_loaded(self) -> Told:
        self.markets = True
        self._maybe_ready()
        return self._begin()

    def budget(self, used: int, cap: int) -> Told:
        self.actions_used, self.actions_cap = used, cap
        return self._begin()

    # ------------------------------------------------------------------------------------------------------- inside

    def _begin(self) -> Told:
        self._told = Told()
        return self._told

    def _item_of(self, request: Request) -> Item:
        seq = len(self.items) + 1
        queue = self.queue_of(request)
        if isinstance(request, Cancel):
            kind = ActionKind.CANCEL if request.oid is not None else ActionKind.CANCEL_BY_CLOID
            return Item(seq, request, queue, kind, alo=False, cloid=request.cloid)
        order = request.order if isinstance(request, Modify) else request
        kind = ActionKind.MODIFY if isinstance(request, Modify) else ActionKind.ORDER
        alo = order.trigger is None and order.tif == "Alo"
        return Item(seq, request, queue, kind, alo, order.cloid or f"0x{RUN_ID:016x}{seq:016x}")

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
        settings, is_new = self.settings, item.queue is Priority.NEW_ORDER
        full = len(self.sent) >= settings.inflight_limit
        held = len(self.queues[item.queue]) if is_new else self.outstanding(item.queue)
        refusals = (
            (self.epoch == 0 or self.link in (Link.DRAINING, Link.CLOSED), Admission.NOT_READY),
            (item.queue is not Priority.CANCEL and item.cloid in self.holders, Admission.CLOID_IN_USE),
            (is_new and self.halted, Admission.HALTED),
            (is_new and not self.new_orders_pass, Admission.NOT_READY),
            (held >= settings.queues.of(item.queue), Admission.QUEUE_FULL),
            (is_new and full, Admission.INFLIGHT_FULL),
        )
        for applies, refusal in refusals:
            if applies:
                return refusal
        waits = full or not self.connected or (is_new and len(self.sent) >= settings.high_watermark)
        return Admission.QUEUED_DEGRADED if waits else Admission.QUEUED

    def _may_speak(self) -> bool:
        lately = sum(sent > self.now - MINUTE_MS for sent in self.messages)
        return lately < self.settings.messages_per_minute and self.now >= self.silent_until

    def _key_is_wanted(self) -> bool:
        asked = any(post.kind is ActionKind.NOOP for post in self.sent.values())
        proving = self.link is Link.UP and not self.ready and self.key is Key.UNPROVEN
        return proving and not asked and len(self.sent) < self.settings.inflight_limit

    def _next_batch(self) -> list[Item]:
        if len(self.sent) >= self.settings.inflight_limit:
            return []
        exhausted = self.actions_cap is not None and self.actions_used >= self.actions_cap
        too_soon = self.last_action_ms is not None and self.now - self.last_action_ms < EXHAUSTED_INTERVAL_MS
        calm = len(self.sent) < self.settings.high_watermark
        for priority, queue in self.queues.items():
            if priority is Priority.NEW_ORDER and not (self.new_orders_pass and calm and not (exhausted and too_soon)):
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
            item.place = Place.POSTED
        return post

    def _lose_sent(self, posts: Iterable[Post], state: PostState = PostState.DISCONNECTED) -> None:
        for post in list(posts):
            del self.sent[post.post_id]
            self._told.posts[post.post_id] = state
            for item in post.items:
                self._end(item, Unknown)

    def _take_back(self, post: Post) -> None:
        for item in post.items:
            if item.queue is Priority.NEW_ORDER or item.cancel_wanted:
                self._end(item, NotExecuted)
            else:
                self._return(item)

    def _return(self, item: Item) -> None:
        item.place = Place.WAITING
        self.queues[item.queue].append(item)
        self.queues[item.queue].sort(key=lambda waiting: waiting.seq)

    def _end(self, item: Item, ending: Ending) -> None:
        if item in self.queues[item.queue]:
            self.queues[item.queue].remove(item)
        item.place = Place.ENDED
        assert item.seq not in self._told.intents, "the model ends an intent twice"
        self._told.intents[item.seq] = ending
        holder = self.holders.get(item.cloid or "")
        if holder is None:
            return
        canceled = item.queue is Priority.CANCEL and ending == Canceled() and holder.seq < item.seq
        over = holder is item and not (ending is Unknown or isinstance(ending, Resting))
        if canceled or over:
            del self.holders[item.cloid or ""]

    def _count_rejections(self, results: tuple[ItemResult, ...]) -> None:
        reasons = [result.reason for result in results if isinstance(result, Rejected)]
        if len(reasons) < len(results):
            self.rejected_in_a_row = 0
        elif any(reason not in BENIGN_TEXTS for reason in reasons):
            self.rejected_in_a_row += 1
            if self.rejected_in_a_row >= self.settings.rejections_to_halt:
                self._halt()

    def _judge_key(self, content: PostReply) -> None:
        if not isinstance(content, Refused):
            self.key = Key.PROVEN
            self._maybe_ready()
        elif content.reason in KEY_TEXTS:
            self.key = Key.REFUSED
            self._told.key_refused = True
        else:
            self._be_silent()

    def _maybe_ready(self) -> None:
        if self.link is Link.UP and self.synced and self.markets and self.key is Key.PROVEN:
            self.ready = True

    def _halt(self) -> None:
        if not self.halted:
            self._told.halts += 1
        self.halted = True
        self._drop(Priority.NEW_ORDER)

    def _drop(self, *queues: Priority) -> None:
        for queue in queues:
            for item in list(self.queues[queue]):
                self._end(item, NotExecuted)

    def _shut(self) -> None:
        self.link = Link.CLOSED
        self.ready = False
        self._drop(*Priority)

    def _be_silent(self) -> None:
        self.silent_until = max(self.silent_until, self.now + BACK_OFF_MS)
