"""The connection's life, as far as trading depends on it.

Each time that a connection opens, the **epoch** counts up; a reply counts only for the epoch that carried its post
(settlement.md, rule 14). Cancels and reduce-only orders may be sent as soon as there is a connection; new orders only
in READY, that is with the clock synced on this connection, the markets loaded, the key accepted by the venue, and
every post of an earlier run settled (design.md, Readiness).

The key is proven by a noop post (protocol.md §5): it does nothing but use a nonce, and its answer shows that the
venue knows the signer on this network, before any order depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from machines.table import Row, StateMachine, Word


class SessionState(Word):
    """Where the connection is."""

    DISCONNECTED = "disconnected"
    """No connection; the shell will try again."""
    CONNECTING = "connecting"
    """An attempt is under way."""
    SYNCING = "syncing"
    """Connected: cancels and reduce-only orders are sent; clock, markets, key or the past are not yet known."""
    READY = "ready"
    """Connected, and everything is known: new orders are sent too."""
    DRAINING = "draining"
    """Shutting down: nothing more is accepted, cancels and reduce-only orders are still sent."""
    CLOSED = "closed"
    """Over; nothing is sent or accepted any more."""


class SessionEvent(Word):
    """What happens to the connection."""

    CONNECT = "connect"
    OPEN = "open"
    SYNCED = "synced"
    LOSE = "lose"
    DRAIN = "drain"
    CLOSE = "close"


@dataclass(slots=True, eq=False)
class Session:
    """The connection.

    Attributes:
        state: Where it is.
        epoch: Number of connections opened so far; 0 before the first.
        clock_synced: Whether the server's time was learnt on this connection.
        markets_loaded: Whether the markets are known.
        key_accepted: Whether the venue has accepted an action of this signer in this run.
        earlier_settled: Whether every post of an earlier run is settled.
    """

    state: SessionState = SessionState.DISCONNECTED
    epoch: int = 0
    clock_synced: bool = False
    markets_loaded: bool = False
    key_accepted: bool = False
    earlier_settled: bool = True

    @property
    def ready(self) -> bool:
        """Whether new orders may be sent."""
        return self.state is SessionState.READY

    @property
    def connected(self) -> bool:
        """Whether posts can be sent at all."""
        return self.state in _CONNECTED

    @property
    def ending(self) -> bool:
        """Whether nothing is accepted any more."""
        return self.state in _ENDING

    def step(self, event: SessionEvent) -> bool:
        """Apply `event`; False if its guard refused.

        Raises:
            IllegalEvent: Not allowed in the present state; nothing changed.
        """
        return SESSION.step(self, event)


_S, _E = SessionState, SessionEvent
_CONNECTED: Final = frozenset({_S.SYNCING, _S.READY, _S.DRAINING})
_ENDING: Final = frozenset({_S.DRAINING, _S.CLOSED})


def _count_epoch(session: Session) -> None:
    session.epoch += 1
    session.clock_synced = False


def _all_known(session: Session) -> bool:
    return session.clock_synced and session.markets_loaded and session.key_accepted and session.earlier_settled


SESSION: Final = StateMachine(
    "session",
    SessionState,
    SessionEvent,
    initial=_S.DISCONNECTED,
    final=frozenset({_S.CLOSED}),
    table=(
        Row(_E.CONNECT, _S.DISCONNECTED, _S.CONNECTING, why="an attempt begins"),
        Row(_E.OPEN, _S.CONNECTING, _S.SYNCING, effect=_count_epoch, why="a new epoch; cancels and reduce-only pass"),
        Row(
            _E.SYNCED,
            _S.SYNCING,
            _S.READY,
            guard=_all_known,
            why="clock, markets, key and the past known: new orders pass",
        ),
        Row(_E.LOSE, _S.CONNECTING, _S.DISCONNECTED, why="the attempt failed"),
        Row(_E.LOSE, _S.SYNCING, _S.DISCONNECTED, why="all sent posts end disconnected"),
        Row(_E.LOSE, _S.READY, _S.DISCONNECTED, why="all sent posts end disconnected"),
        Row(_E.LOSE, _S.DRAINING, _S.CLOSED, why="no new connection while shutting down"),
        Row(_E.DRAIN, _S.SYNCING, _S.DRAINING, why="shutting down: cancels and reduce-only are still sent"),
        Row(_E.DRAIN, _S.READY, _S.DRAINING, why="shutting down: cancels and reduce-only are still sent"),
        Row(_E.DRAIN, _S.DISCONNECTED, _S.CLOSED, why="nothing can be sent any more"),
        Row(_E.DRAIN, _S.CONNECTING, _S.CLOSED, why="nothing can be sent any more"),
        Row(_E.CLOSE, _S.DRAINING, _S.CLOSED, why="drained, or out of time"),
    ),
)
