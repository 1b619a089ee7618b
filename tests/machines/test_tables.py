"""All transition tables, checked as data: the `transitions` library checks nothing when a machine is built.

The checks are those of `hip3 verify --level tables`; tests/verification shows that they find each flaw.
"""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import machines
from adapters.verification.tables import flaws
from machines.catalogue import MACHINES, AnyMachine
from machines.table import StateMachine


def test_no_machine_is_missing_in_the_catalogue() -> None:
    modules = [importlib.import_module(f"machines.{module.name}") for module in pkgutil.iter_modules(machines.__path__)]
    made = {value for module in modules for value in vars(module).values() if isinstance(value, StateMachine)}
    assert made == set(MACHINES)
    assert len(MACHINES) == len({machine.name for machine in MACHINES}) == 6


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_table_has_no_flaw(machine: AnyMachine) -> None:
    assert flaws(machine) == []


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_table_speaks_only_of_its_own_states_and_events(machine: AnyMachine) -> None:
    for row in machine.table:
        assert isinstance(row.event, machine.events)
        assert {row.source, row.target, machine.initial} | machine.final <= set(machine.states.__members__.values())
