"""What can be set about the core, with the venue's limits and design.md's choices as defaults."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from machines.batch import QueueLimits
from machines.errors import InvalidSetting
from machines.inflight import HIGH_WATERMARK, VENUE_LIMIT
from machines.post import QUARANTINE_MS, TIMEOUT_MS
from machines.rate_limit import MESSAGES_PER_MINUTE

SETTLEMENT_ALARM_MS: Final = 60_000
"""How long an intent may stay unknown before it is an alarm."""
EXPIRES_AFTER_MS: Final = TIMEOUT_MS + 1_000
"""An order outlives the wait for its reply by a second, so that it cannot run long after it became ambiguous."""

SCHEDULE_CANCEL_LEAST_MS: Final = 20_000
"""Half of it, when it is renewed, must leave time for a lost post and the venue's 5 s (protocol.md §6)."""


class CoreSettings(Struct, frozen=True, kw_only=True):
    """What can be set about the core; the defaults are the venue's limits and design.md's.

    Attributes:
        inflight_limit: The most posts in flight, quarantined ones included.
        high_watermark: The count from which new orders wait.
        post_timeout_ms: How long a post may wait for its reply, 3 000 to 5 000 ms.
        quarantine_ms: How long the venue may still count a post that was not answered.
        expires_after_ms: How long after sending an order the venue may still take it; None for ever.
        settlement_alarm_ms: How long an intent may stay unknown before it is an alarm.
        schedule_cancel_ms: How far ahead the dead-man's switch is set; None for no switch (machines/standing.py).
        messages_per_minute: The most messages in any 60 s.
        rejections_to_halt: Posts in a row, rejected for reasons that are not benign, that trip the hard stop.
        queues: Sizes of queues and batches.
    """

    inflight_limit: int = VENUE_LIMIT
    high_watermark: int = HIGH_WATERMARK
    post_timeout_ms: int = TIMEOUT_MS
    quarantine_ms: int = QUARANTINE_MS
    expires_after_ms: int | None = EXPIRES_AFTER_MS
    settlement_alarm_ms: int = SETTLEMENT_ALARM_MS
    schedule_cancel_ms: int | None = None
    messages_per_minute: int = MESSAGES_PER_MINUTE
    rejections_to_halt: int = 5
    queues: QueueLimits = field(default_factory=QueueLimits)

    def __post_init__(self) -> None:
        for name in ("rejections_to_halt", "settlement_alarm_ms"):
            if getattr(self, name) < 1:
                raise InvalidSetting(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.expires_after_ms is not None and self.expires_after_ms < 1:
            raise InvalidSetting(f"expires_after_ms must be at least 1 or None, got {self.expires_after_ms}")
        if self.schedule_cancel_ms is not None and self.schedule_cancel_ms < SCHEDULE_CANCEL_LEAST_MS:
            least, given = SCHEDULE_CANCEL_LEAST_MS, self.schedule_cancel_ms
            raise InvalidSetting(f"schedule_cancel_ms must be at least {least} or None, got {given}")
