"""Every state × event pair of every machine, against expectations written down a second time, independently.

A pair that is expected to move must move to the state named, and change exactly the fields named. Every other pair
must raise `IllegalEvent`, name machine, state and event, and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import Any

import pytest

from machines.errors import IllegalEvent
from machines.hard_stop import HardStop, HardStopEvent, HardStopState
from machines.inflight import InflightEvent, InflightState
from machines.intent import Filled, IntentEvent, IntentState
from machines.post import PostEvent, PostState
from machines.session import Session, SessionEvent, SessionState
from tests.machines.builders import AnyMachine, all_machines, fields, intent, post_request, tracker

Setup = tuple[Any, dict[str, object], dict[Enum, dict[str, object]]]
"""An object in some state, what else to watch, and the facts of each event."""


@dataclass(frozen=True)
class Expected:
    """What a machine is expected to do.

    Attributes:
        setup: Makes an object in a given state.
        moves: Target and changed fields of each (state, event) that is allowed; watched objects' fields have a prefix.
    """

    setup: Callable[[Any], Setup]
    moves: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]]


# ----------------------------------------------------------------------------------------------------------- intent


def _an_intent(state: IntentState) -> Setup:
    made = intent(1)
    made.state = state
    made.attempts = (4,)
    ending: dict[str, object] = {"outcome": OUTCOME}
    facts: dict[Enum, dict[str, object]] = dict.fromkeys(IntentEvent, ending)
    return made, {}, facts | {IntentEvent.ENQUEUE: {}, IntentEvent.RETURN: {}, IntentEvent.POST: {"post_id": 5}}


OUTCOME = Filled(oid=1, size="1", average_price="2")
_I, _IE = IntentState, IntentEvent
_ENDED: dict[str, object] = {"outcome": OUTCOME, "outcomes": 1}
INTENT_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_I.ACCEPTED, _IE.ENQUEUE): (_I.QUEUED, {}),
    (_I.ACCEPTED, _IE.CANCEL): (_I.CANCELED, _ENDED),
    (_I.QUEUED, _IE.POST): (_I.POSTED, {"attempts": (4, 5)}),
    (_I.QUEUED, _IE.DROP): (_I.NOT_EXECUTED, _ENDED),
    (_I.POSTED, _IE.REST): (_I.RESTING, _ENDED),
    (_I.POSTED, _IE.FILL): (_I.FILLED, _ENDED),
    (_I.POSTED, _IE.REJECT): (_I.REJECTED, _ENDED),
    (_I.POSTED, _IE.CANCEL): (_I.CANCELED, _ENDED),
    (_I.POSTED, _IE.RETURN): (_I.QUEUED, {}),
    (_I.POSTED, _IE.ABANDON): (_I.NOT_EXECUTED, _ENDED),
    (_I.POSTED, _IE.LOSE): (_I.UNKNOWN, _ENDED),
}


# ------------------------------------------------------------------------------------------------------------- post


def _a_post(state: PostState) -> Setup:
    slots = tracker(1, limit=3, high_watermark=2)
    ending: dict[str, object] = {"inflight": slots, "unclear": True}
    facts: dict[Enum, dict[str, object]] = dict.fromkeys(PostEvent, ending)
    facts[PostEvent.REFUSE] = {}
    facts[PostEvent.SEND] = {"inflight": slots, "signed_nonce": 77, "epoch": 3, "deadline_ms": 9_000}
    return post_request(nonce=77, state=state), {"slots": slots}, facts


_P, _PE = PostState, PostEvent
_GAVE_BACK: dict[str, object] = {
    "slots_returned": 1,
    "completions": 1,
    "unclear": True,
    "slots.count": 0,
    "slots.state": InflightState.IDLE,
}
POST_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_P.QUEUED, _PE.SEND): (
        _P.SENT,
        {
            "slots_taken": 1,
            "signed_nonce": 77,
            "epoch": 3,
            "deadline_ms": 9_000,
            "slots.count": 2,
            "slots.state": InflightState.DEGRADED,
        },
    ),
    (_P.QUEUED, _PE.REFUSE): (_P.UNSENT, {"completions": 1}),
    (_P.SENT, _PE.ACK): (_P.ACKED, _GAVE_BACK),
    (_P.SENT, _PE.FAIL): (_P.FAILED, _GAVE_BACK),
    (_P.SENT, _PE.TIME_OUT): (_P.TIMED_OUT, _GAVE_BACK),
    (_P.SENT, _PE.DISCONNECT): (_P.DISCONNECTED, _GAVE_BACK),
}


# --------------------------------------------------------------------------------------------------------- inflight


def _a_tracker(state: InflightState) -> Setup:
    count = {_F.IDLE: 0, _F.NORMAL: 1, _F.DEGRADED: 3, _F.FULL: 4}[state]
    return tracker(count, limit=4, high_watermark=2), {}, {event: {} for event in InflightEvent}


_F, _FE = InflightState, InflightEvent
INFLIGHT_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_F.IDLE, _FE.ACQUIRE): (_F.NORMAL, {"count": 1}),
    (_F.NORMAL, _FE.ACQUIRE): (_F.DEGRADED, {"count": 2}),
    (_F.DEGRADED, _FE.ACQUIRE): (_F.FULL, {"count": 4}),
    (_F.NORMAL, _FE.RELEASE): (_F.IDLE, {"count": 0}),
    (_F.DEGRADED, _FE.RELEASE): (_F.DEGRADED, {"count": 2}),
    (_F.FULL, _FE.RELEASE): (_F.DEGRADED, {"count": 3}),
}


# ---------------------------------------------------------------------------------------------------------- session


def _a_session(state: SessionState) -> Setup:
    known = Session(state, epoch=6, clock_synced=True, markets_loaded=True, key_accepted=True)
    return known, {}, {event: {} for event in SessionEvent}


_S, _SE = SessionState, SessionEvent
SESSION_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_S.DISCONNECTED, _SE.CONNECT): (_S.CONNECTING, {}),
    (_S.CONNECTING, _SE.OPEN): (_S.SYNCING, {"epoch": 7, "clock_synced": False}),
    (_S.SYNCING, _SE.SYNCED): (_S.READY, {}),
    (_S.CONNECTING, _SE.LOSE): (_S.DISCONNECTED, {}),
    (_S.SYNCING, _SE.LOSE): (_S.DISCONNECTED, {}),
    (_S.READY, _SE.LOSE): (_S.DISCONNECTED, {}),
    (_S.DRAINING, _SE.LOSE): (_S.CLOSED, {}),
    (_S.SYNCING, _SE.DRAIN): (_S.DRAINING, {}),
    (_S.READY, _SE.DRAIN): (_S.DRAINING, {}),
    (_S.DISCONNECTED, _SE.DRAIN): (_S.CLOSED, {}),
    (_S.CONNECTING, _SE.DRAIN): (_S.CLOSED, {}),
    (_S.DRAINING, _SE.CLOSE): (_S.CLOSED, {}),
}


# -------------------------------------------------------------------------------------------------------- hard stop


def _a_stop(state: HardStopState) -> Setup:
    reason = "first" if state is HardStopState.TRIPPED else None
    return HardStop(state, reason), {}, {event: {"reason": "second"} for event in HardStopEvent}


_H, _HE = HardStopState, HardStopEvent
HARD_STOP_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_H.ARMED, _HE.TRIP): (_H.TRIPPED, {"reason": "second"}),
    (_H.TRIPPED, _HE.TRIP): (_H.TRIPPED, {}),
    (_H.TRIPPED, _HE.RESET): (_H.ARMED, {"reason": None, "reset_reason": "second"}),
}


EXPECTED = {
    "intent": Expected(_an_intent, INTENT_MOVES),
    "post": Expected(_a_post, POST_MOVES),
    "inflight": Expected(_a_tracker, INFLIGHT_MOVES),
    "session": Expected(_a_session, SESSION_MOVES),
    "hard_stop": Expected(_a_stop, HARD_STOP_MOVES),
}
PAIRS = [
    pytest.param(machine, state, event, id=f"{machine.name}-{state.value}-{event.value}")
    for machine in all_machines()
    for state, event in product(machine.states, machine.events)
]


def _all_fields(obj: object, watched: dict[str, object]) -> dict[str, object]:
    seen = fields(obj)
    for prefix, other in watched.items():
        seen |= {f"{prefix}.{name}": value for name, value in fields(other).items()}
    return seen


@pytest.mark.parametrize(("machine", "state", "event"), PAIRS)
def test_pair(machine: AnyMachine, state: Enum, event: Enum) -> None:
    expected = EXPECTED[machine.name]
    obj, watched, facts = expected.setup(state)
    before = _all_fields(obj, watched)
    assert before["state"] is state
    move = expected.moves.get((state, event))
    if move is None:
        with pytest.raises(IllegalEvent) as caught:
            machine.step(obj, event, **facts[event])
        assert (caught.value.machine, caught.value.state, caught.value.event) == (
            machine.name,
            state.value,
            event.value,
        )
        assert _all_fields(obj, watched) == before
    else:
        target, changes = move
        assert machine.step(obj, event, **facts[event])
        assert _all_fields(obj, watched) == before | {"state": target} | changes


def test_every_expectation_is_tried() -> None:
    tried = {
        (machine.name, state, event)
        for machine in all_machines()
        for state, event in product(machine.states, machine.events)
    }
    expected = {(name, *pair) for name, machine in EXPECTED.items() for pair in machine.moves}
    assert expected <= tried
