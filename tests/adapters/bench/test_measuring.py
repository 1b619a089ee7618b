"""What a window measures, and what percentiles are."""

from __future__ import annotations

import gc
import time

import pytest

from adapters.bench.errors import RunFailed
from adapters.bench.measuring import Window, memory_mb, percentile, percentiles
from adapters.bench.messages import Percentiles, Where

HUNDRED = range(1, 101)


@pytest.mark.parametrize(
    ("ordered", "share", "expected"),
    [
        (HUNDRED, 0.5, 50),
        (HUNDRED, 0.99, 99),
        (HUNDRED, 0.999, 100),
        (HUNDRED, 0.0, 1),
        ([7], 0.5, 7),
        ([1, 2], 0.5, 1),
        ([1, 2, 3], 0.5, 2),
    ],
)
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(
    ordered: list[int], share: float, expected: int
) -> None:
    assert percentile(ordered, share) == expected


def test_percentiles_take_ns_in_any_order_and_give_us() -> None:
    durations = [number * 1_000 for number in reversed(range(1, 1_001))]
    assert percentiles(durations) == Percentiles(500.0, 990.0, 999.0)


def test_the_most_memory_is_no_less_than_the_present() -> None:
    assert 5 < memory_mb("VmRSS") <= memory_mb("VmHWM")


def test_a_window_measures_while_it_is_open_and_goes_on_when_it_opens_again(where: Where) -> None:
    window = Window(where.http_url)
    gc.collect()
    for _ in range(2):
        with window:
            assert window.is_open
            gc.collect()
            until = time.process_time() + 0.02
            while time.process_time() < until:
                pass
            window.add(1_000, 3_000, 6_000, 5)
        time.sleep(0.05)
    assert not window.is_open
    told = window.measures(posts_ahead=3)
    assert told.orders == 10
    assert told.seconds >= 0.04
    assert told.orders_per_s == pytest.approx(10 / told.seconds)
    assert 0.04 <= told.cpu_us * 10 / 1e6 <= told.seconds + 0.01
    assert told.pauses.number == 2
    assert 0 < told.pauses.longest_us <= told.pauses.total_us
    assert told.to_wire == Percentiles(2.0, 2.0, 2.0)
    assert told.to_outcome == Percentiles(5.0, 5.0, 5.0)
    assert 0 <= told.venue_load < 1
    assert (told.posts_ahead, told.course) == (3, ())


def test_a_window_in_which_nothing_ended_has_no_measures(where: Where) -> None:
    window = Window(where.http_url)
    with window:
        pass
    with pytest.raises(RunFailed, match="no call ended"):
        window.measures()


def test_a_window_lets_an_error_through_and_stops_listening(where: Where) -> None:
    before, within = list(gc.callbacks), 0

    def fail() -> None:
        nonlocal within
        with Window(where.http_url):
            within = len(gc.callbacks)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert within == len(before) + 1
    assert gc.callbacks == before
