"""The core: all machines composed into one flow, without I/O.

    submit → cloid → queue → *tick*: at most one batch → nonce → `Transmit` → written | refused | broken
           → reply | error | timeout | disconnect ends the post → each item's outcome to its owner

`handle(event)` takes one event, moves the machines, and returns what the shell has to do. The shell does it in order
and reports back through further events; it calls from one place, so that there are no locks (design.md, One owner).

**Hand-over.** `Transmit` puts a post in hand. The shell signs, journals and writes it, and reports `PostWritten`,
`SendRefused` or `SendBroken` before anything else; any other event meanwhile is refused with `StepOrderError`. So a
post is registered and counted in the very step that writes it (finding P1), and no reply can find it unregistered.

**Who may end what.** Only `_end_post` ends posts and only `_end_intent` ends intents. A post that ends ambiguous ends
its items Unknown; settlement will take over there (settlement.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from machines import events as ev
from machines.batch import PRIORITIES, BatchScheduler, QueueLimits
from machines.clock import Clock
from machines.errors import InvalidSetting, NonceOutsideWindow, StepOrderError
from machines.hard_stop import HardStop, is_benign
from machines.inflight import HIGH_WATERMARK, VENUE_LIMIT, InflightTracker
from machines.intent import (
    INTENT,
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    Intent,
    IntentEvent,
    IntentState,
    ItemResult,
    Modify,
    NotExecuted,
    Order,
    Outcome,
    Priority,
    Rejected,
    Request,
    Unknown,
    ending_of,
)
from machines.nonce import Drift, NonceManager
from machines.post import TIMEOUT_MS, PostEvent, PostRequest, PostRequestManager
from machines.rate_limit import MESSAGES_PER_MINUTE, AddressBudget, MessageRate
from machines.reply import Accepted, GatewayError, PostReply, Refused
from machines.session import Session, SessionEvent, SessionState
from machines.snapshot import QueueView, Snapshot
from machines.verdict import Answered, NeverRan, Unclear, verdict_on

BACK_OFF_MS: Final = 1_000
"""How long nothing is sent after the venue's gate answered with an error."""

KEY_REFUSALS: Final = ("User or API Wallet", "Must deposit", "Vault not registered")
"""Beginnings of the refusals that concern the signer, whatever the action (protocol.md §9)."""

_SHUT_DOWN: Final = "shut down before it was sent"
_HAND_OVER: Final = (ev.PostWritten, ev.SendRefused, ev.SendBroken)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSettings:
    """What can be set about the core; the defaults are the venue's limits and design.md's.

    Attributes:
        inflight_limit: The most posts in flight.
        high_watermark: The count from which new orders wait.
        post_timeout_ms: How long a post may wait for its reply, 3 000 to 5 000 ms.
        messages_per_minute: The most messages in any 60 s.
        rejections_to_halt: Posts in a row, rejected for reasons that are not benign, that trip the hard stop.
        queues: Sizes of queues and batches.
    """

    inflight_limit: int = VENUE_LIMIT
    high_watermark: int = HIGH_WATERMARK
    post_timeout_ms: int = TIMEOUT_MS
    messages_per_minute: int = MESSAGES_PER_MINUTE
    rejections_to_halt: int = 5
    queues: QueueLimits = field(default_factory=QueueLimits)

    def __post_init__(self) -> None:
        if self.rejections_to_halt < 1:
            raise InvalidSetting(f"rejections_to_halt must be at least 1, got {self.rejections_to_halt}")


class ExecutorCore:
    """The executor without its world.

    Attributes:
        settings: Its limits.
        nonces: The only source of nonces.
        inflight: The only count of posts in flight.
        posts: Open posts.
        scheduler: The queues.
        session: The connection.
        hard_stop: The latch.
        budget: The address's action budget.
        accepted: Intents accepted so far.
        ended: Intents that got an outcome so far.
        moved_posts: Posts that the last step moved.
        moved_intents: Intents that the last step moved.
    """

    def __init__(
        self,
        clock: Clock,
        settings: CoreSettings | None = None,
        *,
        run_id: int,
        last_nonce: int = 0,
        last_post_id: int = 0,
    ) -> None:
        """Compose the machines.

        Args:
            clock: The injected clock.
            settings: Limits.
            run_id: 64 bits that no other run of this account has; the first half of allotted cloids.
            last_nonce: Highest nonce that this signer ever used.
            last_post_id: Highest post id ever used.
        """
        self.settings = settings or CoreSettings()
        self.nonces = NonceManager(clock, last_nonce)
        self.inflight = InflightTracker(self.settings.inflight_limit, self.settings.high_watermark)
        self.posts = PostRequestManager(self.inflight, self.settings.post_timeout_ms, last_post_id)
        self.scheduler = BatchScheduler(self.inflight, self.settings.queues)
        self.session = Session()
        self.hard_stop = HardStop()
        self.budget = AddressBudget()
        self.accepted = 0
        self.ended = 0
        self.moved_posts: list[PostRequest] = []
        self.moved_intents: list[Intent] = []
        self._clock = clock
        self._now = 0
        self._rate = MessageRate(self.settings.messages_per_minute)
        self._cloid_prefix = f"0x{run_id:016x}"
        self._seq = 0
        self._open_cloids: dict[str, Intent] = {}
        self._flattening: dict[str, Intent] = {}
        self._key_post: PostRequest | None = None
        self._key_refused = False
        self._rejected_posts = 0
        self._effects: list[ev.Effect] = []
        self._handlers: dict[type, Callable[[Any], object]] = {
            ev.Submit: self._on_submit,
            ev.StopTripped: lambda event: self._halt(event.reason),
            ev.StopReset: self._on_reset,
            ev.DrainStarted: self._on_drain,
            ev.Closed: self._on_closed,
            ev.Tick: self._on_tick,
            ev.TimePassed: self._on_time_passed,
            ev.PostWritten: self._register,
            ev.SendRefused: self._on_refused,
            ev.SendBroken: self._on_broken,
            ev.MessageWritten: lambda _: self._rate.record(self._now),
            ev.ConnectStarted: lambda _: self.session.step(SessionEvent.CONNECT),
            ev.ConnectionOpened: lambda _: self.session.step(SessionEvent.OPEN),
            ev.ConnectionLost: self._on_lost,
            ev.ReplyReceived: self._on_reply,
            ev.ErrorReceived: self._on_error,
            ev.OrderClosed: self._on_order_closed,
            ev.ServerTimeLearned: self._on_server_time,
            ev.MarketsLoaded: self._on_markets,
            ev.BudgetReported: lambda event: self.budget.sync(event.used, event.cap),
        }

    # ------------------------------------------------------------------------------------------------ interface

    def handle(self, event: ev.Event) -> Sequence[ev.Effect]:
        """Take one event; returns what to do, in order.

        Raises:
            StepOrderError: A post is in hand and the event is not the report of its hand-over.
            IllegalEvent: The session or the hard stop does not allow the event now.
            SignedNonceMismatch: Another nonce was signed than the post's. In all cases nothing changed.
        """
        if self.posts.in_hand is not None and not isinstance(event, _HAND_OVER):
            raise StepOrderError(f"{type(event).__name__} while post {self.posts.in_hand.post_id} is in hand")
        self._now = max(self._now, self._clock.monotonic_ms())
        self._effects = []
        self.moved_posts = []
        self.moved_intents = []
        self._handlers[type(event)](event)
        return self._effects

    @property
    def idle(self) -> bool:
        """Whether nothing waits, is in hand or in flight."""
        return not len(self.posts) and self.posts.in_hand is None and not any(map(self.scheduler.queued, PRIORITIES))

    @property
    def wants_tick(self) -> bool:
        """Whether a tick would have something to look at: waiting items, or a key to prove."""
        return any(map(self.scheduler.queued, PRIORITIES)) or self._key_wanted()

    @property
    def new_orders_pass(self) -> bool:
        """Whether session, hard stop and clock let new orders through."""
        return self.session.ready and not self.hard_stop.tripped and self.nonces.drift is not Drift.ERROR

    def resting_cloids(self) -> list[str]:
        """The cloids of orders that rest on the book, as far as replies and the order stream tell."""
        return [cloid for cloid, intent in self._open_cloids.items() if intent.state is IntentState.RESTING]

    def snapshot(self, posts: Sequence[PostRequest] | None = None, intents: Sequence[Intent] | None = None) -> Snapshot:
        """What holds now, over the posts and intents named; over those that the last step moved by default."""
        return Snapshot(
            inflight=self.inflight.count,
            inflight_state=self.inflight.state,
            limit=self.inflight.limit,
            high_watermark=self.inflight.high_watermark,
            open_posts=len(self.posts),
            items_in_flight=self.posts.items_in_flight,
            in_hand=self.posts.in_hand,
            posts=self.moved_posts if posts is None else posts,
            intents=self.moved_intents if intents is None else intents,
            queues={
                priority: QueueView(
                    self.scheduler.queued(priority),
                    self.scheduler.outstanding[priority],
                    self.scheduler.limits.of(priority),
                    self.scheduler.head(priority),
                )
                for priority in PRIORITIES
            },
            accepted=self.accepted,
            ended=self.ended,
            halted=self.hard_stop.tripped,
            session=self.session.state,
            batch_limit=self.scheduler.limits.batch,
        )

    # ------------------------------------------------------------------------------------------------ submitting

    def _on_submit(self, event: ev.Submit) -> None:
        request = event.request
        if isinstance(request, Order) and request.flatten and request.market in self._flattening:
            self._effects.append(ev.Admitted(Admission.ALREADY_FLATTENING, self._flattening[request.market]))
            return
        intent = self._intent_of(request)
        target = intent.target
        if target is not None and target.state is IntentState.QUEUED:
            self._cancel_here(intent, target)
            return
        admission = self._admit(intent)
        if not admission.accepted:
            self._effects.append(ev.Admitted(admission, None))
            if admission is Admission.QUEUE_FULL and intent.priority is Priority.REDUCE_ONLY:
                self._halt("the reduce-only queue is full")
            return
        self._accept(intent, admission)
        if target is not None:
            target.cancel_wanted = True
        if intent.priority is not Priority.CANCEL:
            self._open_cloids[_own_cloid(intent)] = intent
        if isinstance(request, Order) and request.flatten:
            self._flattening[request.market] = intent

    def _accept(self, intent: Intent, admission: Admission) -> None:
        self._seq = intent.seq
        self.accepted += 1
        self.moved_intents.append(intent)
        self._effects.append(ev.Admitted(admission, intent))

    def _intent_of(self, request: Request) -> Intent:
        seq = self._seq + 1
        if isinstance(request, Cancel):
            kind = ActionKind.CANCEL if request.cloid is None else ActionKind.CANCEL_BY_CLOID
            target = None if request.cloid is None else self._open_cloids.get(request.cloid)
            return Intent(seq, request, request.cloid, Priority.CANCEL, kind, alo=False, target=target)
        if isinstance(request, Modify):
            order = self._with_cloid(request.order, seq)
            kind = ActionKind.MODIFY
            request = replace(request, order=order)
        else:
            order = request = self._with_cloid(request, seq)
            kind = ActionKind.ORDER
        alo = order.tif == "Alo" and order.trigger is None
        return Intent(seq, request, order.cloid, self._queue_of(request, order), kind, alo)

    def _queue_of(self, request: Request, order: Order) -> Priority:
        target = self._open_cloids.get(request.cloid or "") if isinstance(request, Modify) else None
        # A modify must not overtake the new order that it replaces.
        behind = target is not None and target.state is IntentState.QUEUED and target.priority is Priority.NEW_ORDER
        return Priority.REDUCE_ONLY if order.reduce_only and not behind else Priority.NEW_ORDER

    def _with_cloid(self, order: Order, seq: int) -> Order:
        """The order with a cloid; a flattening one is reduce-only, whatever else it says (finding B5)."""
        return replace(
            order,
            cloid=order.cloid or f"{self._cloid_prefix}{seq:016x}",
            reduce_only=order.reduce_only or order.flatten,
        )

    def _admit(self, intent: Intent) -> Admission:
        if self.session.ending or self.session.epoch == 0:
            return Admission.NOT_READY
        if intent.priority is not Priority.CANCEL and intent.cloid in self._open_cloids:
            return Admission.CLOID_IN_USE
        if intent.priority is Priority.NEW_ORDER:
            if self.hard_stop.tripped:
                return Admission.HALTED
            if not self.new_orders_pass:
                return Admission.NOT_READY
        admission = self.scheduler.enqueue(intent)
        if admission is Admission.QUEUED and not self.session.connected:
            return Admission.QUEUED_DEGRADED
        return admission

    def _cancel_here(self, cancel: Intent, target: Intent) -> None:
        self._accept(cancel, Admission.QUEUED)
        self.scheduler.withdraw(target)
        self._end_intent(target, IntentEvent.DROP, NotExecuted("canceled before it was sent"))
        self._end_intent(cancel, IntentEvent.CANCEL, Canceled(), admitted=False)

    # --------------------------------------------------------------------------------------------------- sending

    def _on_tick(self, _: ev.Tick) -> None:
        if not self.session.connected or not self._rate.allows(self._now):
            return
        if self._key_wanted():
            self._transmit(ActionKind.NOOP, None, ())
            self._key_post = self.posts.in_hand
            return
        batch = self.scheduler.tick(new_orders=self.new_orders_pass and self.budget.allows_order(self._now))
        if batch is not None:
            self._transmit(batch.kind, batch.priority, batch.items)

    def _key_wanted(self) -> bool:
        unproven = not self.session.key_accepted and not self._key_refused
        return unproven and self._key_post is None and self.session.state is SessionState.SYNCING

    def _transmit(self, kind: ActionKind, priority: Priority | None, items: tuple[Intent, ...]) -> None:
        """Allot a nonce and take a post in hand; without a legal nonce the items wait again, and trading halts."""
        try:
            nonce = self.nonces.next()
        except NonceOutsideWindow as error:
            if items:
                self.scheduler.requeue(items)
            self._halt(str(error))
            return
        post = self.posts.prepare(kind, priority, items, nonce, self.nonces.approx_server_time_ms())
        self.moved_posts.append(post)
        self._effects.append(ev.Transmit(post))

    def _register(self, event: ev.PostWritten | ev.SendBroken) -> PostRequest:
        post = self.posts.sent(event.post_id, event.signed_nonce, event.epoch, self._now)
        self.moved_posts.append(post)
        self._rate.record(self._now)
        self.budget.spend(max(1, len(post.items)), self._now)
        for item in post.items:
            INTENT.step(item, IntentEvent.POST, post_id=post.post_id)
            self.moved_intents.append(item)
        return post

    def _on_refused(self, event: ev.SendRefused) -> None:
        post = self.posts.refused(event.post_id)
        self._post_ended(post)
        if post.priority is Priority.NEW_ORDER:
            for item in post.items:
                self._end_intent(item, IntentEvent.DROP, NotExecuted(f"not sent: {event.reason}"))
        elif post.items:
            self.scheduler.requeue(post.items)

    def _on_broken(self, event: ev.SendBroken) -> None:
        post = self._register(event)
        self._end_post(post, PostEvent.DISCONNECT)
        self._lose(post, f"the hand-over to the socket broke off: {event.reason}")

    # --------------------------------------------------------------------------------------------- posts that end

    def _on_reply(self, event: ev.ReplyReceived) -> None:
        post = self.posts.find(event.post_id, event.epoch)
        if post is None:
            self._effects.append(ev.StrayReply(event.epoch, event.post_id))
            return
        self._settle_post(post, event.reply)

    def _on_error(self, event: ev.ErrorReceived) -> None:
        post = None if event.post_id is None else self.posts.find(event.post_id, event.epoch)
        if post is not None:
            self._settle_post(post, GatewayError(event.message))
        elif event.post_id is not None:
            self._effects.append(ev.StrayReply(event.epoch, event.post_id))
        elif event.message.startswith("Cannot send more than"):
            # It is not known which message was dropped, so no post ends; we speak less (protocol.md §2).
            self._rate.back_off(self._now, BACK_OFF_MS)

    def _settle_post(self, post: PostRequest, reply: PostReply) -> None:
        verdict = verdict_on(reply, post.kind, len(post.items))
        accepted = isinstance(reply, Accepted) and isinstance(verdict, Answered)
        self._end_post(post, PostEvent.ACK if accepted else PostEvent.FAIL, unclear=isinstance(verdict, Unclear))
        if isinstance(reply, GatewayError):
            self._rate.back_off(self._now, BACK_OFF_MS)
        if isinstance(verdict, NeverRan):
            self._take_back(post, verdict.reason)
        elif isinstance(verdict, Unclear):
            self._lose(post, verdict.reason)
        else:
            if post.kind is ActionKind.NOOP:
                self._judge_key(reply)
            for item, result in zip(post.items, verdict.results, strict=True):
                self._end_intent(item, ending_of(result), result)
            self._count_rejections(verdict.results)

    def _judge_key(self, reply: PostReply) -> None:
        if not isinstance(reply, Refused):
            self.session.key_accepted = True
            self._try_ready()
        elif reply.reason.startswith(KEY_REFUSALS):
            self._key_refused = True
            self._effects.append(ev.KeyRefused(reply.reason))
        else:  # it says nothing about the key: ask again
            self._rate.back_off(self._now, BACK_OFF_MS)

    def _count_rejections(self, results: tuple[ItemResult, ...]) -> None:
        rejections = [result.reason for result in results if isinstance(result, Rejected)]
        if len(rejections) < len(results):
            self._rejected_posts = 0
            return
        serious = [reason for reason in rejections if not is_benign(reason)]
        if serious:
            self._rejected_posts += 1
            if self._rejected_posts >= self.settings.rejections_to_halt:
                self._halt(f"{self._rejected_posts} posts rejected in a row, the last one: {serious[-1]}")

    def _take_back(self, post: PostRequest, reason: str) -> None:
        """The venue proved that the post never ran: cancels and reduce-only orders wait again."""
        again = []
        for item in post.items:
            if item.priority is Priority.NEW_ORDER or item.cancel_wanted:
                self._end_intent(item, IntentEvent.ABANDON, NotExecuted(f"refused by the venue's gate: {reason}"))
            else:
                INTENT.step(item, IntentEvent.RETURN)
                self.moved_intents.append(item)
                again.append(item)
        if again:
            self.scheduler.requeue(tuple(again))

    def _lose(self, post: PostRequest, reason: str) -> None:
        for item in post.items:
            self._end_intent(item, IntentEvent.LOSE, Unknown(reason))

    def _on_time_passed(self, _: ev.TimePassed) -> None:
        for post in self.posts.expire(self._now):
            self._post_ended(post)
            self._lose(post, f"no reply within {self.settings.post_timeout_ms} ms")

    def _on_lost(self, event: ev.ConnectionLost) -> None:
        self.session.step(SessionEvent.LOSE)
        self._lose_open_posts(f"the connection was lost: {event.reason}")
        if self.session.state is SessionState.CLOSED:
            self._drop(self.scheduler.drop_all(), _SHUT_DOWN)

    def _lose_open_posts(self, reason: str) -> None:
        for post in self.posts.disconnect():
            self._post_ended(post)
            self._lose(post, reason)

    def _end_post(self, post: PostRequest, event: PostEvent, *, unclear: bool = False) -> None:
        self.posts.end(post, event, unclear=unclear)
        self._post_ended(post)

    def _post_ended(self, post: PostRequest) -> None:
        self.moved_posts.append(post)
        self._effects.append(ev.PostEnded(post))
        if post is self._key_post:
            self._key_post = None

    # ------------------------------------------------------------------------------------------- intents that end

    def _end_intent(self, intent: Intent, event: IntentEvent, outcome: Outcome, *, admitted: bool = True) -> None:
        INTENT.step(intent, event, outcome=outcome)
        self.ended += 1
        if admitted:
            self.scheduler.ended(intent)
        self.moved_intents.append(intent)
        self._effects.append(ev.IntentEnded(intent))
        request = intent.request
        if isinstance(request, Cancel):
            if intent.state is IntentState.CANCELED and intent.target is not None:
                self._release_cloid(intent.target)
            return
        if isinstance(request, Order) and self._flattening.get(request.market) is intent:
            del self._flattening[request.market]
        if intent.state not in (IntentState.RESTING, IntentState.UNKNOWN):
            self._release_cloid(intent)

    def _release_cloid(self, intent: Intent) -> None:
        cloid = _own_cloid(intent)
        if self._open_cloids.get(cloid) is intent:
            del self._open_cloids[cloid]

    def _on_order_closed(self, event: ev.OrderClosed) -> None:
        intent = self._open_cloids.get(event.cloid)
        if intent is not None and intent.state is not IntentState.QUEUED:
            self._release_cloid(intent)

    # ------------------------------------------------------------------------------- session, hard stop, shutdown

    def _on_server_time(self, event: ev.ServerTimeLearned) -> None:
        drift = self.nonces.sync(event.server_time_ms)
        if drift is not Drift.OK:
            self._effects.append(ev.DriftSeen(drift, self.nonces.offset_ms))
        if drift is Drift.ERROR:
            self._halt(f"the clock is {self.nonces.offset_ms} ms off the server's")
        self.session.clock_synced = drift is not Drift.ERROR
        self._try_ready()

    def _on_markets(self, _: ev.MarketsLoaded) -> None:
        self.session.markets_loaded = True
        self._try_ready()

    def _try_ready(self) -> None:
        if self.session.state is SessionState.SYNCING:
            self.session.step(SessionEvent.SYNCED)

    def _halt(self, reason: str) -> None:
        if not self.hard_stop.tripped:
            self._effects.append(ev.Halted(reason))
        self.hard_stop.trip(reason)
        self._drop(self.scheduler.drop_new_orders(), f"halted: {reason}")

    def _on_reset(self, event: ev.StopReset) -> None:
        self.hard_stop.reset(event.reason)
        self._rejected_posts = 0

    def _on_drain(self, _: ev.DrainStarted) -> None:
        self.session.step(SessionEvent.DRAIN)
        if self.session.state is SessionState.CLOSED:
            self._drop(self.scheduler.drop_all(), _SHUT_DOWN)
        else:
            self._drop(self.scheduler.drop_new_orders(), _SHUT_DOWN)

    def _on_closed(self, _: ev.Closed) -> None:
        self.session.step(SessionEvent.CLOSE)
        self._lose_open_posts("shut down before the reply came")
        self._drop(self.scheduler.drop_all(), _SHUT_DOWN)

    def _drop(self, intents: list[Intent], reason: str) -> None:
        for intent in intents:
            self._end_intent(intent, IntentEvent.DROP, NotExecuted(reason))


def _own_cloid(intent: Intent) -> str:
    """The cloid of an order or a modify, which always has one."""
    return intent.cloid or ""
