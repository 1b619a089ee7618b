"""The one count of posts in flight (finding I2).

The venue allows 100 simultaneous posts per client address (protocol.md §3). A slot is taken in the same step that
registers a post as sent, and leaves that post when it ends; nothing else moves the count. A post that ended without an
answer (timed out, disconnected) gives its slot to **quarantine**: the executor may go on, but the venue may still count
the post, so that sent + quarantined never exceed the limit (finding X3). Quarantine ends with the late reply of that
very post, or with its time.

What is **occupied** (sent + quarantined) lies in one of four bands:

    idle (0) → normal → degraded (from the high watermark: no new orders) → full (at the limit: nothing at all)

Taking a slot when full, or giving back one that is not there, is refused with a named error: the count neither wraps
nor saturates (finding I1), and the error shows a bug elsewhere instead of hiding it.
"""

from __future__ import annotations

from typing import Final

from machines.errors import IllegalEvent, InvalidSetting
from machines.table import Row, StateMachine, Word

VENUE_LIMIT: Final = 100
"""Simultaneous inflight posts per client address (protocol.md §3)."""
HIGH_WATERMARK: Final = 80
"""From here on new orders wait, so that cancels and reduce-only orders find a slot (finding B4)."""


class InflightState(Word):
    """The band that the count lies in."""

    IDLE = "idle"
    """No slot is occupied."""
    NORMAL = "normal"
    """Below the high watermark: everything may be sent."""
    DEGRADED = "degraded"
    """At or over the high watermark: new orders wait, cancels and reduce-only orders are sent."""
    FULL = "full"
    """At the limit: nothing is sent, cancels included."""


class InflightEvent(Word):
    """What moves the count."""

    ACQUIRE = "acquire"
    RELEASE = "release"
    QUARANTINE = "quarantine"
    CLEAR = "clear"


class InflightTracker:
    """Counts slots between 0 and `limit`.

    Attributes:
        limit: The most slots that may be occupied at a time.
        high_watermark: The occupation from which new orders wait.
        count: Slots held by posts that are sent and not ended.
        quarantined: Slots of posts that ended without an answer and that the venue may still count.
        state: The band of what is occupied.
    """

    __slots__ = ("count", "high_watermark", "limit", "quarantined", "state")

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
        self.quarantined = 0
        self.state = InflightState.IDLE

    @property
    def occupied(self) -> int:
        """What the venue may count at most: sent and quarantined."""
        return self.count + self.quarantined

    @property
    def degraded(self) -> bool:
        """Whether new orders have to wait: at or over the high watermark."""
        return self.occupied >= self.high_watermark

    @property
    def full(self) -> bool:
        """Whether nothing may be sent, cancels included (finding B6)."""
        return self.occupied >= self.limit

    def acquire(self) -> None:
        """Take a slot.

        Raises:
            IllegalEvent: All slots are occupied; nothing changed.
        """
        self._step(InflightEvent.ACQUIRE)

    def release(self) -> None:
        """Give back the slot of a post that was answered.

        Raises:
            IllegalEvent: No slot is held; nothing changed.
        """
        self._step(InflightEvent.RELEASE)

    def quarantine(self) -> None:
        """Move the slot of a post that ended without an answer into quarantine.

        Raises:
            IllegalEvent: No slot is held; nothing changed.
        """
        self._step(InflightEvent.QUARANTINE)

    def clear(self) -> None:
        """Give back a quarantined slot: its post was answered late, or its time is over.

        Raises:
            IllegalEvent: No slot is quarantined; nothing changed.
        """
        self._step(InflightEvent.CLEAR)

    def _step(self, event: InflightEvent) -> None:
        if not INFLIGHT.step(self, event):
            raise IllegalEvent(INFLIGHT.name, f"{self.count} sent, {self.quarantined} quarantined", event.value)


def _reaches_limit(tracker: InflightTracker) -> bool:
    return tracker.occupied + 1 == tracker.limit


def _reaches_watermark(tracker: InflightTracker) -> bool:
    return tracker.high_watermark <= tracker.occupied + 1 < tracker.limit


def _stays_below_watermark(tracker: InflightTracker) -> bool:
    return tracker.occupied + 1 < tracker.high_watermark


def _held(tracker: InflightTracker) -> bool:
    return tracker.count > 0


def _last_held(tracker: InflightTracker) -> bool:
    return tracker.count > 0 and tracker.occupied == 1


def _held_and_remains_at_watermark(tracker: InflightTracker) -> bool:
    return tracker.count > 0 and tracker.occupied > max(1, tracker.high_watermark)


def _held_and_falls_below_watermark(tracker: InflightTracker) -> bool:
    return tracker.count > 0 and 1 < tracker.occupied <= tracker.high_watermark


def _last_quarantined(tracker: InflightTracker) -> bool:
    return tracker.quarantined > 0 and tracker.occupied == 1


def _quarantined_and_remains_at_watermark(tracker: InflightTracker) -> bool:
    return tracker.quarantined > 0 and tracker.occupied > max(1, tracker.high_watermark)


def _quarantined_and_falls_below_watermark(tracker: InflightTracker) -> bool:
    return tracker.quarantined > 0 and 1 < tracker.occupied <= tracker.high_watermark


def _take(tracker: InflightTracker) -> None:
    tracker.count += 1


def _give_back(tracker: InflightTracker) -> None:
    tracker.count -= 1


def _set_aside(tracker: InflightTracker) -> None:
    tracker.count -= 1
    tracker.quarantined += 1


def _forget(tracker: InflightTracker) -> None:
    tracker.quarantined -= 1


_FLOW: Final = "new orders flow"
_CANCELS: Final = "cancels flow"
_AT_LIMIT: Final = "watermark at the limit"
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
        Row(_E.ACQUIRE, _S.NORMAL, _S.FULL, guard=_reaches_limit, effect=_take, why=_AT_LIMIT),
        Row(_E.ACQUIRE, _S.DEGRADED, _S.DEGRADED, guard=_reaches_watermark, effect=_take),
        Row(_E.ACQUIRE, _S.DEGRADED, _S.FULL, guard=_reaches_limit, effect=_take, why="nothing is sent"),
        Row(_E.RELEASE, _S.NORMAL, _S.IDLE, guard=_last_held, effect=_give_back, why="all posts ended"),
        Row(_E.RELEASE, _S.NORMAL, _S.NORMAL, guard=_held_and_falls_below_watermark, effect=_give_back),
        Row(_E.RELEASE, _S.DEGRADED, _S.IDLE, guard=_last_held, effect=_give_back, why="watermark of 1"),
        Row(_E.RELEASE, _S.DEGRADED, _S.NORMAL, guard=_held_and_falls_below_watermark, effect=_give_back, why=_FLOW),
        Row(_E.RELEASE, _S.DEGRADED, _S.DEGRADED, guard=_held_and_remains_at_watermark, effect=_give_back),
        Row(_E.RELEASE, _S.FULL, _S.IDLE, guard=_last_held, effect=_give_back, why="limit of 1"),
        Row(_E.RELEASE, _S.FULL, _S.DEGRADED, guard=_held_and_remains_at_watermark, effect=_give_back, why=_CANCELS),
        Row(_E.RELEASE, _S.FULL, _S.NORMAL, guard=_held_and_falls_below_watermark, effect=_give_back, why=_AT_LIMIT),
        Row(_E.QUARANTINE, _S.NORMAL, _S.NORMAL, guard=_held, effect=_set_aside, why="ended without an answer"),
        Row(_E.QUARANTINE, _S.DEGRADED, _S.DEGRADED, guard=_held, effect=_set_aside, why="ended without an answer"),
        Row(_E.QUARANTINE, _S.FULL, _S.FULL, guard=_held, effect=_set_aside, why="ended without an answer"),
        Row(_E.CLEAR, _S.NORMAL, _S.IDLE, guard=_last_quarantined, effect=_forget, why="answered late, or time over"),
        Row(_E.CLEAR, _S.NORMAL, _S.NORMAL, guard=_quarantined_and_falls_below_watermark, effect=_forget),
        Row(_E.CLEAR, _S.DEGRADED, _S.IDLE, guard=_last_quarantined, effect=_forget, why="watermark of 1"),
        Row(_E.CLEAR, _S.DEGRADED, _S.NORMAL, guard=_quarantined_and_falls_below_watermark, effect=_forget, why=_FLOW),
        Row(_E.CLEAR, _S.DEGRADED, _S.DEGRADED, guard=_quarantined_and_remains_at_watermark, effect=_forget),
        Row(_E.CLEAR, _S.FULL, _S.IDLE, guard=_last_quarantined, effect=_forget, why="limit of 1"),
        Row(_E.CLEAR, _S.FULL, _S.DEGRADED, guard=_quarantined_and_remains_at_watermark, effect=_forget, why=_CANCELS),
        Row(_E.CLEAR, _S.FULL, _S.NORMAL, guard=_quarantined_and_falls_below_watermark, effect=_forget, why=_AT_LIMIT),
    ),
)
