"""The hard stop: a latch that ends new orders until an operator says otherwise.

It trips on clock drift, repeated rejections that are not benign, a violated invariant, a full reduce-only queue, or
the operator's word. Tripped, queued new orders end as not executed, and cancels and reduce-only orders go on: the
book can always be made smaller. The first reason is kept, because later ones are usually its consequences. Only the
operator resets it, with a reason.

A rejection is *benign* when it is part of ordinary trading (finding X8, texts of protocol.md §9): an IOC that met no
order, a post-only order that would have traded, an order under the minimum value, a reduce-only order with nothing
left to reduce; and, for a cancel, an order that is already gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from machines.intent import ItemResult, Rejected
from machines.table import Row, StateMachine, Word

MISSING_ORDER: Final = "Order was never placed, already canceled, or filled"
"""What the venue answers to a cancel of an order that is not on its book (protocol.md §2, §9)."""
BENIGN_REJECTIONS: Final = (
    "Order could not immediately match",
    "Post only order would have immediately matched",
    "Order must have minimum value",
    "Reduce only order would increase position",
    MISSING_ORDER,
)


def is_benign(reason: str) -> bool:
    """Whether a rejection with this text of the venue's says nothing about the executor's health."""
    return reason.startswith(BENIGN_REJECTIONS)


class RejectionRun:
    """Counts posts in a row that the venue rejected for reasons that are not benign.

    Attributes:
        limit: How many of them are too many.
        length: How many there were, up to now.
    """

    __slots__ = ("length", "limit")

    def __init__(self, limit: int) -> None:
        """Begin with none."""
        self.limit = limit
        self.length = 0

    def note(self, results: tuple[ItemResult, ...]) -> str | None:
        """Take in what a post was answered; why trading has to stop, if it has to."""
        rejections = [result.reason for result in results if isinstance(result, Rejected)]
        if len(rejections) < len(results):
            self.length = 0
            return None
        serious = [reason for reason in rejections if not is_benign(reason)]
        if not serious:
            return None
        self.length += 1
        if self.length < self.limit:
            return None
        return f"{self.length} posts rejected in a row, the last one: {serious[-1]}"


class HardStopState(Word):
    """Whether new orders may pass."""

    ARMED = "armed"
    """New orders may pass."""
    TRIPPED = "tripped"
    """New orders are refused and queued ones ended; cancels and reduce-only orders go on."""


class HardStopEvent(Word):
    """What moves the latch."""

    TRIP = "trip"
    RESET = "reset"


@dataclass(slots=True, eq=False)
class HardStop:
    """The latch.

    Attributes:
        state: Armed, or tripped.
        reason: Why it tripped first; None while armed.
        reset_reason: What the operator said at the last reset.
    """

    state: HardStopState = HardStopState.ARMED
    reason: str | None = None
    reset_reason: str | None = None

    @property
    def tripped(self) -> bool:
        """Whether new orders are stopped."""
        return self.state is HardStopState.TRIPPED

    def trip(self, reason: str) -> None:
        """Stop new orders; when stopped already, the first reason stays."""
        HARD_STOP.step(self, HardStopEvent.TRIP, reason=reason)

    def reset(self, reason: str) -> None:
        """Let new orders pass again, on the operator's word.

        Raises:
            IllegalEvent: It is armed; nothing changed.
        """
        HARD_STOP.step(self, HardStopEvent.RESET, reason=reason)


def _keep_reason(stop: HardStop, reason: str) -> None:
    stop.reason = reason


def _clear(stop: HardStop, reason: str) -> None:
    stop.reason = None
    stop.reset_reason = reason


_S, _E = HardStopState, HardStopEvent
HARD_STOP: Final = StateMachine(
    "hard_stop",
    HardStopState,
    HardStopEvent,
    initial=_S.ARMED,
    final=frozenset(),
    table=(
        Row(_E.TRIP, _S.ARMED, _S.TRIPPED, effect=_keep_reason, why="new orders end, cancels and reduce-only go on"),
        Row(_E.TRIP, _S.TRIPPED, _S.TRIPPED, why="the first reason stays"),
        Row(_E.RESET, _S.TRIPPED, _S.ARMED, effect=_clear, why="operator only"),
    ),
)
