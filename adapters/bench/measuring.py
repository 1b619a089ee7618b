"""Measures one run: what happens between the opening and the closing of a window, from within the client's process."""

from __future__ import annotations

import gc
import http.client
import math
import re
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import msgspec

from adapters.bench.errors import NeedsLinux
from adapters.bench.messages import Measures, Pauses, Percentiles, VenueRecord

_ANSWER_S: Final = 10.0


def percentile(ordered: Sequence[int], share: float) -> int:
    """The least of the values that at least `share` of them do not exceed; `ordered` ascends and is not empty."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def percentiles(durations_ns: Sequence[int]) -> Percentiles:
    """How durations in ns are spread, in µs."""
    ordered = sorted(durations_ns)
    return Percentiles(*(percentile(ordered, share) / 1_000 for share in (0.5, 0.99, 0.999)))


def venue_record(http_url: str) -> VenueRecord:
    """What the venue says of itself; blocks, for use outside of a window."""
    connection = http.client.HTTPConnection(urlsplit(http_url).netloc, timeout=_ANSWER_S)
    try:
        connection.request("GET", "/record")
        return msgspec.json.decode(connection.getresponse().read(), type=VenueRecord)
    finally:
        connection.close()


def memory_mb(which: Literal["VmRSS", "VmHWM"]) -> float:
    """The memory that this process has now (`VmRSS`), or the most that it ever had (`VmHWM`), MB.

    Not from `getrusage`: what that reports includes the process that started this one.

    Raises:
        NeedsLinux: There is no /proc that says it.
    """
    try:
        told = re.search(rf"^{which}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        told = None
    if told is None:
        raise NeedsLinux("the benchmark reads /proc, which Linux has; run it there")
    return int(told[1]) / 1024


class Window:
    """What is measured, while the context lasts."""

    def __init__(self, http_url: str) -> None:
        """Prepare to measure against the venue there."""
        self._http_url = http_url
        self._to_wire = array("q")
        self._to_outcome = array("q")
        self._pauses = array("q")
        self._pause_began = self._began = self._cpu_began = self._venue_began = 0
        self._took = self._cpu_took = self._venue_took = 0

    def __enter__(self) -> Self:
        self._venue_began = venue_record(self._http_url).cpu_ns
        gc.callbacks.append(self._on_collection)
        self._cpu_began = time.process_time_ns()
        self._began = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._took = time.perf_counter_ns() - self._began
        self._cpu_took = time.process_time_ns() - self._cpu_began
        gc.callbacks.remove(self._on_collection)
        if error is None:
            self._venue_took = venue_record(self._http_url).cpu_ns - self._venue_began

    def add(self, called: int, received: int, answered: int) -> None:
        """Note a call: when it was made, read by the venue, and answered to its caller; ns of the monotonic clock."""
        self._to_wire.append(received - called)
        self._to_outcome.append(answered - called)

    def measures(self, orders: int) -> Measures:
        """What a closed window gave, for so many orders."""
        return Measures(
            orders=orders,
            seconds=self._took / 1e9,
            orders_per_s=orders * 1e9 / self._took,
            cpu_us=self._cpu_took / 1e3 / orders,
            to_wire=percentiles(self._to_wire),
            to_outcome=percentiles(self._to_outcome),
            peak_rss_mb=memory_mb("VmHWM"),
            pauses=Pauses(len(self._pauses), sum(self._pauses) / 1e3, max(self._pauses, default=0) / 1e3),
            venue_load=self._venue_took / self._took,
        )

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        now = time.perf_counter_ns()
        if phase == "start":
            self._pause_began = now
        else:
            self._pauses.append(now - self._pause_began)
