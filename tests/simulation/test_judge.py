"""Each promise that the judge watches over can be broken, and is found broken."""

from __future__ import annotations

from random import Random

import pytest

from adapters.journal import Changes, IntentRow, PostRow
from adapters.simulation.book import VenueOrder
from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Sight, Troubles
from adapters.simulation.journal import Disk
from adapters.simulation.judge import Judge
from adapters.simulation.messages import Fill, Frame, Update
from machines import events as ev
from machines.hard_stop import MISSING_ORDER
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Filled,
    Intent,
    IntentState,
    NotExecuted,
    Order,
    Outcome,
    Priority,
    Rejected,
    Resting,
)
from machines.settlement import OrderRecord

ORDER = Order(market="BTC", side="buy", size="1", price="100", cloid="a")
CANCEL = Cancel(market="BTC", cloid="a")
DEAD = NotExecuted("its fence won")
MISSING = Rejected(f"{MISSING_ORDER}. asset=0")


class Court:
    """A judge, with the two sides that it hears."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.disk.begin_run("key")
        self.troubles = Troubles(Random(1))
        self.judge = Judge(self.disk, self.troubles)

    def order(self, outcome: Outcome | None = None, seq: int = 1, attempts: tuple[int, ...] = (5,)) -> Intent:
        return Intent(
            seq, ORDER, "a", Priority.NEW_ORDER, ActionKind.ORDER, alo=False, outcome=outcome, attempts=attempts
        )

    def cancel(self, outcome: Outcome | None = None, seq: int = 2, attempts: tuple[int, ...] = (6,)) -> Intent:
        return Intent(
            seq, CANCEL, "a", Priority.CANCEL, ActionKind.CANCEL_BY_CLOID, False, outcome=outcome, attempts=attempts
        )

    def record(self, intent: Intent) -> None:
        outcome = None if intent.outcome is None else {"type": type(intent.outcome).__name__}
        row = IntentRow(
            seq=intent.seq,
            cloid=intent.cloid,
            market="BTC",
            priority=intent.priority.value,
            kind=intent.kind.value,
            request={},
            state="x",
            attempts=intent.attempts,
            outcome=outcome,
        )
        self.disk.write([b""], Changes(intents=(row,)))

    def tell(self, intent: Intent) -> None:
        self.record(intent)
        self.judge.told(intent)

    def venue_order(self, status: str = "open", traded: str = "0") -> VenueOrder:
        return VenueOrder("a", 9, ORDER, placed=True, history=[(0, OrderRecord(9, status, traded))])

    def place(self, status: str = "open", traded: str = "0", post_id: int = 5, seq: int = 1) -> VenueOrder:
        order = self.venue_order(status, traded)
        self.judge.placed(order, (post_id, seq))
        return order


def frame(post_id: int = 5, nonce: int = 7) -> Frame:
    return Frame(post_id, "key", nonce, ActionKind.ORDER, (ORDER,), None, 1, 1, (1,))


def journal_post(court: Court, post_id: int) -> None:
    row = PostRow(
        post_id=post_id,
        nonce=7,
        kind="order",
        priority="new_order",
        items=(1,),
        fence_of=None,
        epoch=0,
        prepared_unix_ms=0,
        expires_after=None,
        state="queued",
    )
    court.disk.write([b""], Changes(posts=(row,)))


def test_an_order_has_an_effect_once() -> None:
    court = Court()
    court.place()
    with pytest.raises(PromiseBroken, match="ExecutedOnce: order a is executed again, by post 8"):
        court.place(post_id=8)


@pytest.mark.parametrize("outcome", [DEAD, Rejected("no")])
def test_nothing_that_was_told_dead_runs_later(outcome: Outcome) -> None:
    court = Court()
    court.tell(court.order(outcome))
    with pytest.raises(PromiseBroken, match="NothingDeadRuns: item 1 of post 5 runs, after: intent 1 was told"):
        court.place()


@pytest.mark.parametrize("outcome", [DEAD, Rejected("no")])
def test_nothing_that_ran_is_told_dead(outcome: Outcome) -> None:
    court = Court()
    court.place()
    with pytest.raises(PromiseBroken, match="NothingDeadRuns: item 1 of post 5 ran"):
        court.tell(court.order(outcome))


def test_nothing_that_ran_under_another_post_is_told_dead() -> None:
    court = Court()
    court.place(post_id=4)
    with pytest.raises(PromiseBroken, match="OutcomeIsTrue: order a"):
        court.tell(court.order(DEAD))


@pytest.mark.parametrize(
    ("status", "traded", "outcome"),
    [
        ("open", "0", Filled(9, "1", "100")),
        ("filled", "1", Filled(9, "2", "100")),
        ("filled", "1", Filled(8, "1", "100")),
        ("filled", "1", Resting(9)),
        ("open", "0", Resting(8)),
        ("open", "0", Canceled()),
        ("filled", "1", Canceled()),
    ],
)
def test_an_outcome_tells_of_what_the_venue_did(status: str, traded: str, outcome: Outcome) -> None:
    court = Court()
    court.place(status, traded)
    with pytest.raises(PromiseBroken, match="OutcomeIsTrue: order a"):
        court.tell(court.order(outcome))


@pytest.mark.parametrize("outcome", [Filled(9, "1", "100"), Resting(9), Canceled()])
def test_an_order_that_the_venue_does_not_have_did_nothing(outcome: Outcome) -> None:
    court = Court()
    with pytest.raises(PromiseBroken, match="the venue has no such order"):
        court.tell(court.order(outcome))


@pytest.mark.parametrize(
    ("status", "traded", "outcome"),
    [
        ("filled", "1", Filled(9, "1", "100")),
        ("open", "0", Resting(9)),
        ("open", "0", Resting(None)),
        ("canceled", "0", Canceled()),
    ],
)
def test_true_outcomes_pass(status: str, traded: str, outcome: Outcome) -> None:
    court = Court()
    court.place(status, traded)
    court.tell(court.order(outcome))
    assert court.judge.outcomes == {type(outcome).__name__: 1}


def test_a_cancel_that_is_told_done_was_done() -> None:
    court = Court()
    court.place("open")
    with pytest.raises(PromiseBroken, match="OutcomeIsTrue: cancel 2 is told done"):
        court.tell(court.cancel(Canceled()))


def test_a_cancel_of_an_order_that_was_never_sent_needs_no_venue() -> None:
    court = Court()
    court.tell(court.order(DEAD, attempts=()))
    court.tell(court.cancel(Canceled(), attempts=()))
    assert court.judge.outcomes == {"NotExecuted": 1, "Canceled": 1}


def test_a_cancel_that_is_told_refused_did_nothing_then_or_later() -> None:
    court = Court()
    order = court.place()
    court.tell(court.cancel(Rejected("budget")))
    with pytest.raises(PromiseBroken, match="NothingDeadRuns: item 2 of post 6 runs"):
        court.judge.canceled(order, (6, 2))


def test_a_cancel_that_worked_is_not_told_refused() -> None:
    court = Court()
    court.judge.canceled(court.place(), (6, 2))
    with pytest.raises(PromiseBroken, match="NothingDeadRuns: item 2 of post 6 ran"):
        court.tell(court.cancel(DEAD))


def test_after_not_on_the_book_the_order_does_not_appear() -> None:
    court = Court()
    court.tell(court.cancel(MISSING))
    with pytest.raises(PromiseBroken, match="CancelHolds: order a is placed after cancel 2"):
        court.place()


def test_not_on_the_book_is_not_told_of_an_order_that_is_there() -> None:
    court = Court()
    court.place()
    with pytest.raises(PromiseBroken, match="OutcomeIsTrue: cancel 2"):
        court.tell(court.cancel(MISSING))


def test_an_owner_hears_one_outcome() -> None:
    court = Court()
    court.tell(court.order(DEAD))
    with pytest.raises(PromiseBroken, match="ToldOnce: intent 1 is told"):
        court.tell(court.order(DEAD))
    with pytest.raises(PromiseBroken, match="ToldOnce: intent 3 was reported as ended, without an outcome"):
        court.tell(court.order(seq=3))


def test_nothing_is_told_before_it_is_durable() -> None:
    court = Court()
    with pytest.raises(PromiseBroken, match="DurableBeforeTold"):
        court.judge.told(court.order(DEAD))
    court.record(court.order(None))
    with pytest.raises(PromiseBroken, match="DurableBeforeTold"):
        court.judge.told(court.order(DEAD))


def test_no_frame_leaves_before_it_is_in_the_journal_and_no_number_is_used_twice() -> None:
    court = Court()
    with pytest.raises(PromiseBroken, match="JournalBeforeWrite: post 5 leaves"):
        court.judge.write(frame(), fence=False)
    for post_id in (5, 6):
        journal_post(court, post_id)
    court.judge.write(frame(), fence=False)
    with pytest.raises(PromiseBroken, match="NumbersNeverRepeat: post id 5"):
        court.judge.write(frame(), fence=False)
    with pytest.raises(PromiseBroken, match="NumbersNeverRepeat: nonce 7 of key"):
        court.judge.write(frame(6), fence=False)


def test_a_fence_has_the_nonce_of_its_post() -> None:
    court = Court()
    for post_id in (5, 6):
        journal_post(court, post_id)
    court.judge.write(frame(5), fence=False)
    court.judge.write(frame(6), fence=True)
    with pytest.raises(PromiseBroken, match="NumbersNeverRepeat: post id 6"):
        court.judge.write(frame(6), fence=True)


def test_an_intent_and_a_cloid_are_accepted_once() -> None:
    court = Court()
    court.judge.admitted(court.order())
    court.judge.admitted(court.cancel())
    with pytest.raises(PromiseBroken, match="NumbersNeverRepeat: intent 1"):
        court.judge.admitted(court.order())
    with pytest.raises(PromiseBroken, match="CloidBelongsToOneIntent: a was accepted again, for intent 3"):
        court.judge.admitted(court.order(seq=3))
    assert court.judge.untold() == [1, 2]


LIE = Update("a", OrderRecord(-1, "open", "0"))


@pytest.mark.parametrize("lie", [LIE, Fill("a", -1, "1")])
def test_a_stream_that_tells_what_is_not_so_raises_an_alarm(lie: Update | Fill) -> None:
    court = Court()
    court.judge.lies(lie)
    with pytest.raises(PromiseBroken, match="ContradictionIsNoticed: no alarm at"):
        court.judge.seen(lie)
    court.judge.contradicted(ev.Contradiction(court.order(), DEAD, Resting(-1), "the order stream"))
    court.judge.seen(lie)


def test_an_alarm_without_a_reason_is_a_failure() -> None:
    court = Court()
    court.judge.seen(LIE)
    with pytest.raises(PromiseBroken, match="NoContradiction: intent 1"):
        court.judge.contradicted(ev.Contradiction(court.order(), DEAD, Resting(9), "the order stream"))


def test_after_a_restart_the_owner_asks_for_what_it_was_not_told() -> None:
    court = Court()
    court.judge.admitted(court.order())
    row = IntentRow(
        seq=1,
        cloid="a",
        market="BTC",
        priority="new_order",
        kind="order",
        request={},
        state="resting",
        attempts=(5,),
        outcome={"type": "Resting", "oid": 9},
    )
    court.disk.write([b""], Changes(intents=(row,)))
    with pytest.raises(PromiseBroken, match="OutcomeIsTrue: order a"):
        court.judge.ask_after_restart()
    court = Court()
    court.judge.admitted(court.order())
    court.disk.write([b""], Changes(intents=(row,)))
    court.place()
    court.judge.ask_after_restart()
    assert court.judge.untold() == []
    assert court.judge.told_as_resting("a")


def test_what_runs_after_a_restart_or_a_reconnect_is_seen() -> None:
    court = Court()
    court.judge.run, court.judge.epoch = 2, 1
    court.judge.executed(frame())
    court.judge.run, court.judge.epoch = 1, 2
    court.judge.executed(frame())
    assert court.troubles.counts[Sight.EXECUTED_AFTER_RESTART] == 1
    assert court.troubles.counts[Sight.EXECUTED_AFTER_RECONNECT] == 1


def test_what_waits_to_be_sent_again_is_dead() -> None:
    court = Court()

    class Register:
        moved = [court.order()]  # noqa: RUF012

    class Core:
        intents = Register()

    Register.moved[0].state = IntentState.QUEUED
    court.judge.stepped(Core())  # type: ignore[arg-type]
    with pytest.raises(PromiseBroken, match="NothingDeadRuns: item 1 of post 5 runs, after: sent again"):
        court.place()
