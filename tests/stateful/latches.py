"""Session and hard stop against what their descriptions promise."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from machines.errors import IllegalEvent
from machines.hard_stop import HardStop
from machines.session import Session, SessionEvent, SessionState
from tests.stateful.record import RECORD, Explorer, rule

_S, _E = SessionState, SessionEvent
_ALIVE = (_S.DISCONNECTED, _S.CONNECTING, _S.SYNCING, _S.READY)
_CONNECTED = (_S.SYNCING, _S.READY, _S.DRAINING)


class Latches(Explorer):
    """Where each event leads, and that an event out of place changes nothing (design.md, Readiness; Hard stop)."""

    @initialize()
    def begin(self) -> None:
        self.stop = HardStop()
        self.reason: str | None = None
        self.renew_session()

    def renew_session(self) -> None:
        """A closed session is final; another run begins."""
        self.session = Session()
        self.state = _S.DISCONNECTED
        self.epoch = 0

    def target(self, event: SessionEvent) -> SessionState | None:
        """Where `event` leads now; None if it is out of place."""
        state, session = self.state, self.session
        learnt = session.clock_synced and session.markets_loaded and session.key_accepted
        known = learnt and session.earlier_settled
        match event:
            case _E.CONNECT:
                return _S.CONNECTING if state is _S.DISCONNECTED else None
            case _E.OPEN:
                return _S.SYNCING if state is _S.CONNECTING else None
            case _E.SYNCED:
                return None if state is not _S.SYNCING else _S.READY if known else _S.SYNCING
            case _E.LOSE if state is _S.DRAINING:
                return _S.CLOSED
            case _E.LOSE:
                return _S.DISCONNECTED if state in (_S.CONNECTING, _S.SYNCING, _S.READY) else None
            case _E.DRAIN:
                return None if state not in _ALIVE else _S.DRAINING if state in _CONNECTED else _S.CLOSED
            case _E.CLOSE:
                return _S.CLOSED if state is _S.DRAINING else None

    def session_hears(self, event: SessionEvent) -> None:
        """An event, out of place or not."""
        target = self.target(event)
        if target is None:
            with pytest.raises(IllegalEvent):
                self.session.step(event)
            return
        assert self.session.step(event) is (target is not self.state)
        self.state = target
        if event is _E.OPEN:
            self.epoch += 1
            assert not self.session.clock_synced, "the clock is synced anew on each connection"

    @rule(
        events=st.lists(st.sampled_from((_E.CONNECT, _E.OPEN, _E.CONNECT, _E.LOSE, _E.SYNCED)), min_size=2, max_size=6)
    )
    def connection_changes(self, events: list[SessionEvent]) -> None:
        for event in events:
            self.session_hears(event)

    @rule(
        before=st.sampled_from(((), (_E.CONNECT,), (_E.CONNECT, _E.OPEN))),
        after=st.lists(st.sampled_from((_E.CLOSE, _E.LOSE)), max_size=2),
    )
    def shutdown_proceeds(self, before: tuple[SessionEvent, ...], after: list[SessionEvent]) -> None:
        if self.state is _S.CLOSED:
            self.renew_session()
        for event in (*before, _E.DRAIN, *after):
            self.session_hears(event)

    @rule(clock=st.booleans(), markets=st.booleans(), key=st.booleans(), settled=st.booleans())
    def something_is_learnt(self, clock: bool, markets: bool, key: bool, settled: bool) -> None:
        self.session.clock_synced |= clock
        self.session.markets_loaded |= markets
        self.session.key_accepted |= key
        self.session.earlier_settled = settled
        self.session_hears(_E.SYNCED)

    @rule(reason=st.sampled_from(("drift", "queue full")))
    def stop_trips(self, reason: str) -> None:
        RECORD.sometimes("a tripped stop trips again", self.reason is not None)
        self.stop.trip(reason)
        self.reason = self.reason or reason

    @rule()
    def stop_is_reset(self) -> None:
        if self.reason is None:
            with pytest.raises(IllegalEvent):
                self.stop.reset("all is well")
            return
        self.stop.reset("looked into it")
        assert self.stop.reset_reason == "looked into it"
        self.reason = None

    @invariant()
    def both_are_right(self) -> None:
        session = self.session
        assert (session.state, session.epoch) == (self.state, self.epoch)
        assert session.connected is (self.state in _CONNECTED)
        assert session.ready is (self.state is _S.READY)
        assert session.ending is (self.state not in _ALIVE)
        assert (self.stop.tripped, self.stop.reason) == (self.reason is not None, self.reason)
