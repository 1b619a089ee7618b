"""Nonces: unique, increasing, near the server's time; from several threads, and whatever the clock does."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

import machines
from machines.clock import ManualClock
from machines.errors import NonceOutsideWindow
from machines.nonce import WINDOW_FUTURE_MS, WINDOW_PAST_MS, Drift, NonceManager
from tests.machines.builders import NOW


def _manager(last: int = 0) -> tuple[NonceManager, ManualClock]:
    clock = ManualClock(NOW)
    return NonceManager(clock, last), clock


# ------------------------------------------------------------------------------------------------- N1: the window


def test_n1_first_nonce_is_the_servers_time_not_a_counter_from_zero() -> None:
    nonces = NonceManager(ManualClock(NOW))
    assert nonces.last == 0
    assert nonces.next() == NOW


def test_n1_window_is_the_measured_one() -> None:
    # One day and two days in ms, each less 120 s (protocol.md §4).
    assert (WINDOW_FUTURE_MS, WINDOW_PAST_MS) == (86_280_000, 172_680_000)


def test_n1_last_nonce_inside_the_window_is_issued() -> None:
    nonces, _ = _manager(last=NOW + WINDOW_FUTURE_MS - 2)
    assert nonces.next() == NOW + WINDOW_FUTURE_MS - 1


def test_n1_nonce_on_the_edge_of_the_window_is_not_issued() -> None:
    nonces, clock = _manager(last=NOW + WINDOW_FUTURE_MS - 1)
    with pytest.raises(NonceOutsideWindow, match=f"next nonce {NOW + WINDOW_FUTURE_MS} is {WINDOW_FUTURE_MS} ms ahead"):
        nonces.next()
    assert nonces.last == NOW + WINDOW_FUTURE_MS - 1
    clock.advance(1)
    assert nonces.next() == NOW + WINDOW_FUTURE_MS


def test_n1_nonces_go_on_above_the_last_one_of_an_earlier_run() -> None:
    nonces, _ = _manager(last=NOW + 7)
    assert [nonces.next(), nonces.next()] == [NOW + 8, NOW + 9]


# --------------------------------------------------------------------------------- N2: max(last + 1, server time)


def test_n2_nonces_within_one_millisecond_count_up() -> None:
    nonces, _ = _manager()
    assert [nonces.next() for _ in range(4)] == [NOW, NOW + 1, NOW + 2, NOW + 3]


def test_n2_nonce_follows_the_servers_time_once_it_is_ahead() -> None:
    nonces, clock = _manager()
    nonces.next()
    clock.advance(250)
    assert nonces.next() == NOW + 250
    assert nonces.last == NOW + 250


def test_n2_counter_ahead_of_the_clock_counts_on() -> None:
    nonces, clock = _manager()
    burst = [nonces.next() for _ in range(500)]
    clock.advance(250)
    assert nonces.next() == burst[-1] + 1


# ---------------------------------------------------------------------------------------------- N3: fast-forward


def test_n3_sync_fast_forwards_the_counter() -> None:
    nonces, _ = _manager()
    nonces.sync(NOW + 1_500)
    assert nonces.last == NOW + 1_500


def test_n3_no_nonce_falls_below_a_time_that_the_server_has_shown() -> None:
    nonces, clock = _manager()
    nonces.sync(NOW + 1_500)
    clock.step_unix(-60_000)
    assert nonces.next() == NOW + 1_501


def test_n3_sync_never_takes_the_counter_back() -> None:
    nonces, _ = _manager(last=NOW + 4_000)
    nonces.sync(NOW + 1_000)
    assert nonces.last == NOW + 4_000


# ------------------------------------------------------------------------------------- N4: offset = server − local


@pytest.mark.parametrize("offset", [1_500, -1_500, 0])
def test_n4_offset_is_server_minus_local(offset: int) -> None:
    nonces, clock = _manager()
    nonces.sync(NOW + offset)
    assert nonces.offset_ms == offset
    assert nonces.approx_server_time_ms() == NOW + offset
    clock.advance(10_000)
    assert nonces.next() == NOW + 10_000 + offset


# --------------------------------------------------------------------------- N5: clocks that jump, threads, drift


def test_n5_clock_that_runs_backwards_does_not_lower_nonces() -> None:
    nonces, clock = _manager()
    issued = [nonces.next()]
    for step in (-1, -3_600_000, 5, -7_200_000):
        clock.step_unix(step)
        issued.append(nonces.next())
    assert issued == [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4]


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
def test_n5_threads_get_unique_and_increasing_nonces() -> None:
    nonces, clock = _manager()
    threads, each = 8, 2_000
    barrier = threading.Barrier(threads + 1)

    def draw() -> list[int]:
        barrier.wait()
        return [nonces.next() for _ in range(each)]

    def disturb() -> None:
        barrier.wait()
        for step in range(200):
            clock.step_unix(40 if step % 2 else -40)
            nonces.sync(NOW + step)

    with ThreadPoolExecutor(threads + 1) as pool:
        disturber = pool.submit(disturb)
        runs = [future.result() for future in [pool.submit(draw) for _ in range(threads)]]
        disturber.result()
    assert all(earlier < later for run in runs for earlier, later in pairwise(run))
    assert len({nonce for run in runs for nonce in run}) == threads * each


class _HeldClock(ManualClock):
    """A clock whose first reading takes until it is let go."""

    def __init__(self) -> None:
        super().__init__(NOW)
        self.reading = threading.Event()
        self.go = threading.Event()

    def now_ms(self) -> int:
        first = not self.reading.is_set()
        self.reading.set()
        if first:
            assert self.go.wait(10)
        return super().now_ms()


@pytest.mark.parametrize("first", ["next", "sync"])
def test_n5_second_thread_waits_until_the_first_has_its_nonce(first: str) -> None:
    clock = _HeldClock()
    nonces = NonceManager(clock)
    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(nonces.next if first == "next" else lambda: nonces.sync(NOW))
        assert clock.reading.wait(10)
        waiter = pool.submit(nonces.next)
        with pytest.raises(TimeoutError):
            waiter.result(timeout=0.05)
        clock.go.set()
        holder.result(10)
        assert waiter.result(10) == NOW + 1


@pytest.mark.parametrize(
    ("offset", "drift"),
    [
        (0, Drift.OK),
        (2_000, Drift.OK),
        (2_001, Drift.WARN),
        (5_000, Drift.WARN),
        (5_001, Drift.ERROR),
        (-2_000, Drift.OK),
        (-2_001, Drift.WARN),
        (-5_000, Drift.WARN),
        (-5_001, Drift.ERROR),
    ],
)
def test_n5_drift_is_graded_in_both_directions(offset: int, drift: Drift) -> None:
    nonces, _ = _manager()
    assert nonces.sync(NOW + offset) is drift
    assert nonces.drift is drift


def test_n5_next_sync_grades_anew() -> None:
    nonces, clock = _manager()
    nonces.sync(NOW + 9_000)
    clock.step_unix(9_000)
    assert nonces.sync(NOW + 9_000) is Drift.OK


# ----------------------------------------------------------------------------------------- B7: one source of nonces


def test_b7_one_place_in_the_machines_allots_nonces() -> None:
    places = [
        f"{path.stem}: {ast.unparse(node)}"
        for folder in machines.__path__
        for path in sorted(Path(folder).glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "next"
    ]
    assert places == ["executor: self.nonces.next"]
