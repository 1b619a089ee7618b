"""Level `tables`: passes on the real tables, and finds each flaw in a table made bad on purpose."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any

import pytest

from adapters.verification.level import Options
from adapters.verification.tables import flaws, run_tables
from machines.catalogue import MACHINES, AnyMachine
from machines.inflight import INFLIGHT, InflightEvent, InflightState
from machines.table import Row, StateMachine


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


def _lit(_: object) -> bool:
    return True


def _asks(_: object, how: str) -> None:
    """An effect that wants to know something."""


def _asks_else(_: object, why: str) -> None:
    """An effect that wants to know something else."""


NEXT_RED = Row(Press.NEXT, Light.RED, Light.GREEN)
NEXT_GREEN = Row(Press.NEXT, Light.GREEN, Light.RED)
FOREIGN: Row[Any, Any] = Row(Press.NEXT, "green", Light.OFF)
BREAK_RED = Row(Press.BREAK, Light.RED, Light.OFF)


def _light(*table: Row[Any, Any], events: type[Any] = Press) -> AnyMachine:
    return StateMachine[Any, Any]("light", Light, events, initial=Light.RED, final=frozenset({Light.OFF}), table=table)


def test_real_tables_pass() -> None:
    results = list(run_tables(Options()))
    assert [result.name for result in results] == [machine.name for machine in MACHINES]
    assert {result.status for result in results} == {"passed"}


def test_flawless_table_passes() -> None:
    assert flaws(_light(NEXT_RED, NEXT_GREEN, BREAK_RED)) == []


@pytest.mark.parametrize(
    ("table", "flaw"),
    [
        ((NEXT_RED, NEXT_GREEN, Row(Press.BREAK, Light.RED, Light.RED)), "OFF is not reachable"),
        ((NEXT_RED, BREAK_RED), "GREEN has no way out"),
        ((NEXT_RED, NEXT_GREEN, BREAK_RED, Row(Press.NEXT, Light.OFF, Light.RED)), "OFF is final and has a way out"),
        ((NEXT_RED, Row(Press.NEXT, Light.GREEN, Light.OFF)), "event BREAK is not used"),
        ((NEXT_RED, NEXT_GREEN, BREAK_RED, BREAK_RED), "BREAK from RED to OFF stands 2 times"),
        (
            (NEXT_RED, NEXT_GREEN, BREAK_RED, Row(Press.NEXT, Light.RED, Light.OFF, _lit)),
            "NEXT from RED: a row without a guard stands beside another one",
        ),
        (
            (replace(NEXT_RED, guard=_lit), NEXT_GREEN, BREAK_RED, Row(Press.NEXT, Light.RED, Light.OFF, _lit)),
            "NEXT from RED: the guards can't be told apart; give the machine an object of unknowns",
        ),
        (
            (replace(NEXT_RED, effect=_asks), replace(NEXT_GREEN, effect=_asks_else), BREAK_RED),
            "the functions of event NEXT ask for different facts: [('how',), ('why',)]",
        ),
        ((NEXT_RED, FOREIGN), "green is not one of Light"),
    ],
)
def test_flaw_is_found(table: tuple[Row[Any, Any], ...], flaw: str) -> None:
    if FOREIGN in table:
        # The library refuses to build it, so the table is changed afterwards.
        machine = _light(NEXT_RED, NEXT_GREEN, BREAK_RED)
        machine.table = table
    else:
        machine = _light(*table)
    assert flaw in flaws(machine)


def test_aliased_enum_value_is_found() -> None:
    assert flaws(_light(NEXT_RED, NEXT_GREEN, BREAK_RED, events=AliasedPress))[0] == "AliasedPress.SMASH is an alias"


def test_two_guards_that_both_hold_are_found_with_an_example() -> None:
    acquire = [row for row in INFLIGHT.table if (row.event, row.source) == (InflightEvent.ACQUIRE, InflightState.IDLE)]
    first, second = acquire[0], acquire[1]
    overlapping = replace(second, guard=lambda tracker: tracker.occupied + 1 <= tracker.limit)
    table = tuple(overlapping if row is second else row for row in INFLIGHT.table)
    wrong = StateMachine(
        INFLIGHT.name, INFLIGHT.states, INFLIGHT.events, initial=INFLIGHT.initial, final=INFLIGHT.final, table=table
    )
    found = flaws(wrong)
    assert first.guard is not None
    assert any(f"{first.guard.__name__} and <lambda> both hold for limit = " in flaw for flaw in found), found
