"""How the machines drive each other is what recorded steps show: no move without a cause, no row that never happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Final, TypeAlias, get_args

import pytest

from adapters.simulation.world import simulate
from machines import events as ev
from machines.catalogue import MACHINES, observing
from machines.executor import ExecutorCore
from machines.nonce import WINDOW_FUTURE_MS
from spec.composition import DRIVES, Drive
from tests.machines.builders import NOW, Desk, order

Steps: TypeAlias = set[tuple[str, frozenset[str]]]
"""The event of a step and the events of the machines that it moved."""

SEEDS: Final = (36, 41, 58, 61, 123, 142)
"""Seeds of the simulator in which, together, every row but one occurs; other machines may need others."""
HOURS: Final = 0.1
NAMES: Final = {machine.events: machine.name for machine in MACHINES}
EVENTS: Final = {kind.__name__ for kind in get_args(ev.Event)}
TRIGGERS: Final = {
    f"{machine.name}.{event.value}" for machine in MACHINES for event in machine.events.__members__.values()
}


@contextmanager
def _steps_noted(steps: Steps, patch: pytest.MonkeyPatch) -> Iterator[None]:
    moved: set[str] = set()
    handle = ExecutorCore.handle

    def noting(core: ExecutorCore, event: ev.Event) -> object:
        moved.clear()
        effects = handle(core, event)
        steps.add((type(event).__name__, frozenset(moved)))
        return effects

    def note(_: object, event: Enum, source: Enum, target: Enum) -> None:
        moved.add(f"{NAMES[type(event)]}.{event.value}")

    patch.setattr(ExecutorCore, "handle", noting)
    with observing(note):
        yield


@pytest.fixture(scope="module")
def steps() -> Steps:
    """The kinds of steps that simulated runs took, and a tick for which no nonce was left."""
    found: Steps = set()
    with pytest.MonkeyPatch.context() as patch, _steps_noted(found, patch):
        for seed in SEEDS:
            assert simulate(seed, HOURS).failure is None
        desk = Desk(last_nonce=NOW + WINDOW_FUTURE_MS - 2)
        desk.submit(order())
        assert desk.tick() is None
    return found


def _causes(name: str, effect: str, moved: frozenset[str]) -> list[Drive]:
    return [row for row in DRIVES if row.effect == effect and row.cause in moved | {name}]


def test_rows_speak_of_events_that_exist_and_stand_once() -> None:
    assert {row.cause for row in DRIVES} <= EVENTS | TRIGGERS
    assert {row.effect for row in DRIVES} == TRIGGERS, "every event of every machine has a cause"
    assert len({(row.cause, row.effect) for row in DRIVES}) == len(DRIVES)


def test_every_move_has_a_cause_in_its_step(steps: Steps) -> None:
    assert {(name, effect) for name, moved in steps for effect in moved if not _causes(name, effect, moved)} == set()


def test_every_row_was_seen(steps: Steps) -> None:
    seen = {row for name, moved in steps for effect in moved for row in _causes(name, effect, moved)}
    assert set(DRIVES) - seen == set()


def test_what_has_no_condition_happens_always(steps: Steps) -> None:
    for row in DRIVES:
        if not row.when:
            assert [moved for name, moved in steps if row.cause in moved | {name} and row.effect not in moved] == []
