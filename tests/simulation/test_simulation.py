"""Runs of the simulator: nothing breaks, the seed decides everything, and what happens is counted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import get_args

import pytest

from adapters.journal import Changes, PostRow
from adapters.recorder import Recorder
from adapters.simulation import Report, Result, simulate
from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Fault, Sight
from adapters.simulation.process import Process
from adapters.simulation.timeline import Timeline
from adapters.simulation.world import Simulation
from machines import events as ev

SEEDS = range(30)
HOURS = 0.05


@cache
def run(seed: int) -> Result:
    return simulate(seed, HOURS)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_breaks(seed: int) -> None:
    assert run(seed).failure is None


def test_a_seed_decides_everything() -> None:
    again = simulate(3, HOURS)
    assert again == run(3)
    assert again.steps > 100


def test_other_seeds_are_other_runs() -> None:
    assert len({run(seed).digest for seed in SEEDS}) == len(SEEDS)


def test_nothing_depends_on_the_hash_seed_of_the_interpreter() -> None:
    program = f"from adapters.simulation import simulate; print(simulate(3, {HOURS}).digest)"
    digests = {
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert digests == {run(3).digest}


def test_thirty_runs_meet_every_fault_and_every_outcome() -> None:
    counts: Counter[Fault | Sight] = sum((run(seed).counts for seed in SEEDS), Counter())
    outcomes: Counter[str] = sum((run(seed).outcomes for seed in SEEDS), Counter())
    assert [fault for fault in Fault if not counts[fault]] == []
    assert outcomes.keys() == {"Resting", "Filled", "Canceled", "Rejected", "NotExecuted"}


def test_ten_runs_tell_the_core_everything_that_it_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Counter[str] = Counter()
    real = Recorder.record

    def count_and_record(self: Recorder, event: ev.Event, effects: Sequence[ev.Effect]) -> None:
        told[type(event).__name__] += 1
        real(self, event, effects)

    monkeypatch.setattr(Recorder, "record", count_and_record)
    for seed in SEEDS[:10]:
        simulate(seed, HOURS)
    assert [kind.__name__ for kind in get_args(ev.Event) if not told[kind.__name__]] == []


@pytest.mark.parametrize("seed", [5, 6])
def test_faults_stop_when_the_world_heals(seed: int) -> None:
    world = Simulation(seed)
    world.suffer(120_000)
    world.converge()
    before = world.troubles.counts.copy()
    world.timeline.run_until(world.timeline.now + 600_000)
    assert [fault for fault in Fault if world.troubles.counts[fault] != before[fault]] == []


def test_what_does_not_settle_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The liveness half of phase 2: here nothing ever ticks."""
    monkeypatch.setattr(Process, "_arm", lambda self: None)
    world = Simulation(1)
    world.suffer(10_000)
    with pytest.raises(PromiseBroken, match="EverythingSettles: the session is"):
        world.converge()


def test_what_the_journal_holds_open_at_the_end_is_a_failure() -> None:
    world = Simulation(4)
    world.suffer(60_000)
    world.converge()
    row = PostRow(
        post_id=10**6,
        nonce=1,
        kind="noop",
        priority=None,
        items=(),
        fence_of=None,
        epoch=1,
        prepared_unix_ms=1,
        expires_after=None,
        state="sent",
    )
    world.disk.write([b""], Changes(posts=(row,)))
    with pytest.raises(PromiseBroken, match=r"the journal has open intents \[\] and open posts \[1000000\]"):
        world.converge()


def test_what_keeps_the_executor_busy_without_end_is_a_failure() -> None:
    timeline = Timeline()

    def again() -> None:
        timeline.after(0, again)

    again()
    with pytest.raises(PromiseBroken, match="TimeGoesOn"):
        timeline.run_until(timeline.now + 1)


def test_a_failure_names_the_promise_the_step_and_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Process._perform

    def perform_twice(self: Process, effects: Sequence[ev.Effect]) -> None:
        real(self, effects)
        real(self, effects)

    monkeypatch.setattr(Process, "_perform", perform_twice)
    report = Report(HOURS)
    report.add(simulate(0, HOURS))
    failure = report.failures[0]
    assert failure.life == 1
    assert failure.step > 0
    assert len(failure.trace) > 1
    assert not report.good
