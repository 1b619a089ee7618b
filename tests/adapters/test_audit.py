"""The audit finds every lie, and takes the truth for what it is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from adapters.audit import contradictions
from adapters.venue.truth import Fate
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Filled,
    Intent,
    NotExecuted,
    Order,
    Outcome,
    Priority,
    Rejected,
    Resting,
    Unknown,
)

CLOID = "0x" + "0" * 31 + "1"


def ordered(outcome: Outcome) -> Intent:
    """An order that was reported to have ended so."""
    order = Order(market="BTC", side="buy", size="1", price="100", cloid=CLOID)
    return Intent(1, order, CLOID, Priority.NEW_ORDER, ActionKind.ORDER, alo=False, outcome=outcome)


def canceled(outcome: Outcome, cloid: str | None = CLOID) -> Intent:
    """A cancel that was reported to have ended so."""
    cancel = Cancel(market="BTC", cloid=cloid, oid=None if cloid else 5)
    return Intent(1, cancel, cloid, Priority.CANCEL, ActionKind.CANCEL_BY_CLOID, alo=False, outcome=outcome)


FILLED = Filled(oid=7, size="1", average_price="100")
ON_BOOK = Fate(placed=1, oids=[7], rested=True)
GONE = Fate(placed=1, oids=[7], rested=True, canceled="canceled")
TRADED = Fate(placed=1, oids=[7], filled=Decimal(1))
IN_PART = Fate(placed=1, oids=[7], filled=Decimal("0.4"))
REFUSED = Fate(oids=[7], rejected="Insufficient margin")
TWICE = Fate(placed=2, oids=[7, 8], rested=True, filled=Decimal(1))


@pytest.mark.parametrize(
    ("intent", "fate", "said"),
    [
        (ordered(FILLED), IN_PART, "the venue filled 0.4"),
        (ordered(FILLED), None, "the venue filled 0"),
        (ordered(FILLED), ON_BOOK, "the venue filled 0"),
        (ordered(Resting(7)), TRADED, "it never rested"),
        (ordered(Resting(7)), None, "it never rested"),
        (ordered(Resting(7)), REFUSED, "it never rested"),
        (ordered(Rejected("no")), ON_BOOK, "the venue placed it"),
        (ordered(Rejected("no")), TRADED, "the venue placed it"),
        (ordered(NotExecuted("no")), ON_BOOK, "the venue placed it"),
        (ordered(NotExecuted("no")), GONE, "the venue placed it"),
        (ordered(Resting(7)), TWICE, "the venue placed it 2 times"),
        (ordered(FILLED), TWICE, "the venue placed it 2 times"),
        (ordered(Unknown("?")), TWICE, "the venue placed it 2 times"),
        (canceled(Canceled()), ON_BOOK, "the order it names was not canceled"),
        (canceled(Canceled()), TRADED, "the order it names was not canceled"),
    ],
)
def test_a_lie_is_found(intent: Intent, fate: Fate | None, said: str) -> None:
    (found,) = contradictions([intent], {} if fate is None else {CLOID: fate})
    assert found == f"intent 1 ({CLOID}) was reported {intent.outcome}, but {said}"


@pytest.mark.parametrize(
    ("intent", "fate"),
    [
        (ordered(FILLED), TRADED),
        (ordered(Filled(oid=7, size="0.4", average_price="100")), IN_PART),
        (ordered(Filled(oid=7, size="0.4", average_price="100")), TRADED),
        (ordered(Resting(7)), ON_BOOK),
        (ordered(Resting(7)), GONE),
        (ordered(Rejected("no")), REFUSED),
        (ordered(Rejected("no")), None),
        (ordered(NotExecuted("no")), None),
        (ordered(Unknown("?")), None),
        (ordered(Unknown("?")), TRADED),
        (ordered(Unknown("?")), REFUSED),
        (canceled(Canceled()), GONE),
        (canceled(Canceled()), None),
        (canceled(Canceled(), cloid=None), ON_BOOK),
        (canceled(Rejected("gone")), TRADED),
        (canceled(NotExecuted("no")), ON_BOOK),
        (canceled(Unknown("?")), ON_BOOK),
    ],
)
def test_a_truth_passes(intent: Intent, fate: Fate | None) -> None:
    assert list(contradictions([intent], {} if fate is None else {CLOID: fate})) == []


def test_each_lie_among_truths_is_named() -> None:
    intents = [ordered(Resting(7)), ordered(FILLED), ordered(Rejected("no"))]
    found = list(contradictions(intents, {CLOID: ON_BOOK}))
    assert [sentence.partition(", but ")[2] for sentence in found] == ["the venue filled 0", "the venue placed it"]
