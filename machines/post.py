"""The life of a post, and the register of posts in flight.

A **post** is one signed L1 action on the wire: one nonce, one signature, one inflight slot (finding B1). It is made
when a batch is taken from the queues (QUEUED, "in hand"), and within the same step of the executor either

* its frame is handed to an open socket: SENT. Registered, slot taken, deadline set, all in that one transition
  (finding P1); or
* the hand-over is refused before any byte left: UNSENT. It never held a slot.

A sent post ends exactly once: ACKED (the venue took the action), FAILED (it answered with an error), TIMED_OUT, or
DISCONNECTED (its connection broke, or its hand-over broke off midway). It gives up its slot in that very transition,
and nowhere else (findings P3, D1). Answered, the slot is free at once. Unanswered, it goes to quarantine and stays
occupied, because the venue may still count the post (finding X3); a later reply ends the quarantine of its post, and
no post a second time (finding P2).

Posts are found by **post id**, because the venue echoes nothing else (finding P4, protocol.md §2), and only for the
connection that carried them. Ids count up and never repeat. All posts have the same timeout, so the order of sending
is the order of deadlines: the first open post is always the next to time out, whatever else is queued (finding P6).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Final

from machines.errors import InvalidSetting, SignedNonceMismatch, StepOrderError
from machines.inflight import InflightTracker
from machines.intent import ActionKind, Intent, IntentState, Priority
from machines.table import Row, StateMachine, Word

TIMEOUT_MS: Final = 5_000
TIMEOUT_RANGE_MS: Final = (3_000, 5_000)
"""How long a post may wait for its reply (finding P6)."""
QUARANTINE_MS: Final = 10_000
"""After this the venue is assumed to have forgotten an unanswered post (settlement.md, rule 16)."""


class PostState(Word):
    """Where a post is."""

    QUEUED = "queued"
    """Made from a batch and in hand: not registered, no slot."""
    SENT = "sent"
    """Its frame was handed to an open socket; it holds an inflight slot until it ends."""
    ACKED = "acked"
    """Ended: the venue took the action and answered for each item."""
    FAILED = "failed"
    """Ended: the venue answered with an error for the whole post."""
    TIMED_OUT = "timed_out"
    """Ended without an answer in time: its fate is unknown, its slot is in quarantine."""
    DISCONNECTED = "disconnected"
    """Ended with its connection: its fate is unknown, its slot is in quarantine."""
    UNSENT = "unsent"
    """Ended before any byte left; it never held a slot."""


class PostEvent(Word):
    """What happens to a post."""

    SEND = "send"
    REFUSE = "refuse"
    ACK = "ack"
    FAIL = "fail"
    TIME_OUT = "time_out"
    DISCONNECT = "disconnect"


@dataclass(slots=True, eq=False)
class PostRequest:
    """One post.

    Attributes:
        post_id: The correlation key on the wire.
        nonce: The nonce allotted to it.
        kind: The action that it carries.
        priority: The queue that its items came from; None for a noop.
        items: The intents that it carries, in request order.
        previous_nonce: The nonce of the post prepared before it; evidence for the invariants.
        server_time_ms: The server's approximate time when the nonce was allotted, in unix ms; evidence too.
        state: Where it is.
        epoch: The connection that carried it; 0 until sent.
        deadline_ms: When it times out, in monotonic ms; 0 until sent.
        signed_nonce: The nonce that was signed; None until sent.
        slots_taken: How often it took an inflight slot; evidence, never more than 1.
        slots_returned: How often it gave one back; evidence, never more than `slots_taken`.
        completions: How often it ended; evidence, never more than 1.
        expires_ms: When the venue refuses the action, in unix ms; None if it never does.
        fence_of: The post whose nonce it spends, if it is a fence (settlement.md, rule 3).
        quarantined_until_ms: When its slot leaves quarantine, in monotonic ms; None if it is in none.
        answered: Whether a reply to it came, late ones included.
        quarantine_over: Whether its quarantine ended by time (settlement.md, rule 16).
        unclear: Whether it ended with a reply that does not tell if the action ran (settlement.md, rules 5 to 8).
    """

    post_id: int
    nonce: int
    kind: ActionKind
    priority: Priority | None
    items: tuple[Intent, ...]
    previous_nonce: int
    server_time_ms: int
    state: PostState = PostState.QUEUED
    epoch: int = 0
    deadline_ms: int = 0
    signed_nonce: int | None = None
    slots_taken: int = 0
    slots_returned: int = 0
    completions: int = 0
    expires_ms: int | None = None
    fence_of: int | None = None
    quarantined_until_ms: int | None = None
    answered: bool = False
    quarantine_over: bool = False
    unclear: bool = False

    @property
    def ambiguous(self) -> bool:
        """Whether it ended without telling if its action ran: the fate of its items is Unknown (finding X1)."""
        return self.unclear or self.state in (PostState.TIMED_OUT, PostState.DISCONNECTED)


def _register(post: PostRequest, inflight: InflightTracker, signed_nonce: int, epoch: int, deadline_ms: int) -> None:
    if signed_nonce != post.nonce:
        raise SignedNonceMismatch(f"post {post.post_id} was allotted nonce {post.nonce}, {signed_nonce} was signed")
    inflight.acquire()
    post.slots_taken += 1
    post.signed_nonce = signed_nonce
    post.epoch = epoch
    post.deadline_ms = deadline_ms


def _complete(post: PostRequest, inflight: InflightTracker, unclear: bool, until_ms: int) -> None:
    inflight.release()
    post.answered = True
    post.slots_returned += 1
    post.completions += 1
    post.unclear = unclear


def _complete_unanswered(post: PostRequest, inflight: InflightTracker, unclear: bool, until_ms: int) -> None:
    inflight.quarantine()
    post.slots_returned += 1
    post.completions += 1
    post.unclear = unclear
    post.quarantined_until_ms = until_ms


def _complete_unsent(post: PostRequest) -> None:
    post.completions += 1


_S, _E = PostState, PostEvent
POST: Final = StateMachine(
    "post",
    PostState,
    PostEvent,
    initial=_S.QUEUED,
    final=frozenset({_S.ACKED, _S.FAILED, _S.TIMED_OUT, _S.DISCONNECTED, _S.UNSENT}),
    table=(
        Row(_E.SEND, _S.QUEUED, _S.SENT, effect=_register, why="handed to an open socket: slot taken"),
        Row(_E.REFUSE, _S.QUEUED, _S.UNSENT, effect=_complete_unsent, why="refused before any byte: no slot was taken"),
        Row(_E.ACK, _S.SENT, _S.ACKED, effect=_complete, why="the venue took the action: slot back"),
        Row(_E.FAIL, _S.SENT, _S.FAILED, effect=_complete, why="the venue answered with an error: slot back"),
        Row(_E.TIME_OUT, _S.SENT, _S.TIMED_OUT, effect=_complete_unanswered, why="no reply in time: fate unknown"),
        Row(_E.DISCONNECT, _S.SENT, _S.DISCONNECTED, effect=_complete_unanswered, why="connection lost: fate unknown"),
    ),
)


class PostRequestManager:
    """All open posts by id, the one in hand, and the unanswered ones in quarantine.

    Attributes:
        inflight: The slots; taken and given back by the post's own transitions only.
        timeout_ms: How long a sent post may wait for its reply.
        quarantine_ms: How long the slot of an unanswered post stays occupied.
        in_hand: The post whose frame is being handed to the socket; None between steps.
        items_in_flight: Items of open posts that have not ended.
        last_id: The highest post id used so far.
    """

    __slots__ = (
        "_last_nonce",
        "_open",
        "_quarantine",
        "in_hand",
        "inflight",
        "items_in_flight",
        "last_id",
        "quarantine_ms",
        "timeout_ms",
    )

    def __init__(
        self,
        inflight: InflightTracker,
        timeout_ms: int = TIMEOUT_MS,
        quarantine_ms: int = QUARANTINE_MS,
        last_id: int = 0,
    ) -> None:
        """Begin with ids above `last_id`, the highest ever used.

        Raises:
            InvalidSetting: `timeout_ms` is outside 3 to 5 s, or `quarantine_ms` is negative.
        """
        low, high = TIMEOUT_RANGE_MS
        if not low <= timeout_ms <= high:
            raise InvalidSetting(f"post timeout must be {low} to {high} ms, got {timeout_ms}")
        if quarantine_ms < 0:
            raise InvalidSetting(f"quarantine time must not be negative, got {quarantine_ms}")
        self.inflight = inflight
        self.timeout_ms = timeout_ms
        self.quarantine_ms = quarantine_ms
        self.in_hand: PostRequest | None = None
        self.items_in_flight = 0
        self.last_id = last_id
        self._last_nonce = 0
        self._open: dict[int, PostRequest] = {}
        self._quarantine: dict[int, PostRequest] = {}

    def __len__(self) -> int:
        return len(self._open)

    @property
    def quarantined(self) -> int:
        """How many unanswered posts are in quarantine."""
        return len(self._quarantine)

    @property
    def next_deadline_ms(self) -> int | None:
        """When the next open post times out or the next slot leaves quarantine, in monotonic ms; None for never."""
        deadlines = [post.deadline_ms for post in islice(self._open.values(), 1)]
        deadlines += [post.quarantined_until_ms or 0 for post in islice(self._quarantine.values(), 1)]
        return min(deadlines, default=None)

    def prepare(
        self,
        kind: ActionKind,
        priority: Priority | None,
        items: tuple[Intent, ...],
        nonce: int,
        server_time_ms: int,
        *,
        expires_ms: int | None = None,
        fence_of: int | None = None,
    ) -> PostRequest:
        """Make a post and take it in hand: not registered, no slot, until its frame is handed over.

        A fence carries the nonce of the post that it fences, and is no link in the chain of increasing nonces.

        Raises:
            StepOrderError: Another post is in hand.
        """
        if self.in_hand is not None:
            raise StepOrderError(f"post {self.in_hand.post_id} is still in hand")
        self.last_id += 1
        post = PostRequest(
            self.last_id,
            nonce,
            kind,
            priority,
            items,
            self._last_nonce,
            server_time_ms,
            expires_ms=expires_ms,
            fence_of=fence_of,
        )
        if fence_of is None:
            self._last_nonce = nonce
        self.in_hand = post
        return post

    def sent(self, post_id: int, signed_nonce: int, epoch: int, now: int) -> PostRequest:
        """The post in hand was handed to the socket at monotonic ms `now`: register it and take its slot.

        Raises:
            StepOrderError: Post `post_id` is not the one in hand.
            SignedNonceMismatch: Another nonce than its own was signed.
            IllegalEvent: No slot is free. In all three cases nothing changed.
        """
        post = self._take_in_hand(post_id)
        POST.step(
            post,
            _E.SEND,
            inflight=self.inflight,
            signed_nonce=signed_nonce,
            epoch=epoch,
            deadline_ms=now + self.timeout_ms,
        )
        self.in_hand = None
        self._open[post_id] = post
        self.items_in_flight += len(post.items)
        return post

    def refused(self, post_id: int) -> PostRequest:
        """The hand-over of the post in hand was refused before any byte left.

        Raises:
            StepOrderError: Post `post_id` is not the one in hand; nothing changed.
        """
        post = self._take_in_hand(post_id)
        POST.step(post, _E.REFUSE)
        self.in_hand = None
        return post

    def recover(self, post: PostRequest, now: int) -> None:
        """Take up a post of an earlier run.

        One that is still called sent is disconnected now, and quarantined again (settlement.md, rule 15); of any other
        the venue has nothing left, and it holds no slot.

        Raises:
            IllegalEvent: More posts are unanswered than this run's limit allows; it must not be below the earlier's.
        """
        if post.state is not PostState.SENT:
            post.slots_taken = post.slots_returned = post.completions = 1
            return
        self.inflight.acquire()
        post.slots_taken = 1
        self._open[post.post_id] = post
        self.end(post, _E.DISCONNECT, now)

    def find(self, post_id: int, epoch: int) -> PostRequest | None:
        """The open post `post_id` of connection `epoch`; None for ended, unknown or foreign ones."""
        post = self._open.get(post_id)
        return post if post is not None and post.epoch == epoch else None

    def find_quarantined(self, post_id: int, epoch: int) -> PostRequest | None:
        """The quarantined post `post_id` of connection `epoch`; None for others."""
        post = self._quarantine.get(post_id)
        return post if post is not None and post.epoch == epoch else None

    def end(self, post: PostRequest, event: PostEvent, now: int, *, unclear: bool = False) -> None:
        """End an open post at monotonic ms `now`; its slot is given back by the transition itself.

        Raises:
            IllegalEvent: The post is not open; nothing changed.
        """
        POST.step(post, event, inflight=self.inflight, unclear=unclear, until_ms=now + self.quarantine_ms)
        del self._open[post.post_id]
        self.items_in_flight -= sum(item.state is IntentState.POSTED for item in post.items)
        if post.quarantined_until_ms is not None:
            self._quarantine[post.post_id] = post

    def item_ended(self) -> None:
        """An item of an open post ended before its post did: the order stream told its fate."""
        self.items_in_flight -= 1

    def answered_late(self, post: PostRequest) -> None:
        """A quarantined post was answered after all: its slot is free."""
        post.answered = True
        self._release(post)

    def _release(self, post: PostRequest) -> None:
        self.inflight.clear()
        del self._quarantine[post.post_id]
        post.quarantined_until_ms = None

    def expire(self, now: int) -> list[PostRequest]:
        """End all posts whose deadline has passed at monotonic ms `now`, oldest first; the caller hears of each."""
        due = list(takewhile(lambda post: post.deadline_ms <= now, self._open.values()))
        for post in due:
            self.end(post, _E.TIME_OUT, now)
        return due

    def expire_quarantine(self, now: int) -> list[PostRequest]:
        """Give back the quarantined slots whose time is over at monotonic ms `now`; returns their posts."""
        due = list(takewhile(lambda post: (post.quarantined_until_ms or 0) <= now, self._quarantine.values()))
        for post in due:
            post.quarantine_over = True
            self._release(post)
        return due

    def disconnect(self, now: int) -> list[PostRequest]:
        """End all open posts, because their connection is gone; each is returned once, oldest first."""
        lost = list(self._open.values())
        for post in lost:
            self.end(post, _E.DISCONNECT, now)
        return lost

    def _take_in_hand(self, post_id: int) -> PostRequest:
        if self.in_hand is None or self.in_hand.post_id != post_id:
            held = None if self.in_hand is None else self.in_hand.post_id
            raise StepOrderError(f"post {post_id} was reported as handed over, in hand is {held}")
        return self.in_hand
