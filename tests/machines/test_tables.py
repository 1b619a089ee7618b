"""All transition tables, checked as data: the `transitions` library checks nothing when a machine is built.

The checks are those of `hip3 verify --level tables`; tests/verification shows that they find each flaw.
"""

from __future__ import annotations

import pytest

from adapters.verification.tables import flaws
from tests.machines.builders import AnyMachine, all_machines

ALL_MACHINES = all_machines()


def test_all_machines_are_found() -> None:
    names = sorted(machine.name for machine in ALL_MACHINES)
    assert names == ["hard_stop", "inflight", "intent", "post", "session", "settlement"]


@pytest.mark.parametrize("machine", ALL_MACHINES, ids=lambda machine: machine.name)
def test_table_has_no_flaw(machine: AnyMachine) -> None:
    assert flaws(machine) == []


@pytest.mark.parametrize("machine", ALL_MACHINES, ids=lambda machine: machine.name)
def test_table_speaks_only_of_its_own_states_and_events(machine: AnyMachine) -> None:
    for row in machine.table:
        assert isinstance(row.event, machine.events)
        assert {row.source, row.target, machine.initial} | machine.final <= set(machine.states)
