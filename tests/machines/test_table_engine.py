"""The engine behind the tables: `StateMachine.step`, its guards, effects, errors and observers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from machines.catalogue import observing
from machines.errors import IllegalEvent, MachinesError
from machines.table import Row, StateMachine
from tests.machines.builders import fields


class Door(Enum):
    OPEN = "open"
    SHUT = "shut"
    LOCKED = "locked"


class Deed(Enum):
    SHUT = "shut"
    LOCK = "lock"


@dataclass(slots=True, eq=False)
class House:
    state: Door = Door.OPEN
    key: str | None = None


class BrokenKey(Exception):
    """The effect fails."""


def _turn(house: House, key: str) -> None:
    if key == "broken":
        raise BrokenKey
    house.key = key


def _door() -> StateMachine[Door, Deed]:
    return StateMachine(
        "door",
        Door,
        Deed,
        initial=Door.OPEN,
        final=frozenset({Door.LOCKED}),
        table=(
            Row(Deed.SHUT, Door.OPEN, Door.SHUT),
            Row(Deed.LOCK, Door.SHUT, Door.LOCKED, guard=lambda _, key: key != "wrong", effect=_turn),
        ),
    )


def test_step_moves_and_does_the_effect() -> None:
    door, house = _door(), House()
    assert door.step(house, Deed.SHUT)
    assert door.step(house, Deed.LOCK, key="right")
    assert fields(house) == {"state": Door.LOCKED, "key": "right"}


def test_refusing_guard_is_answered_false_and_changes_nothing() -> None:
    door, house = _door(), House(Door.SHUT)
    assert not door.step(house, Deed.LOCK, key="wrong")
    assert fields(house) == {"state": Door.SHUT, "key": None}


def test_illegal_event_names_machine_state_and_event() -> None:
    door, house = _door(), House()
    with pytest.raises(IllegalEvent, match=r"^door: event 'lock' is not allowed in state 'open'$") as caught:
        door.step(house, Deed.LOCK, key="right")
    assert (caught.value.machine, caught.value.state, caught.value.event) == ("door", "open", "lock")
    assert isinstance(caught.value, MachinesError)
    assert fields(house) == {"state": Door.OPEN, "key": None}


def test_effect_that_raises_leaves_the_state() -> None:
    door, house = _door(), House(Door.SHUT)
    with pytest.raises(BrokenKey):
        door.step(house, Deed.LOCK, key="broken")
    assert fields(house) == {"state": Door.SHUT, "key": None}


def test_one_engine_serves_many_objects() -> None:
    door, houses = _door(), [House() for _ in range(3)]
    door.step(houses[1], Deed.SHUT)
    assert [house.state for house in houses] == [Door.OPEN, Door.SHUT, Door.OPEN]


def test_observers_hear_of_moves_only() -> None:
    door, house = _door(), House()
    heard: list[tuple[Any, Deed, Door, Door]] = []
    with observing(lambda *move: heard.append(move)):
        door.step(house, Deed.SHUT)
        assert not door.step(house, Deed.LOCK, key="wrong")
        with pytest.raises(IllegalEvent):
            door.step(house, Deed.SHUT)
        with pytest.raises(BrokenKey):
            door.step(house, Deed.LOCK, key="broken")
    assert heard == [(house, Deed.SHUT, Door.OPEN, Door.SHUT)]


def test_library_does_not_log_every_trigger(caplog: pytest.LogCaptureFixture) -> None:
    door, house = _door(), House()
    with caplog.at_level(logging.DEBUG):
        door.step(house, Deed.SHUT)
    assert caplog.records == []
