"""One set of names: machines, specification, recorded runs and design.md call the same thing the same.

Tables.tla and the words of Executor.tla are compared with the tables in test_model.py.
"""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest

from adapters.journal import Step
from adapters.recorder import BEGAN
from adapters.replay import _EVENTS as REPLAYED
from adapters.simulation.world import Simulation
from adapters.verification.model import SPEC
from adapters.verification.trace_tla import _EFFECTS as OF_TRACE_DATA
from machines import events as ev
from machines.catalogue import MACHINES
from spec.invariants import INVARIANTS
from tests.docs.documents import ROOT


def _code(module: str) -> str:
    text = (SPEC / module).read_text(encoding="utf-8")
    return re.sub(r"\\\*.*", "", re.sub(r"\(\*.*?\*\)", "", text, flags=re.DOTALL))


READER = _code("TraceExecutor.tla")
MODEL = _code("Executor.tla")
EVENTS = {kind.__name__ for kind in get_args(ev.Event)}
EFFECTS = {kind.__name__ for kind in get_args(ev.Effect)}
TABLES = {str(machine.name): machine for machine in MACHINES}


def _definition(name: str) -> str:
    found = re.search(rf"^{name} ==(.*?)^(?=\S)", READER, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name} is not defined"
    return found.group(1)


def _function(name: str) -> dict[str, str]:
    """The domain of a function that is written out, with the text of each value."""
    body = _definition(name).strip()
    assert body[0] == "["
    assert body[-1] == "]"
    parts = re.split(r"(\w+) \|->", body[1:-1])[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(scope="module")
def runs() -> list[Step]:
    """What simulated runs with every fault record."""
    steps: list[Step] = []
    for seed in range(4):
        world = Simulation(seed)
        world.suffer(60_000)
        steps += [msgspec.json.decode(step, type=Step) for step in world.disk.steps]
    return steps


# ------------------------------------------------------------------------------------------------- events and effects


def test_replay_knows_exactly_the_events_of_the_core() -> None:
    assert set(REPLAYED) == EVENTS


def test_record_names_events_and_effects_as_the_core_does(runs: list[Step]) -> None:
    """All names of the record are the core's; and all but those of what no simulated run does are in it."""
    events = {step.event for step in runs}
    assert events - EVENTS == {BEGAN}
    assert {effect["type"] for step in runs for effect in step.effects} <= EFFECTS
    assert len(events & EVENTS) > len(EVENTS) / 2


def test_reader_is_given_the_effects_of_the_core_and_speaks_of_no_other() -> None:
    assert set(OF_TRACE_DATA) == EFFECTS
    named = set(re.findall(r'Named\(l\.effects, "(\w+)"\)', READER))
    named |= set(re.findall(r'l\.effects\[k\]\[1\] = "(\w+)"', READER))
    assert named
    assert named <= EFFECTS


# --------------------------------------------------------------------------------------------------- machines, moves


def test_reader_knows_exactly_the_machines_with_a_table() -> None:
    assert set(_function("Rows")) == set(TABLES)


def test_record_names_machines_as_their_tables_do(runs: list[Step]) -> None:
    assert {move.machine for step in runs for move in step.moves} == set(TABLES)


def test_recorded_moves_are_rows_of_the_tables(runs: list[Step]) -> None:
    rows = {
        (name, row.event.value, row.source.value, row.target.value)
        for name, machine in TABLES.items()
        for row in machine.table
    }
    moves = {(move.machine, move.event, move.source, move.target) for step in runs for move in step.moves}
    assert moves <= rows


# -------------------------------------------------------------------------------------------------------- invariants


def test_every_invariant_that_design_names_is_one() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    paragraph = re.search(r"^Core invariants: (.*?)\n\n", design, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    core, _, liveness = paragraph.group(1).partition("liveness:")
    of_code = {invariant.id for invariant in INVARIANTS}
    assert set(re.findall(r"`(\w+)`", core)) <= of_code
    assert set(re.findall(r"`(\w+)`", core))
    defined = set(re.findall(r"^(\w+) ==", MODEL, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", liveness)) <= defined
    assert set(re.findall(r"`(\w+)`", liveness))


def test_invariants_of_the_reader_have_the_names_of_the_code() -> None:
    of_code = {invariant.id for invariant in INVARIANTS}
    defined = set(re.findall(r"^(\w+) ==", READER, re.MULTILINE))
    listed = set((SPEC / "TraceExecutor.cfg").read_text(encoding="utf-8").partition("INVARIANTS")[2].split())
    assert listed <= defined
    assert listed - of_code == {"EveryLineIsAStep"}
