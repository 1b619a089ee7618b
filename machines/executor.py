"""The core: all machines composed into one flow, without I/O.

    submit → cloid → queue → *tick*: at most one batch → nonce → `Transmit` → written | refused | broken
           → reply | error | timeout | disconnect ends the post → each item's outcome to its owner,
             or, if the post ended ambiguous, settlement: fence → look-up → outcome

`handle(event)` takes one event, moves the machines, and returns what the shell has to do. The shell does it in order
and reports back through further events; it calls from one place, so that there are no locks (design.md, One owner).

**Hand-over.** `Transmit` puts a post in hand. The shell signs, journals and writes it, and reports `PostWritten`,
`SendRefused` or `SendBroken` before anything else; any other event meanwhile is refused with `StepOrderError`. So a
post is registered and counted in the very step that writes it (finding P1), and no reply can find it unregistered.

**Who may end what.** `PostRequestManager.end` alone ends posts, and `_end_intent` alone ends intents. Every other
part finds out; these two act.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from machines import events as ev
from machines.batch import BatchScheduler
from machines.clock import Clock
from machines.errors import NonceOutsideWindow, StepOrderError
from machines.hard_stop import MISSING_ORDER, HardStop, RejectionRun
from machines.inflight import InflightTracker
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    Filled,
    Intent,
    IntentEvent,
    IntentState,
    ItemResult,
    NotExecuted,
    Outcome,
    Priority,
    Rejected,
    ending_of,
)
from machines.nonce import Drift, NonceManager
from machines.post import PostEvent, PostRequest, PostRequestManager
from machines.rate_limit import AddressBudget, MessageRate
from machines.register import IntentRegister
from machines.reply import Accepted, GatewayError, PostReply, Refused
from machines.session import Session, SessionEvent, SessionState
from machines.settings import CoreSettings
from machines.settlement import Attempt, contradict, outcome_of
from machines.settler import Finding, Settler
from machines.snapshot import Snapshot
from machines.standing import KEY_REFUSALS, StandingPosts
from machines.verdict import Answered, NeverRan, Unclear, fence_won, nonce_spent, told_by, verdict_on

BACK_OFF_MS: Final = 1_000
"""How long nothing is sent after the venue's gate answered with an error."""

_SHUT_DOWN: Final = "shut down before it was sent"
_HAND_OVER: Final = (ev.PostWritten, ev.SendRefused, ev.SendBroken)
_EXPIRING: Final = (ActionKind.ORDER, ActionKind.MODIFY)
_UNDER_WAY: Final = (IntentState.POSTED, IntentState.UNKNOWN)


class ExecutorCore:
    """The executor without its world.

    Attributes:
        settings: Its limits.
        nonces: The only source of nonces.
        inflight: The only count of posts in flight.
        posts: Open posts.
        intents: Open intents.
        scheduler: The queues.
        settler: Ambiguous posts and what is found out about them.
        session: The connection.
        hard_stop: The latch.
        budget: The address's action budget.
        moved_posts: Posts that the last step moved.
    """

    def __init__(
        self,
        clock: Clock,
        settings: CoreSettings | None = None,
        *,
        run_id: int,
        last_nonce: int = 0,
        last_post_id: int = 0,
        last_seq: int = 0,
    ) -> None:
        """Compose the machines.

        Args:
            clock: The injected clock.
            settings: Limits.
            run_id: 64 bits that no other run of this account has; the first half of allotted cloids.
            last_nonce: Highest nonce that this signer ever used.
            last_post_id: Highest post id ever used.
            last_seq: Highest sequence number of an intent ever used.
        """
        self.settings = settings or CoreSettings()
        self.nonces = NonceManager(clock, last_nonce)
        self.inflight = InflightTracker(self.settings.inflight_limit, self.settings.high_watermark)
        self.posts = PostRequestManager(
            self.inflight, self.settings.post_timeout_ms, self.settings.quarantine_ms, last_post_id
        )
        self.intents = IntentRegister(run_id, last_seq)
        self.scheduler = BatchScheduler(self.inflight, self.settings.queues)
        self.settler = Settler(self.settings.settlement_alarm_ms)
        self.session = Session()
        self.hard_stop = HardStop()
        self.budget = AddressBudget()
        self.moved_posts: list[PostRequest] = []
        self._clock = clock
        self._now = 0
        self._venue_ahead_ms: int | None = None
        self._rate = MessageRate(self.settings.messages_per_minute)
        self._waiting: dict[int, list[Intent]] = {}
        self._standing = StandingPosts(self.settings.schedule_cancel_ms)
        self._rejections = RejectionRun(self.settings.rejections_to_halt)
        self._effects: list[ev.Effect] = []
        self._handlers: dict[type, Callable[[Any], object]] = {
            ev.Recovered: self._on_recovered,
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
            ev.OrderSeen: self._on_order_seen,
            ev.OrderGone: self._on_order_gone,
            ev.FillSeen: self._on_fill_seen,
            ev.LookedUp: self._on_looked_up,
            ev.LookUpFailed: lambda event: self.settler.look_up_failed(event.post_id, event.seq, self._now),
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
        self.intents.moved = []
        self.settler.moved = []
        self._handlers[type(event)](event)
        return self._effects

    @property
    def idle(self) -> bool:
        """Whether nothing waits, is in hand, in flight or unknown."""
        population = self.intents.population
        return (
            not len(self.posts)
            and self.posts.in_hand is None
            and not population[IntentState.QUEUED]
            and not population[IntentState.WAITING]
            and not self.settler.attempts
        )

    @property
    def wants_tick(self) -> bool:
        """Whether a tick would have something to look at: waiting items, a fence, a key to prove, the switch."""
        return (
            self.intents.population[IntentState.QUEUED] > 0
            or self.settler.next_fence(new_orders=True) is not None
            or self._standing_due() is not None
        )

    @property
    def next_wake_ms(self) -> int | None:
        """When `TimePassed` has something to do, in monotonic ms; None for never."""
        wakes = [self.posts.next_deadline_ms, self.settler.next_wake_ms(self._now)]
        renew_ms = self._standing.renew_ms(self.session, self.hard_stop.tripped)
        if renew_ms is not None and renew_ms > self._now:  # once it is due, ticks see to it, as soon as it may be sent
            wakes.append(renew_ms)
        return min((wake for wake in wakes if wake is not None), default=None)

    @property
    def new_orders_pass(self) -> bool:
        """Whether session, hard stop and clock let new orders through."""
        return self.session.ready and not self.hard_stop.tripped and self.nonces.drift is not Drift.ERROR

    def snapshot(
        self,
        posts: Sequence[PostRequest] | None = None,
        intents: Sequence[Intent] | None = None,
        attempts: Sequence[Attempt] | None = None,
    ) -> Snapshot:
        """What holds now, over the objects named; over those that the last step moved by default."""
        return Snapshot(
            inflight=self.inflight.count,
            quarantined=self.inflight.quarantined,
            inflight_state=self.inflight.state,
            limit=self.inflight.limit,
            high_watermark=self.inflight.high_watermark,
            open_posts=len(self.posts),
            quarantined_posts=self.posts.quarantined,
            items_in_flight=self.posts.items_in_flight,
            in_hand=self.posts.in_hand,
            posts=self.moved_posts if posts is None else posts,
            intents=self.intents.moved if intents is None else intents,
            attempts=self.settler.moved if attempts is None else attempts,
            unknown_items=self.settler.open_items,
            waiting_cancels=sum(map(len, self._waiting.values())),
            queues=self.scheduler.view(),
            population=self.intents.population,
            halted=self.hard_stop.tripped,
            session=self.session.state,
            batch_limit=self.scheduler.limits.batch,
        )

    # ------------------------------------------------------------------------------------------------ submitting

    def _on_submit(self, event: ev.Submit) -> None:
        request = event.request
        flattening = self.intents.flattening(request)
        if flattening is not None:
            self._effects.append(ev.Admitted(Admission.ALREADY_FLATTENING, flattening))
            return
        intent = self.intents.build(request)
        target = self.intents.target(intent)
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

    def _accept(self, intent: Intent, admission: Admission) -> None:
        self.intents.accept(intent)
        self._effects.append(ev.Admitted(admission, intent))

    def _admit(self, intent: Intent) -> Admission:
        if self.session.ending or self.session.epoch == 0:
            return Admission.NOT_READY
        if self.intents.cloid_taken(intent):
            return Admission.CLOID_IN_USE
        if intent.priority is Priority.NEW_ORDER:
            if self.hard_stop.tripped:
                return Admission.HALTED
            if not self.new_orders_pass:
                return Admission.NOT_READY
            if intent.market in self.settler.blocked:
                return Admission.MARKET_BLOCKED
        admission = self.scheduler.enqueue(intent)
        if admission is Admission.QUEUED and not self.session.connected:
            return Admission.QUEUED_DEGRADED
        return admission

    def _cancel_here(self, cancel: Intent, target: Intent) -> None:
        """Cancels overtake orders, so one whose order still waits here must not be sent: both end now."""
        self._accept(cancel, Admission.QUEUED)
        self.scheduler.withdraw(target)
        self._end_intent(target, IntentEvent.DROP, NotExecuted("canceled before it was sent"))
        self._end_intent(cancel, IntentEvent.CANCEL, Canceled(), admitted=False)

    # --------------------------------------------------------------------------------------------------- sending

    def _on_tick(self, _: ev.Tick) -> None:
        if not self.session.connected or not self._rate.allows(self._now):
            return
        standing = self._standing_due()
        if standing is not None:
            self._transmit(standing, None, ())
            return
        if not self.scheduler.queued(Priority.CANCEL) and self._send_fence():
            return
        batch = self.scheduler.tick(new_orders=self.new_orders_pass and self.budget.allows_order(self._now))
        if batch is not None:
            self._transmit(batch.kind, batch.priority, batch.items)

    def _standing_due(self) -> ActionKind | None:
        return None if self.inflight.full else self._standing.due(self.session, self.hard_stop.tripped, self._now)

    def _send_fence(self) -> bool:
        """Fences come after cancels and before orders (settlement.md, rules 3 and 18)."""
        if self.inflight.full:
            return False
        attempt = self.settler.next_fence(new_orders=not self.inflight.degraded)
        if attempt is None:
            return False
        post = self.posts.prepare(
            ActionKind.NOOP, None, (), attempt.post.nonce, self._server_time(), fence_of=attempt.post.post_id
        )
        self.settler.fence_sent(attempt, post)
        self.moved_posts.append(post)
        self._effects.append(ev.Transmit(post))
        return True

    def _transmit(self, kind: ActionKind, priority: Priority | None, items: tuple[Intent, ...]) -> None:
        """Allot a nonce and take a post in hand; without a legal nonce the items wait again, and trading halts."""
        try:
            nonce = self.nonces.next()
        except NonceOutsideWindow as error:
            if items:
                self.scheduler.requeue(items)
            self._halt(str(error))
            return
        now, life = self._server_time(), self.settings.expires_after_ms
        expires = (self._venue_time() or now) + life if life is not None and kind in _EXPIRING else None
        post = self.posts.prepare(kind, priority, items, nonce, now, expires_ms=expires)
        if priority is None:
            self._standing.taken(post, self._now)
        self.moved_posts.append(post)
        self._effects.append(ev.Transmit(post))

    def _server_time(self) -> int:
        return self.nonces.approx_server_time_ms()

    def _venue_time(self) -> int | None:
        """The venue's time by its last word and the monotonic clock, unix ms; None before it was ever heard.

        Whether an expiry has passed must not depend on the local unix clock, which can be stepped (rule 11).
        """
        return None if self._venue_ahead_ms is None else self._now + self._venue_ahead_ms

    def _register(self, event: ev.PostWritten | ev.SendBroken) -> PostRequest:
        post = self.posts.sent(event.post_id, event.signed_nonce, event.epoch, self._now)
        self.moved_posts.append(post)
        self._rate.record(self._now)
        self.budget.spend(max(1, len(post.items)), self._now)
        for item in post.items:
            target = self.intents.target(item)
            item.target_was_settled = target is None or target.state not in _UNDER_WAY
            self.intents.move(item, IntentEvent.POST, post_id=post.post_id)
        return post

    def _on_refused(self, event: ev.SendRefused) -> None:
        post = self.posts.refused(event.post_id)
        self._post_ended(post)
        self.settler.fence_lost(post)
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
        self._answered(event.post_id, event.epoch, event.reply)

    def _on_error(self, event: ev.ErrorReceived) -> None:
        if event.post_id is not None:
            self._answered(event.post_id, event.epoch, GatewayError(event.message))
        elif event.message.startswith("Cannot send more than"):
            # It is not known which message was dropped, so no post ends; we speak less (protocol.md §2).
            self._rate.back_off(self._now, BACK_OFF_MS)

    def _answered(self, post_id: int, epoch: int, reply: PostReply) -> None:
        post = self.posts.find(post_id, epoch)
        if isinstance(reply, GatewayError) and post is not None:
            self._rate.back_off(self._now, BACK_OFF_MS)
        if post is None:
            self._answered_late(post_id, epoch, reply)
        elif post.fence_of is not None:
            self._fence_answered(post, reply)
        else:
            self._settle_post(post, reply)

    def _settle_post(self, post: PostRequest, reply: PostReply) -> None:
        verdict = verdict_on(reply, post.kind, len(post.items))
        accepted = isinstance(reply, Accepted) and isinstance(verdict, Answered)
        self._end_post(post, PostEvent.ACK if accepted else PostEvent.FAIL, unclear=isinstance(verdict, Unclear))
        if isinstance(verdict, NeverRan):
            self._take_back(post, verdict.reason)
        elif isinstance(verdict, Unclear):
            self._lose(post, verdict.reason, spent=nonce_spent(reply))
        else:
            if post.kind is ActionKind.NOOP:
                self._judge_key(reply)
            elif post.kind is ActionKind.SCHEDULE_CANCEL and isinstance(reply, Refused):
                self._effects.append(ev.SwitchRefused(reply.reason))
            self._end_items(post, verdict.results)
            too_many = self._rejections.note(verdict.results)
            if too_many is not None:
                self._halt(too_many)

    def _end_items(self, post: PostRequest, results: tuple[ItemResult, ...]) -> None:
        """What the reply says of each item; the order stream may have said it before."""
        doubtful, refused = [], set()
        for item, result in zip(post.items, results, strict=True):
            if item.state is not IntentState.POSTED:
                self._compare(item, result, "the post's reply")
            elif item.priority is not Priority.CANCEL or not isinstance(result, Rejected):
                self._end_intent(item, ending_of(result), result)
            elif self._in_doubt(item, result):
                doubtful.append(item)
                if not result.reason.startswith(MISSING_ORDER):
                    refused.add(item.seq)
        if doubtful:
            self.settler.spend(self.settler.open(post, doubtful, self._now, refused=refused), self._now)

    def _in_doubt(self, cancel: Intent, result: Rejected) -> bool:
        """What a rejected cancel proves (settlement.md, rule 19); True if only the record of its order can tell."""
        target = self.intents.target(cancel)
        overtook = not cancel.target_was_settled and result.reason.startswith(MISSING_ORDER)
        if overtook and target is not None and target.state is IntentState.RESTING:
            self._return((cancel,))
        elif (overtook or cancel.lost) and target is not None and target.state in _UNDER_WAY:
            self.intents.move(cancel, IntentEvent.WAIT)
            self._waiting.setdefault(target.seq, []).append(cancel)
        elif not cancel.lost:
            self._end_intent(cancel, IntentEvent.REJECT, result)
        else:  # an earlier attempt of it may have done it
            self.intents.move(cancel, IntentEvent.LOSE)
            self._effects.append(ev.IntentUnknown(cancel, result.reason))
            return True
        return False

    def _wake_cancels(self, target: Intent) -> None:
        """The fate of an order is known: cancels that waited for it go out again, or end."""
        for cancel in self._waiting.pop(target.seq, ()):
            if target.state is IntentState.RESTING or cancel.lost:
                self._return((cancel,))
            else:
                reason = f"{MISSING_ORDER}; the order ended {target.state.value}"
                self._end_intent(cancel, IntentEvent.REJECT, Rejected(reason))

    def _judge_key(self, reply: PostReply) -> None:
        if not isinstance(reply, Refused):
            self.session.key_accepted = True
            self._try_ready()
        elif reply.reason.startswith(KEY_REFUSALS):
            self._standing.key_refused = True
            self._effects.append(ev.KeyRefused(reply.reason))
        else:  # it says nothing about the key: ask again
            self._rate.back_off(self._now, BACK_OFF_MS)

    def _take_back(self, post: PostRequest, reason: str) -> None:
        """The venue proved that the post never ran: cancels and reduce-only orders wait again (rule 19: not all)."""
        again = []
        for item in post.items:
            if item.state is not IntentState.POSTED:
                self._compare(item, Rejected(reason), "the post's reply")
            elif item.priority is Priority.NEW_ORDER or item.cancel_wanted:
                self._end_intent(item, IntentEvent.ABANDON, NotExecuted(f"refused by the venue's gate: {reason}"))
            else:
                again.append(item)
        if again:
            self._return(tuple(again))

    def _return(self, items: tuple[Intent, ...], **facts: str) -> None:
        for item in items:
            self.intents.move(item, IntentEvent.RETURN, **facts)
        self.scheduler.requeue(items)

    def _on_time_passed(self, _: ev.TimePassed) -> None:
        for post in self.posts.expire(self._now):
            self._post_ended(post)
            self._lose(post, f"no reply within {self.settings.post_timeout_ms} ms")
        self.moved_posts.extend(self.posts.expire_quarantine(self._now))
        for attempt in self.settler.time_passed(self._now, self._venue_time()):
            self._effects.append(ev.SettlementOverdue(tuple(attempt.open.values())))
        for question in self.settler.questions(self._now):
            self._effects.append(ev.LookUp(question.post_id, question.seq, question.key))

    def _on_lost(self, event: ev.ConnectionLost) -> None:
        self.session.step(SessionEvent.LOSE)
        self._lose_open_posts(f"the connection was lost: {event.reason}")
        if self.session.state is SessionState.CLOSED:
            self._shut()

    def _lose_open_posts(self, reason: str) -> None:
        for post in self.posts.disconnect(self._now):
            self._post_ended(post)
            self._lose(post, reason)

    def _end_post(self, post: PostRequest, event: PostEvent, *, unclear: bool = False) -> None:
        self.posts.end(post, event, self._now, unclear=unclear)
        self._post_ended(post)

    def _post_ended(self, post: PostRequest) -> None:
        self.moved_posts.append(post)
        self._effects.append(ev.PostEnded(post))
        self._standing.ended(post, self._now)

    # ------------------------------------------------------------------------------------------------- settlement

    def _lose(self, post: PostRequest, reason: str, *, spent: bool = False) -> None:
        """A post ended without proof: cancels go out again, the fate of orders has to be found out."""
        self.settler.fence_lost(post)
        items = tuple(item for item in post.items if item.state is IntentState.POSTED)
        if not items:
            return
        if post.priority is Priority.CANCEL:
            for item in items:
                item.lost = True
            self._return(items)
            return
        for item in items:
            self.intents.move(item, IntentEvent.LOSE)
            self._effects.append(ev.IntentUnknown(item, reason))
        attempt = self.settler.open(post, items, self._now)
        if spent:
            self.settler.spend(attempt, self._now)

    def _fence_answered(self, fence: PostRequest, reply: PostReply) -> None:
        self._end_post(fence, PostEvent.ACK if fence_won(reply) else PostEvent.FAIL)
        if not self._fence_proves(fence, reply):
            self.settler.fence_lost(fence)
            self._rate.back_off(self._now, BACK_OFF_MS)

    def _fence_proves(self, fence: PostRequest, reply: PostReply) -> bool:
        """Apply what the answer to a fence proves, late or not; False if that is nothing (rules 4 to 6)."""
        won = fence_won(reply)
        if not won and not nonce_spent(reply):
            return False
        self._apply(self.settler.fence_answered(fence, won=won, now=self._now))
        return True

    def _answered_late(self, post_id: int, epoch: int, reply: PostReply) -> None:
        """A reply for no open post: it ends the quarantine of its post, and may decide an open attempt (rule 10)."""
        post = self.posts.find_quarantined(post_id, epoch)
        attempt = self.settler.attempts.get(post_id)
        if post is not None:
            self.posts.answered_late(post)
        elif attempt is not None and attempt.post.ambiguous and attempt.post.epoch == epoch:
            post = attempt.post
        else:
            self._effects.append(ev.StrayReply(epoch, post_id))
            return
        self.moved_posts.append(post)
        verdict = verdict_on(reply, post.kind, len(post.items))
        if post.fence_of is not None:
            self._fence_proves(post, reply)
        elif attempt is not None:
            self._apply(self.settler.replied_late(attempt, verdict, nonce_spent(reply), self._now))
        else:
            for item, result in zip(post.items, told_by(verdict, len(post.items)), strict=False):
                self._compare(item, result, "the post's late reply", post_id)

    def _on_looked_up(self, event: ev.LookedUp) -> None:
        self._apply(self.settler.looked_up(event.post_id, event.seq, event.record, self._now))

    def _apply(self, findings: list[Finding]) -> None:
        """End, or send again, what settlement has found out."""
        again = []
        for found in findings:
            item = found.intent
            if found.outcome is not None:
                self._end_intent(item, _ending(found.outcome), found.outcome, proof=found.proof)
            elif item.priority is Priority.NEW_ORDER or item.cancel_wanted or not found.may_return:
                self._end_intent(item, IntentEvent.ABANDON, NotExecuted(found.proof), proof=found.proof)
            else:
                self.intents.move(item, IntentEvent.RETURN, proof=found.proof)
                again.append(item)
        if again:
            self.scheduler.requeue(tuple(again))
        self._try_ready()

    def _on_order_seen(self, event: ev.OrderSeen) -> None:
        intent = self.intents.remembered(event.cloid)
        if intent is None:
            return
        result = outcome_of(event.record)
        if intent.state in _UNDER_WAY:
            if intent.state is IntentState.POSTED:
                self.posts.item_ended()
            else:
                self.settler.item_ended(intent.seq)
            self._end_intent(intent, ending_of(result), result, proof="the order stream")
            self._try_ready()
        else:
            self._compare(intent, result, "the order stream")
        if not event.record.on_book and intent.outcome is not None:
            self.intents.off_book(intent)

    def _on_fill_seen(self, event: ev.FillSeen) -> None:
        """A trade proves that its order ran; only whether it still rests is left to be looked up."""
        intent = self.intents.remembered(event.cloid)
        if intent is None or intent.state is IntentState.POSTED:
            return
        if intent.state is IntentState.UNKNOWN:
            self.settler.ran(intent.seq, self._now)
        else:
            self._compare(intent, Filled(event.oid, event.size, None), "the stream of trades")

    def _on_order_gone(self, event: ev.OrderGone) -> None:
        intent = self.intents.order(event.cloid)
        if intent is not None and intent.state is IntentState.RESTING:
            self.intents.off_book(intent)

    def _compare(self, intent: Intent, later: ItemResult, source: str, post_id: int | None = None) -> None:
        """A second source speaks of a fate that is known: it changes nothing, but it must not contradict (X7).

        `post_id` is the attempt that it speaks of: one before the last was proven never to have run (rule 20).
        """
        resent = post_id is not None and post_id != intent.attempts[-1]
        first = None if resent else intent.outcome
        first = first or NotExecuted("proven never to have run")
        if intent.priority is not Priority.CANCEL and contradict(first, later):
            self._effects.append(ev.Contradiction(intent, first, later, source))

    def _on_recovered(self, event: ev.Recovered) -> None:
        """Take over what an earlier run left: quarantine it again, and settle it before READY (rules 3, 15)."""
        for post in event.posts:
            self.posts.recover(post, self._now)
            self.moved_posts.append(post)
            for item in post.items:
                self._take_up(item)
            if post.items:
                self.settler.open(post, post.items, self._now, fenceable=event.same_key, earlier=True)

        for item in event.never_sent:
            self._take_up(item)
            self._end_intent(item, IntentEvent.DROP, NotExecuted("never sent before the restart"))
        for item in event.lost_cancels:
            self._take_up(item)
        if event.lost_cancels:
            self.scheduler.requeue(event.lost_cancels)

    def _take_up(self, item: Intent) -> None:
        self.intents.accept(item)
        self.scheduler.outstanding[item.priority] += 1

    # ------------------------------------------------------------------------------------------- intents that end

    def _end_intent(
        self, intent: Intent, event: IntentEvent, outcome: Outcome, *, admitted: bool = True, proof: str | None = None
    ) -> None:
        self.intents.end(intent, event, outcome, proof)
        if admitted:
            self.scheduler.ended(intent)
        self._effects.append(ev.IntentEnded(intent))
        if isinstance(intent.request, Cancel):
            if intent.state is IntentState.CANCELED:
                self._canceled(intent)
        else:
            self._wake_cancels(intent)

    def _canceled(self, cancel: Intent) -> None:
        target = self.intents.target(cancel)
        if target is not None and target.state is IntentState.RESTING:
            self.intents.off_book(target)

    # ------------------------------------------------------------------------------- session, hard stop, shutdown

    def _on_server_time(self, event: ev.ServerTimeLearned) -> None:
        drift = self.nonces.sync(event.server_time_ms)
        self._venue_ahead_ms = event.server_time_ms - self._now
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
            self.session.earlier_settled = not any(a.of_earlier_run for a in self.settler.attempts.values())
            self.session.step(SessionEvent.SYNCED)

    def _halt(self, reason: str) -> None:
        if not self.hard_stop.tripped:
            self._effects.append(ev.Halted(reason))
        self.hard_stop.trip(reason)
        self._drop(self.scheduler.drop_new_orders(), f"halted: {reason}")

    def _on_reset(self, event: ev.StopReset) -> None:
        self.hard_stop.reset(event.reason)
        self._rejections.length = 0

    def _on_drain(self, _: ev.DrainStarted) -> None:
        self.session.step(SessionEvent.DRAIN)
        if self.session.state is SessionState.CLOSED:
            self._shut()
        else:
            self._drop(self.scheduler.drop_new_orders(), _SHUT_DOWN)

    def _on_closed(self, _: ev.Closed) -> None:
        self.session.step(SessionEvent.CLOSE)
        self._lose_open_posts("shut down before the reply came")
        self._shut()

    def _shut(self) -> None:
        """Nothing more will be sent: what waits ends, and what may have run is left for the next run to settle."""
        unsettled = self._drop(self.scheduler.drop_all(), _SHUT_DOWN)
        for cancels in self._waiting.values():
            unsettled += [cancel for cancel in cancels if cancel.lost]
            for cancel in [cancel for cancel in cancels if not cancel.lost]:
                cancels.remove(cancel)
                self._end_intent(cancel, IntentEvent.DROP, NotExecuted(_SHUT_DOWN))
        for attempt in self.settler.attempts.values():
            unsettled += attempt.open.values()
        for item in unsettled:
            self._effects.append(ev.IntentUnsettled(item, "shut down before its fate was known"))

    def _drop(self, dropped: list[Intent], reason: str) -> list[Intent]:
        """End what was dropped from the queues; returns what goes back: cancels that were lost, and may have run."""
        lost = [intent for intent in dropped if intent.lost]
        if lost:
            self.scheduler.requeue(tuple(lost))
        for intent in dropped:
            if not intent.lost:
                self._end_intent(intent, IntentEvent.DROP, NotExecuted(reason))
        return lost


def _ending(outcome: ItemResult | NotExecuted) -> IntentEvent:
    return IntentEvent.ABANDON if isinstance(outcome, NotExecuted) else ending_of(outcome)
