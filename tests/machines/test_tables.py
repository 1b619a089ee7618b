"""All transition tables, checked as data: the `transitions` library checks nothing when a machine is built.

The checks are one function, `flaws`, and it is shown to find each flaw in a table made bad on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from enum import Enum
from typing import Any

import pytest

from machines.table import Row, StateMachine
from tests.machines.builders import AnyMachine, all_machines

ALL_MACHINES = all_machines()


def flaws(machine: AnyMachine) -> list[str]:
    """What is wrong with a machine's table; empty when nothing is."""
    rows = machine.table
    found = [f"{name} is not reachable" for name in _names(set(machine.states) - _reachable(machine))]
    leavable = {row.source for row in rows}
    found += [f"{name} has no way out" for name in _names(set(machine.states) - machine.final - leavable)]
    found += [f"{name} is final and has a way out" for name in _names(machine.final & leavable)]
    found += [f"event {name} is not used" for name in _names(set(machine.events) - {row.event for row in rows})]
    for (event, source, target), times in Counter((row.event, row.source, row.target) for row in rows).items():
        if times > 1:
            found.append(f"{event.name} from {source.name} to {target.name} stands {times} times")
    for pair in {(row.event, row.source) for row in rows}:
        same = [row for row in rows if (row.event, row.source) == pair]
        if any(row.guard is None for row in same[:-1]):
            found.append(f"{pair[0].name} from {pair[1].name}: a row without a guard hides the ones after it")
    for enum in (machine.states, machine.events):
        found += [f"{enum.__name__}.{alias} is an alias" for alias in enum.__members__ if enum[alias].name != alias]
    return found


def _names(members: Set[Enum]) -> list[str]:
    return sorted(member.name for member in members)


def _reachable(machine: AnyMachine) -> set[Enum]:
    reached: set[Enum] = set()
    frontier = {machine.initial}
    while frontier:
        reached |= frontier
        frontier = {row.target for row in machine.table if row.source in reached} - reached
    return reached


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


# ------------------------------------------------------------------------------------------ the checks find flaws


class Light(Enum):
    RED = "red"
    GREEN = "green"
    OFF = "off"


class Press(Enum):
    NEXT = "next"
    BREAK = "break"


class AliasedPress(Enum):
    NEXT = "next"
    BREAK = "break"
    SMASH = "break"  # noqa: PIE796 the flaw on purpose


NEXT_RED = Row(Press.NEXT, Light.RED, Light.GREEN)
NEXT_GREEN = Row(Press.NEXT, Light.GREEN, Light.RED)
BREAK_RED = Row(Press.BREAK, Light.RED, Light.OFF)


def _light(*table: Row[Light, Press], events: type[Any] = Press) -> AnyMachine:
    return StateMachine[Any, Any]("light", Light, events, initial=Light.RED, final=frozenset({Light.OFF}), table=table)


def _lit(_: object) -> bool:
    return True


def test_flawless_table_passes() -> None:
    assert flaws(_light(NEXT_RED, NEXT_GREEN, BREAK_RED)) == []


@pytest.mark.parametrize(
    ("table", "flaw"),
    [
        ((NEXT_RED, NEXT_GREEN, Row(Press.BREAK, Light.RED, Light.RED)), "OFF is not reachable"),
        ((NEXT_RED, BREAK_RED), "GREEN has no way out"),
        ((NEXT_RED, NEXT_GREEN, BREAK_RED, Row(Press.NEXT, Light.OFF, Light.RED)), "OFF is final and has a way out"),
        ((NEXT_RED, NEXT_GREEN, Row(Press.NEXT, Light.GREEN, Light.OFF, _lit)), "event BREAK is not used"),
        ((NEXT_RED, NEXT_GREEN, BREAK_RED, BREAK_RED), "BREAK from RED to OFF stands 2 times"),
        (
            (NEXT_RED, Row(Press.NEXT, Light.RED, Light.OFF, _lit), NEXT_GREEN, BREAK_RED),
            "NEXT from RED: a row without a guard hides the ones after it",
        ),
    ],
)
def test_flaw_is_found(table: tuple[Row[Light, Press], ...], flaw: str) -> None:
    assert flaw in flaws(_light(*table))


def test_aliased_enum_value_is_found() -> None:
    assert flaws(_light(NEXT_RED, NEXT_GREEN, BREAK_RED, events=AliasedPress))[-1] == "AliasedPress.SMASH is an alias"
