"""What the owner was told, held against what the venue did, at the moment of either and for ever after.

The promises beyond spec/invariants.py, each about two sides that the executor never sees together:

* `ExecutedOnce`: no order has an effect twice.
* `NothingDeadRuns`: what was proven never to have run, or told as refused, has no effect, then or later.
* `OutcomeIsTrue`: an outcome that tells of an effect tells of one that the venue had.
* `CancelHolds`: an order whose cancel was answered "not on the book" does not appear there afterwards.
* `ToldOnce`: an owner hears one outcome.
* `DurableBeforeTold`: nothing is told that a restart would not know (settlement.md, rule 2).
* `JournalBeforeWrite`: no frame leaves that a restart would not know (rule 1).
* `NumbersNeverRepeat`: post ids, nonces and intents' numbers are used once, across restarts too (rule 14).
* `CloidBelongsToOneIntent`: a client order id is accepted once (rule 13).
* `TimeGoesOn`: the executor is never busy without end.
* `NoContradiction`: no alarm about two sources that disagree, unless they do (finding X7).
* `ContradictionIsNoticed`: an alarm when they do.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from adapters.simulation.book import Item, VenueOrder
from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Sight, Troubles
from adapters.simulation.journal import Disk
from adapters.simulation.messages import Fill, Frame, Update
from machines import events as ev
from machines.executor import ExecutorCore
from machines.hard_stop import MISSING_ORDER
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Filled,
    Intent,
    IntentState,
    NotExecuted,
    Outcome,
    Priority,
    Rejected,
    Request,
    Resting,
)

_KINDS: Final[tuple[type[Outcome], ...]] = (Resting, Filled, Canceled, Rejected, NotExecuted)
_OUTCOMES: Final = {kind.__name__: kind for kind in _KINDS}


class Judge:
    """Watches both sides of one run.

    Attributes:
        accepted: The requests that were accepted, by number, with the cloid of their order.
        outcomes: How many intents ended how.
        run: The run of the executor that is alive.
        epoch: Its latest connection.
    """

    def __init__(self, disk: Disk, troubles: Troubles) -> None:
        """Nothing has happened yet."""
        self.accepted: dict[int, tuple[Request, str | None]] = {}
        self.outcomes: Counter[str] = Counter()
        self.run = 0
        self.epoch = 0
        self._disk = disk
        self._troubles = troubles
        self._told: dict[int, Outcome] = {}
        self._cloids: set[str] = set()
        self._resting: set[str] = set()
        self._placed: dict[str, VenueOrder] = {}
        self._placed_oids: dict[int, VenueOrder] = {}
        self._effects: dict[Item, None] = {}
        self._dead: dict[Item, str] = {}
        self._denied: dict[int, str] = {}
        self._gone: dict[str, int] = {}
        self._written: set[int] = set()
        self._nonces: set[tuple[str, int]] = set()
        self._lies: dict[int, bool] = {}

    # ------------------------------------------------------------------------------------------- the executor's side

    def admitted(self, intent: Intent) -> None:
        """The owner was told that an intent is accepted."""
        if intent.seq in self.accepted:
            raise PromiseBroken("NumbersNeverRepeat", f"intent {intent.seq} was accepted twice")
        cloid = intent.cloid
        if intent.priority is not Priority.CANCEL and cloid is not None:
            if cloid in self._cloids:
                raise PromiseBroken("CloidBelongsToOneIntent", f"{cloid} was accepted again, for intent {intent.seq}")
            self._cloids.add(cloid)
        self.accepted[intent.seq] = (intent.request, cloid)

    def write(self, frame: Frame, fence: bool) -> None:
        """A frame is about to leave."""
        if not self._disk.has_post(frame.post_id):
            raise PromiseBroken("JournalBeforeWrite", f"post {frame.post_id} leaves, the journal does not know it")
        if frame.post_id in self._written:
            raise PromiseBroken("NumbersNeverRepeat", f"post id {frame.post_id} is used again")
        self._written.add(frame.post_id)
        key = (frame.signer, frame.nonce)
        if not fence and key in self._nonces:
            raise PromiseBroken("NumbersNeverRepeat", f"nonce {frame.nonce} of {frame.signer} is used again")
        self._nonces.add(key)

    def stepped(self, core: ExecutorCore) -> None:
        """The core made a step: what waits to be sent again has to be dead."""
        for intent in core.intents.moved:
            if intent.state is IntentState.QUEUED and intent.attempts and intent.priority is not Priority.CANCEL:
                self._bury((intent.attempts[-1], intent.seq), "sent again")
                self._troubles.saw(Sight.RESENT, intent.settled_by is not None)

    def told(self, intent: Intent) -> None:
        """The owner was told an outcome."""
        outcome = intent.outcome
        if outcome is None:
            raise PromiseBroken("ToldOnce", f"intent {intent.seq} was reported as ended, without an outcome")
        row = self._disk.intent(intent.seq)
        if row is None or row.outcome is None or row.outcome["type"] != type(outcome).__name__:
            raise PromiseBroken("DurableBeforeTold", f"intent {intent.seq} is told {outcome}, the journal has {row}")
        if intent.seq in self._told:
            raise PromiseBroken("ToldOnce", f"intent {intent.seq} is told {outcome} after {self._told[intent.seq]}")
        self._troubles.saw(Sight.ENDED_BY_STREAM, intent.settled_by == "the order stream")
        self._hear(intent.seq, intent.request, intent.cloid, intent.attempts, outcome)

    def ask_after_restart(self) -> None:
        """The owner asks for the outcomes that it was not told; the last run may have ended before it could."""
        for seq, (request, cloid) in self.accepted.items():
            row = None if seq in self._told else self._disk.intent(seq)
            if row is not None and row.outcome is not None:
                facts = {key: value for key, value in row.outcome.items() if key != "type"}
                outcome = msgspec.convert(facts, _OUTCOMES[row.outcome["type"]])
                self._hear(seq, request, cloid, row.attempts, outcome)

    def untold(self) -> list[int]:
        """Accepted intents that the owner has heard nothing final of."""
        return [seq for seq in self.accepted if seq not in self._told]

    def told_as_resting(self, cloid: str) -> bool:
        """Whether the owner was told that the order `cloid` rests; or a crash kept its acceptance from the owner."""
        return cloid not in self._cloids or cloid in self._resting

    def _hear(self, seq: int, request: Request, cloid: str | None, attempts: tuple[int, ...], outcome: Outcome) -> None:
        self._told[seq] = outcome
        self.outcomes[type(outcome).__name__] += 1
        if isinstance(outcome, Rejected | NotExecuted):
            what = f"intent {seq} was told {outcome}"
            self._denied[seq] = what
            for post_id in attempts:
                self._bury((post_id, seq), what)
        if isinstance(request, Cancel):
            self._hear_cancel(seq, request, attempts, outcome)
        else:
            self._hear_order(seq, cloid or "", outcome)

    def _hear_order(self, seq: int, cloid: str, outcome: Outcome) -> None:
        order = self._placed.get(cloid)
        match outcome:
            case Rejected() | NotExecuted():
                true = order is None
            case Filled(oid=oid, size=size):
                true = (
                    order is not None and order.oid == oid and any(record.traded == size for _, record in order.history)
                )
            case Resting(oid=oid):
                rested = order is not None and any(record.on_book for _, record in order.history)
                true = order is not None and rested and oid in (None, order.oid)
                self._resting.add(cloid)
            case _:
                true = order is not None and not order.record.on_book and order.record.traded == "0"
        if not true:
            raise PromiseBroken("OutcomeIsTrue", f"order {cloid} (intent {seq}) is told {outcome}, {_truth(order)}")

    def _hear_cancel(self, seq: int, request: Cancel, attempts: tuple[int, ...], outcome: Outcome) -> None:
        order = self._placed.get(request.cloid or "") or self._placed_oids.get(request.oid or 0)
        if isinstance(outcome, Canceled) and attempts and (order is None or "ancel" not in order.record.status):
            raise PromiseBroken("OutcomeIsTrue", f"cancel {seq} is told done, {_truth(order)}")
        if isinstance(outcome, Rejected) and outcome.reason.startswith(MISSING_ORDER):
            if order is not None and order.record.on_book:
                raise PromiseBroken("OutcomeIsTrue", f"cancel {seq} is told {outcome}, {_truth(order)}")
            if request.cloid is not None:
                self._gone[request.cloid] = seq

    def _bury(self, item: Item, why: str) -> None:
        self._dead[item] = why
        if item in self._effects:
            raise PromiseBroken("NothingDeadRuns", f"item {item[1]} of post {item[0]} ran, and {why}")

    def contradicted(self, alarm: ev.Contradiction) -> None:
        """The alarm was raised that two sources disagree."""
        oid = getattr(alarm.later, "oid", None)
        if oid not in self._lies:
            what = f"intent {alarm.intent.seq}: {alarm.first}, then {alarm.later} ({alarm.source})"
            raise PromiseBroken("NoContradiction", what)
        self._lies[oid] = True

    def seen(self, news: Update | Fill) -> None:
        """The executor has dealt with what a stream told of an order."""
        if not self._lies.get(_oid(news), True):
            raise PromiseBroken("ContradictionIsNoticed", f"no alarm at {news}, which is not so")

    # ---------------------------------------------------------------------------------------------- the venue's side

    def lies(self, news: Update | Fill) -> None:
        """A stream is about to tell of an order what is not so."""
        self._lies[_oid(news)] = False

    def executed(self, frame: Frame) -> None:
        """The venue carries out an action."""
        earlier_run = frame.run < self.run
        earlier_connection = frame.run == self.run and frame.epoch < self.epoch
        order = frame.kind is not ActionKind.NOOP
        self._troubles.saw(Sight.EXECUTED_AFTER_RESTART, order and earlier_run)
        self._troubles.saw(Sight.EXECUTED_AFTER_RECONNECT, order and earlier_connection)

    def placed(self, order: VenueOrder, item: Item) -> None:
        """The venue placed an order."""
        if order.cloid in self._placed:
            raise PromiseBroken("ExecutedOnce", f"order {order.cloid} is executed again, by post {item[0]}")
        if order.cloid in self._gone:
            raise PromiseBroken(
                "CancelHolds", f"order {order.cloid} is placed after cancel {self._gone[order.cloid]} was answered"
            )
        self._check_alive(item)
        self._placed[order.cloid] = order
        self._placed_oids[order.oid] = order

    def canceled(self, _: VenueOrder, item: Item) -> None:
        """The venue carried out a cancel, or the half of a modify that is one."""
        self._check_alive(item)

    def _check_alive(self, item: Item) -> None:
        post_id, seq = item
        why = self._dead.get(item) or self._denied.get(seq)
        if why is not None:
            raise PromiseBroken("NothingDeadRuns", f"item {seq} of post {post_id} runs, after: {why}")
        self._effects[item] = None


def _oid(news: Update | Fill) -> int:
    return news.oid if isinstance(news, Fill) else news.record.oid


def _truth(order: VenueOrder | None) -> str:
    return "the venue has no such order" if order is None else f"the venue has {order.record}"
