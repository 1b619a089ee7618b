"""The one count of posts in flight (finding I2).

The venue allows 100 simultaneous posts per client address (protocol.md §3). A slot is taken in the same step that
registers a post as sent, and given back when that post ends; nothing else moves the count. It has four bands:

    idle (0) → normal → degraded (from the high watermark: no new orders) → full (at the limit: nothing at all)

Taking a slot when full, or giving one back when idle, is refused with a named error: the count neither wraps nor
saturates (finding I1), and the error shows a bug elsewhere instead of hiding it.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from machines.errors import InvalidSetting
from machines.table import Row, StateMachine

VENUE_LIMIT: Final = 100
"""Simultaneous inflight posts per client address (protocol.md §3)."""
HIGH_WATERMARK: Final = 80
"""From here on new orders wait, so that cancels and reduce-only orders find a slot (finding B4)."""


class InflightState(Enum):
    """The band that the count lies in."""

    IDLE = "idle"
    NORMAL = "normal"
    DEGRADED = "degraded"
    FULL = "full"


class InflightEvent(Enum):
    """What moves the count."""

    ACQUIRE = "acquire"
    RELEASE = "release"


class InflightTracker:
    """Counts slots between 0 and `limit`.

    Attributes:
        limit: The most slots that may be taken at a time.
        high_watermark: The count from which new orders wait.
        count: Slots taken now.
        state: The band of `count`.
    """

    __slots__ = ("count", "high_watermark", "limit", "state")

    def __init__(self, limit: int = VENUE_LIMIT, high_watermark: int = HIGH_WATERMARK) -> None:
        """Begin with no slot taken.

        Raises:
            InvalidSetting: Unless 1 ≤ high_watermark ≤ limit.
        """
        if not 1 <= high_watermark <= limit:
            raise InvalidSetting(f"need 1 <= high_watermark <= limit, got {high_watermark} and {limit}")
        self.limit = limit
        self.high_watermark = high_watermark
        self.count = 0
        self.state = InflightState.IDLE

    @property
    def degraded(self) -> bool:
        """Whether new orders have to wait: at or over the high watermark."""
        return self.count >= self.high_watermark

    @property
    def full(self) -> bool:
        """Whether nothing may be sent, cancels included (finding B6)."""
        return self.count >= self.limit

    def acquire(self) -> None:
        """Take a slot.

        Raises:
            IllegalEvent: All slots are taken; nothing changed.
        """
        INFLIGHT.step(self, InflightEvent.ACQUIRE)

    def release(self) -> None:
        """Give a slot back.

        Raises:
            IllegalEvent: No slot is taken; nothing changed.
        """
        INFLIGHT.step(self, InflightEvent.RELEASE)


def _reaches_limit(tracker: InflightTracker) -> bool:
    return tracker.count + 1 == tracker.limit


def _reaches_watermark(tracker: InflightTracker) -> bool:
    return tracker.high_watermark <= tracker.count + 1 < tracker.limit


def _stays_below_watermark(tracker: InflightTracker) -> bool:
    return tracker.count + 1 < tracker.high_watermark


def _empties(tracker: InflightTracker) -> bool:
    return tracker.count == 1


def _remains_at_watermark(tracker: InflightTracker) -> bool:
    return tracker.count > 1 and tracker.count - 1 >= tracker.high_watermark


def _falls_below_watermark(tracker: InflightTracker) -> bool:
    return tracker.count > 1 and tracker.count - 1 < tracker.high_watermark


def _take(tracker: InflightTracker) -> None:
    tracker.count += 1


def _give_back(tracker: InflightTracker) -> None:
    tracker.count -= 1


_S, _E = InflightState, InflightEvent
INFLIGHT: Final = StateMachine(
    "inflight",
    InflightState,
    InflightEvent,
    initial=_S.IDLE,
    final=frozenset(),
    table=(
        Row(_E.ACQUIRE, _S.IDLE, _S.NORMAL, guard=_stays_below_watermark, effect=_take, why="first slot"),
        Row(_E.ACQUIRE, _S.IDLE, _S.DEGRADED, guard=_reaches_watermark, effect=_take, why="watermark of 1"),
        Row(_E.ACQUIRE, _S.IDLE, _S.FULL, guard=_reaches_limit, effect=_take, why="limit of 1"),
        Row(_E.ACQUIRE, _S.NORMAL, _S.NORMAL, guard=_stays_below_watermark, effect=_take),
        Row(_E.ACQUIRE, _S.NORMAL, _S.DEGRADED, guard=_reaches_watermark, effect=_take, why="new orders wait"),
        Row(_E.ACQUIRE, _S.NORMAL, _S.FULL, guard=_reaches_limit, effect=_take, why="watermark at the limit"),
        Row(_E.ACQUIRE, _S.DEGRADED, _S.DEGRADED, guard=_reaches_watermark, effect=_take),
        Row(_E.ACQUIRE, _S.DEGRADED, _S.FULL, guard=_reaches_limit, effect=_take, why="nothing is sent"),
        Row(_E.RELEASE, _S.NORMAL, _S.IDLE, guard=_empties, effect=_give_back, why="all posts ended"),
        Row(_E.RELEASE, _S.NORMAL, _S.NORMAL, guard=_falls_below_watermark, effect=_give_back),
        Row(_E.RELEASE, _S.DEGRADED, _S.IDLE, guard=_empties, effect=_give_back, why="watermark of 1"),
        Row(_E.RELEASE, _S.DEGRADED, _S.NORMAL, guard=_falls_below_watermark, effect=_give_back, why="new orders flow"),
        Row(_E.RELEASE, _S.DEGRADED, _S.DEGRADED, guard=_remains_at_watermark, effect=_give_back),
        Row(_E.RELEASE, _S.FULL, _S.IDLE, guard=_empties, effect=_give_back, why="limit of 1"),
        Row(_E.RELEASE, _S.FULL, _S.DEGRADED, guard=_remains_at_watermark, effect=_give_back, why="cancels flow"),
        Row(_E.RELEASE, _S.FULL, _S.NORMAL, guard=_falls_below_watermark, effect=_give_back, why="watermark at limit"),
    ),
)
