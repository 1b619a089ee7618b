"""`ManualClock`: the clock of tests, simulation and replay."""

from __future__ import annotations

from machines.clock import Clock, ManualClock


def test_both_readings_advance_together() -> None:
    clock: Clock = ManualClock(now_ms=1_000, monotonic_ms=5)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_000, 5)


def test_advance_moves_both_readings() -> None:
    clock = ManualClock(now_ms=1_000, monotonic_ms=5)
    clock.advance(30)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_030, 35)


def test_stepping_unix_time_leaves_monotonic_time() -> None:
    clock = ManualClock(now_ms=1_000, monotonic_ms=5)
    clock.step_unix(-700)
    assert (clock.now_ms(), clock.monotonic_ms()) == (300, 5)
    clock.step_unix(900)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_200, 5)
