"""Small steps of trading, ambiguity and settlement, and the plots made of them that chance would seldom find.

A plot is one way through settlement.md's rules: what is sent, what arrives when, which answers are kept back and for
how long, what the stream and the records say. Each transition of the settlement table, and each counterexample of the
rules that the core can be led into, has a plot. Plots may be played in any state of the world: a step that is not
possible does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from machines import events as ev
from machines.intent import Cancel, Modify, Order, Request
from machines.settlement import OrderRecord
from tests.stateful.ledger import LOOK_UP_EVERY_MS, Link
from tests.stateful.venue import LAG_MS, NO_DEPOSIT, SERIOUS, TOO_MANY_MESSAGES, Choice, Frame, Proof, Reply
from tests.stateful.world import HandOver, World


class Step(Enum):
    """One thing that happens."""

    ORDER = auto()
    ORDER_ELSEWHERE = auto()
    REDUCE = auto()
    MODIFY = auto()
    FLATTEN = auto()
    CANCEL = auto()
    """Of the last order."""
    CANCEL_UNKNOWN = auto()
    """Of an order that nobody knows."""
    SEND = auto()
    SEND_REFUSED = auto()
    SEND_BROKEN = auto()
    SEND_CRASHED = auto()
    RUN = auto()
    """The oldest frame arrives; its answer is kept back."""
    RUN_NEWEST = auto()
    REFUSE = auto()
    """The newest frame arrives and is refused as a whole, without a record."""
    REFUSE_BATCH = auto()
    """The newest frame arrives, and one error stands for all of its items."""
    GATE = auto()
    """The gate turns the newest frame away, provably."""
    TOO_MANY = auto()
    """The gate turns the oldest frame away, in an error frame that names its post."""
    GATEWAY = auto()
    """A gateway loses the newest frame, and says nothing that proves it."""
    AGAIN = auto()
    """The frame of the last answer arrives a second time."""
    HEAR = auto()
    """The last answer that was kept back is delivered."""
    HEAR_FIRST = auto()
    HEAR_ELSEWHERE = auto()
    """The last answer that was kept back is delivered on another connection than its post's."""
    ERROR = auto()
    """An error frame arrives that names no post."""
    TIME_OUT = auto()
    BLINK = auto()
    SOON = auto()
    LONG = auto()
    LOOK = auto()
    LOOK_LAGGING = auto()
    LOOK_FAILS = auto()
    STREAM = auto()
    """The order stream tells the last news."""
    FILL = auto()
    """The stream of trades tells of the last order that traded."""
    GONE = auto()
    """The order stream misses why the last order is gone."""
    LIE = auto()
    """The order stream contradicts what is known of the last order."""
    TRADE = auto()
    RECONNECT = auto()
    READY = auto()
    CRASH = auto()
    CRASH_NEW_KEY = auto()
    CLOCK = auto()
    """The local clock is stepped ahead by a minute."""
    DRAIN = auto()
    CLOSE = auto()


_S = Step
_LOST: Final = (_S.SEND, _S.TIME_OUT)
_RAN_AND_LOST: Final = (_S.SEND, _S.RUN_NEWEST, _S.TIME_OUT)
_FENCE: Final = (_S.SEND, _S.RUN_NEWEST, _S.HEAR)
_FENCE_RUNS_UNHEARD: Final = (_S.SEND, _S.RUN_NEWEST, _S.TIME_OUT)
_FIND_NOTHING: Final = (_S.LOOK, _S.SOON, _S.LOOK, _S.SOON, _S.LOOK)
_ANSWERED: Final = (_S.RUN_NEWEST, _S.HEAR)

PLOTS: Final[tuple[tuple[Step, ...], ...]] = (
    # --- fences (rules 3 to 6)
    (_S.ORDER, *_LOST, *_FENCE, _S.RUN),
    (_S.REDUCE, *_LOST, *_FENCE, _S.SEND, *_ANSWERED, _S.RUN),
    (_S.REDUCE, *_LOST, *_FENCE_RUNS_UNHEARD, _S.HEAR, _S.SEND, *_ANSWERED),
    (_S.REDUCE, *_LOST, *_FENCE_RUNS_UNHEARD, *_FENCE, _S.HEAR_FIRST, _S.SEND),
    (_S.REDUCE, *_LOST, *_FENCE_RUNS_UNHEARD, *_FENCE, *_FIND_NOTHING, _S.SEND, *_ANSWERED),
    (_S.ORDER, *_RAN_AND_LOST, *_FENCE, *_FIND_NOTHING),
    (_S.ORDER, *_LOST, _S.SEND, _S.RUN, _S.RUN_NEWEST, _S.HEAR, *_FIND_NOTHING),
    (_S.ORDER, *_LOST, _S.SEND, _S.GATE, _S.HEAR, _S.SOON, _S.SEND, _S.GATEWAY, _S.HEAR, _S.SOON, *_FENCE),
    (_S.ORDER, *_LOST, _S.SEND_REFUSED, _S.SEND_BROKEN, *_FENCE),
    (_S.ORDER, _S.SEND, _S.RECONNECT, _S.SEND, _S.RECONNECT, *_FENCE, _S.RUN),
    (_S.REDUCE, _S.SEND_BROKEN, *_FENCE, _S.SEND, *_ANSWERED),
    (_S.ORDER, _S.SEND, _S.RUN, *(_S.ORDER, _S.SEND, *_ANSWERED) * 2, _S.TIME_OUT, *_FENCE, _S.LOOK),
    (_S.ORDER, _S.SEND, *(_S.ORDER, _S.SEND, *_ANSWERED) * 2, _S.TIME_OUT, *_FENCE, *_FIND_NOTHING, _S.RUN),
    # --- what replies prove (rules 7, 8, 10)
    (_S.ORDER, _S.SEND, _S.RUN, _S.AGAIN, _S.HEAR, *_FIND_NOTHING),
    (_S.REDUCE, _S.SEND, _S.GATEWAY, _S.HEAR, _S.SOON, *_FENCE),
    (_S.REDUCE, _S.SEND, _S.GATE, _S.HEAR, _S.SOON, _S.SEND, *_ANSWERED),
    (_S.ORDER, _S.ORDER, _S.SEND, *_ANSWERED, _S.REDUCE, _S.REDUCE, _S.SEND, _S.REFUSE_BATCH, _S.HEAR),
    (_S.ORDER, _S.SEND, _S.RUN, _S.HEAR_ELSEWHERE, _S.HEAR, _S.HEAR_ELSEWHERE),
    (_S.ORDER, _S.SEND, _S.REDUCE, _S.SEND, _S.TOO_MANY, _S.HEAR, *_ANSWERED),
    (_S.ORDER, _S.SEND, _S.ERROR, *_ANSWERED, _S.ORDER, _S.SEND),
    (_S.ORDER, *_RAN_AND_LOST, _S.HEAR, _S.HEAR, _S.STREAM),
    (_S.ORDER, *_RAN_AND_LOST, _S.SEND, _S.HEAR),
    (_S.ORDER, *_RAN_AND_LOST, *_FENCE, _S.HEAR_FIRST, _S.LOOK),
    (_S.REDUCE, _S.SEND, _S.GATE, _S.TIME_OUT, _S.HEAR, _S.SEND),
    (_S.ORDER, _S.SEND, _S.GATE, _S.TIME_OUT, _S.SEND, _S.HEAR),
    (_S.REDUCE, _S.SEND, _S.GATE, _S.TIME_OUT, *_FENCE_RUNS_UNHEARD, *_FENCE, _S.HEAR_FIRST, _S.SEND),
    (_S.ORDER, *_RAN_AND_LOST, *_FENCE, *_FIND_NOTHING, _S.HEAR_FIRST, _S.STREAM),
    (_S.REDUCE, *_LOST, *_FENCE, _S.SEND, _S.RUN, _S.HEAR, *_ANSWERED),
    (_S.ORDER, *_RAN_AND_LOST, _S.LONG, _S.HEAR, _S.HEAR),
    (_S.ORDER, _S.SEND, _S.RUN, _S.AGAIN, _S.TIME_OUT, _S.HEAR, *_FIND_NOTHING),
    # --- look-ups (rule 9)
    (_S.ORDER, *_LOST, _S.RUN, *_FENCE, _S.LOOK_LAGGING, _S.SOON, _S.LOOK_LAGGING, _S.SOON, _S.LOOK_LAGGING),
    (_S.REDUCE, *_LOST, _S.RUN, *_FENCE, _S.LOOK_LAGGING, _S.SOON, _S.LOOK_FAILS, _S.SOON, _S.LOOK, _S.SEND),
    (_S.ORDER, _S.SEND, _S.REFUSE, _S.TIME_OUT, *_FENCE, *_FIND_NOTHING, _S.LOOK),
    (_S.REDUCE, _S.REDUCE, _S.SEND, _S.REFUSE, _S.TIME_OUT, *_FENCE, *_FIND_NOTHING, _S.SEND, *_ANSWERED),
    (_S.ORDER, *_LOST, _S.RUN, *_FENCE, _S.LOOK_LAGGING, _S.BLINK, _S.LOOK_LAGGING, _S.BLINK, _S.LOOK_LAGGING),
    (_S.REDUCE, _S.SEND, _S.REFUSE, _S.TIME_OUT, *_FENCE, _S.LOOK_FAILS, _S.SOON, _S.LOOK_FAILS, _S.SOON, _S.LOOK),
    # --- the order stream (X7)
    (_S.ORDER, _S.SEND, _S.RUN, _S.STREAM, _S.HEAR, _S.TRADE, _S.STREAM),
    (_S.ORDER, _S.SEND, _S.RUN, _S.STREAM, _S.TIME_OUT, _S.SEND),
    (_S.ORDER, _S.ORDER, _S.SEND, _S.RUN, _S.TIME_OUT, _S.STREAM, _S.SEND, _S.STREAM, _S.LONG),
    (_S.ORDER, *_RAN_AND_LOST, _S.STREAM, _S.LIE),
    (_S.ORDER, *_RAN_AND_LOST, _S.SEND, _S.STREAM, _S.RUN_NEWEST, _S.HEAR),
    (_S.ORDER, _S.SEND, _S.RUN, _S.HEAR, _S.TRADE, _S.GONE, _S.CANCEL, _S.LIE),
    (_S.ORDER, *_LOST, *_FENCE, _S.LIE, _S.STREAM),
    (_S.ORDER, _S.SEND, _S.RUN, _S.FILL, _S.TIME_OUT, _S.FILL, _S.LOOK, _S.FILL),
    (_S.ORDER, _S.SEND, _S.RUN, _S.TRADE, _S.TIME_OUT, _S.SEND, _S.FILL, _S.RUN_NEWEST, _S.HEAR, _S.LOOK),
    # --- restarts (rules 1, 3, 11, 14, 15)
    (_S.ORDER, _S.SEND, _S.RUN, _S.CRASH, _S.READY, *_FENCE, *_FIND_NOTHING),
    (_S.REDUCE, _S.SEND, _S.CRASH, _S.READY, *_FENCE, _S.RUN, _S.SEND),
    (_S.REDUCE, *_LOST, _S.SEND, _S.CRASH, _S.READY, *_FENCE, _S.LOOK),
    (_S.ORDER, _S.SEND_CRASHED, _S.RUN, _S.READY, *_FENCE, *_FIND_NOTHING),
    (_S.ORDER, _S.REDUCE, _S.CANCEL, _S.CRASH, _S.READY, _S.SEND),
    (_S.ORDER, _S.SEND, *_ANSWERED, _S.REDUCE, *_LOST, *_FENCE, _S.CRASH, _S.READY),
    (_S.ORDER, _S.SEND, _S.CRASH_NEW_KEY, _S.READY, _S.SEND, *_FIND_NOTHING, _S.RUN, _S.LONG, *_FIND_NOTHING),
    (_S.REDUCE, _S.SEND, _S.CRASH_NEW_KEY, _S.READY, _S.CLOCK, _S.SOON, *_FIND_NOTHING, _S.RUN, _S.LONG, _S.LOOK),
    (_S.ORDER, _S.SEND, _S.CRASH_NEW_KEY, _S.READY, _S.TIME_OUT, _S.TIME_OUT, *_FIND_NOTHING, _S.RUN, _S.LONG, _S.LOOK),
    (_S.ORDER, _S.SEND, _S.RUN, _S.HEAR, _S.CANCEL, _S.SEND, _S.RUN, _S.CRASH, _S.READY, *_FENCE, _S.LOOK),
    (_S.FLATTEN, _S.SEND, _S.CRASH, _S.READY, _S.FLATTEN, _S.SEND),
    # --- slots and queues (rules 12, 15 to 18)
    (_S.ORDER, _S.SEND, _S.ORDER, _S.SEND, _S.ORDER, _S.SEND, _S.TIME_OUT, _S.ORDER, _S.REDUCE, *_FENCE, *_FENCE),
    (_S.REDUCE, _S.SEND, _S.REDUCE, _S.SEND, _S.RECONNECT, *_FENCE, *_FENCE, _S.SEND, *_ANSWERED, _S.SEND),
    (_S.REDUCE, _S.SEND, _S.MODIFY, _S.SEND, _S.GATE, _S.HEAR, _S.SOON, _S.TIME_OUT, *_FENCE, _S.SEND, _S.SEND),
    (_S.REDUCE, *_LOST, *(_S.REDUCE,) * 5, *_FENCE, _S.SEND, _S.SEND),
    (_S.CANCEL_UNKNOWN, *_LOST, *(_S.CANCEL_UNKNOWN,) * 5, _S.SEND, _S.SEND),
    (_S.ORDER, *_LOST, _S.ORDER_ELSEWHERE, _S.LONG, _S.LONG, _S.ORDER, _S.ORDER_ELSEWHERE, *_FENCE, _S.ORDER),
    (_S.FLATTEN, *_LOST, _S.FLATTEN, *_FENCE, _S.FLATTEN, _S.SEND, *_ANSWERED, _S.FLATTEN),
    (_S.LONG, _S.LONG, _S.SEND, _S.REFUSE, _S.HEAR, _S.SEND, _S.LONG, _S.LONG, *_LOST, _S.SEND, *_ANSWERED),
    # --- cancels (rule 19)
    (_S.ORDER, _S.SEND, _S.CANCEL, _S.SEND, *_ANSWERED, _S.RUN, _S.HEAR, _S.SEND, *_ANSWERED),
    (_S.ORDER, _S.SEND, _S.CANCEL, _S.SEND, *_ANSWERED, _S.TIME_OUT, *_FENCE, *_FIND_NOTHING, _S.SEND),
    (_S.REDUCE, _S.SEND, _S.CANCEL, _S.SEND, *_ANSWERED, _S.TIME_OUT, *_FENCE, _S.SEND, _S.RUN),
    (_S.ORDER, _S.SEND, _S.CANCEL, _S.SEND, *_ANSWERED, _S.TIME_OUT, _S.RUN, *_FENCE, _S.LOOK, _S.SEND, *_ANSWERED),
    (_S.ORDER, _S.SEND, _S.CANCEL, _S.SEND, _S.RUN_NEWEST, _S.RUN, _S.HEAR, _S.HEAR_FIRST, _S.SEND, *_ANSWERED),
    (_S.ORDER, _S.SEND, _S.CANCEL, _S.SEND, *_ANSWERED, _S.DRAIN, _S.CLOSE, _S.CRASH, _S.READY, _S.RUN, *_FENCE),
    (_S.ORDER, _S.SEND, _S.CANCEL, *_LOST, _S.SEND, *_ANSWERED, _S.DRAIN, _S.CLOSE, _S.CRASH, _S.READY),
    (_S.ORDER, _S.SEND, *_ANSWERED, _S.CANCEL, *_RAN_AND_LOST, *_FENCE, *_FIND_NOTHING),
    (_S.ORDER, _S.SEND, *_ANSWERED, _S.CANCEL, *_LOST, _S.RUN, *_FENCE, _S.LOOK_LAGGING, _S.SOON, _S.LOOK),
    (_S.ORDER, _S.SEND, *_ANSWERED, _S.CANCEL, *_RAN_AND_LOST, _S.HEAR, _S.SEND, *_ANSWERED, _S.STREAM),
    (_S.ORDER, _S.SEND, *_ANSWERED, _S.CANCEL, *_LOST, _S.TRADE, *_FENCE, *_FIND_NOTHING),
    (_S.ORDER, _S.CANCEL, _S.SEND, _S.REDUCE, _S.SEND_REFUSED, _S.CANCEL, _S.SEND),
    (_S.REDUCE, *_LOST, _S.CANCEL, *_FENCE, _S.SEND, *_ANSWERED, _S.LONG),
    (_S.REDUCE, _S.SEND, _S.CANCEL, _S.GATE, _S.HEAR, _S.SOON, _S.SEND, *_ANSWERED, _S.SEND),
    (_S.ORDER, _S.SEND, _S.MODIFY, _S.SEND, _S.CANCEL, _S.SEND, *_ANSWERED, _S.RUN, _S.HEAR, _S.RUN, _S.HEAR, _S.SEND),
    (_S.REDUCE, *_LOST, _S.DRAIN, *_FENCE, _S.SEND, _S.CLOSE, _S.CRASH, _S.READY),
)


class Stage:
    """Plays steps in a world.

    Attributes:
        world: Where.
        kept: Answers that were kept back, oldest first.
        cloids: The orders of the plot, oldest first.
    """

    def __init__(self, world: World, choices: Sequence[Choice], *, since: int = 0) -> None:
        """Play in `world`; the venue does with items what `choices` say; frames before number `since` stay out."""
        self.world = world
        self._since = since
        self.kept: list[Reply] = []
        self.cloids: list[str] = []
        self._choices = choices

    def play(self, steps: Sequence[Step]) -> None:
        """One step after the other."""
        for step in steps:
            self._play(step)

    def _play(self, step: Step) -> None:
        match step:
            case Step.ORDER | Step.ORDER_ELSEWHERE | Step.REDUCE | Step.MODIFY | Step.FLATTEN:
                self._submit_order(step)
            case Step.CANCEL if self.cloids:
                self.world.submit(Cancel(market="BTC", cloid=self.cloids[-1]))
            case Step.CANCEL_UNKNOWN:
                self.world.submit(Cancel(market="BTC", oid=999))
            case Step.SEND | Step.SEND_REFUSED | Step.SEND_BROKEN | Step.SEND_CRASHED:
                self._send(_HAND_OVERS[step])
            case (
                Step.RUN
                | Step.RUN_NEWEST
                | Step.REFUSE
                | Step.REFUSE_BATCH
                | Step.GATE
                | Step.TOO_MANY
                | Step.GATEWAY
                | Step.AGAIN
            ):
                self._arrive(step)
            case Step.HEAR | Step.HEAR_FIRST | Step.HEAR_ELSEWHERE if self.kept:
                reply = self.kept[0 if step is Step.HEAR_FIRST else -1]
                self.world.deliver(reply, reply.frame.epoch + (step is Step.HEAR_ELSEWHERE))
            case Step.ERROR:
                model = self.world.model
                told = model.error_without_post(too_many_messages=True)
                self.world.tell(ev.ErrorReceived(model.epoch, TOO_MANY_MESSAGES, None), told)
            case Step.TIME_OUT | Step.BLINK | Step.SOON | Step.LONG:
                self.world.pass_time(_PAUSES.get(step, self.world.settings.post_timeout_ms))
            case Step.LOOK | Step.LOOK_LAGGING | Step.LOOK_FAILS:
                self.world.pass_time(0)
                self.world.answer_look_ups(LAG_MS if step is Step.LOOK_LAGGING else 0, fails=step is Step.LOOK_FAILS)
            case Step.STREAM | Step.FILL | Step.GONE | Step.LIE | Step.TRADE:
                self._book(step)
            case _:
                self._session(step)

    def _submit_order(self, step: Step) -> None:
        order = Order(
            market="xyz:TSLA" if step is Step.ORDER_ELSEWHERE else "BTC",
            side="buy",
            size="1",
            price="400",
            reduce_only=step is Step.REDUCE,
            flatten=step is Step.FLATTEN,
        )
        request: Request = order
        if step is Step.MODIFY and self.cloids:
            request = Modify(order=order, cloid=self.cloids[-1])
        intent = self.world.submit(request)
        if intent is not None and intent.cloid is not None:
            self.cloids.append(intent.cloid)

    def _send(self, hand_over: HandOver) -> None:
        model = self.world.model
        if model.silent_until > model.now:
            self.world.pass_time(model.silent_until - model.now)
        if not self.world.core.posts.in_hand:
            self.world.tick(hand_over)

    def _arrive(self, step: Step) -> None:
        venue = self.world.venue
        frames = [frame for frame in venue.frames[self._since :] if frame.may_arrive]
        reply = None
        if step is Step.AGAIN:
            reply = venue.run(self.kept[-1].frame, self._choices) if self.kept else None
        elif frames:
            reply = self._meet(step, frames[0 if step in (Step.RUN, Step.TOO_MANY) else -1])
        if reply is not None:
            self.kept.append(reply)

    def _meet(self, step: Step, frame: Frame) -> Reply | None:
        venue = self.world.venue
        match step:
            case Step.REFUSE:
                return venue.refuse_the_action(frame, NO_DEPOSIT)
            case Step.REFUSE_BATCH:
                return venue.refuse_the_batch(frame, SERIOUS)
            case Step.GATE:
                return venue.turn_away(frame, "429 Too Many Requests", Proof.NEVER_RAN)
            case Step.TOO_MANY:
                reason = f"too many pending post requests id={frame.post_id}"
                return venue.turn_away(frame, reason, Proof.NEVER_RAN, as_error_frame=True)
            case Step.GATEWAY:
                return venue.turn_away(frame, "503 Service Unavailable", Proof.NOTHING)
            case _:
                return venue.run(frame, self._choices)

    def _book(self, step: Step) -> None:
        world, cloid = self.world, self.cloids[-1] if self.cloids else ""
        if step is Step.STREAM:
            world.stream(-1)
        elif step is Step.FILL:
            world.fill()
        elif step is Step.TRADE:
            world.venue.happens_on_the_book(-1, fill=False)
        elif step is Step.GONE:
            order = world.venue.find(cloid)
            if order is not None and not order.record.on_book:
                world.gone(cloid)
        else:
            item = world.model.known.get(cloid)
            if item is not None and item.ending is not None:
                record = OrderRecord(99, "open", "0")
                world.tell(ev.OrderSeen(cloid, record), world.model.order_seen(cloid, record))

    def _session(self, step: Step) -> None:
        world, link = self.world, self.world.model.link
        match step:
            case Step.RECONNECT if link in (Link.UP, Link.DRAINING):
                world.lose()
                self._session(Step.READY)
            case Step.READY if link in (Link.DOWN, Link.DIALING, Link.UP):
                world.become_ready()
            case Step.CRASH:
                world.restart()
            case Step.CRASH_NEW_KEY if world.settings.expires_after_ms is not None:
                world.restart(new_key=True)
            case Step.CLOCK:
                world.set_clock(60_000)
            case Step.DRAIN if link is Link.UP:
                world.tell(ev.DrainStarted(), world.model.drain())
            case Step.CLOSE if link is Link.DRAINING:
                world.close()


_PAUSES: Final = {Step.BLINK: 100, Step.SOON: LOOK_UP_EVERY_MS, Step.LONG: 20_000}
_HAND_OVERS: Final = {
    Step.SEND: HandOver.WRITTEN,
    Step.SEND_REFUSED: HandOver.REFUSED,
    Step.SEND_BROKEN: HandOver.BROKEN,
    Step.SEND_CRASHED: HandOver.CRASHED,
}
