"""How often the executor may speak: messages a minute, and the address's action budget.

Neither keeps a count of posts in flight; that is the inflight tracker's alone (finding I2). Limits and texts are
protocol.md §3. Times are monotonic ms.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from machines.errors import InvalidSetting

MINUTE_MS: Final = 60_000
MESSAGES_PER_MINUTE: Final = 2_000
"""Messages sent a minute per client address, over all connections (protocol.md §3)."""
EXHAUSTED_INTERVAL_MS: Final = 10_000
"""With the address budget used up the venue takes one action per 10 s (protocol.md §3)."""


class MessageRate:
    """A sliding window of one minute over every message sent, posts or not."""

    __slots__ = ("_blocked_until", "_sent", "limit")

    def __init__(self, limit: int = MESSAGES_PER_MINUTE) -> None:
        """Allow `limit` messages in any 60 s.

        Raises:
            InvalidSetting: Unless limit ≥ 1.
        """
        if limit < 1:
            raise InvalidSetting(f"messages a minute must be at least 1, got {limit}")
        self.limit = limit
        self._sent: deque[int] = deque()
        self._blocked_until = 0

    def wait_ms(self, now: int) -> int:
        """How long after `now` one more message may be sent, in ms; 0 means at once."""
        while self._sent and self._sent[0] <= now - MINUTE_MS:
            self._sent.popleft()
        free_at = self._sent[0] + MINUTE_MS if len(self._sent) >= self.limit else now
        return max(free_at, self._blocked_until, now) - now

    def allows(self, now: int) -> bool:
        """Whether one more message may be sent at `now`."""
        return self.wait_ms(now) == 0

    def record(self, now: int) -> None:
        """Count a message sent at `now`."""
        self._sent.append(now)

    def back_off(self, now: int, ms: int) -> None:
        """Send nothing for `ms`: the venue said that we speak too often."""
        self._blocked_until = max(self._blocked_until, now + ms)


class AddressBudget:
    """What is left of the address's actions, as last reported by the venue and spent since.

    Cancels have a larger allowance than orders, min(limit + 100 000, 2 · limit), and never wait here.
    """

    __slots__ = ("_last_action", "cap", "used")

    def __init__(self) -> None:
        """Begin without a known cap: nothing is held back until the venue reports one."""
        self.used = 0
        self.cap: int | None = None
        self._last_action = -EXHAUSTED_INTERVAL_MS

    def sync(self, used: int, cap: int) -> None:
        """Take over the venue's figures (`userRateLimit`: nRequestsUsed, nRequestsCap)."""
        self.used = used
        self.cap = cap

    def allows_order(self, now: int) -> bool:
        """Whether an order action may be sent at `now`: always while budget is left, else one per 10 s."""
        if self.cap is None or self.used < self.cap:
            return True
        return now - self._last_action >= EXHAUSTED_INTERVAL_MS

    def spend(self, items: int, now: int) -> None:
        """Count an action with `items` items, sent at `now`."""
        self.used += items
        self._last_action = now
