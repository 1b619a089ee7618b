"""The register of intents: what is counted, what is found by cloid, and for how long."""

from __future__ import annotations

import pytest

from machines import register as module
from machines.errors import IllegalEvent
from machines.intent import (
    Cancel,
    Canceled,
    Filled,
    Intent,
    IntentEvent,
    IntentState,
    Modify,
    NotExecuted,
    Request,
)
from machines.register import REMEMBERED, IntentRegister
from tests.machines.builders import RESTING, cancel, cloid, fields, order, reduce_only

FILLED = Filled(1, "1", "400")


def _register() -> IntentRegister:
    return IntentRegister(run_id=5, last_seq=10)


def _accepted(register: IntentRegister, request: Request, state: IntentState = IntentState.POSTED) -> Intent:
    made = register.build(request)
    made.state = state
    register.accept(made)
    return made


def test_building_an_intent_counts_nothing_and_accepting_it_does() -> None:
    register = _register()
    made = register.build(order())
    assert (made.seq, register.last_seq, register.accepted, register.moved) == (11, 10, 0, [])
    register.accept(made)
    assert (register.last_seq, register.accepted, register.moved) == (11, 1, [made])
    assert register.population[IntentState.ACCEPTED] == 1
    assert register.order(made.cloid or "") is made


def test_intent_of_an_earlier_run_does_not_lower_the_sequence() -> None:
    register = _register()
    old = IntentRegister(run_id=4, last_seq=2).build(order())
    register.accept(old)
    assert (old.seq, register.last_seq) == (3, 10)


def test_moves_are_counted_by_state() -> None:
    register = _register()
    made = _accepted(register, order())
    register.move(made, IntentEvent.LOSE)
    assert (register.population[IntentState.POSTED], register.population[IntentState.UNKNOWN]) == (0, 1)
    register.end(made, IntentEvent.FILL, FILLED, "the venue's record")
    assert (register.accepted, register.ended, made.settled_by) == (1, 1, "the venue's record")
    assert register.moved == [made] * 3


def test_illegal_move_counts_nothing() -> None:
    register = _register()
    made = _accepted(register, order())
    before = (fields(made), dict(register.population))
    with pytest.raises(IllegalEvent):
        register.move(made, IntentEvent.ENQUEUE)
    assert (fields(made), dict(register.population)) == before


def test_waiting_and_unknown_intents_have_not_ended() -> None:
    register = _register()
    for state in IntentState:
        register.population[state] = 1
    assert (register.accepted, register.ended) == (10, 5)


def test_resting_order_stays_findable_and_an_ended_one_is_remembered() -> None:
    register = _register()
    resting, filled = _accepted(register, order(cloid=cloid(1))), _accepted(register, order(cloid=cloid(2)))
    register.end(resting, IntentEvent.REST, RESTING, None)
    register.end(filled, IntentEvent.FILL, FILLED, None)
    assert (register.order(cloid(1)), register.order(cloid(2))) == (resting, None)
    assert (register.remembered(cloid(1)), register.remembered(cloid(2))) == (resting, filled)
    assert register.resting_cloids() == [cloid(1)]
    for _ in range(2):
        register.off_book(resting)
        assert (register.order(cloid(1)), register.remembered(cloid(1))) == (None, resting)


def test_memory_of_ended_intents_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert REMEMBERED == 4_096
    monkeypatch.setattr(module, "REMEMBERED", 2)
    register = _register()
    for number in range(3):
        made = _accepted(register, order(cloid=cloid(number)))
        register.end(made, IntentEvent.FILL, FILLED, None)
    assert [register.remembered(cloid(number)) is not None for number in range(3)] == [False, True, True]


def test_cancel_is_found_by_no_cloid_and_finds_its_target() -> None:
    register = _register()
    target = _accepted(register, order(cloid=cloid(1)))
    canceling = _accepted(register, cancel(1))
    assert register.order(cloid(1)) is target
    assert register.target(canceling) is target
    assert register.target(_accepted(register, cancel(2))) is None
    assert register.target(_accepted(register, Cancel(market="BTC", oid=3))) is None
    assert register.target(target) is None, "an order is nobody's cancel"
    register.end(canceling, IntentEvent.CANCEL, Canceled(), None)
    assert register.remembered(cloid(1)) is target


@pytest.mark.parametrize(
    ("request_", "taken"),
    [
        (order(cloid=cloid(1)), True),
        (reduce_only(cloid=cloid(2)), True),
        (Modify(order=order(cloid=cloid(1)), oid=4), True),
        (Modify(order=order(cloid=cloid(3)), cloid=cloid(3)), True),
        (Modify(order=order(cloid=cloid(3)), cloid=cloid(1)), False),
        (Modify(order=order(), oid=4), False),
        (order(cloid=cloid(3)), False),
        (order(), False),
        (cancel(1), False),
        (Cancel(market="BTC", oid=3), False),
    ],
)
def test_x2_rule_13_cloid_is_taken_once_for_all(request_: Request, taken: bool) -> None:
    register = _register()
    _accepted(register, order(cloid=cloid(1)))
    over = _accepted(register, order(cloid=cloid(2)))
    register.end(over, IntentEvent.ABANDON, NotExecuted("x"), None)
    assert register.cloid_taken(register.build(request_)) is taken


def test_x9_flatten_is_under_way_until_it_ends() -> None:
    register = _register()
    flatten = reduce_only(flatten=True)
    assert register.flattening(flatten) is None
    made = _accepted(register, flatten)
    assert register.flattening(flatten) is made
    assert register.flattening(reduce_only()) is None
    register.move(made, IntentEvent.LOSE)
    assert register.flattening(flatten) is made
    register.end(made, IntentEvent.FILL, FILLED, "the order stream")
    assert register.flattening(flatten) is None
