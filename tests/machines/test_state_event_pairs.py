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

from machines.catalogue import MACHINES, AnyMachine
from machines.errors import IllegalEvent
from machines.hard_stop import HardStop, HardStopEvent, HardStopState
from machines.inflight import InflightEvent, InflightState
from machines.intent import Filled, IntentEvent, IntentState
from machines.post import PostEvent, PostState
from machines.session import Session, SessionEvent, SessionState
from machines.settlement import Attempt, LookUp, SettlementEvent, SettlementState
from tests.machines.builders import fields, intent, post_request, tracker

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
    settling = {"proof": PROOF} if state is IntentState.UNKNOWN else {}
    ending: dict[str, object] = {"outcome": OUTCOME, **settling}
    facts: dict[Enum, dict[str, object]] = dict.fromkeys(IntentEvent, ending)
    plain: dict[Enum, dict[str, object]] = {event: {} for event in (_IE.ENQUEUE, _IE.LOSE, _IE.WAIT)}
    return made, {}, facts | plain | {_IE.RETURN: {**settling}, _IE.POST: {"post_id": 5}}


OUTCOME = Filled(oid=1, size="1", average_price="2")
PROOF = "its fence won"
_I, _IE = IntentState, IntentEvent
_ENDED: dict[str, object] = {"outcome": OUTCOME, "outcomes": 1}
_SETTLED: dict[str, object] = {**_ENDED, "settled_by": PROOF}
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
    (_I.POSTED, _IE.LOSE): (_I.UNKNOWN, {}),
    (_I.POSTED, _IE.WAIT): (_I.WAITING, {}),
    (_I.UNKNOWN, _IE.REST): (_I.RESTING, _SETTLED),
    (_I.UNKNOWN, _IE.FILL): (_I.FILLED, _SETTLED),
    (_I.UNKNOWN, _IE.REJECT): (_I.REJECTED, _SETTLED),
    (_I.UNKNOWN, _IE.CANCEL): (_I.CANCELED, _SETTLED),
    (_I.UNKNOWN, _IE.ABANDON): (_I.NOT_EXECUTED, _SETTLED),
    (_I.UNKNOWN, _IE.RETURN): (_I.QUEUED, {"settled_by": PROOF}),
    (_I.WAITING, _IE.RETURN): (_I.QUEUED, {}),
    (_I.WAITING, _IE.REJECT): (_I.REJECTED, _ENDED),
    (_I.WAITING, _IE.DROP): (_I.NOT_EXECUTED, _ENDED),
}


# ------------------------------------------------------------------------------------------------------------- post


def _a_post(state: PostState) -> Setup:
    slots = tracker(1, limit=3, high_watermark=2)
    ending: dict[str, object] = {"inflight": slots, "unclear": True, "until_ms": 700}
    facts: dict[Enum, dict[str, object]] = dict.fromkeys(PostEvent, ending)
    facts[PostEvent.REFUSE] = {}
    facts[PostEvent.SEND] = {"inflight": slots, "signed_nonce": 77, "epoch": 3, "deadline_ms": 9_000}
    return post_request(nonce=77, state=state), {"slots": slots}, facts


_P, _PE = PostState, PostEvent
_ENDED_POST: dict[str, object] = {"slots_returned": 1, "completions": 1, "unclear": True, "slots.count": 0}
_GAVE_BACK: dict[str, object] = {**_ENDED_POST, "answered": True, "slots.state": InflightState.IDLE}
_QUARANTINED: dict[str, object] = {**_ENDED_POST, "quarantined_until_ms": 700, "slots.quarantined": 1}
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
    (_P.SENT, _PE.TIME_OUT): (_P.TIMED_OUT, _QUARANTINED),
    (_P.SENT, _PE.DISCONNECT): (_P.DISCONNECTED, _QUARANTINED),
}


# --------------------------------------------------------------------------------------------------------- inflight


def _a_tracker(state: InflightState) -> Setup:
    """A tracker that holds slots, one of them in quarantine, in the band `state`."""
    occupied = {_F.IDLE: 0, _F.NORMAL: 2, _F.DEGRADED: 4, _F.FULL: 5}[state]
    slots = tracker(occupied, limit=5, high_watermark=3)
    if occupied:
        slots.quarantine()
    return slots, {}, {event: {} for event in InflightEvent}


_F, _FE = InflightState, InflightEvent
INFLIGHT_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_F.IDLE, _FE.ACQUIRE): (_F.NORMAL, {"count": 1}),
    (_F.NORMAL, _FE.ACQUIRE): (_F.DEGRADED, {"count": 2}),
    (_F.DEGRADED, _FE.ACQUIRE): (_F.FULL, {"count": 4}),
    (_F.NORMAL, _FE.RELEASE): (_F.NORMAL, {"count": 0}),
    (_F.DEGRADED, _FE.RELEASE): (_F.DEGRADED, {"count": 2}),
    (_F.FULL, _FE.RELEASE): (_F.DEGRADED, {"count": 3}),
    (_F.NORMAL, _FE.QUARANTINE): (_F.NORMAL, {"count": 0, "quarantined": 2}),
    (_F.DEGRADED, _FE.QUARANTINE): (_F.DEGRADED, {"count": 2, "quarantined": 2}),
    (_F.FULL, _FE.QUARANTINE): (_F.FULL, {"count": 3, "quarantined": 2}),
    (_F.NORMAL, _FE.CLEAR): (_F.NORMAL, {"quarantined": 0}),
    (_F.DEGRADED, _FE.CLEAR): (_F.DEGRADED, {"quarantined": 0}),
    (_F.FULL, _FE.CLEAR): (_F.DEGRADED, {"quarantined": 0}),
}


# ------------------------------------------------------------------------------------------------------- settlement


def _an_attempt(state: SettlementState) -> Setup:
    """An attempt whose items all have their fate; one that is fenced has a fence under way."""
    made = Attempt(post_request(), opened_ms=5, state=state, fence_id=8 if state is _T.FENCING else None)
    made.look_ups = {1: LookUp(due_ms=20)}
    facts: dict[str, object] = {"now": 30, "fence_id": 9}
    return made, {}, dict.fromkeys(SettlementEvent, facts)


_T, _TE = SettlementState, SettlementEvent
_OPEN = (_T.UNKNOWN, _T.FENCING, _T.LOOKING_UP)
_SPENT: dict[str, object] = {"fence_id": None, "look_ups": {}}
SETTLEMENT_MOVES: dict[tuple[Enum, Enum], tuple[Enum, dict[str, object]]] = {
    (_T.UNKNOWN, _TE.FENCE): (_T.FENCING, {"fence_id": 9}),
    (_T.FENCING, _TE.FENCE_LOST): (_T.UNKNOWN, {"fence_id": None}),
    (_T.UNKNOWN, _TE.SPEND): (_T.LOOKING_UP, _SPENT),
    (_T.FENCING, _TE.SPEND): (_T.LOOKING_UP, _SPENT),
    **{(state, _TE.FENCE_WON): (_T.NEVER_EXECUTED, {"fence_id": None}) for state in _OPEN},
    **{(state, _TE.ANSWER): (_T.EXECUTED, {}) for state in _OPEN},
    **{(state, _TE.REFUSE): (_T.NEVER_EXECUTED, {}) for state in _OPEN},
    **{(state, _TE.FIND): (_T.EXECUTED, {}) for state in _OPEN},
    (_T.LOOKING_UP, _TE.MISS): (_T.NEVER_EXECUTED, {}),
}


# ---------------------------------------------------------------------------------------------------------- session


def _a_session(state: SessionState) -> Setup:
    known = Session(state, epoch=6, clock_synced=True, markets_loaded=True, key_accepted=True, earlier_settled=True)
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
    "settlement": Expected(_an_attempt, SETTLEMENT_MOVES),
    "session": Expected(_a_session, SESSION_MOVES),
    "hard_stop": Expected(_a_stop, HARD_STOP_MOVES),
}
PAIRS = [
    pytest.param(machine, state, event, id=f"{machine.name}-{state.value}-{event.value}")
    for machine in MACHINES
    for state, event in product(machine.states.__members__.values(), machine.events.__members__.values())
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
        for machine in MACHINES
        for state, event in product(machine.states.__members__.values(), machine.events.__members__.values())
    }
    expected = {(name, *pair) for name, machine in EXPECTED.items() for pair in machine.moves}
    assert expected <= tried


@pytest.mark.parametrize("event", [_TE.FIND, _TE.MISS])
@pytest.mark.parametrize("state", _OPEN)
def test_x2_attempt_with_an_open_item_is_not_closed_by_what_is_known_of_others(
    state: SettlementState, event: SettlementEvent
) -> None:
    attempt, _, facts = _an_attempt(state)
    attempt.open = {1: intent(1)}
    before = fields(attempt)
    if (state, event) in SETTLEMENT_MOVES:
        assert attempt.step(event, **facts[event]) is False
    else:
        with pytest.raises(IllegalEvent):
            attempt.step(event, **facts[event])
    assert fields(attempt) == before


def test_x2_look_ups_begin_when_the_nonce_is_spent_one_for_each_open_item() -> None:
    attempt, _, _ = _an_attempt(_T.FENCING)
    attempt.open = {3: intent(3), 4: intent(4)}
    attempt.step(_TE.SPEND, now=40)
    begun = {seq: fields(look_up) for seq, look_up in attempt.look_ups.items()}
    assert begun == dict.fromkeys((3, 4), fields(LookUp(due_ms=40)))
