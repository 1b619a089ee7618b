"""What the reference model knows: items, posts and attempts, and the few things that move them.

Written for obviousness, not speed: lists that are searched, sums that are taken anew. It shares no code with the
machines but the names of things (requests, outcomes, admissions).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from machines.clock import ManualClock
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    ItemResult,
    NotExecuted,
    Order,
    Priority,
    Rejected,
    Request,
    Resting,
)
from machines.nonce import Drift
from machines.post import PostState
from machines.reply import PostReply, Refused
from machines.settings import CoreSettings
from tests.stateful.venue import KEY_TEXTS

LOOK_UP_EVERY_MS: Final = 1_100
BACK_OFF_MS: Final = 1_000

Ending: TypeAlias = ItemResult | type[NotExecuted] | type[Rejected]
"""How an intent ends; as a type alone where the wording is the executor's own."""


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

    WAITING = "waiting in its queue"
    POSTED = "posted"
    UNKNOWN = "unknown"
    HELD = "a cancel that is held until the fate of its order is known"
    ENDED = "ended"


UNDER_WAY: Final = (Place.POSTED, Place.UNKNOWN)


@dataclass(eq=False)
class Item:
    """An accepted request.

    Attributes:
        cloid: The client order id of the order, or of the order that a cancel names.
        in_queue: Whether it ever went to a queue; a cancel of a waiting order does not.
        cancel_wanted: Whether a cancel of this order was accepted.
        lost: For a cancel: whether an earlier post of it may have done it.
        overtook: For a cancel: whether the fate of its order was open when it was last written.
        place: Where it is.
        ending: How it ended; None while it has not.
        posts: The posts that carried it.
    """

    seq: int
    request: Request
    queue: Priority
    kind: ActionKind
    alo: bool
    cloid: str | None
    in_queue: bool = True
    cancel_wanted: bool = False
    lost: bool = False
    overtook: bool = False
    place: Place = Place.WAITING
    ending: Ending | None = None
    posts: list[int] = field(default_factory=list)

    @property
    def rests(self) -> bool:
        """Whether it ended with its order on the book."""
        return isinstance(self.ending, Resting)

    @property
    def market(self) -> str:
        """The market that it concerns."""
        request = self.request
        return request.market if isinstance(request, Cancel | Order) else request.order.market


@dataclass(eq=False)
class Post:
    """A post in hand, in flight, in quarantine, or ambiguous."""

    post_id: int
    nonce: int
    kind: ActionKind
    items: list[Item]
    expires_ms: int | None = None
    fence_of: int | None = None
    epoch: int = 0
    deadline_ms: int = 0
    free_ms: int = 0

    @property
    def queue(self) -> Priority | None:
        """The queue that its items came from."""
        return self.items[0].queue if self.items else None


@dataclass(eq=False)
class Search:
    """The look-ups of one item."""

    due_ms: int
    misses: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Attempt:
    """An ambiguous post.

    Attributes:
        items: Those without a fate.
        fenceable: Whether the key is still the one that signed it.
        earlier: Whether an earlier run left it.
        may_be_answered: Whether its own reply may still come.
        fence: The fence under way.
        searches: The look-ups of its items, by sequence number; None while its nonce is not known to be spent.
        overdue: Whether the alarm was raised.
        refused: Cancels that were refused for another reason than a missing order.
    """

    post: Post
    queue: Priority | None
    items: list[Item]
    opened_ms: int
    fenceable: bool = True
    earlier: bool = False
    may_be_answered: bool = True
    fence: int | None = None
    searches: dict[int, Search] | None = None
    overdue: bool = False
    refused: set[int] = field(default_factory=set)


@dataclass
class Told:
    """What the shell is told in answer to one event.

    Attributes:
        admission: The answer to a submit.
        intent: The sequence number of the intent named with it.
        transmit: Post id, nonce, items, expiry and what it fences, of the post to be written; None if there is none.
        posts: The posts that ended.
        intents: The intents that ended.
        unknown: The intents whose fate became unknown.
        unsettled: The intents that are left for the next run.
        look_ups: Post, intent and key of the look-ups to be made.
        overdue: The intents whose fate has been unknown for too long.
        contradictions: The intents of which two sources tell different things.
        halts: How often the hard stop was said to trip.
    """

    admission: Admission | None = None
    intent: int | None = None
    transmit: tuple[int, int, list[int], int | None, int | None] | None = None
    posts: dict[int, PostState] = field(default_factory=dict)
    intents: dict[int, Ending] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    unsettled: set[int] = field(default_factory=set)
    look_ups: list[tuple[int, int, str | int | None]] = field(default_factory=list)
    overdue: set[int] = field(default_factory=set)
    contradictions: list[int] = field(default_factory=list)
    halts: int = 0
    stray: bool = False
    drift: Drift | None = None
    key_refused: bool = False
    switch_refused: bool = False


class Ledger:
    """What the model knows, and what moves it.

    Attributes:
        sent: Posts in flight, by id.
        quarantine: Unanswered posts that the venue may still count, by id.
        attempts: Ambiguous posts without a settlement, by id, oldest first.
        asked: Look-ups that were asked for and not answered.
        silent_until: When posts may be written again, monotonic ms.
        renew_ms: When the dead-man's switch is due, monotonic ms.
        holders: The order that has a cloid and may be on the book, or get there.
        known: The order that ever had a cloid.
    """

    def __init__(self, settings: CoreSettings, clock: ManualClock) -> None:
        self.settings = settings
        self.clock = clock
        self.items: list[Item] = []
        self.queues: dict[Priority, list[Item]] = {priority: [] for priority in Priority}
        self.sent: dict[int, Post] = {}
        self.quarantine: dict[int, Post] = {}
        self.attempts: dict[int, Attempt] = {}
        self.asked = 0
        self.holders: dict[str, Item] = {}
        self.known: dict[str, Item] = {}
        self.link = Link.DOWN
        self.key = Key.UNPROVEN
        self.halted = False
        self.rejected_in_a_row = 0
        self.silent_until = 0
        self.renew_ms = 0
        self.in_hand: Post | None = None
        self._told = Told()

    # ---------------------------------------------------------------------------------------------- what holds now

    @property
    def now(self) -> int:
        """Monotonic ms."""
        return self.clock.monotonic_ms()

    @property
    def occupied(self) -> int:
        """Slots that the venue may count."""
        return len(self.sent) + len(self.quarantine)

    @property
    def full(self) -> bool:
        """Whether nothing may be sent."""
        return self.occupied >= self.settings.inflight_limit

    @property
    def degraded(self) -> bool:
        """Whether new orders have to wait."""
        return self.occupied >= self.settings.high_watermark

    def count(self, *places: Place) -> int:
        """How many items are in some places."""
        return sum(item.place in places for item in self.items)

    def outstanding(self, queue: Priority) -> int:
        """How many items of a queue have no outcome yet."""
        return sum(item.queue is queue and item.in_queue and item.place is not Place.ENDED for item in self.items)

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.sent and not self.in_hand and not self.attempts and not self.count(Place.WAITING, Place.HELD)

    @property
    def blocked(self) -> set[str]:
        """The markets in which an item has been unknown for too long."""
        return {item.market for attempt in self.attempts.values() if attempt.overdue for item in attempt.items}

    def target(self, item: Item) -> Item | None:
        """The order that a cancel by cloid names, if it may still be open."""
        return self.holders.get(item.cloid or "") if item.kind is ActionKind.CANCEL_BY_CLOID else None

    # ------------------------------------------------------------------------------------------------ what moves it

    def _begin(self) -> Told:
        self._told = Told()
        return self._told

    def _accept(self, item: Item) -> None:
        self.items.append(item)
        if item.queue is not Priority.CANCEL:
            self.holders[item.cloid or ""] = self.known[item.cloid or ""] = item

    def _return(self, item: Item) -> None:
        """Back to the place of its number."""
        item.place = Place.WAITING
        self.queues[item.queue] = sorted({*self.queues[item.queue], item}, key=lambda waiting: waiting.seq)

    def _end(self, item: Item, ending: Ending) -> None:
        if item in self.queues[item.queue]:
            self.queues[item.queue].remove(item)
        item.place, item.ending = Place.ENDED, ending
        assert item.seq not in self._told.intents, "the model ends an intent twice"
        self._told.intents[item.seq] = ending
        if item.queue is Priority.CANCEL:
            named = self.target(item)
            if named is not None and named.rests and ending == Canceled():
                self._off_book(named)
            return
        if not item.rests:
            self._off_book(item)
        for cancel in self._held_for(item):
            if item.rests or cancel.lost:
                self._return(cancel)
            else:
                self._end(cancel, Rejected)

    def _held_for(self, order: Item) -> list[Item]:
        return [item for item in self.items if item.place is Place.HELD and item.cloid == order.cloid]

    def _off_book(self, item: Item) -> None:
        if self.holders.get(item.cloid or "") is item:
            del self.holders[item.cloid or ""]

    def _drop(self, *queues: Priority) -> None:
        """What waits ends, but for cancels that may have been carried out."""
        for item in [item for queue in queues for item in self.queues[queue] if not item.lost]:
            self._end(item, NotExecuted)

    def _halt(self) -> None:
        if not self.halted:
            self._told.halts += 1
        self.halted = True
        self._drop(Priority.NEW_ORDER)

    def _be_silent(self) -> None:
        self.silent_until = max(self.silent_until, self.now + BACK_OFF_MS)

    def _judge_key(self, content: PostReply) -> None:
        """What the answer to the noop says of the key."""
        if not isinstance(content, Refused):
            self.key = Key.PROVEN
        elif content.reason in KEY_TEXTS:
            self.key = Key.REFUSED
            self._told.key_refused = True
        else:
            self._be_silent()

    # --------------------------------------------------------------------------------------------------- ambiguity

    def _lose_posts(self, posts: Iterable[Post], state: PostState = PostState.DISCONNECTED) -> None:
        """Posts end without an answer."""
        for post in list(posts):
            del self.sent[post.post_id]
            self._told.posts[post.post_id] = state
            self.quarantine[post.post_id] = post
            post.free_ms = self.now + self.settings.quarantine_ms
            self._switch_failed(post)
            self._lose(post)

    def _lose(self, post: Post, *, spent: bool = False) -> None:
        """The fate of a post is not known: cancels go out again, orders have to be settled."""
        self._fence_failed(post)
        items = [item for item in post.items if item.place is Place.POSTED]
        if not items:
            return
        if post.queue is Priority.CANCEL:
            for item in items:
                item.lost = True
                self._return(item)
            return
        for item in items:
            item.place = Place.UNKNOWN
            self._told.unknown.add(item.seq)
        attempt = Attempt(post, post.queue, items, self.now)
        self.attempts[post.post_id] = attempt
        if spent:
            self._spend(attempt)

    def _switch_failed(self, post: Post) -> None:
        """A switch that may not have arrived is due again."""
        if post.kind is ActionKind.SCHEDULE_CANCEL:
            self.renew_ms = self.now

    def _fence_failed(self, post: Post) -> None:
        attempt = self.attempts.get(post.fence_of or 0)
        if attempt is not None and attempt.fence == post.post_id:
            attempt.fence = None

    def _spend(self, attempt: Attempt) -> None:
        """From now on the venue's record counts (rules 5 to 9)."""
        if attempt.searches is None:
            attempt.fence = None
            attempt.searches = {item.seq: Search(self.now) for item in attempt.items}
