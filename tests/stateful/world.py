"""The real core in a modelled world: clock, connection, venue, and a reference model that predicts every effect.

Whatever happens goes through `World.tell`: the core takes the event, its effects are compared with what the model
expects, every outcome with what the venue did, the state with the model's, and the invariants are evaluated as the
live executor does, on the step's own snapshot. `check_everything` evaluates them over all that ever moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import chain
from typing import Final

import pytest

from machines import events as ev
from machines.clock import ManualClock
from machines.errors import MachinesError, SignedNonceMismatch, StepOrderError
from machines.executor import CoreSettings, ExecutorCore
from machines.intent import Admission, Cancel, Canceled, Intent, NotExecuted, Order, Outcome, Priority, Request, Unknown
from machines.post import PostRequest, PostState
from machines.session import SessionState
from spec.invariants import violations
from tests.stateful.model import MINUTE_MS, RUN_ID, Ending, Key, Link, Model, Told
from tests.stateful.record import RECORD
from tests.stateful.venue import DAY_MS, NO_WALLET, TRUE_ORIGIN_MS, Choice, Frame, Proof, Reply, Venue

HEAL_STEP_MS: Final = 15_000
"""Longer than any pause that a rate limit or the address budget imposes on a single message of these tests."""
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


class World:
    """A run.

    Attributes:
        posts: Every post that the core ever moved, by id.
        intents: Every intent that the core ever moved, by sequence number.
        sound: Whether all checks have held so far.
    """

    def __init__(self, settings: CoreSettings, *, clock_error_ms: int = 0, kept_nonces: int = 100) -> None:
        self.clock = ManualClock(TRUE_ORIGIN_MS + clock_error_ms)
        self.venue = Venue(self.clock, kept_nonces)
        self.core = ExecutorCore(self.clock, settings, run_id=RUN_ID)
        self.model = Model(settings, self.clock)
        self.posts: dict[int, PostRequest] = {}
        self.intents: dict[int, Intent] = {}
        self.sound = True
        self._ended_posts: set[int] = set()
        self._ended_intents: set[int] = set()
        self._misled = False

    # --------------------------------------------------------------------------------------------------- the checks

    def tell(self, event: ev.Event, expected: Told) -> Sequence[ev.Effect]:
        """Give the core an event; its effects must be `expected`, its state the model's, and all invariants hold."""
        self.sound = False
        effects = self.core.handle(event)
        self.posts.update((post.post_id, post) for post in self.core.moved_posts)
        self.intents.update((intent.seq, intent) for intent in self.core.moved_intents)
        told = self._told(effects)
        assert told == expected, f"after {event}"
        assert [str(violation) for violation in violations(self.core.snapshot())] == []
        self._compare_state()
        self.sound = True
        return effects

    def refuses(self, event: ev.Event, error: type[MachinesError]) -> None:
        """The core must refuse an event with `error`, and nothing may change."""
        before = self.core.snapshot((), ()), self.core.nonces.last, self.core.session.epoch
        self.sound = False
        with pytest.raises(error):
            self.core.handle(event)
        assert (self.core.snapshot((), ()), self.core.nonces.last, self.core.session.epoch) == before
        self.sound = True

    def check_everything(self) -> None:
        """All invariants, over every post and every intent ever seen."""
        self.sound = False
        snapshot = self.core.snapshot(list(self.posts.values()), list(self.intents.values()))
        assert [str(violation) for violation in violations(snapshot)] == []
        assert len(self._ended_intents) == self.core.ended
        ended = {intent.seq for intent in self.intents.values() if intent.outcome is not None}
        assert ended == self._ended_intents, "an outcome was not told to its owner, or told before it was"
        self.sound = True

    def _told(self, effects: Sequence[ev.Effect]) -> Told:
        told = Told()
        for effect in effects:
            match effect:
                case ev.Admitted(admission, intent):
                    assert told.admission is None, "one answer to one submit"
                    told.admission, told.intent = admission, None if intent is None else intent.seq
                    RECORD.sometimes(f"admission {admission.value}")
                case ev.Transmit(post):
                    assert told.transmit is None, "one tick, one post (finding B1)"
                    told.transmit = (post.post_id, post.nonce, [item.seq for item in post.items])
                case ev.PostEnded(post):
                    self._post_ended(post)
                    told.posts[post.post_id] = post.state
                case ev.IntentEnded(intent):
                    self._intent_ended(intent)
                    told.intents[intent.seq] = _reported(intent.outcome)
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
        return told

    def _post_ended(self, post: PostRequest) -> None:
        assert post.post_id not in self._ended_posts, f"post {post.post_id} ended twice (finding P2)"
        self._ended_posts.add(post.post_id)
        RECORD.sometimes(f"post {post.state.value}")

    def _intent_ended(self, intent: Intent) -> None:
        assert intent.seq not in self._ended_intents, f"the owner of intent {intent.seq} hears a second outcome"
        self._ended_intents.add(intent.seq)
        RECORD.sometimes(f"outcome {type(intent.outcome).__name__}")
        frames = [frame for frame in self.venue.frames if intent.seq in frame.seqs]
        match intent.outcome:
            case None:
                pytest.fail(f"intent {intent.seq} was reported without an outcome")
            case NotExecuted():
                assert all(frame.dead and frame.results is None for frame in frames), "it ran, or still may"
            case Unknown():
                assert frames, "it never left: its fate is known"
            case Canceled() if not frames:
                assert isinstance(intent.request, Cancel)
            case result:
                did = [frame.results[frame.seqs.index(intent.seq)] for frame in frames if frame.results is not None]
                assert result in did, f"intent {intent.seq} is reported {result}, the venue did {did}"

    def _compare_state(self) -> None:
        core, model = self.core, self.model
        state = SessionState.READY if model.ready else SessionState.SYNCING
        assert core.session.state is _SESSION_STATES.get(model.link, state)
        assert core.session.epoch == model.epoch
        assert core.hard_stop.tripped is model.halted
        assert core.new_orders_pass is model.new_orders_pass
        assert core.inflight.count == len(model.sent)
        assert (core.accepted, core.ended) == (len(model.items), model.ended())
        for priority in Priority:
            assert core.scheduler.queued(priority) == len(model.queues[priority])
            assert core.scheduler.outstanding[priority] == model.outstanding(priority)
        RECORD.sometimes("the limit is reached", core.inflight.full)
        RECORD.sometimes("the watermark is reached", core.inflight.degraded and not core.inflight.full)

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
        self._misled |= abs(self.model.server_time_ms - self.venue.now_ms) > DAY_MS // 2
        assert self._misled or self.venue.nonce_error(post.nonce) is None, "the venue would refuse the nonce"
        frame = Frame(post.post_id, epoch, post.nonce, post.kind, tuple(item.seq for item in post.items))
        if hand_over is HandOver.REFUSED:
            self.tell(ev.SendRefused(post.post_id, "socket not open"), self.model.refused())
            RECORD.sometimes("an item comes back unsent", any(item.outcome is None for item in post.items))
            return None
        self.venue.frames.append(frame)
        if hand_over is HandOver.BROKEN:
            self.tell(ev.SendBroken(post.post_id, post.nonce, epoch, "reset by peer"), self.model.broken())
        else:
            self.tell(ev.PostWritten(post.post_id, post.nonce, epoch), self.model.written())
        return frame

    def deliver(self, reply: Reply, epoch: int | None = None) -> None:
        """A reply arrives, on the connection that carried its post unless `epoch` says otherwise."""
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
        frames = [frame for frame in self.venue.frames if not frame.dead and frame.results is None]
        return [frame for frame in frames if frame.post_id in self.model.sent] or frames

    def stream_may_close(self, cloid: str) -> bool:
        """Whether the order stream could say that the order `cloid` is closed.

        Not while an order of that name is on its way for the first time and the venue has not run it: nothing could
        tell that message from one about an order of the same name before it.
        """
        holder = self.model.holders.get(cloid)
        frames = [frame for frame in self.venue.frames if holder is not None and holder.seq in frame.seqs]
        return not frames or any(frame.results is not None for frame in frames)

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
        if frame is not None:
            reply = self.venue.run(frame, (Choice.REST,) * len(frame.seqs))
            if reply is not None:
                self.deliver(reply)

    # --------------------------------------------------------------------------------------------------------- heal

    def heal(self) -> None:
        """From now on all is well: everything has to end, and what waited has to be sent (finding D3)."""
        if self.model.link is not Link.CLOSED:
            self._repair()
            waiting = list(chain.from_iterable(self.model.queues.values()))
            RECORD.sometimes(
                "a reduce-only order waits when the world heals", bool(self.model.queues[Priority.REDUCE_ONLY])
            )
            self._send_all()
            for item in waiting:
                intent = self.intents[item.seq]
                assert intent.attempts, f"intent {item.seq} waited and was never sent"
                assert not isinstance(intent.outcome, NotExecuted)
            self._end_as_intended()
        assert self.core.inflight.count == 0
        assert self.core.idle
        assert self.core.accepted == self.core.ended == len(self._ended_intents)
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

    def _send_all(self) -> None:
        for _ in range(sum(map(len, self.model.queues.values()))):
            if self.core.idle:
                break
            self.carry_out(self.tick())
            self.pass_time(HEAL_STEP_MS)
        assert self.core.idle, "work is left though all is well"

    def _end_as_intended(self) -> None:
        """Draining runs close; the others take and finish one more order."""
        if self.model.link is Link.DRAINING:
            self.tell(ev.Closed(), self.model.close())
            return
        intent = self.submit(Order(market="BTC", side="sell", size="1", price="400", reduce_only=True))
        assert intent is not None
        self.carry_out(self.tick())
        assert intent.outcome is not None
        assert not isinstance(intent.outcome, NotExecuted | Unknown)


def _reported(outcome: Outcome | None) -> Ending:
    if isinstance(outcome, NotExecuted | Unknown):
        return type(outcome)
    assert outcome is not None
    return outcome
