"""Builders shared by the tests of the machines: requests, intents, posts, and a desk that plays the core's shell.

The desk does what the asyncio shell does, without a socket: it hands events to a real core on a clock turned by hand,
remembers every post and intent it ever saw, and after each event checks *all* invariants over *all* of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from machines import events as ev
from machines.batch import BatchScheduler, QueueLimits
from machines.clock import ManualClock
from machines.executor import ExecutorCore
from machines.inflight import InflightTracker
from machines.intent import (
    ActionKind,
    Cancel,
    Filled,
    Intent,
    IntentState,
    ItemResult,
    Order,
    Outcome,
    Priority,
    Rejected,
    Request,
    Resting,
)
from machines.post import TIMEOUT_MS, PostRequest, PostState
from machines.register import IntentRegister
from machines.reply import Accepted, PostReply, Refused
from machines.session import SessionState
from machines.settings import CoreSettings
from machines.settlement import ABSENCES_NEEDED, LOOK_UP_EVERY_MS, Attempt, OrderRecord
from spec.invariants import violations

T = TypeVar("T")

NOW: Final = 1_700_000_000_000
"""Unix ms at which every clock of these tests begins."""
RUN_ID: Final = 0xABC
RESTING: Final = Resting(oid=11)
FILLED: Final = Filled(oid=12, size="1", average_price="400")
MARGIN: Final = "Insufficient margin to place order. asset=5"
"""A rejection that is not benign (protocol.md §9)."""
IOC_MISSED: Final = "Order could not immediately match against any resting orders. asset=5"
"""A benign rejection (protocol.md §9)."""
MISSING: Final = Rejected("Order was never placed, already canceled, or filled. asset=5")
"""What the venue says to a cancel of an order that is not on its book (protocol.md §2)."""
DUPLICATE: Final = Refused("Invalid nonce: duplicate nonce 7")
TOO_LOW: Final = Refused("Invalid nonce: nonce too low 7 < 9")
"""The nonce is spent, and no more is said (settlement.md, rules 5 to 7)."""

_ORDER: Final = Order(market="xyz:TSLA", side="buy", size="1", price="400")


def fields(obj: object) -> dict[str, object]:
    """All fields of a slotted object, to compare it before and after."""
    return {name: getattr(obj, name) for name in vars(type(obj))["__slots__"]}


def cloid(number: int) -> str:
    """A client order id."""
    return f"0x{number:032x}"


def order(**changes: Any) -> Order:
    """A new limit order, but for `changes`."""
    return replace(_ORDER, **changes)


def reduce_only(**changes: Any) -> Order:
    """A reduce-only order, but for `changes`."""
    return order(side="sell", reduce_only=True, **changes)


def cancel(number: int = 999) -> Cancel:
    """A cancel of the order with `cloid(number)`; by default of one that this executor does not know."""
    return Cancel(market="xyz:TSLA", cloid=cloid(number))


def record(status: str = "open", *, traded: str = "0", oid: int = 11) -> OrderRecord:
    """What the venue says of an order; by default the one that `RESTING` names."""
    return OrderRecord(oid, status, traded)


def intent(
    seq: int,
    priority: Priority = Priority.NEW_ORDER,
    kind: ActionKind = ActionKind.ORDER,
    *,
    alo: bool = False,
) -> Intent:
    """An intent as the core makes it, for tests of the parts below the core."""
    request: Request = cancel(seq) if priority is Priority.CANCEL else order(cloid=cloid(seq))
    return Intent(seq, request, cloid(seq), priority, kind, alo)


def cancel_intent(seq: int, kind: ActionKind = ActionKind.CANCEL_BY_CLOID) -> Intent:
    """The intent of a cancel."""
    return intent(seq, Priority.CANCEL, kind)


def reduce_intent(seq: int) -> Intent:
    """The intent of a reduce-only order."""
    return intent(seq, Priority.REDUCE_ONLY)


def seqs(items: Iterable[Intent]) -> list[int]:
    """Sequence numbers of intents."""
    return [item.seq for item in items]


def post_request(post_id: int = 1, nonce: int = NOW, **changes: Any) -> PostRequest:
    """A post in hand, without items, but for `changes`."""
    post = PostRequest(post_id, nonce, ActionKind.ORDER, Priority.NEW_ORDER, (), previous_nonce=0, server_time_ms=NOW)
    for name, value in changes.items():
        setattr(post, name, value)
    return post


def earlier(*requests: Request, first_seq: int = 1, **changes: Any) -> tuple[Intent, ...]:
    """Intents that an earlier run left without an outcome, but for `changes`, as the journal hands them over."""
    register = IntentRegister(RUN_ID - 1, first_seq - 1)
    items = []
    for request in requests:
        item = register.build(request)
        register.accept(item)
        for name, value in changes.items():
            setattr(item, name, value)
        items.append(item)
    return tuple(items)


def unanswered(
    post_id: int, *requests: Request, first_seq: int = 1, expires_ms: int | None = None, fence_of: int | None = None
) -> PostRequest:
    """A post that an earlier run left unanswered, with its items, as the journal hands it over."""
    items = earlier(*requests, first_seq=first_seq, state=IntentState.UNKNOWN, attempts=(post_id,))
    post = post_request(post_id, NOW - 100 + post_id, state=PostState.SENT, items=items, expires_ms=expires_ms)
    post.kind, post.priority = (items[0].kind, items[0].priority) if items else (ActionKind.NOOP, None)
    post.fence_of, post.signed_nonce = fence_of, post.nonce
    return post


def tracker(count: int = 0, *, limit: int = 100, high_watermark: int = 80) -> InflightTracker:
    """A tracker with `count` slots taken."""
    inflight = InflightTracker(limit, high_watermark)
    for _ in range(count):
        inflight.acquire()
    return inflight


def scheduler(*intents: Intent, inflight: InflightTracker | None = None, **limits: int) -> BatchScheduler:
    """A scheduler with `intents` in its queues."""
    made = BatchScheduler(inflight or InflightTracker(), QueueLimits(**limits))
    for item in intents:
        assert made.enqueue(item).accepted
    return made


def of_type(effects: Iterable[ev.Effect], kind: type[T]) -> list[T]:
    """The effects of one type."""
    return [effect for effect in effects if isinstance(effect, kind)]


class Desk:
    """A core and its shell.

    Attributes:
        clock: Turned by hand.
        core: The core under test.
        posts: Every post that the core ever moved, by id.
        intents: Every intent that the core ever moved, by sequence number.
        attempts: Every attempt that the core ever moved, by the id of its post.
        told: How often the owner of each intent was told its outcome, by sequence number.
        effects: Everything that the core ever asked for.
    """

    def __init__(self, *, settings: CoreSettings | None = None, ready: bool = True, **restart: int) -> None:
        self.clock = ManualClock(NOW)
        self.core = ExecutorCore(self.clock, settings, run_id=RUN_ID, **restart)
        self.posts: dict[int, PostRequest] = {}
        self.intents: dict[int, Intent] = {}
        self.attempts: dict[int, Attempt] = {}
        self.told: Counter[int] = Counter()
        self.effects: list[ev.Effect] = []
        if ready:
            self.connect()
            self.learn()
            self.prove_key()

    # ---------------------------------------------------------------------------------------------- the shell's part

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        """Give the core an event, then check every invariant over all that the core ever moved."""
        effects = list(self.core.handle(event))
        self.effects += effects
        self.posts.update((post.post_id, post) for post in self.core.moved_posts)
        self.intents.update((item.seq, item) for item in self.core.intents.moved)
        self.attempts.update((attempt.post.post_id, attempt) for attempt in self.core.settler.moved)
        self.told.update(effect.intent.seq for effect in of_type(effects, ev.IntentEnded))
        self._check()
        return effects

    def _check(self) -> None:
        everything = (list(self.posts.values()), list(self.intents.values()), list(self.attempts.values()))
        for snapshot in (self.core.snapshot(), self.core.snapshot(*everything)):
            assert [str(violation) for violation in violations(snapshot)] == []
        assert all(times == 1 for times in self.told.values()), "an owner was told twice"
        ended = {seq for seq, item in self.intents.items() if item.outcome is not None}
        assert ended == set(self.told), "an owner was not told"
        states = Counter(item.state for item in self.intents.values())
        assert self.core.intents.population == {state: states[state] for state in IntentState}, "intents are miscounted"
        unsettled = Counter(seq for attempt in self.core.settler.attempts.values() for seq in attempt.open)
        assert all(times == 1 for times in unsettled.values()), "an item has two open attempts (rules 12 and 20)"

    def connect(self) -> None:
        """A connection opens: the session is syncing."""
        self.handle(ev.ConnectStarted())
        self.handle(ev.ConnectionOpened())

    def learn(self) -> None:
        """The server's time and the markets become known."""
        self.handle(ev.ServerTimeLearned(self.clock.now_ms()))
        self.handle(ev.MarketsLoaded())

    def prove_key(self) -> None:
        """The noop goes out and is accepted."""
        self.reply(self.send())

    def reconnect(self) -> None:
        """The connection is lost, and a new one becomes ready."""
        self.handle(ev.ConnectionLost("reset by peer"))
        self.connect()
        self.learn()

    def admit(self, request: Request) -> ev.Admitted:
        """Submit; the core's answer."""
        (admitted,) = of_type(self.handle(ev.Submit(request)), ev.Admitted)
        return admitted

    def submit(self, request: Request) -> Intent:
        """Submit something that must be accepted."""
        admitted = self.admit(request)
        assert admitted.admission.accepted
        assert admitted.intent is not None
        return admitted.intent

    def tick(self) -> PostRequest | None:
        """Let a tick pass; the post to transmit, if there is one."""
        posts = [effect.post for effect in of_type(self.handle(ev.Tick()), ev.Transmit)]
        assert len(posts) <= 1, "one tick, one post (finding B1)"
        return posts[0] if posts else None

    def take(self) -> PostRequest:
        """Let a tick pass that must bring a post; it is in hand then."""
        post = self.tick()
        assert post is not None
        return post

    def written(self, post: PostRequest) -> list[ev.Effect]:
        """The post in hand was handed to the socket."""
        return self.handle(ev.PostWritten(post.post_id, post.nonce, self.core.session.epoch))

    def send(self) -> PostRequest:
        """Let a tick pass, and write its post."""
        post = self.take()
        self.written(post)
        return post

    def post(self, *requests: Request) -> PostRequest:
        """Submit requests that fit into one post, and write it."""
        for request in requests:
            self.submit(request)
        post = self.send()
        assert len(post.items) == len(requests)
        return post

    def answer(self, post: PostRequest, reply: PostReply) -> list[ev.Effect]:
        """The venue answers a post on the connection that carried it."""
        return self.handle(ev.ReplyReceived(post.epoch, post.post_id, reply))

    def reply(self, post: PostRequest, *results: ItemResult) -> list[ev.Effect]:
        """The venue takes a post, with these results."""
        return self.answer(post, Accepted(results))

    def pass_time(self, ms: int) -> list[ev.Effect]:
        """Let time pass, and the core look at its deadlines."""
        self.clock.advance(ms)
        return self.handle(ev.TimePassed())

    # ------------------------------------------------------------------------------------------------- settlement

    def lose(self, *requests: Request) -> PostRequest:
        """Submit requests that fit into one post, write it, and let it time out."""
        post = self.post(*requests)
        self.pass_time(TIMEOUT_MS)
        return post

    def fence(self) -> PostRequest:
        """Let a tick pass that must bring a fence, and write it."""
        fence = self.send()
        assert fence.fence_of is not None
        return fence

    def spend(self, *requests: Request) -> PostRequest:
        """Lose a post, and learn from its fence that its nonce is spent."""
        post = self.lose(*requests)
        self.answer(self.fence(), DUPLICATE)
        return post

    def look_ups(self, ms: int = 0) -> list[ev.LookUp]:
        """Let time pass; the look-ups that are asked for then."""
        return of_type(self.pass_time(ms), ev.LookUp)

    def look_up(self, found: OrderRecord | None, ms: int = 0) -> list[ev.Effect]:
        """Let time pass, and answer each look-up that is asked for then with the same record."""
        asked = self.look_ups(ms)
        assert asked
        return [effect for look_up in asked for effect in self.found(look_up, found)]

    def found(self, look_up: ev.LookUp, found: OrderRecord | None) -> list[ev.Effect]:
        """The answer to one look-up."""
        return self.handle(ev.LookedUp(look_up.post_id, look_up.seq, found))

    def find_nothing(self) -> list[ev.Effect]:
        """Answer each look-up with "unknown", as often as it takes to be proof."""
        effects: list[ev.Effect] = []
        for number in range(ABSENCES_NEEDED):
            effects = self.look_up(None, LOOK_UP_EVERY_MS if number else 0)
        return effects

    def recover(
        self,
        *posts: PostRequest,
        never_sent: tuple[Intent, ...] = (),
        lost_cancels: tuple[Intent, ...] = (),
        same_key: bool = True,
    ) -> list[ev.Effect]:
        """Hand over what an earlier run left; comes before the first connection."""
        return self.handle(ev.Recovered(posts, never_sent, same_key, lost_cancels))

    # ------------------------------------------------------------------------------------------------- what is seen

    def inflight(self) -> int:
        """Slots taken."""
        return self.core.inflight.count

    def quarantined(self) -> int:
        """Slots in quarantine."""
        return self.core.inflight.quarantined

    def idle(self) -> bool:
        """Whether nothing waits, is under way or unknown."""
        return self.core.idle

    def wake_ms(self) -> int | None:
        """When the core wants to look at its deadlines."""
        return self.core.next_wake_ms

    def wants_tick(self) -> bool:
        """Whether a tick would have something to look at."""
        return self.core.wants_tick

    def state(self) -> SessionState:
        """Where the session is."""
        return self.core.session.state

    def halted(self) -> bool:
        """Whether the hard stop is tripped."""
        return self.core.hard_stop.tripped

    def waiting(self, priority: Priority) -> int:
        """How many items wait in a queue."""
        return self.core.scheduler.queued(priority)

    def outcome(self, item: Intent) -> Outcome | None:
        """How an intent ended."""
        return item.outcome

    def all_told(self) -> bool:
        """Whether every accepted intent's owner was told an outcome."""
        return len(self.told) == self.core.intents.accepted == self.core.intents.ended
