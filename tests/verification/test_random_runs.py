"""Runs that Hypothesis made are recorded like any other, and replay; a few are read by TLC as steps of the model."""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType

import pytest

from adapters.journal import Recovered
from adapters.journal.memory import KeptSteps
from adapters.recorder import Recorder
from adapters.replay import replay
from adapters.verification.tlc import find_tlc
from adapters.verification.trace_tla import check_trace
from machines import events as ev
from machines.executor import ExecutorCore
from tests.stateful.composed import ComposedCore
from tests.stateful.record import SEED, run
from tests.stateful.world import RUN_ID, World

EXAMPLES = 40
READ_BY_TLC = 3


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[KeptSteps]:
    """The records of all cores that a world begins from now on."""
    kept: list[KeptSteps] = []
    begin = World._begin_run

    def begin_recorded(world: World, last: tuple[int, int, int]) -> None:
        begin(world, last)
        kept.append(KeptSteps())
        recorder = Recorder(world.core, kept[-1], world.clock)
        nonce, post_id, seq = last
        left = Recovered(
            run=world.run,
            last_nonce=nonce,
            last_post_id=post_id,
            last_intent_seq=seq,
            last_signer=None,
            clean=True,
            torn_frames=0,
            intents=(),
            posts=(),
        )
        recorder.begin(RUN_ID + world.run, left)
        real = world.core.handle

        def handle(core: ExecutorCore, event: ev.Event) -> Sequence[ev.Effect]:
            with recorder.watching():
                effects = real(event)
            recorder.record(event, effects)
            recorder.commit()
            return effects

        world.core.handle = MethodType(handle, world.core)  # type: ignore[method-assign]

    monkeypatch.setattr(World, "_begin_run", begin_recorded)
    return kept


def test_x1_x2_runs_of_the_random_suite_replay_and_are_runs_of_the_model(records: list[KeptSteps]) -> None:
    run(ComposedCore, seed=SEED, max_examples=EXAMPLES, database=None)
    runs = [list(kept.steps) for kept in records]
    assert sum(map(len, runs)) > 1_000
    assert any(step.event == "Recovered" and step.facts["posts"] for steps in runs for step in steps)
    for steps in runs:
        assert [str(divergence) for divergence in replay(steps) if divergence is not None] == []
    tlc = find_tlc()
    for steps in sorted(runs, key=len)[-READ_BY_TLC:]:
        assert check_trace(tlc, steps) is None
