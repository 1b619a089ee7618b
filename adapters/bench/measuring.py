"""Measures one run: what happens between the opening and the closing of a window, from within the client's process."""

from __future__ import annotations

import gc
import http.client
import math
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import msgspec

from adapters.bench.errors import RunFailed
from adapters.bench.messages import Mark, Measures, Pauses, Percentiles, VenueRecord

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
    """
    told = Path("/proc/self/status").read_text()
    return int(told.partition(f"{which}:")[2].split(maxsplit=1)[0]) / 1024


class Window:
    """What is measured while a context lasts; entered again, it goes on.

    Attributes:
        is_open: Whether it measures now.
        seen_before: Posts that the venue had seen when the window opened last.
        record: What the venue said when the window closed last.
    """

    def __init__(self, http_url: str) -> None:
        """Prepare to measure against the venue there."""
        self.is_open = False
        self.seen_before = 0
        self.record = VenueRecord(0, 0, ())
        self._http_url = http_url
        self._orders = 0
        self._to_wire = array("q")
        self._to_outcome = array("q")
        self._pauses = array("q")
        self._pause_began = 0
        self._took = _Clocks(0, 0, 0)
        self._began = _Clocks(0, 0, 0)

    def __enter__(self) -> Self:
        venue = venue_record(self._http_url)
        self.seen_before = venue.seen
        gc.callbacks.append(self._on_collection)
        self._began = _Clocks(time.perf_counter_ns(), time.process_time_ns(), venue.cpu_ns)
        self.is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        self.is_open = False
        gc.callbacks.remove(self._on_collection)
        if error is None:
            self.record = venue_record(self._http_url)
            ended = _Clocks(wall, cpu, self.record.cpu_ns)
            self._took = _Clocks(
                *(sum_ + end - begin for sum_, end, begin in zip(self._took, ended, self._began, strict=True))
            )

    def add(self, called_ns: int, received_ns: int, answered_ns: int, orders: int) -> None:
        """Note a call of so many orders: when it was made, read by the venue, and answered to its caller.

        All in ns of the monotonic clock.
        """
        self._orders += orders
        self._to_wire.append(received_ns - called_ns)
        self._to_outcome.append(answered_ns - called_ns)

    @property
    def seconds(self) -> float:
        """How long it was open."""
        return self._took.wall / 1e9

    def measures(self, *, posts_ahead: int | None = None, course: tuple[Mark, ...] = ()) -> Measures:
        """What was measured.

        Raises:
            RunFailed: Nothing was: no call ended while the window was open.
        """
        if not self._orders:
            raise RunFailed("no call ended while it was measured")
        return Measures(
            orders=self._orders,
            seconds=self.seconds,
            orders_per_s=self._orders * 1e9 / self._took.wall,
            cpu_us=self._took.cpu / 1e3 / self._orders,
            to_wire=percentiles(self._to_wire),
            to_outcome=percentiles(self._to_outcome),
            peak_rss_mb=memory_mb("VmHWM"),
            pauses=Pauses(len(self._pauses), sum(self._pauses) / 1e3, max(self._pauses, default=0) / 1e3),
            venue_load=self._took.venue / self._took.wall,
            posts_ahead=posts_ahead,
            course=course,
        )

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        now = time.perf_counter_ns()
        if phase == "start":
            self._pause_began = now
        else:
            self._pauses.append(now - self._pause_began)


class _Clocks(NamedTuple):
    """Readings, or durations, in ns: of the wall clock, and of the processor in this process and in the venue's."""

    wall: int
    cpu: int
    venue: int
