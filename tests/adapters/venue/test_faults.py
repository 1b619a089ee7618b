"""Faults: repeatable, in the stated order, at the stated rates, and only when asked for."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.venue.faults import FaultInjector, Faults, InvalidFaults, PostPlan, parse_faults

PROBABILITY = st.sampled_from([0.0, 0.3, 1.0])
SETTINGS = st.builds(
    Faults,
    processing_delay_ms=st.sampled_from([0, 50]),
    reply_delay_ms=st.sampled_from([0, 50]),
    refuse=PROBABILITY,
    error_unprocessed=PROBABILITY,
    error_processed=PROBABILITY,
    drop_reply=PROBABILITY,
    duplicate_reply=PROBABILITY,
    close_before=PROBABILITY,
    close_after=PROBABILITY,
    close_every_ms=st.sampled_from([0, 100]),
    drop_update=PROBABILITY,
    update_delay_ms=st.sampled_from([0, 50]),
    garbage=PROBABILITY,
)
QUESTIONS = st.lists(st.sampled_from(["plan", "update_delay_ms", "connection_life_ms"]) | SETTINGS, max_size=60)


def decisions(seed: int, questions: list[str | Faults]) -> list[object]:
    injector = FaultInjector(seed, Faults())
    answers: list[object] = []
    for question in questions:
        if isinstance(question, Faults):
            injector.settings = question
        else:
            answers.append(getattr(injector, question)())
    return answers


@given(st.integers(), QUESTIONS)
def test_the_same_seed_gives_the_same_decisions(seed: int, questions: list[str | Faults]) -> None:
    assert decisions(seed, questions) == decisions(seed, questions)


def test_another_seed_gives_other_decisions() -> None:
    questions: list[str | Faults] = [Faults(drop_reply=0.5, reply_delay_ms=100), *["plan"] * 20]
    assert decisions(1, questions) != decisions(2, questions)


def test_without_faults_nothing_is_disturbed_and_nothing_is_drawn() -> None:
    injector = FaultInjector(3, Faults(lookup_lag_ms=5, clock_offset_ms=5))
    assert injector.plan() is None
    assert injector.update_delay_ms() == 0.0
    assert injector.connection_life_ms() is None
    injector.settings = Faults(reply_delay_ms=100)
    fresh = FaultInjector(3, Faults(reply_delay_ms=100))
    assert injector.plan() == fresh.plan()


ALWAYS = {
    "refuse": PostPlan(0.0, 0.0, False, "429 Too Many Requests", 1, False),
    "error_unprocessed": PostPlan(0.0, 0.0, False, "502 Bad Gateway", 1, False),
    "close_before": PostPlan(0.0, 0.0, False, "close", 1, False),
    "close_after": PostPlan(0.0, 0.0, True, "close", 1, False),
    "drop_reply": PostPlan(0.0, 0.0, True, "none", 1, False),
    "error_processed": PostPlan(0.0, 0.0, True, "502 Bad Gateway", 1, False),
    "duplicate_reply": PostPlan(0.0, 0.0, True, "own", 2, False),
    "garbage": PostPlan(0.0, 0.0, True, "own", 1, True),
}


@pytest.mark.parametrize("name", ALWAYS)
def test_each_fault_does_what_it_says(name: str) -> None:
    assert FaultInjector(0, msgspec.convert({name: 1.0}, Faults)).plan() == ALWAYS[name]


def test_of_several_faults_the_first_in_the_stated_order_wins() -> None:
    order = [name for name in ALWAYS if name != "garbage"]
    for position, name in enumerate(order):
        settings = msgspec.convert(dict.fromkeys(order[position:], 1.0), Faults)
        assert FaultInjector(0, settings).plan() == ALWAYS[name]


def test_rates_and_delays_are_those_that_were_set() -> None:
    injector = FaultInjector(7, Faults(refuse=0.2, drop_update=0.5, reply_delay_ms=100, close_every_ms=1000))
    plans = [injector.plan() for _ in range(5000)]
    told = Counter(plan.reply for plan in plans if plan is not None)
    assert 900 < told["429 Too Many Requests"] < 1100
    delays = [plan.after_ms for plan in plans if plan is not None]
    assert 0 <= min(delays) < 1
    assert 99 < max(delays) <= 100
    lost = sum(injector.update_delay_ms() is None for _ in range(1000))
    assert 400 < lost < 600
    lives = [injector.connection_life_ms() or 0.0 for _ in range(2000)]
    assert 900 < sum(lives) / len(lives) < 1100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"drop_reply": 1.5}',
        '{"refuse": -0.1}',
        '{"reply_delay_ms": -1}',
        '{"drop": 0.1}',
        '{"refuse": "x"}',
    ],
)
def test_settings_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidFaults):
        parse_faults(text)


def test_settings_are_read_and_the_clock_may_go_either_way() -> None:
    assert parse_faults('{"drop_reply": 1, "clock_offset_ms": -5}') == Faults(drop_reply=1.0, clock_offset_ms=-5)
