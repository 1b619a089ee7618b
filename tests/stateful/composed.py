"""The composed core under everything that owner, clock, connection and venue can do to it, and under crashes.

Limits are small and drawn per run, so that edges are hit; cloids come from a small universe, so that they collide.
Each run has its own few troubles: a run in which everything goes wrong at once is soon stuck, and tests little else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, initialize, invariant, multiple, precondition
from msgspec.structs import replace

from machines import events as ev
from machines.batch import QueueLimits
from machines.errors import IllegalEvent
from machines.intent import Cancel, Modify, Order, Request, Trigger
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.settings import CoreSettings
from tests.stateful.ledger import Link
from tests.stateful.record import Explorer, rule
from tests.stateful.venue import LAG_MS, NO_DEPOSIT, SERIOUS, TOO_MANY_MESSAGES, Choice, Frame, Proof, Reply, Way
from tests.stateful.world import HandOver, World


class Trouble(Enum):
    """What may go wrong in a run, beyond single posts."""

    CLOCK = "the local clock is stepped"
    OPERATOR = "the operator stops new orders"
    SCARCITY = "messages and actions are few"
    SHUTDOWN = "the executor is shut down"
    SOCKET = "connections are lost"
    COLD = "the run begins without a connection, and knows nothing"
    KEY = "the venue does not know the signing key"
    CRASH = "the executor crashes, and begins again with what it left"


class Treatment(Enum):
    """What a frame meets."""

    RUN = "the venue runs it"
    RUN_TWICE = "it arrives twice, and the first answer is lost"
    REFUSE_BATCH = "one error status stands for all items"
    REFUSE_ACTION = "the action is refused as a whole"
    REFUSE_KEY = "the action is refused, because of its signer"
    TOO_MANY_REQUESTS = "the gate turns it away"
    TOO_MANY_PENDING = "the gate turns it away, in an error frame that names it"
    GATEWAY = "a gateway loses it"


MARKETS: Final = ("BTC", "xyz:TSLA")
CLOIDS: Final = tuple(f"0x{number:032x}" for number in range(1, 6))
TRIGGER: Final = Trigger(price="390", is_market=True, kind="sl")
MANY: Final = 1_000_000
TICK_MS: Final = 500
MOST_NOISE: Final = 5
"""How many of the events that change nothing a run may have: they are always possible, and would crowd out the rest."""

_FORMS: Final[tuple[dict[str, Any], ...]] = (
    {"tif": "Gtc"},
    {"tif": "Gtc"},
    {"tif": "Ioc"},
    {"tif": "Alo"},
    {"tif": "Alo", "trigger": TRIGGER},
)


@st.composite
def orders(draw: st.DrawFn, reduce_only: st.SearchStrategy[bool], *, flatten: bool = False) -> Order:
    """Orders in every form, some of them with a cloid of the small universe."""
    return Order(
        market=draw(st.sampled_from(MARKETS)),
        side="buy",
        size="1",
        price="400",
        reduce_only=draw(reduce_only),
        flatten=flatten,
        cloid=draw(st.sampled_from((None, *CLOIDS, None, None, None, None))),
        **draw(st.sampled_from(_FORMS)),
    )


NEW: Final = orders(st.just(False))
REDUCE_ONLY: Final = orders(st.just(True))
FLATTENS: Final = orders(st.booleans(), flatten=True)
CANCELS: Final = st.sampled_from(
    [Cancel(market="BTC", cloid=cloid) for cloid in CLOIDS] + [Cancel(market="BTC", oid=oid) for oid in (1, 2)]
)
CHOICES: Final = st.lists(
    st.sampled_from((Choice.REST, Choice.TRADE, Choice.REJECT, Choice.REJECT_SERIOUSLY, Choice.WAIT)),
    min_size=3,
    max_size=3,
)
WAYS: Final = st.sampled_from((Way.CLEAR,) * 5 + tuple(Way))
_TREATMENTS: Final = (Treatment.RUN,) * 5 + (Treatment.REFUSE_BATCH,) + tuple(Treatment)
TREATMENTS: Final = st.sampled_from(_TREATMENTS)
TICKS: Final = st.sampled_from((0, 1, 0, 2))
HAND_OVERS: Final = st.sampled_from((HandOver.WRITTEN,) * 4 + (HandOver.REFUSED, HandOver.BROKEN))
PASSING: Final = st.sets(
    st.sampled_from((Trouble.SOCKET, Trouble.CLOCK, Trouble.OPERATOR, Trouble.SCARCITY, Trouble.CRASH)), max_size=3
)
LASTING: Final = st.sampled_from((None, None, None, Trouble.COLD, None, Trouble.SHUTDOWN, None, Trouble.KEY))
CLOCK_ERRORS: Final = st.sampled_from((0, 0, 1_999, -2_000, 2_001, -3_000, 5_000, -5_001, 60_000, -3 * 86_400_000))


@dataclass(frozen=True, slots=True)
class Round:
    """A few requests, a tick, and what the first or last frame on the wire meets; None if nothing."""

    requests: list[Request]
    hand_over: HandOver
    treatment: Treatment | None
    overtakes: bool
    choices: list[Choice]
    way: Way


ROUNDS: Final = st.builds(
    Round,
    requests=st.lists(REDUCE_ONLY | NEW | REDUCE_ONLY | CANCELS | FLATTENS, max_size=4),
    hand_over=HAND_OVERS,
    treatment=st.sampled_from((None, None, *_TREATMENTS)),
    overtakes=st.booleans(),
    choices=CHOICES,
    way=WAYS,
)


@st.composite
def core_settings(draw: st.DrawFn) -> CoreSettings:
    """Small limits."""
    limit = draw(st.sampled_from((3, 4, 6, 2, 1)))
    return CoreSettings(
        inflight_limit=limit,
        high_watermark=max(1, limit - draw(st.integers(0, 2))),
        post_timeout_ms=draw(st.sampled_from((3_000, 5_000))),
        quarantine_ms=draw(st.sampled_from((2_000, 10_000, 0))),
        expires_after_ms=draw(st.sampled_from((6_000, None, 1_000))),
        settlement_alarm_ms=draw(st.sampled_from((60_000, 10_000))),
        schedule_cancel_ms=draw(st.sampled_from((None, 20_000))),
        rejections_to_halt=draw(st.integers(1, 3)),
        queues=QueueLimits(
            cancel=draw(st.integers(2, 5)),
            reduce_only=draw(st.integers(3, 6)),
            new_order=draw(st.integers(3, 6)),
            batch=draw(st.sampled_from((3, 2, 1))),
        ),
    )


class ComposedCore(Explorer):
    """Random runs of the core in a modelled world; after each, the world heals and all has to end."""

    effort = 2

    cloids: Bundle[str] = Bundle("cloids")
    replies: Bundle[Reply] = Bundle("replies")

    world: World | None = None
    troubles: set[Trouble]
    noise = 0

    @property
    def run(self) -> World:
        """The run, once it began."""
        assert self.world is not None
        return self.world

    def link_is(self, *links: Link) -> bool:
        """Whether the connection is in one of these states."""
        return self.run.model.link in links

    @classmethod
    def fixed_runs(cls) -> Iterable[Callable[[], None]]:
        """The venue does not know the key: chance draws that seldom."""
        return (trade_without_a_key,)

    @initialize(
        target=replies,
        settings=core_settings(),
        kept_nonces=st.sampled_from((100, 2)),
        passing=PASSING,
        lasting=LASTING,
        opening=st.lists(ROUNDS, max_size=8),
    )
    def begin(
        self,
        settings: CoreSettings,
        kept_nonces: int,
        passing: set[Trouble],
        lasting: Trouble | None,
        opening: list[Round],
    ) -> MultipleResults[Reply]:
        troubles = passing if lasting is None else {*passing, lasting}
        if Trouble.SCARCITY in troubles:
            settings = replace(settings, messages_per_minute=6, schedule_cancel_ms=None)
        self.troubles = troubles
        self.world = World(settings, kept_nonces=kept_nonces)
        if Trouble.COLD in troubles:
            return multiple()
        self.world.become_ready(key_is_good=Trouble.KEY not in troubles)
        return multiple(*(reply for turn in opening for reply in self.play(turn).values))

    def teardown(self) -> None:
        if self.world is not None and self.world.sound:
            self.world.heal()

    @invariant()
    def everything_holds(self) -> None:
        if self.world is not None:
            self.world.check_everything()

    # ---------------------------------------------------------------------------------------------------- the owner

    def submit(self, requests: list[Request], ticks: int = 0) -> MultipleResults[str]:
        """Submit, then let `ticks` pass; the cloids of the orders that were accepted."""
        cloids = []
        for request in requests:
            intent = self.run.submit(self.fresh(request))
            if intent is not None and intent.cloid is not None and not isinstance(request, Cancel):
                cloids.append(intent.cloid)
        for _ in range(ticks):
            self.tick()
        return multiple(*cloids)

    def fresh(self, request: Request) -> Request:
        """The request without a cloid that an earlier core has used: that one is for ever (settlement.md, rule 13)."""
        match request:
            case Modify(order=order) if order.cloid in self.run.retired:
                return replace(request, order=replace(order, cloid=None))
            case Order(cloid=cloid) if cloid in self.run.retired:
                return replace(request, cloid=None)
        return request

    @rule(
        target=cloids,
        requests=st.lists(NEW | REDUCE_ONLY | NEW | REDUCE_ONLY | FLATTENS | CANCELS, min_size=1, max_size=6),
        ticks=TICKS,
    )
    def owner_submits(self, requests: list[Request], ticks: int) -> MultipleResults[str]:
        return self.submit(requests, ticks)

    @rule(target=cloids, order=NEW | REDUCE_ONLY, cloid=cloids, ticks=TICKS)
    def submit_modify(self, order: Order, cloid: str, ticks: int) -> MultipleResults[str]:
        return self.submit([Modify(order=order, cloid=cloid)], ticks)

    @rule(cloid=cloids, ticks=TICKS)
    def cancel_by_cloid(self, cloid: str, ticks: int) -> None:
        self.submit([Cancel(market="BTC", cloid=cloid)], ticks)

    @rule()
    @precondition(lambda self: Trouble.OPERATOR in self.troubles or self.run.model.halted)
    def operator_acts(self) -> None:
        if self.run.model.halted:
            self.run.reset()
        else:
            self.run.tell(ev.StopTripped("the operator says so"), self.run.model.trip())

    # ------------------------------------------------------------------------------------------------------ sending

    def tick(self, hand_over: HandOver = HandOver.WRITTEN, *, noticed: bool = True) -> None:
        """The next tick, and the deadlines before it if they are `noticed`."""
        self.run.pass_time(TICK_MS, noticed=noticed)
        self.run.tick(hand_over)

    @rule(hand_overs=st.lists(HAND_OVERS, min_size=1, max_size=4), noticed=st.booleans())
    def ticks(self, hand_overs: list[HandOver], noticed: bool) -> None:
        for hand_over in hand_overs:
            self.tick(hand_over, noticed=noticed)

    @rule(target=replies, rounds=st.lists(ROUNDS, min_size=2, max_size=8))
    @precondition(lambda self: self.link_is(Link.UP, Link.DRAINING))
    def trade_goes_on(self, rounds: list[Round]) -> MultipleResults[Reply]:
        return multiple(*(reply for turn in rounds for reply in self.play(turn).values))

    def play(self, turn: Round) -> MultipleResults[Reply]:
        """One round."""
        self.submit(turn.requests)
        self.tick(turn.hand_over)
        frames = self.run.on_the_wire()
        if not frames or turn.treatment is None:
            return multiple()
        return self.arrive(self.treat(frames[-turn.overtakes], turn.treatment, turn.choices, turn.way), at_once=True)

    # -------------------------------------------------------------------------------------------- venue and network

    def arrive(self, reply: Reply | None, at_once: bool) -> MultipleResults[Reply]:
        """A reply is on its way, or arrives at once; it may arrive again later."""
        if reply is None:
            return multiple()
        if at_once:
            self.run.deliver(reply)
        return multiple(reply)

    def treat(self, frame: Frame, treatment: Treatment, choices: list[Choice], way: Way) -> Reply | None:
        """What a frame meets; the answer, as it leaves the network."""
        venue = self.run.venue
        match treatment:
            case Treatment.RUN:
                return venue.run(frame, choices, way)
            case Treatment.RUN_TWICE:
                venue.run(frame, choices)
                return venue.run(frame, choices)
            case Treatment.REFUSE_BATCH:
                return venue.refuse_the_batch(frame, SERIOUS)
            case Treatment.REFUSE_ACTION:
                return venue.refuse_the_action(frame, SERIOUS)
            case Treatment.REFUSE_KEY:
                return venue.refuse_the_action(frame, NO_DEPOSIT)
            case Treatment.TOO_MANY_REQUESTS:
                return venue.turn_away(frame, "429 Too Many Requests", Proof.NEVER_RAN)
            case Treatment.TOO_MANY_PENDING:
                reason = f"too many pending post requests id={frame.post_id}"
                return venue.turn_away(frame, reason, Proof.NEVER_RAN, as_error_frame=True)
            case Treatment.GATEWAY:
                return venue.turn_away(frame, "503 Service Unavailable", Proof.NOTHING)

    @rule(
        target=replies,
        which=st.sampled_from((0, 1, 2, None)),
        treatment=TREATMENTS,
        choices=CHOICES,
        way=WAYS,
        at_once=st.sampled_from((True, True, False)),
    )
    @precondition(lambda self: self.run.on_the_wire())
    def venue_answers(
        self, which: int | None, treatment: Treatment, choices: list[Choice], way: Way, at_once: bool
    ) -> MultipleResults[Reply]:
        """One frame, or all of them, the newest first."""
        frames = self.run.on_the_wire()
        chosen = reversed(frames) if which is None else [frames[which % len(frames)]]
        replies = [self.treat(frame, treatment, choices, way) for frame in chosen]
        arrived = [self.arrive(reply, at_once) for reply in replies]
        return multiple(*(reply for some in arrived for reply in some.values))

    @rule(target=replies, reply=replies, choices=CHOICES, at_once=st.booleans())
    def frame_arrives_twice(self, reply: Reply, choices: list[Choice], at_once: bool) -> MultipleResults[Reply]:
        return self.arrive(self.run.venue.run(reply.frame, choices), at_once)

    @rule(reply=replies, shift=st.sampled_from((0, 0, 0, -1, 1)))
    def reply_arrives(self, reply: Reply, shift: int) -> None:
        """Late, again, or on another connection than its post's."""
        self.run.deliver(reply, reply.frame.epoch + shift)

    @rule(
        content=st.sampled_from((Accepted(()), Refused("no"), GatewayError("429"), Unreadable("cut off"))),
        message=st.sampled_from((TOO_MANY_MESSAGES, "Cannot track more than 10 total users.")),
        pick=st.integers(0, 5),
    )
    @precondition(lambda self: self.noise < MOST_NOISE)
    def things_happen_that_concern_no_post(self, content: PostReply, message: str, pick: int) -> None:
        """A reply and an error for a post that never was, an error that names none, an event that is out of place."""
        self.noise += 1
        world = self.run
        world.tell(ev.ReplyReceived(world.model.epoch, MANY, content), world.model.unknown_reply())
        world.tell(ev.ErrorReceived(world.model.epoch, "429", MANY), world.model.unknown_reply())
        told = world.model.error_without_post(too_many_messages=message == TOO_MANY_MESSAGES)
        world.tell(ev.ErrorReceived(world.model.epoch, message, None), told)
        events = world.out_of_place()
        world.refuses(events[pick % len(events)], IllegalEvent)

    @rule(
        which=st.integers(0, 3),
        changes=st.sampled_from(("fill", "partly", None)),
        news=st.sampled_from((-1, -2, 0, None)),
        fills=st.booleans(),
        missed=st.booleans(),
    )
    @precondition(lambda self: self.run.venue.orders)
    def book_changes_and_streams_speak(
        self, which: int, changes: str | None, news: int | None, fills: bool, missed: bool
    ) -> None:
        gone = self.run.venue.happens_on_the_book(which, fill=changes == "fill") if changes is not None else None
        if fills:
            self.run.fill()
        if news is not None:
            self.run.stream(news)
        if missed and gone is not None:
            self.run.gone(gone)

    @rule(lag_ms=st.sampled_from((0, 0, LAG_MS)), fails=st.sampled_from((False, False, True)))
    @precondition(lambda self: self.run.questions)
    def look_ups_are_answered(self, lag_ms: int, fails: bool) -> None:
        self.run.answer_look_ups(lag_ms, fails=fails)

    @rule(used=st.integers(0, 9), cap=st.sampled_from((MANY, 8)), messages=st.integers(0, 2))
    @precondition(lambda self: Trouble.SCARCITY in self.troubles)
    def limits_are_felt(self, used: int, cap: int, messages: int) -> None:
        """The venue reports the address's budget, and messages that are no posts are written."""
        self.run.budget(used, cap)
        if self.link_is(Link.UP, Link.DRAINING):
            for _ in range(messages):
                self.run.tell(ev.MessageWritten(), self.run.model.message())

    # --------------------------------------------------------------------------------------------------------- time

    @rule(ms=st.sampled_from((1, 100, 900, 1_000, 2_999, 5_000, 60_000)), noticed=st.booleans())
    def time_passes(self, ms: int, noticed: bool) -> None:
        self.run.pass_time(ms, noticed=noticed)

    @rule(error_ms=CLOCK_ERRORS, latency_ms=st.sampled_from((0, None, 250)))
    @precondition(lambda self: self.troubles & {Trouble.CLOCK, Trouble.COLD})
    def clock_is_stepped_or_synced(self, error_ms: int, latency_ms: int | None) -> None:
        if Trouble.CLOCK in self.troubles:
            self.run.set_clock(error_ms)
        if latency_ms is not None:
            self.run.sync(latency_ms)
        elif Trouble.COLD in self.troubles:
            self.run.load_markets()

    # ----------------------------------------------------------------------------------------------- the connection

    @rule(opens=st.sampled_from((True, False, None)), becomes_ready=st.booleans())
    @precondition(
        lambda self: self.link_is(Link.DOWN, Link.DIALING) or (self.link_is(Link.UP) and not self.run.model.ready)
    )
    def connection_is_attempted(self, opens: bool | None, becomes_ready: bool) -> None:
        if becomes_ready:
            self.run.become_ready()
            return
        if self.link_is(Link.DOWN):
            self.run.dial()
        if opens is True:
            self.run.connect()
        elif opens is False and self.link_is(Link.DIALING):
            self.run.lose("refused")

    @rule(soon_back=st.sampled_from((True, True, True, False)))
    @precondition(lambda self: Trouble.SOCKET in self.troubles and self.link_is(Link.UP, Link.DRAINING))
    def connection_is_lost(self, soon_back: bool) -> None:
        self.run.lose()
        if soon_back and self.link_is(Link.DOWN):
            self.run.become_ready()

    @rule(
        crashes=st.booleans(),
        new_key=st.sampled_from((False, False, True)),
        soon_back=st.sampled_from((True, True, False)),
    )
    @precondition(lambda self: self.troubles & {Trouble.CRASH, Trouble.SHUTDOWN} and self.run.model.items)
    def executor_ends(self, crashes: bool, new_key: bool, soon_back: bool) -> None:
        """It is told to, in two steps; or crashes, and begins again with what it left."""
        if Trouble.SHUTDOWN in self.troubles and not (crashes and Trouble.CRASH in self.troubles):
            if self.link_is(Link.DRAINING):
                self.run.close()
            elif not self.link_is(Link.CLOSED):
                self.run.tell(ev.DrainStarted(), self.run.model.drain())
            return
        self.run.restart(new_key=new_key and self.run.settings.expires_after_ms is not None)
        if soon_back:
            self.run.become_ready()


def trade_without_a_key() -> None:
    """The venue refuses the key: reduce-only orders go out all the same, and new orders never do."""
    world = World(CoreSettings())
    world.become_ready(key_is_good=False)
    for reduce_only in (False, True):
        world.submit(Order(market="BTC", side="buy", size="1", price="400", reduce_only=reduce_only))
    world.check_everything()
    world.heal()
