"""Which nonces a signer may use (protocol.md §4).

A nonce is taken iff it lies inside the venue's window around its own time, was never seen, and is greater than the
smallest of the signer's 100 highest. The third rule makes the second one cheap: whatever is not among the 100 kept
is either new or too low.
"""

from __future__ import annotations

import heapq
from typing import Final

KEPT: Final = 100
"""How many of the highest nonces the venue keeps per signer."""

_DAY_MS: Final = 86_400_000
NARROWER_MS: Final = 120_000
"""By how much the measured window is narrower than the documented one, at each end."""

PAST_MS: Final = 2 * _DAY_MS - NARROWER_MS
FUTURE_MS: Final = _DAY_MS - NARROWER_MS


class SignerNonces:
    """The nonces of one signer."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest: Final[list[int]] = []
        self._seen: Final[set[int]] = set()

    def use(self, nonce: int, now_ms: int) -> str | None:
        """Use up a nonce, or say why it can't be used, in the venue's words.

        Where two rules are broken, which text the venue gives is not established; here a duplicate comes first.

        Args:
            nonce: Unix ms, as signed.
            now_ms: The venue's time, unix ms.
        """
        if nonce in self._seen:
            return f"Invalid nonce: duplicate nonce {nonce}"
        lowest = now_ms - PAST_MS
        if len(self._highest) == KEPT:
            lowest = max(lowest, self._highest[0])
        if nonce <= lowest:
            return f"Invalid nonce: nonce too low {nonce} < {lowest}"
        highest = now_ms + FUTURE_MS
        if nonce >= highest:
            return f"Invalid nonce: nonce too high {nonce} > {highest}"
        self._seen.add(nonce)
        if len(self._highest) < KEPT:
            heapq.heappush(self._highest, nonce)
        else:
            self._seen.remove(heapq.heapreplace(self._highest, nonce))
        return None
