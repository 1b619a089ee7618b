"""Recorded runs: what ran is accepted by the replay and by TLC, and every changed copy of it is rejected by both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from adapters.journal import Step
from adapters.replay import NotReplayable, replay
from adapters.simulation.world import Simulation
from adapters.verification import trace
from adapters.verification.level import CheckFailed, Options
from adapters.verification.levels import LEVELS, run_level
from adapters.verification.tlc import Tlc, find_tlc
from adapters.verification.trace import changed_fields
from adapters.verification.trace_tla import accepted_change, check_trace, trace_data
from machines.intent import Order
from tests.adapters.live import cancel, crossing_order, live, outcomes, resting_order, steps_of

SEED = 7


async def record() -> list[Step]:
    """A real run: orders that rest and trade, cancels, a refused order, and a broken connection."""
    async with live(tick_ms=0) as world:
        resting = [world.executor.submit(resting_order(price=str(50_000 + number))) for number in range(3)]
        await outcomes(resting)
        await outcomes(world.executor.submit(crossing_order()) for _ in range(3))
        await world.disconnect()
        await world.ready()
        await outcomes(world.executor.submit(cancel(ticket.cloid)) for ticket in resting)
        await world.executor.submit(Order(market="BTC", side="sell", size="9", price="90000", tif="Ioc"))
        await world.executor.close()
        (steps,) = steps_of(world.journal).values()
    return steps


@pytest.fixture(scope="module")
def run() -> list[Step]:
    """The same run for all tests here."""
    return asyncio.run(record())


@pytest.fixture(scope="module")
def checker() -> Tlc:
    """TLC; that there is none fails the tests."""
    return find_tlc()


def _kind(what: str) -> str:
    return what.rpartition(" of step ")[0]


def _replays(steps: Sequence[Step]) -> bool:
    try:
        return all(divergence is None for divergence in replay(steps))
    except NotReplayable:
        return False


# ------------------------------------------------------------------------------------------------------ good and bad


def test_real_run_is_accepted_by_both(run: list[Step], checker: Tlc) -> None:
    assert _replays(run)
    assert check_trace(checker, run) is None


def test_every_changed_copy_is_rejected_by_both(run: list[Step], checker: Tlc) -> None:
    changes = list(changed_fields(run, SEED))
    assert len(changes) >= 20
    assert len({_kind(what) for what, _, _ in changes}) >= 14
    assert all(step != run[place] for _, place, step in changes)
    accepted = [what for what, place, step in changes if _replays([*run[:place], step, *run[place + 1 :]])]
    assert accepted == []
    index = accepted_change(checker, run, [(place, step) for _, place, step in changes])
    assert index is None, changes[index]


def test_changes_are_the_same_for_a_seed(run: list[Step]) -> None:
    assert list(changed_fields(run, SEED)) == list(changed_fields(run, SEED))
    assert list(changed_fields(run, SEED)) != list(changed_fields(run, SEED + 1))


def test_change_that_is_none_is_accepted(run: list[Step], checker: Tlc) -> None:
    """The rejections mean something: the third copy is the run itself, and TLC says so."""
    changes = [(place, step) for _, place, step in changed_fields(run, SEED)][:2]
    assert accepted_change(checker, run, [*changes, (5, run[5])]) == 2


@pytest.mark.parametrize(
    ("event", "changes", "reason"),
    [
        ("PostWritten", {"seq": 0}, "its number does not follow"),
        ("PostWritten", {"event": "Nothing"}, "there is no such event"),
        ("PostWritten", {"cause": 0}, "another post is in hand"),
        ("PostWritten", {"cause": None}, "another post is in hand"),
        ("PostWritten", {"moves": ()}, "it does not send its post"),
        ("PostWritten", {"event": "Tick"}, "what is in hand is handed over next, and nothing else is"),
        ("Submit", {"effects": ()}, "its effects are not those of its moves"),
        ("Submit", {"event": "MarketsLoaded"}, "its event does not cause such a move"),
    ],
)
def test_refusal_names_the_step_and_says_why(
    run: list[Step], checker: Tlc, event: str, changes: dict[str, object], reason: str
) -> None:
    place = next(place for place, step in enumerate(run) if step.event == event and step.moves)
    changed = [*run[:place], replace(run[place], **changes), *run[place + 1 :]]
    assert check_trace(checker, changed) == f"step {place}: {reason}"


def test_record_without_its_beginning_is_not_readable(run: list[Step]) -> None:
    for steps in ([], run[1:]):
        with pytest.raises(NotReplayable):
            trace_data(steps, ())


def test_letters_of_a_record_can_not_break_out_of_their_text(run: list[Step]) -> None:
    text = trace_data([run[0], replace(run[1], event='x" /\\ \\* ]')], ())
    assert 'event |-> "x"' in text


# --------------------------------------------------------------------------------------------------------- the level


LEVEL = next(level for level in LEVELS if level.name == "trace")


def _demo_is(steps: Sequence[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the level a run instead of a demo of many seconds, and short simulated ones."""

    def demo(kept: list[Step]) -> str:
        kept.extend(steps)
        return trace._replayed([kept])

    monkeypatch.setattr(trace, "_demo", demo)
    monkeypatch.setattr(trace, "_SIMULATED", 1)
    monkeypatch.setattr(trace, "_SIMULATED_MS", 5_000)


def test_level_passes(run: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    _demo_is(run, monkeypatch)
    result = run_level(LEVEL)
    assert [(check.name, check.detail) for check in result.checks if check.status != "passed"] == []
    assert len(result.checks) == 5
    assert result.checks[-1].detail.endswith("copies, each with one field changed, all rejected by both")


def test_level_fails_when_a_run_is_none_of_the_machines(run: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    place = next(place for place, step in enumerate(run) if step.event == "PostWritten")
    _demo_is([*run[:place], replace(run[place], moves=()), *run[place + 1 :]], monkeypatch)
    checks = {check.name: check for check in run_level(LEVEL).checks}
    replayed, read = checks["a demo, recorded now, replays"], checks["TLC reads the demo as steps of the model"]
    assert (replayed.status, read.status) == ("failed", "failed")
    assert replayed.detail.startswith(f"step {place}: moves: ")
    assert read.detail == f"step {place}: it does not send its post"


def test_level_fails_when_a_change_is_accepted(run: list[Step], checker: Tlc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of a time is seen by neither, so that it stands for one that is overlooked: first by TLC alone."""
    place = next(place for place, step in enumerate(run) if step.event == "Submit")
    price = replace(run[place], facts={**run[place].facts, "run_id": "elsewhere"})
    monkeypatch.setattr(trace, "changed_fields", lambda *_: iter([("price", place, price)]))
    with pytest.raises(CheckFailed, match="TLC accepts a changed price"):
        trace._tampered(checker, run)
    monkeypatch.setattr(trace, "changed_fields", lambda *_: iter([("nothing", place, run[place])]))
    with pytest.raises(CheckFailed, match="the replay accepts a changed nothing"):
        trace._tampered(checker, run)


def test_level_fails_when_there_is_nothing_to_read(checker: Tlc) -> None:
    nothing: list[list[list[Step]]] = [[], [[]]]
    for runs in nothing:
        with pytest.raises(CheckFailed, match="there is no record to read"):
            trace._read(checker, runs)


def test_demo_that_fails_fails_the_level(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no venue; exit 8\n", encoding="utf-8")
    python.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(python))
    with pytest.raises(CheckFailed, match="the demo ended with exit code 8: no venue"):
        trace._demo([])


def test_without_java_what_needs_it_is_not_run(
    run: list[Step], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _demo_is(run, monkeypatch)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run_level(LEVEL, Options())
    assert [check.status for check in result.checks] == ["passed", "passed", *(["not_run"] * 3)]
    assert all("no `java` on the PATH" in check.detail for check in result.checks[2:])
    assert result.status == "not_run"


# ----------------------------------------------------------------------------------------------- runs that recover


def test_run_that_takes_up_what_an_earlier_one_left_is_accepted(checker: Tlc) -> None:
    """Of a simulated world with crashes: the record that is there is the last run's."""
    steps: list[Step] = []
    for seed in range(100):
        world = Simulation(seed)
        world.suffer(20_000)
        steps = [msgspec.json.decode(step, type=Step) for step in world.disk.steps]
        if any(step.event == "Recovered" and step.facts["posts"] for step in steps):
            break
    assert any(step.event == "Recovered" and step.facts["posts"] for step in steps)
    assert _replays(steps)
    assert check_trace(checker, steps) is None
