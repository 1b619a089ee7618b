"""Nonces: one source, unique, increasing, near the venue's time.

What the venue demands of a nonce, per signer (protocol.md §4): it lies inside (T − 2 days, T + 1 day) for block time T,
was never used before, and is greater than the smallest of the 100 highest seen. The measured window is about 120 s
narrower at each end. A counter alone breaks the first rule after a restart; a clock alone breaks the second within a
millisecond. Hence (finding N2):

    nonce = max(last + 1, approximate server time)

where approximate server time = local time + offset, and **offset = server − local**, one sign everywhere (finding N4).
`sync` also fast-forwards the counter, so that a local clock that falls back afterwards cannot lead below a time that
the server has already shown (finding N3). An API wallet must have one executor only: one counter per signer.
"""

from __future__ import annotations

import threading
from typing import Final

from machines.clock import Clock
from machines.errors import NonceOutsideWindow
from machines.table import Word

DAY_MS: Final = 86_400_000
WINDOW_MARGIN_MS: Final = 120_000
"""How much narrower the measured window is at each end (protocol.md §4)."""
WINDOW_PAST_MS: Final = 2 * DAY_MS - WINDOW_MARGIN_MS
WINDOW_FUTURE_MS: Final = DAY_MS - WINDOW_MARGIN_MS

DRIFT_WARN_MS: Final = 2_000
DRIFT_ERROR_MS: Final = 5_000


class Drift(Word):
    """How far the local clock is from the server's (finding N5)."""

    OK = "ok"
    WARN = "warn"
    """More than 2 s: worth a warning."""
    ERROR = "error"
    """More than 5 s: no new orders."""


class NonceManager:
    """Issues nonces; the only part of the machines that may be called from several threads at once.

    Attributes:
        clock: The injected clock.
    """

    def __init__(self, clock: Clock, last: int = 0) -> None:
        """Start above `last`, the highest nonce that this signer ever used (0: none known)."""
        self.clock = clock
        self._lock = threading.Lock()
        self._last = last
        self._offset_ms = 0

    @property
    def last(self) -> int:
        """The counter: every nonce to come is greater."""
        return self._last

    @property
    def offset_ms(self) -> int:
        """Server time − local time at the last sync, in ms."""
        return self._offset_ms

    @property
    def drift(self) -> Drift:
        """The offset, graded."""
        size = abs(self._offset_ms)
        if size > DRIFT_ERROR_MS:
            return Drift.ERROR
        return Drift.WARN if size > DRIFT_WARN_MS else Drift.OK

    def approx_server_time_ms(self) -> int:
        """The server's time now, in unix ms, as far as the last sync tells."""
        return self.clock.now_ms() + self._offset_ms

    def next(self) -> int:
        """Issue the next nonce.

        Raises:
            NonceOutsideWindow: The counter is so far ahead of the server's time that the venue would refuse the nonce;
                none was issued.
        """
        with self._lock:
            server_time = self.approx_server_time_ms()
            nonce = max(self._last + 1, server_time)
            if nonce >= server_time + WINDOW_FUTURE_MS:
                raise NonceOutsideWindow(
                    f"next nonce {nonce} is {nonce - server_time} ms ahead of server time {server_time}; the venue "
                    f"accepts less than {WINDOW_FUTURE_MS} ms: wait, or use a fresh API wallet"
                )
            self._last = nonce
            return nonce

    def sync(self, server_time_ms: int) -> Drift:
        """Learn the server's time (unix ms), and bring the counter up to it.

        Returns:
            The drift that this sync found.
        """
        with self._lock:
            self._offset_ms = server_time_ms - self.clock.now_ms()
            self._last = max(self._last, server_time_ms)
            return self.drift
