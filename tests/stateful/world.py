"""The real core in a modelled world: clock, connection, venue, and a reference model that predicts every effect.

Whatever happens goes through `World.tell`: the core takes the event; the invariants are evaluated as the live executor
does, on the step's own snapshot; every outcome is compared with what the venue did; the effects with what the model
expects, and the state with the model's. `check_everything` evaluates the invariants over all that ever moved.

A crash ends the core at any step, and another one takes up what the journal's own rows keep of it (adapters/recorder).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import Final

import msgspec
import pytest

from adapters.journal import IntentRow, OpenPost, PostRow, Recovered
from adapters.journal.recovery import decode_intent
from adapters.recorder import intent_row, post_row, restored
from machines import events as ev
from machines.clock import ManualClock
from machines.errors import MachinesError, SignedNonceMismatch, StepOrderError
from machines.executor import ExecutorCore
from machines.intent import Admission, Intent, IntentState, NotExecuted, Order, Outcome, Priority, Rejected, Request
from machines.post import PostRequest, PostState
from machines.session import SessionState
from machines.settings import CoreSettings
from machines.settlement import Attempt, OrderRecord
from tests.stateful.checks import Violated, agree, check_invariants
from tests.stateful.ledger import Ending, Key, Link, Place, Told
from tests.stateful.model import MINUTE_MS, Model
from tests.stateful.record import RECORD
from tests.stateful.venue import DAY_MS, NO_WALLET, TRUE_ORIGIN_MS, Frame, Proof, Reply, Venue

RUN_ID: Final = 0xABC
HEAL_STEP_MS: Final = 15_000
"""Longer than any pause that a rate limit or the address budget imposes on a single message of these tests."""
OWN_WORDS: Final = (
    "order status:",
    "the order was not canceled",
    "Order was never placed, already canceled, or filled; the order ended",
)
"""How a rejection begins that the executor itself has worded."""
_SESSION_STATES: Final = {
    Link.DOWN: SessionState.DISCONNECTED,
    Link.DIALING: SessionState.CONNECTING,
    Link.DRAINING: SessionState.DRAINING,
    Link.CLOSED: SessionState.CLOSED,
}


class HandOver(Enum):
    """How the hand-over of a post to the socket goes."""

    WRITTEN = "written"
    REFUSED = "refused before any byte"
    BROKEN = "broken after the first byte"
    CRASHED = "the executor crashes meanwhile"


class World:
    """A run, through all crashes.

    Attributes:
        posts: Every post that the present core ever moved, by id.
        intents: Every intent that the present core ever moved, by sequence number.
        attempts: Every attempt that the present core ever moved, by the id of its post.
        told: How often the owner of an intent heard its outcome, by sequence number, whichever core said so.
        questions: Look-ups that were asked for and not answered.
        retired: Cloids of earlier cores; the owner uses none of them again.
        sound: Whether all checks have held so far.
    """

    def __init__(self, settings: CoreSettings, *, kept_nonces: int = 100) -> None:
        self.settings = settings
        self.clock = ManualClock(TRUE_ORIGIN_MS)
        self.venue = Venue(self.clock, kept_nonces)
        self.run = 0
        self.signer = "key 0"
        self.told: Counter[int] = Counter()
        self.retired: set[str] = set()
        self.sound = True
        self._signers: dict[int, str] = {}
        self._intent_rows: dict[int, IntentRow] = {}
        self._post_rows: dict[int, PostRow] = {}
        self._begin_run((0, 0, 0))

    def _begin_run(self, last: tuple[int, int, int]) -> None:
        self.run += 1
        run_id = RUN_ID + self.run
        nonce, post_id, seq = last
        self.core = ExecutorCore(
            self.clock, self.settings, run_id=run_id, last_nonce=nonce, last_post_id=post_id, last_seq=seq
        )
        self.model = Model(self.settings, self.clock, run_id, last)
        self.posts: dict[int, PostRequest] = {}
        self.intents: dict[int, Intent] = {}
        self.attempts: dict[int, Attempt] = {}
        self.questions: list[ev.LookUp] = []
        self._ended_posts: set[int] = set()
        self._misled = False

    # --------------------------------------------------------------------------------------------------- the checks

    def tell(self, event: ev.Event, expected: Told) -> Sequence[ev.Effect]:
        """Give the core an event: invariants, truth, its effects, which must be `expected`, and its state."""
        self.sound = False
        effects = self.core.handle(event)
        self.posts.update((post.post_id, post) for post in self.core.moved_posts)
        self.intents.update((intent.seq, intent) for intent in self.core.intents.moved)
        self.attempts.update((attempt.post.post_id, attempt) for attempt in self.core.settler.moved)
        self._record()
        check_invariants(self.core.snapshot())
        told = self._told(effects)
        for field in dataclasses.fields(Told):
            agree(f"told {field.name}", getattr(told, field.name), getattr(expected, field.name), event)
        self._compare_state(event)
        self.sound = True
        return effects

    def refuses(self, event: ev.Event, error: type[MachinesError]) -> None:
        """The core must refuse an event with `error`, and nothing may change."""
        before = self.core.snapshot((), (), ()), self.core.nonces.last, self.core.session.epoch
        self.sound = False
        with pytest.raises(error):
            self.core.handle(event)
        after = self.core.snapshot((), (), ()), self.core.nonces.last, self.core.session.epoch
        agree("a refused event", after, before, event)
        self.sound = True

    def check_everything(self) -> None:
        """All invariants, over every post, intent and attempt of the present core."""
        self.sound = False
        everything = list(self.posts.values()), list(self.intents.values()), list(self.attempts.values())
        check_invariants(self.core.snapshot(*everything))
        ended = {intent.seq for intent in self.intents.values() if intent.outcome is not None}
        heard = {seq for seq in self.told if seq in self.intents}
        agree("owners told", heard, ended)
        self.sound = True

    def _record(self) -> None:
        """Write the rows of what the step moved, before any of its effects, as the recorder does (rules 1 and 2)."""
        core = self.core
        self._intent_rows.update((intent.seq, intent_row(intent)) for intent in core.intents.moved)
        posts = (*core.moved_posts, *(attempt.post for attempt in core.settler.moved))
        self._post_rows.update(
            (post.post_id, post_row(post, core.settler.attempts.get(post.post_id))) for post in posts
        )

    def _told(self, effects: Sequence[ev.Effect]) -> Told:
        told = Told()
        for effect in effects:
            match effect:
                case ev.Admitted(admission, intent):
                    told.admission, told.intent = admission, None if intent is None else intent.seq
                    RECORD.sometimes(f"admission {admission.value}")
                case ev.Transmit(post):
                    if told.transmit is not None:
                        raise Violated("OnePostPerTick", f"{told.transmit} and post {post.post_id}")
                    items = [item.seq for item in post.items]
                    told.transmit = (post.post_id, post.nonce, items, post.expires_ms, post.fence_of)
                case ev.PostEnded(post):
                    self._post_ended(post)
                    told.posts[post.post_id] = post.state
                case ev.IntentEnded(intent):
                    told.intents[intent.seq] = self._intent_ended(intent)
                case _:
                    self._told_of_trouble(told, effect)
        return told

    def _told_of_trouble(self, told: Told, effect: ev.Effect) -> None:
        match effect:
            case ev.IntentUnknown(intent):
                told.unknown.add(intent.seq)
            case ev.IntentUnsettled(intent):
                told.unsettled.add(intent.seq)
                RECORD.sometimes("an intent is left for the next run")
            case ev.LookUp(post_id, seq, key):
                self.questions.append(effect)
                told.look_ups.append((post_id, seq, key))
            case ev.SettlementOverdue(intents):
                told.overdue.update(intent.seq for intent in intents)
                RECORD.sometimes("a settlement is overdue")
            case ev.Contradiction(intent):
                told.contradictions.append(intent.seq)
                RECORD.sometimes("two sources contradict each other")
            case ev.StrayReply():
                told.stray = True
            case ev.Halted():
                told.halts += 1
            case ev.DriftSeen(drift):
                told.drift = drift
                RECORD.sometimes(f"drift {drift.value}")
            case ev.KeyRefused():
                told.key_refused = True
                RECORD.sometimes("the key is refused")
            case ev.SwitchRefused():
                told.switch_refused = True
                RECORD.sometimes("the switch is refused")

    def _post_ended(self, post: PostRequest) -> None:
        if post.post_id in self._ended_posts:
            raise Violated("PostEndsOnce", f"post {post.post_id}")
        self._ended_posts.add(post.post_id)
        RECORD.sometimes(f"post {post.state.value}")

    def _intent_ended(self, intent: Intent) -> Ending:
        if intent.outcome is None:
            raise Violated("ToldOnce", f"intent {intent.seq} is reported without an outcome")
        self.told[intent.seq] += 1
        if self.told[intent.seq] > 1:
            raise Violated("ToldOnce", f"the owner of intent {intent.seq} hears a second outcome, {intent.outcome}")
        RECORD.sometimes(f"outcome {type(intent.outcome).__name__}")
        self.venue.hear(intent, intent.outcome)
        return _reported(intent.outcome)

    def _compare_state(self, event: ev.Event) -> None:
        core, model = self.core, self.model
        up = SessionState.READY if model.ready else SessionState.SYNCING
        population = core.intents.population
        pairs = (
            ("session", core.session.state, _SESSION_STATES.get(model.link, up)),
            ("epoch", core.session.epoch, model.epoch),
            ("hard stop", core.hard_stop.tripped, model.halted),
            ("new orders pass", core.new_orders_pass, model.new_orders_pass),
            ("inflight", core.inflight.count, len(model.sent)),
            ("quarantine", core.inflight.quarantined, len(model.quarantine)),
            ("unknown", population[IntentState.UNKNOWN], model.count(Place.UNKNOWN)),
            ("held cancels", population[IntentState.WAITING], model.count(Place.HELD)),
            ("attempts", list(core.settler.attempts), list(model.attempts)),
            ("blocked markets", set(core.settler.blocked), model.blocked),
            ("accepted", core.intents.accepted, len(model.items)),
            ("ended", core.intents.ended, model.count(Place.ENDED)),
            ("idle", core.idle, model.idle),
        )
        for name, seen, expected in pairs:
            agree(name, seen, expected, event)
        for priority in Priority:
            queue = core.scheduler.queued(priority), core.scheduler.outstanding[priority]
            agree("queues", queue, (len(model.queues[priority]), model.outstanding(priority)), event)
        RECORD.sometimes("the limit is reached", core.inflight.full)
        RECORD.sometimes("the watermark is reached", core.inflight.degraded and not core.inflight.full)
        RECORD.sometimes("all slots are in quarantine", core.inflight.quarantined == core.inflight.limit)

    # ------------------------------------------------------------------------------------------- things that happen

    def submit(self, request: Request) -> Intent | None:
        """The owner submits; the intent if it was accepted now."""
        expected = self.model.submit(request)
        effects = self.tell(ev.Submit(request), expected)
        admitted = effects[0]
        assert isinstance(admitted, ev.Admitted)
        if admitted.admission is Admission.QUEUE_FULL:
            RECORD.sometimes(f"the {self.model.queue_of(request).value} queue is full")
        return admitted.intent if admitted.admission.accepted else None

    def tick(self, hand_over: HandOver = HandOver.WRITTEN) -> Frame | None:
        """A tick, and the hand-over of its post if there is one; the frame that may be on the wire."""
        effects = self.tell(ev.Tick(), self.model.tick())
        post = next((effect.post for effect in effects if isinstance(effect, ev.Transmit)), None)
        if post is None:
            return None
        epoch = self.core.session.epoch
        self.refuses(ev.TimePassed(), StepOrderError)
        self.refuses(ev.PostWritten(post.post_id + 1, post.nonce, epoch), StepOrderError)
        self.refuses(ev.PostWritten(post.post_id, post.nonce + 1, epoch), SignedNonceMismatch)
        self._signers[post.post_id] = self.signer
        if post.fence_of is None:
            self._check_nonce(post)
        if hand_over is HandOver.REFUSED:
            self.tell(ev.SendRefused(post.post_id, "socket not open"), self.model.refused())
            RECORD.sometimes("an item comes back unsent", any(item.outcome is None for item in post.items))
            return None
        frame = self._frame(post, epoch)
        match hand_over:
            case HandOver.WRITTEN:
                self.tell(ev.PostWritten(post.post_id, post.nonce, epoch), self.model.written())
            case HandOver.BROKEN:
                self._connection_gone()
                self.tell(ev.SendBroken(post.post_id, post.nonce, epoch, "reset by peer"), self.model.broken())
            case HandOver.CRASHED:
                self.restart()
        return frame

    def _check_nonce(self, post: PostRequest) -> None:
        self._misled |= abs(self.model.server_time_ms - self.venue.now_ms) > DAY_MS // 2
        error = self.venue.nonce_error(post.nonce, self.signer)
        if error is not None and not self._misled:
            raise Violated("NonceIsTaken", f"the venue would refuse the nonce of post {post.post_id}: {error}")

    def _frame(self, post: PostRequest, epoch: int) -> Frame:
        patience = self.settings.post_timeout_ms + self.settings.quarantine_ms
        gone = self.clock.monotonic_ms() + patience
        frame = Frame(
            post.post_id, epoch, post.nonce, post.kind, post.items, post.expires_ms, self.signer, self.run, gone
        )
        self.venue.frames.append(frame)
        if self.venue.held() > self.settings.inflight_limit:
            raise Violated("VenueCountWithinLimit", f"the venue holds {self.venue.held()} posts")
        return frame

    def _connection_gone(self) -> None:
        """From here on the venue forgets what it can't answer any more (rule 16)."""
        gone = self.clock.monotonic_ms() + self.settings.quarantine_ms
        for frame in self.venue.frames:
            frame.gone_ms = min(frame.gone_ms, gone)

    def deliver(self, reply: Reply, epoch: int | None = None) -> None:
        """A reply arrives, on the connection that carried its post unless `epoch` says otherwise."""
        if reply.frame.run != self.run:
            return
        epoch = reply.frame.epoch if epoch is None else epoch
        post = self.posts[reply.frame.post_id]
        RECORD.sometimes("a reply comes after the timeout", post.state is PostState.TIMED_OUT)
        RECORD.sometimes("a reply comes twice", post.state is PostState.ACKED)
        RECORD.sometimes("a reply comes from an earlier connection", epoch < self.model.epoch)
        self.tell(reply.event(epoch), self.model.reply(reply, epoch))
        if isinstance(reply.meaning, Proof):
            RECORD.sometimes(f"a reply proves {reply.meaning.value}")
            RECORD.sometimes("a nonce is spent already", "duplicate nonce" in str(reply.content))
            RECORD.sometimes("a nonce sank below the window", "nonce too low" in str(reply.content))
            gate = reply.meaning is Proof.NEVER_RAN
            RECORD.sometimes(
                "an item comes back refused by the gate", gate and any(item.outcome is None for item in post.items)
            )

    def pass_time(self, ms: int, *, noticed: bool = True) -> None:
        """Time passes, and the core looks at its deadlines if it is `noticed`."""
        self.clock.advance(ms)
        if noticed:
            self.tell(ev.TimePassed(), self.model.time_passed())

    def answer_look_ups(self, lag_ms: int = 0, *, fails: bool = False) -> None:
        """Every look-up under way is answered with the record as it was `lag_ms` ago, or fails."""
        while self.questions:
            asked = self.questions.pop(0)
            if fails:
                event: ev.Event = ev.LookUpFailed(asked.post_id, asked.seq)
                self.tell(event, self.model.look_up_failed(asked.post_id, asked.seq))
            else:
                record = self.venue.look_up(asked.key, lag_ms)
                RECORD.sometimes("a record is found", record is not None)
                event = ev.LookedUp(asked.post_id, asked.seq, record)
                self.tell(event, self.model.looked_up(asked.post_id, asked.seq, record))

    def stream(self, which: int) -> None:
        """The order stream tells some news: perhaps an old one, perhaps again."""
        if self.venue.news:
            cloid, record = self.venue.news[which % len(self.venue.news)]
            self.tell(ev.OrderSeen(cloid, record), self.model.order_seen(cloid, record))

    def fill(self) -> None:
        """The stream of trades tells of the last order that traded."""
        traded = [order for order in self.venue.orders.values() if order.record.traded != "0"]
        if traded:
            cloid, oid, size = traded[-1].cloid, traded[-1].record.oid, traded[-1].record.traded
            self.tell(ev.FillSeen(cloid, oid, size), self.model.fill_seen(cloid, oid, size))

    def gone(self, cloid: str) -> None:
        """An order is no longer among the open ones, and the stream did not say why."""
        self.tell(ev.OrderGone(cloid), self.model.order_gone(cloid))

    def make_ready(self) -> None:
        """Whatever stopped new orders is over."""
        if self.model.link is Link.DRAINING:
            self.close()
        if self.model.link is Link.CLOSED:
            self.restart()
        if self.model.halted:
            self.reset()
        self.set_clock(0)
        self.become_ready()
        self._send_all()

    def lose(self, reason: str = "reset by peer") -> None:
        """The connection, or the attempt, is gone."""
        self._connection_gone()
        self.tell(ev.ConnectionLost(reason), self.model.lose())

    def close(self) -> None:
        """Draining is over."""
        self._connection_gone()
        self.tell(ev.Closed(), self.model.close())

    def restart(self, *, new_key: bool = False) -> None:
        """The core is gone; another one takes up what its journal rows keep, perhaps with another key."""
        core = self.core
        last = core.nonces.last, core.posts.last_id, core.intents.last_seq
        left = self._left_behind(new_key=new_key)
        RECORD.sometimes("a post of an earlier run is unanswered", any(p.state is PostState.SENT for p in left.posts))
        RECORD.sometimes("a cancel of an earlier run may have been carried out", bool(left.lost_cancels))
        RECORD.sometimes("the key changes while a post is unsettled", not left.same_key)
        self._connection_gone()
        self.retired |= {intent.cloid for intent in self.intents.values() if intent.cloid is not None}
        self._begin_run(last)
        self.posts.update((post.post_id, post) for post in left.posts)
        self.tell(left, self.model.recovered(left))

    def _left_behind(self, *, new_key: bool) -> ev.Recovered:
        core = self.core
        kept = Recovered(
            run=self.run,
            last_nonce=core.nonces.last,
            last_post_id=core.posts.last_id,
            last_intent_seq=core.intents.last_seq,
            last_signer=self.signer,
            clean=False,
            torn_frames=0,
            intents=tuple(
                decode_intent(msgspec.json.encode(row)) for _, row in sorted(self._intent_rows.items()) if row.open
            ),
            posts=tuple(
                OpenPost(row, self.run, self._signers[post_id])
                for post_id, row in sorted(self._post_rows.items())
                if row.open
            ),
        )
        if new_key:
            self.signer = f"key {self.run}"
        return restored(kept, self.signer)

    def set_clock(self, error_ms: int) -> None:
        """The local clock is stepped, so that it is off the true time by `error_ms`."""
        self.clock.step_unix(self.venue.now_ms + error_ms - self.clock.now_ms())

    def sync(self, latency_ms: int = 0) -> None:
        """The server's time is learnt, as it was `latency_ms` ago."""
        server_time = self.venue.now_ms - latency_ms
        self.tell(ev.ServerTimeLearned(server_time), self.model.server_time(server_time))

    def dial(self) -> None:
        """A connection attempt begins."""
        self.tell(ev.ConnectStarted(), self.model.dial())

    def open(self) -> None:
        """The attempt succeeds."""
        self.tell(ev.ConnectionOpened(), self.model.open())

    def load_markets(self) -> None:
        """The markets become known."""
        self.tell(ev.MarketsLoaded(), self.model.markets_loaded())

    def reset(self) -> None:
        """The operator lets new orders pass."""
        self.tell(ev.StopReset("looked into it"), self.model.reset())

    def budget(self, used: int, cap: int) -> None:
        """The venue reports the address's action budget."""
        self.tell(ev.BudgetReported(used, cap), self.model.budget(used, cap))

    def on_the_wire(self) -> list[Frame]:
        """The frames that may still arrive at the venue, oldest first; those of open posts alone, if there are any."""
        frames = [frame for frame in self.venue.frames if frame.may_arrive]
        return [frame for frame in frames if frame.post_id in self.model.sent] or frames

    def out_of_place(self) -> list[ev.Event]:
        """The events that are not allowed now."""
        link, halted = self.model.link, self.model.halted
        allowed: tuple[tuple[ev.Event, bool], ...] = (
            (ev.ConnectStarted(), link is Link.DOWN),
            (ev.ConnectionOpened(), link is Link.DIALING),
            (ev.ConnectionLost("reset by peer"), link in (Link.DIALING, Link.UP, Link.DRAINING)),
            (ev.DrainStarted(), link in (Link.DOWN, Link.DIALING, Link.UP)),
            (ev.Closed(), link is Link.DRAINING),
            (ev.StopReset("all is well"), halted),
        )
        return [event for event, is_allowed in allowed if not is_allowed]

    # ----------------------------------------------------------------------------------------------------- readiness

    def connect(self) -> None:
        """A connection opens, whatever the state of the last one."""
        if self.model.link is Link.DOWN:
            self.dial()
        if self.model.link is Link.DIALING:
            self.open()

    def become_ready(self, *, key_is_good: bool = True) -> None:
        """A connection opens, and all is learnt that new orders wait for; unless the venue does not know the key."""
        self.connect()
        self.sync()
        self.load_markets()
        frame = self.tick() if self.model.key is Key.UNPROVEN else None
        if frame is None or key_is_good:
            self.carry_out(frame)
        else:
            reply = self.venue.refuse_the_action(frame, NO_WALLET)
            if reply is not None:
                self.deliver(reply)

    def carry_out(self, frame: Frame | None) -> None:
        """The venue carries out all that a frame carries, and the answer arrives."""
        reply = None if frame is None else self.venue.run(frame)
        if reply is not None:
            self.deliver(reply)

    # --------------------------------------------------------------------------------------------------------- heal

    def recover(self) -> None:
        """For now all is well: everything has to be settled, and what waits has to be sent (finding D3)."""
        if self.model.link is Link.CLOSED:
            self.restart()
        self._repair()
        waiting = [item for queue in self.model.queues.values() for item in queue]
        RECORD.sometimes(
            "a reduce-only order waits when the world heals", bool(self.model.queues[Priority.REDUCE_ONLY])
        )
        RECORD.sometimes("a fate is unknown when the world heals", bool(self.model.attempts))
        self._converge()
        for item in waiting:
            intent = self.intents[item.seq]
            assert intent.attempts, f"intent {item.seq} waited and was never sent"
            assert item.queue is Priority.CANCEL or not isinstance(intent.outcome, NotExecuted)

    def heal(self) -> None:
        """From now on all is well: all ends, work flows again, and nothing of the past has an effect any more."""
        self.recover()
        self._end_as_intended()
        self._nothing_dead_runs()
        self.check_everything()

    def _repair(self) -> None:
        self.set_clock(0)
        draining = self.model.link is Link.DRAINING
        self.connect()
        self.sync()
        for post in list(self.model.sent.values()):
            self.carry_out(next(frame for frame in self.venue.frames if frame.post_id == post.post_id))
        if self.model.halted:
            self.reset()
        self.pass_time(MINUTE_MS)
        self.pass_time(max(0, self.core.nonces.last - self.venue.now_ms))
        self.budget(0, 1_000_000)
        if not draining and self.model.key is not Key.REFUSED:
            self.become_ready()

    def _converge(self) -> None:
        """Every intent gets its outcome, and every slot comes back."""
        model = self.model
        work = model.count(Place.WAITING, Place.POSTED, Place.UNKNOWN, Place.HELD)
        for _ in range(10 + 4 * work + len(model.quarantine)):
            if self.core.idle and not self.core.inflight.occupied:
                break
            self._send_all()
            self.answer_look_ups()
            self.pass_time(HEAL_STEP_MS)
        core = self.core
        done = core.idle, core.inflight.occupied, len(core.settler.attempts), dict(core.settler.blocked)
        if done != (True, 0, 0, {}):
            raise Violated("Convergence", f"idle, occupied, unsettled, blocked: {done}, though all is well")
        agree("every intent has its outcome", core.intents.ended, core.intents.accepted)

    def _send_all(self) -> None:
        """All that may go out now does, and is carried out."""
        while (frame := self.tick()) is not None:
            self.carry_out(frame)

    def _end_as_intended(self) -> None:
        """Draining runs close; the others take and finish one more order."""
        if self.model.link is Link.DRAINING:
            self.close()
            return
        self.pass_time(MINUTE_MS)
        intent = self.submit(Order(market="BTC", side="sell", size="1", price="400", reduce_only=True))
        assert intent is not None
        self._send_all()
        if intent.outcome is None or isinstance(intent.outcome, NotExecuted):
            raise Violated("Convergence", f"work does not flow again: intent {intent.seq} ended {intent.outcome}")

    def _nothing_dead_runs(self) -> None:
        """Long after, all that is still on the wire arrives: nothing of it may have an effect any more."""
        before = self._book()
        for frame in [frame for frame in self.venue.frames if frame.may_arrive]:
            reply = self.venue.run(frame)
            if reply is not None:
                self.deliver(reply)
        agree("the book, long after", self._book(), before)

    def _book(self) -> dict[str, OrderRecord]:
        return {cloid: order.record for cloid, order in self.venue.orders.items()}


def _reported(outcome: Outcome) -> Ending:
    if isinstance(outcome, NotExecuted):
        return NotExecuted
    if isinstance(outcome, Rejected) and outcome.reason.startswith(OWN_WORDS):
        return Rejected
    assert isinstance(outcome, Ending)
    return outcome
