"""The real `ExecutorCore` in the smallest world that can do everything to it: owner, clock, network and venue.

`World.choices` lists what can happen next, and `World.take` lets it happen. The search (adapters/verification/
search.py) takes every choice in every state, so nothing here is random.

**Network.** A frame that was written arrives at any later moment and in any order, or never; a reply likewise. When a
connection is lost, its frames may still arrive, and the replies on their way may still be read, until the next one
opens. How often the worse may happen (`Fault`) is bounded by the scenario.

**The venue's count.** The venue counts a frame from its writing until it answered it or has forgotten it
(settlement.md, rule 16). One that is forgotten may still arrive if it carries an order whose nonce is free: that is
what fences are for. Of a forgotten frame, the answer is lost too, unless the executor still asks what became of it.

**Time** passes in steps of the scenario's grain, between the events, which take none. So two events are as far apart
as a whole number of steps; adapters/verification/abstraction.py says what of time a state keeps. A look-up takes less
than a step; a wake that the core asks for at once may come at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from adapters.verification.small_venue import FATES, Frame, PromiseBroken, SmallVenue
from machines import events as ev
from machines.clock import ManualClock
from machines.executor import ExecutorCore
from machines.intent import ActionKind, Cancel, Intent, IntentState, Request
from machines.post import PostRequest
from machines.reply import GatewayError, PostReply
from machines.session import SessionState
from machines.settings import CoreSettings
from machines.snapshot import Snapshot
from spec.invariants import violations

Choice: TypeAlias = tuple[str | int, ...]


class Fault(Enum):
    """What may go wrong besides delay and silence."""

    LOSS = "the connection is lost"
    REFUSED = "the socket refuses a frame before any byte"
    BROKEN = "the hand-over to the socket breaks off"
    TWICE = "a frame arrives twice"
    REPEATED = "a reply is delivered twice"
    GATE = "the venue's gate turns a frame away"
    GATEWAY = "a gateway answers in the venue's place"
    LOOK_UP = "a look-up is not answered"


class Deed(Enum):
    """What owner and operator may do besides submitting."""

    HALT = "halt"
    RESET = "reset"
    DRAIN = "drain"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The bounds of one search.

    Attributes:
        name: Its name.
        requests: What the owner submits, in this order, each at any time.
        settings: The core's.
        grain_ms: How much time passes at once.
        faults: How often each fault may strike.
        fates: What the venue may do with an order.
        streams: Whether the order stream tells what became of orders.
        deeds: What else owner and operator do, in this order, each at any time.
        step_by_step: Whether it begins without a connection, and the session comes up in single steps.
        orders_get_lost: Whether an order may time out or lose its connection; else there is nothing to settle.
    """

    name: str
    requests: tuple[Request, ...]
    settings: CoreSettings
    grain_ms: int
    faults: Mapping[Fault, int] = field(default_factory=dict)
    fates: tuple[str, ...] = tuple(FATES)
    streams: bool = False
    deeds: tuple[Deed, ...] = ()
    step_by_step: bool = False
    orders_get_lost: bool = True


@dataclass(slots=True, eq=False)
class Reply:
    """An answer on its way, on connection `epoch`; `forget_ms` is its frame's."""

    post_id: int
    epoch: int
    content: PostReply
    forget_ms: int


_RUN_ID: Final = 1
_DOWN: Final = (SessionState.DISCONNECTED, SessionState.CLOSED)


class World:
    """One state of everything.

    Attributes:
        scenario: Its bounds.
        clock: The time.
        core: The executor.
        venue: The venue.
        intents: The accepted intents, by number.
        submitted: How many requests were submitted.
        done: How many of the scenario's deeds are done.
        frames: Posts that were written and have not arrived.
        replies: Answers on their way.
        questions: Look-ups to be answered: post, item, cloid.
        faults: How often each fault may still strike.
        told: Intents whose owner heard the outcome.
        left: Intents that the executor closed without one, to be settled by the next run.
        seen: What the last step showed; for the search to note.
    """

    def __init__(self, scenario: Scenario) -> None:
        """The beginning: ready, and nothing submitted; or, step by step, not even connected."""
        self.scenario = scenario
        self.clock = ManualClock()
        self.core = ExecutorCore(self.clock, scenario.settings, run_id=_RUN_ID)
        self.venue = SmallVenue(scenario.streams)
        self.intents: dict[int, Intent] = {}
        self.submitted = 0
        self.done = 0
        self.frames: list[Frame] = []
        self.replies: list[Reply] = []
        self.questions: list[tuple[int, int, str]] = []
        self.faults = dict(scenario.faults)
        self.told: set[int] = set()
        self.left: set[int] = set()
        self.seen: set[str] = set()
        if not scenario.step_by_step:
            self._tell(ev.MarketsLoaded())
            for choice in (("connect",), ("tick", "written"), ("arrive", 0, ""), ("reply", 0)):
                self.take(choice)

    @property
    def settled(self) -> bool:
        """Whether it is a good end: all accepted intents have their outcome, or are left to the next run to settle."""
        closed = self.core.session.state is SessionState.CLOSED
        if self.submitted < len(self.scenario.requests) or (self.done < len(self.scenario.deeds) and not closed):
            return False
        if closed:
            return self.told | self.left == set(self.intents)
        return self.core.idle and self.told == set(self.intents)

    # ---------------------------------------------------------------------------------------------- what can happen

    def choices(self) -> Iterator[Choice]:
        """Everything that can happen next."""
        if not self.questions and self._may_lose:
            yield ("time",)
        wake_ms = self.core.next_wake_ms
        if wake_ms is not None and wake_ms <= self.clock.monotonic_ms():
            yield ("wake",)
        if self.submitted < len(self.scenario.requests):
            yield ("submit",)
        if self.core.session.connected and self.core.wants_tick:
            yield ("tick", "written")
            if self._may(Fault.REFUSED):
                yield ("tick", "refused")
            if self._may(Fault.BROKEN):
                yield from (("tick", "broken, out"), ("tick", "broken, not out"))
        yield from self._of_the_session()
        for at, frame in enumerate(self.frames):
            yield from self._of_frame(at, frame)
        for at in range(len(self.replies)):
            yield ("reply", at)
            if self._may(Fault.REPEATED):
                yield ("reply, and again", at)
        for at, (_, _, cloid) in enumerate(self.questions):
            yield from (("look up", at, version) for version in self.venue.visible(cloid, self.clock.monotonic_ms()))
            if self._may(Fault.LOOK_UP):
                yield ("look-up fails", at)
        yield from (("news", cloid) for cloid, order in self.venue.orders.items() if order.is_news)

    def _of_the_session(self) -> Iterator[Choice]:
        session, step_by_step = self.core.session, self.scenario.step_by_step
        if self.done < len(self.scenario.deeds) and self._can(self.scenario.deeds[self.done]):
            yield ("deed",)
        if session.state not in _DOWN and self._may(Fault.LOSS) and self._may_lose:
            yield ("lose",)
        if session.state is SessionState.DISCONNECTED:
            yield ("dial",) if step_by_step else ("connect",)
        if session.state is SessionState.CONNECTING:
            yield ("open",)
        if step_by_step and session.connected and not session.clock_synced:
            yield ("sync",)
        if step_by_step and not session.markets_loaded:
            yield ("markets",)

    @property
    def _may_lose(self) -> bool:
        """Whether what is under way may be lost, in this scenario."""
        under_way = (intent for intent in self.intents.values() if intent.state is IntentState.POSTED)
        return self.scenario.orders_get_lost or all(isinstance(intent.request, Cancel) for intent in under_way)

    def _can(self, deed: Deed) -> bool:
        match deed:
            case Deed.HALT:
                return True
            case Deed.RESET:
                return self.core.hard_stop.tripped
            case Deed.DRAIN:
                return not self.core.session.ending
            case Deed.CLOSE:
                return self.core.session.state is SessionState.DRAINING

    def _of_frame(self, at: int, frame: Frame) -> Iterator[Choice]:
        executed = frame.kind is ActionKind.ORDER and frame.nonce not in self.venue.nonces
        for fate in self.scenario.fates if executed else ("",):
            yield ("arrive", at, fate)
            if self._may(Fault.TWICE):
                yield ("arrive, and again", at, fate)
            if self._may(Fault.GATEWAY):
                yield ("arrive, answer lost", at, fate)
        if self._may(Fault.GATE):
            yield ("turned away", at, "429 Too Many Requests")
        if self._may(Fault.GATEWAY):
            yield ("turned away", at, "502 Bad Gateway")

    def _may(self, fault: Fault) -> bool:
        return self.faults.get(fault, 0) > 0

    # --------------------------------------------------------------------------------------------------- it happens

    def take(self, choice: Choice) -> None:
        """Let it happen.

        Raises:
            PromiseBroken: Something is wrong afterwards.
        """
        self.seen = set()
        match choice:
            case ("time",):
                self._pass_time()
            case ("wake",):
                self._tell(ev.TimePassed())
            case ("submit",):
                self.submitted += 1
                self._tell(ev.Submit(self.scenario.requests[self.submitted - 1]))
            case ("tick", str(hand_over)):
                self._tick(hand_over)
            case ("reply" | "reply, and again" as how, int(at)):
                self._deliver(at, again=how != "reply")
            case ("look up", int(at), int(version)):
                post_id, seq, cloid = self.questions.pop(at)
                record = self.venue.orders[cloid].history[version][1] if version >= 0 else None
                self._tell(ev.LookedUp(post_id, seq, record))
            case ("look-up fails", int(at)):
                self._strike(Fault.LOOK_UP)
                post_id, seq, _ = self.questions.pop(at)
                self._tell(ev.LookUpFailed(post_id, seq))
            case ("news", str(cloid)):
                self.venue.orders[cloid].is_news = False
                self._tell(ev.OrderSeen(cloid, self.venue.orders[cloid].record))
            case (str(how), int(at), str(fate)):
                self._arrive(how, at, fate)
            case (str(what),):
                self._move_session(what)
        self._check_count()

    def _strike(self, fault: Fault) -> None:
        self.faults[fault] -= 1

    def _move_session(self, what: str) -> None:
        match what:
            case "connect":
                for step in ("dial", "open", "sync"):
                    self._move_session(step)
            case "dial":
                self._tell(ev.ConnectStarted())
            case "open":
                self.replies.clear()  # what the last connection had still to say is not read any more
                self._tell(ev.ConnectionOpened())
            case "sync":
                self._tell(ev.ServerTimeLearned(self.clock.now_ms()))
            case "markets":
                self._tell(ev.MarketsLoaded())
            case "lose":
                self._strike(Fault.LOSS)
                self._connection_gone()
                self._tell(ev.ConnectionLost("reset by peer"))
            case "deed":
                self.done += 1
                self._do(self.scenario.deeds[self.done - 1])

    def _do(self, deed: Deed) -> None:
        match deed:
            case Deed.HALT:
                self._tell(ev.StopTripped("the operator says so"))
            case Deed.RESET:
                self._tell(ev.StopReset("looked into it"))
            case Deed.DRAIN:
                self._tell(ev.DrainStarted())
            case Deed.CLOSE:
                self._connection_gone()
                self._tell(ev.Closed())

    def _connection_gone(self) -> None:
        at_latest = self._forgotten_after(0)
        for frame in self.frames:
            frame.forget_ms = min(frame.forget_ms, at_latest)
        for reply in self.replies:
            reply.forget_ms = min(reply.forget_ms, at_latest)

    def _forgotten_after(self, patience_ms: int) -> int:
        return self.clock.monotonic_ms() + patience_ms + self.scenario.settings.quarantine_ms

    def _pass_time(self) -> None:
        self.clock.advance(self.scenario.grain_ms)
        now, seen, asked = self.clock.monotonic_ms(), self.venue.nonces, self.core.settler.attempts
        self.frames = [
            frame
            for frame in self.frames
            if now < frame.forget_ms or (frame.kind is ActionKind.ORDER and frame.nonce not in seen)
        ]
        self.replies = [reply for reply in self.replies if now < reply.forget_ms or reply.post_id in asked]
        self._tell(ev.TimePassed())

    def _tick(self, hand_over: str) -> None:
        post = next((effect.post for effect in self._tell(ev.Tick()) if isinstance(effect, ev.Transmit)), None)
        if post is None:
            return
        epoch = self.core.session.epoch
        if hand_over == "refused":
            self._strike(Fault.REFUSED)
            self._tell(ev.SendRefused(post.post_id, "the socket is not open"))
        elif hand_over == "written":
            self._write(post, epoch, self.scenario.settings.post_timeout_ms)
            self._tell(ev.PostWritten(post.post_id, post.nonce, epoch))
        else:
            self._strike(Fault.BROKEN)
            if hand_over == "broken, out":
                self._write(post, epoch, 0)
            self._tell(ev.SendBroken(post.post_id, post.nonce, epoch, "reset by peer"))

    def _write(self, post: PostRequest, epoch: int, patience_ms: int) -> None:
        forget_ms = self._forgotten_after(patience_ms)
        self.frames.append(Frame(post.post_id, epoch, post.nonce, post.kind, post.items, forget_ms))

    def _arrive(self, how: str, at: int, fate: str) -> None:
        frame = self.frames[at]
        if how == "arrive, and again":
            self._strike(Fault.TWICE)
        else:
            del self.frames[at]
        content: PostReply
        if how == "turned away":
            self._strike(Fault.GATE if fate.startswith("429") else Fault.GATEWAY)
            content = GatewayError(fate)
        else:
            content = self.venue.take(frame, fate, self.clock.monotonic_ms())
        if how == "arrive, answer lost":
            self._strike(Fault.GATEWAY)
            content = GatewayError("502 Bad Gateway")
        if self.core.session.connected and frame.epoch == self.core.session.epoch:
            self.replies.append(Reply(frame.post_id, frame.epoch, content, frame.forget_ms))

    def _deliver(self, at: int, *, again: bool) -> None:
        reply = self.replies[at]
        if again:
            self._strike(Fault.REPEATED)
        else:
            del self.replies[at]
        self._tell(ev.ReplyReceived(reply.epoch, reply.post_id, reply.content))

    # -------------------------------------------------------------------------------------------------- the checks

    def _tell(self, event: ev.Event) -> Sequence[ev.Effect]:
        """Give the core an event, and judge what it does."""
        core = self.core
        effects = core.handle(event)
        self._check(core.snapshot())
        self.intents.update((intent.seq, intent) for intent in core.intents.moved)
        for effect in effects:
            if isinstance(effect, ev.IntentEnded):
                self._hear_outcome(effect.intent)
            else:
                self._hear(effect)
        return effects

    def _hear_outcome(self, intent: Intent) -> None:
        if intent.seq in self.told:
            raise PromiseBroken(f"ToldOnce: the owner of intent {intent.seq} hears a second outcome")
        self.told.add(intent.seq)
        self.venue.judge(intent)
        self.seen.add(f"outcome {type(intent.outcome).__name__}")
        if intent.settled_by is not None:
            self.seen.add(f"settled by {intent.settled_by}")

    def _hear(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Contradiction(intent, first, later, source):
                raise PromiseBroken(f"NoContradiction: {source} says {later} of intent {intent.seq}, not {first}")
            case ev.LookUp(post_id, seq, key):
                self.questions.append((post_id, seq, str(key)))
            case ev.IntentUnsettled(intent):
                self.left.add(intent.seq)
                self.seen.add("an intent is left to the next run")
            case ev.Admitted(admission):
                self.seen.add(f"admission {admission.value}")
            case ev.PostEnded(post):
                self.seen.add(f"post {post.state.value}")
            case ev.IntentUnknown():
                self.seen.add("an intent is unknown")
            case ev.Halted():
                self.seen.add("the hard stop trips")
            case ev.StrayReply():
                self.seen.add("a reply comes for no open post")

    def check_everything(self) -> None:
        """All invariants over everything that is left of the past, not only what the last step moved.

        Raises:
            PromiseBroken: One does not hold.
        """
        attempts = list(self.core.settler.attempts.values())
        self._check(self.core.snapshot(None, list(self.intents.values()), attempts))

    def _check(self, snapshot: Snapshot) -> None:
        for violation in violations(snapshot):
            raise PromiseBroken(str(violation))

    def _check_count(self) -> None:
        now, limit = self.clock.monotonic_ms(), self.core.inflight.limit
        counted = sum(now < frame.forget_ms for frame in self.frames)
        if counted > limit:
            raise PromiseBroken(f"VenueInflightWithinLimit: the venue may count {counted} posts, its limit is {limit}")
        if self.core.inflight.full:
            self.seen.add("the limit is reached")
