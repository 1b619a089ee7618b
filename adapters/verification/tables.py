"""Level `tables`: the transition tables, checked as data (style.md).

Each table is well formed, every state is reachable, every non-final state has a way out and no final one has, every
event is used, and no two rows can apply at once. Where several rows share an event and a source, their guards are told
apart by running them with unknown numbers (adapters/verification/symbolic.py): no object satisfies two of them.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from itertools import combinations
from typing import Any, Final

from adapters.verification.level import Check, CheckFailed, Options, check
from adapters.verification.symbolic import Unknowns, explore
from machines.catalogue import MACHINES, AnyMachine
from machines.errors import InvalidSetting
from machines.inflight import INFLIGHT, InflightTracker
from machines.table import Row

AnyRow = Row[Any, Any]


def run_tables(_: Options) -> Iterator[Check]:
    """One check for each machine."""
    for machine in MACHINES:
        yield check(machine.name, partial(_judge, machine))


def _judge(machine: AnyMachine) -> str:
    found = flaws(machine)
    if found:
        raise CheckFailed("; ".join(found))
    shared = sum(1 for _ in _rivals(machine))
    states = len(_members(machine.states))
    return f"{len(machine.table)} rows, {states} states, {shared} pairs of rows told apart by their guards"


def flaws(machine: AnyMachine) -> list[str]:
    """What is wrong with a machine's table; empty when nothing is."""
    foreign = list(_foreign(machine))
    if foreign:  # the other checks would stumble over it
        return foreign
    return [*_of_graph(machine), *_of_rows(machine), *_of_functions(machine), *_of_guards(machine)]


def _foreign(machine: AnyMachine) -> Iterator[str]:
    """Names that are not the machine's own, or stand for two things."""
    for enum in (machine.states, machine.events):
        for alias in enum.__members__:
            if enum[alias].name != alias:
                yield f"{enum.__name__}.{alias} is an alias"
    for row in machine.table:
        for value, enum in ((row.event, machine.events), (row.source, machine.states), (row.target, machine.states)):
            if not isinstance(value, enum):
                yield f"{value} is not one of {enum.__name__}"


def _of_graph(machine: AnyMachine) -> Iterator[str]:
    states, leavable = _members(machine.states), {row.source for row in machine.table}
    yield from (f"{name} is not reachable" for name in _names(states - _reachable(machine)))
    yield from (f"{name} has no way out" for name in _names(states - machine.final - leavable))
    yield from (f"{name} is final and has a way out" for name in _names(machine.final & leavable))
    yield from (
        f"event {name} is not used" for name in _names(_members(machine.events) - {row.event for row in machine.table})
    )


def _of_rows(machine: AnyMachine) -> Iterator[str]:
    for (event, source, target), times in Counter((row.event, row.source, row.target) for row in machine.table).items():
        if times > 1:
            yield f"{event.name} from {source.name} to {target.name} stands {times} times"


def _of_functions(machine: AnyMachine) -> Iterator[str]:
    """The rows of an event are tried with the same facts, so their functions must ask for the same ones."""
    for event in machine.events:
        asked = {
            tuple(list(inspect.signature(function).parameters)[1:])
            for row in machine.table
            if row.event is event
            for function in (row.guard, row.effect)
            if function is not None
        }
        if len(asked) > 1:
            yield f"the functions of event {event.name} ask for different facts: {sorted(asked)}"


def _of_guards(machine: AnyMachine) -> Iterator[str]:
    for first, second in _rivals(machine):
        where = f"{first.event.name} from {first.source.name}"
        if first.guard is None or second.guard is None:
            yield f"{where}: a row without a guard stands beside another one"
        elif machine.name not in UNKNOWN_OBJECTS:
            yield f"{where}: the guards can't be told apart; give the machine an object of unknowns"
        else:
            yield from (f"{where}: {clash}" for clash in _clashes(UNKNOWN_OBJECTS[machine.name], first, second))


def _clashes(make: Callable[[Unknowns], object], first: AnyRow, second: AnyRow) -> list[str]:
    def both(run: Unknowns) -> str | None:
        try:
            obj = make(run)
        except InvalidSetting:
            return None
        if first.guard is None or second.guard is None or not first.guard(obj) or not second.guard(obj):
            return None
        return f"{first.guard.__name__} and {second.guard.__name__} both hold for {run.example()}"

    return [clash for clash in explore(both) if clash is not None][:1]


def _unknown_tracker(run: Unknowns) -> InflightTracker:
    tracker = InflightTracker(run.number("limit"), run.number("high_watermark"))  # type: ignore[arg-type]
    tracker.count = run.number("count")  # type: ignore[assignment]  # an unknown stands for every integer
    tracker.quarantined = run.number("quarantined")  # type: ignore[assignment]
    return tracker


UNKNOWN_OBJECTS: Final[Mapping[str, Callable[[Unknowns], object]]] = {INFLIGHT.name: _unknown_tracker}
"""For machines with several guarded rows for one event and source: an object of theirs about which nothing is known.

Making it may raise `InvalidSetting`: such objects do not exist.
"""


def _rivals(machine: AnyMachine) -> Iterator[tuple[AnyRow, AnyRow]]:
    for first, second in combinations(machine.table, 2):
        if (first.event, first.source) == (second.event, second.source):
            yield first, second


def _members(enum: type[Enum]) -> set[Enum]:
    return set(enum)


def _names(members: set[Enum] | frozenset[Enum]) -> list[str]:
    return sorted(member.name for member in members)


def _reachable(machine: AnyMachine) -> set[Enum]:
    reached: set[Enum] = set()
    frontier = {machine.initial}
    while frontier:
        reached |= frontier
        frontier = {row.target for row in machine.table if row.source in reached} - reached
    return reached
