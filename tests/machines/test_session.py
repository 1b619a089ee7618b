"""The connection's life: readiness, epochs, the way down."""

from __future__ import annotations

from itertools import product

import pytest

from machines.errors import IllegalEvent
from machines.session import Session, SessionEvent, SessionState
from tests.machines.builders import fields

KNOWLEDGE = ("clock_synced", "markets_loaded", "key_accepted", "earlier_settled")


def _syncing(**known: bool) -> Session:
    session = Session()
    session.step(SessionEvent.CONNECT)
    session.step(SessionEvent.OPEN)
    for name, value in known.items():
        setattr(session, name, value)
    return session


def _state(session: Session) -> SessionState:
    return session.state


def test_session_begins_disconnected_in_epoch_0() -> None:
    session = Session()
    unknown = dict.fromkeys(KNOWLEDGE, False) | {"earlier_settled": True}
    assert fields(session) == {"state": SessionState.DISCONNECTED, "epoch": 0, **unknown}


@pytest.mark.parametrize("known", list(product([False, True], repeat=4)))
def test_session_is_ready_only_when_clock_markets_key_and_the_past_are_known(known: tuple[bool, ...]) -> None:
    session = _syncing(**dict(zip(KNOWLEDGE, known, strict=True)))
    before = fields(session)
    assert session.step(SessionEvent.SYNCED) is all(known)
    assert session.ready is all(known)
    assert fields(session) == before | {"state": SessionState.READY if all(known) else SessionState.SYNCING}


def test_each_opened_connection_counts_an_epoch_and_must_sync_its_clock_anew() -> None:
    session = _syncing(clock_synced=True, markets_loaded=True, key_accepted=True)
    session.step(SessionEvent.SYNCED)
    session.step(SessionEvent.LOSE)
    session.step(SessionEvent.CONNECT)
    session.step(SessionEvent.OPEN)
    assert fields(session) == {
        "state": SessionState.SYNCING,
        "epoch": 2,
        "clock_synced": False,
        "markets_loaded": True,
        "key_accepted": True,
        "earlier_settled": True,
    }


def test_failed_attempt_counts_no_epoch() -> None:
    session = Session()
    session.step(SessionEvent.CONNECT)
    session.step(SessionEvent.LOSE)
    assert (_state(session), session.epoch) == (SessionState.DISCONNECTED, 0)


@pytest.mark.parametrize(
    ("state", "connected", "ready", "ending"),
    [
        (SessionState.DISCONNECTED, False, False, False),
        (SessionState.CONNECTING, False, False, False),
        (SessionState.SYNCING, True, False, False),
        (SessionState.READY, True, True, False),
        (SessionState.DRAINING, True, False, True),
        (SessionState.CLOSED, False, False, True),
    ],
)
def test_what_each_state_lets_pass(state: SessionState, connected: bool, ready: bool, ending: bool) -> None:
    session = Session(state)
    assert (session.connected, session.ready, session.ending) == (connected, ready, ending)


def test_illegal_event_is_refused_and_named() -> None:
    session = Session(SessionState.CLOSED)
    with pytest.raises(IllegalEvent, match="session: event 'connect' is not allowed in state 'closed'"):
        session.step(SessionEvent.CONNECT)
    assert _state(session) is SessionState.CLOSED
