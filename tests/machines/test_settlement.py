"""What a record, or the want of one, proves; and what two reports of one fate may not say."""

from __future__ import annotations

import pytest

from machines.intent import Canceled, Filled, ItemResult, NotExecuted, Rejected, Resting
from machines.settlement import (
    ABSENCES_NEEDED,
    EXPIRY_MARGIN_MS,
    LOOK_UP_EVERY_MS,
    VENUE_LAG_MS,
    LookUp,
    OrderRecord,
    contradict,
    outcome_of,
    outcome_of_cancel,
    told_of,
)
from tests.machines.builders import cancel_intent, intent, record

# --------------------------------------------------------------------------------------------------------- absence


@pytest.mark.parametrize(
    ("answers", "proven"),
    [
        ([0], [False]),
        ([0, 2_001], [False, False]),
        ([0, 1_000, 2_000], [False, False, False]),
        ([0, 1_000, 2_001], [False, False, True]),
        ([0, 1_999, 2_000, 2_001], [False, False, False, True]),
        ([500, 1_000, 2_001, 2_500, 2_501], [False, False, False, False, True]),
        ([7_000, 8_100, 9_200], [False, False, True]),
    ],
)
def test_x2_rule_09_absence_is_proof_after_three_answers_spread_over_more_than_the_lag(
    answers: list[int], proven: list[bool]
) -> None:
    look_up = LookUp(due_ms=0)
    assert [look_up.missed(now) for now in answers] == proven


def test_x2_rule_09_unanswered_look_up_counts_for_nothing() -> None:
    look_up = LookUp(due_ms=0)
    look_up.missed(0)
    for now in (500, 1_000, 5_000):
        look_up.unanswered(now)
    assert (look_up.absences, look_up.absent_since_ms, look_up.due_ms) == (1, 0, 5_000 + LOOK_UP_EVERY_MS)
    assert [look_up.missed(now) for now in (5_100, 5_200)] == [False, True]


def test_x2_rule_09_look_ups_at_their_usual_pace_span_more_than_the_lag() -> None:
    assert (ABSENCES_NEEDED - 1) * LOOK_UP_EVERY_MS > VENUE_LAG_MS


def test_x2_rule_11_margin_holds_the_worst_drift_twice() -> None:
    """Ours and the venue's clock may be off by 5 s before new orders stop (finding N5)."""
    assert EXPIRY_MARGIN_MS >= 2 * 5_000


# ---------------------------------------------------------------------------------------------------------- records


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (record("open"), Resting(11)),
        (record("triggered"), Resting(11)),
        (record("open", traded="0.5"), Resting(11)),
        (record("filled", traded="1"), Filled(11, "1", None)),
        (record("canceled", traded="0.5"), Filled(11, "0.5", None)),
        (record("iocCancelRejected", traded="0.5"), Filled(11, "0.5", None)),
        (record("canceled"), Canceled()),
        (record("selfTradeCanceled"), Canceled()),
        (record("scheduledCancel"), Canceled()),
        (record("rejected"), Rejected("order status: rejected")),
        (record("badAloPxRejected"), Rejected("order status: badAloPxRejected")),
    ],
)
def test_outcome_of_an_order(found: OrderRecord, outcome: ItemResult) -> None:
    assert outcome_of(found) == outcome
    assert told_of(intent(1), found) == outcome


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (record("canceled"), Canceled()),
        (record("canceled", traded="0.5"), Canceled()),
        (record("scheduledCancel"), Canceled()),
        (record("filled", traded="1"), Rejected("the order was not canceled, its status is filled")),
        (record("rejected"), Rejected("the order was not canceled, its status is rejected")),
    ],
)
def test_x2_rule_19_outcome_of_a_cancel(found: OrderRecord, outcome: ItemResult) -> None:
    assert outcome_of_cancel(found) == outcome
    assert told_of(cancel_intent(1), found) == outcome


@pytest.mark.parametrize("found", [None, record("open"), record("triggered"), record("open", traded="0.5")])
def test_x2_rule_19_order_on_the_book_tells_nothing_of_its_cancel(found: OrderRecord | None) -> None:
    assert told_of(cancel_intent(1), found) is None


def test_no_record_tells_nothing_of_an_order() -> None:
    assert told_of(intent(1), None) is None


# --------------------------------------------------------------------------------------------------- contradictions

TAKEN: list[ItemResult] = [Resting(1), Resting(None), Filled(1, "1", "2"), Canceled()]


@pytest.mark.parametrize("first", TAKEN)
@pytest.mark.parametrize("later", TAKEN)
def test_x7_order_that_was_taken_may_move_on(first: ItemResult, later: ItemResult) -> None:
    assert not contradict(first, later)


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("refused", [Rejected("x"), NotExecuted("x")])
def test_x7_refused_and_taken_contradict(taken: ItemResult, refused: Rejected | NotExecuted) -> None:
    assert contradict(refused, taken)
    if isinstance(refused, Rejected):
        assert contradict(taken, refused)


@pytest.mark.parametrize("first", [Rejected("x"), NotExecuted("x")])
def test_x7_two_refusals_agree_whatever_their_texts(first: Rejected | NotExecuted) -> None:
    assert not contradict(first, Rejected("y"))


@pytest.mark.parametrize(
    ("first", "later"),
    [(Resting(1), Resting(2)), (Resting(1), Filled(2, "1", "2")), (Filled(1, "1", None), Resting(2))],
)
def test_x7_two_oids_contradict(first: ItemResult, later: ItemResult) -> None:
    assert contradict(first, later)
