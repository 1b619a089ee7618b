"""Runs every state machine, then judges the suite itself: what never fired was never tested.

The judging tests explore whatever has not been explored yet, so that each of them means the same alone as in the
whole suite.
"""

from __future__ import annotations

from typing import Final

import pytest

from machines.catalogue import MACHINES
from machines.inflight import InflightEvent
from machines.intent import Admission, Canceled, Filled, NotExecuted, Rejected, Resting
from machines.nonce import Drift
from machines.post import PostState
from tests.stateful.record import RECORD, Explorer, explore, rules_of
from tests.stateful.suite import STATE_MACHINES
from tests.stateful.venue import Proof

SHRINKING_S: Final = 900
"""A failing run is made small before it is reported, which takes Hypothesis up to 300 s."""

SOMETIMES: Final = {
    *(f"admission {admission.value}" for admission in Admission),
    *(f"outcome {kind.__name__}" for kind in (Resting, Filled, Canceled, Rejected, NotExecuted)),
    *(f"post {state.value}" for state in PostState if state not in (PostState.QUEUED, PostState.SENT)),
    *(f"drift {drift.value}" for drift in Drift),
    *(f"a reply proves {proof.value}" for proof in Proof),
    "the limit is reached",
    "the watermark is reached",
    "the cancel queue is full",
    "the reduce_only queue is full",
    "the new_order queue is full",
    "a reply comes after the timeout",
    "a reply comes twice",
    "a reply comes from an earlier connection",
    "an item comes back unsent",
    "an item comes back refused by the gate",
    "a nonce is spent already",
    "a nonce sank below the window",
    "no nonce is legal",
    "the key is refused",
    "a record is found",
    "a fate is unknown when the world heals",
    "a late reply ends a quarantine",
    "a post of an earlier run is unanswered",
    "a cancel of an earlier run may have been carried out",
    "a settlement is overdue",
    "all slots are in quarantine",
    "an intent is left for the next run",
    "the key changes while a post is unsettled",
    "the switch is refused",
    "two sources contradict each other",
    "a reduce-only order waits when the world heals",
    *(f"a slot is refused: {event.value}" for event in InflightEvent),
    "a post finds no slot",
    "a post is ended twice",
    "a batch comes back before others",
    "a batch comes back behind others",
    "a tripped stop trips again",
}
"""What has to be seen at least once, or the checks passed because nothing happened."""


@pytest.fixture
def everything_explored() -> None:
    """All state machines have run."""
    for machine in STATE_MACHINES:
        explore(machine)


@pytest.mark.timeout(SHRINKING_S)
@pytest.mark.parametrize("machine", STATE_MACHINES, ids=lambda machine: machine.__name__)
def test_nothing_breaks(machine: type[Explorer]) -> None:
    explore(machine)
    assert machine in RECORD.explored


@pytest.mark.usefixtures("everything_explored")
def test_every_rule_fired() -> None:
    rules = {rule for machine in STATE_MACHINES for rule in rules_of(machine)}
    assert rules - set(RECORD.fired) == set()


@pytest.mark.usefixtures("everything_explored")
def test_every_transition_was_made() -> None:
    moves = {(row.event, row.source, row.target) for table in MACHINES for row in table.table}
    assert moves - set(RECORD.moves) == set()


@pytest.mark.usefixtures("everything_explored")
def test_everything_notable_was_seen_and_nothing_else() -> None:
    assert set(RECORD.seen) == SOMETIMES
