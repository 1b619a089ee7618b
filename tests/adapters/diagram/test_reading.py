"""What is read of the sources is what runs; what can't be read without running it is refused, with its place."""

from __future__ import annotations

import re

import pytest

from adapters.diagram.chart import Drive
from adapters.diagram.reading import COMPOSITION, UnreadableTable, installed, read
from machines.catalogue import MACHINES, AnyMachine
from spec.composition import DRIVES

ATLAS = read(installed())
CHARTS = {chart.name: chart for chart in ATLAS.charts}

LAMP = '''
"""A lamp.

It can break.
"""
import os

os.abort()  # whoever runs this, dies


class LampState(Enum):
    OFF = "off"
    """Dark."""
    ON = "on"
    BROKEN = "broken"


class LampEvent(Enum):
    PRESS = "press"
    BREAK = "break"


def _enough(lamp):
    """Guards."""
    return lamp.power > 0  # watts


_S, _E = LampState, LampEvent
_WHY = "because"
LAMP: Final = StateMachine(
    "lamp",
    LampState,
    LampEvent,
    initial=_S.OFF,
    final=frozenset({_S.BROKEN}),
    table=(
        Row(_E.PRESS, _S.OFF, _S.ON, guard=_enough, why=_WHY),
        Row(_E.BREAK, _S.ON, _S.BROKEN, why="it " "happens"),
    ),
)
'''


def test_nothing_is_missing() -> None:
    assert sorted(CHARTS) == sorted(machine.name for machine in MACHINES)
    assert [chart.name for chart in ATLAS.charts] == sorted(CHARTS)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: str(machine.name))
def test_what_is_read_is_the_table_that_runs(machine: AnyMachine) -> None:
    chart = CHARTS[machine.name]
    assert [
        (row.event, row.source, row.target, row.guard and row.guard.name, row.effect and row.effect.name, row.why)
        for row in chart.transitions
    ] == [
        (
            row.event.value,
            row.source.value,
            row.target.value,
            row.guard and row.guard.__name__,
            row.effect and row.effect.__name__,
            row.why,
        )
        for row in machine.table
    ]
    assert [(state.name, state.initial, state.final) for state in chart.states] == [
        (state.value, state is machine.initial, state in machine.final) for state in machine.states
    ]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: str(machine.name))
def test_lines_are_those_of_the_source_and_every_state_has_a_meaning(machine: AnyMachine) -> None:
    chart = CHARTS[machine.name]
    lines = installed()[chart.file].splitlines()
    assert "StateMachine(" in lines[chart.line - 1]
    for row in chart.transitions:
        assert "Row(" in lines[row.line - 1]
        for function in filter(None, (row.guard, row.effect)):
            assert lines[function.line - 1].startswith(f"def {function.name}(")
    for state in chart.states:
        assert f'"{state.name}"' in lines[state.line - 1]
        assert state.meaning.endswith(".")


def test_the_composition_is_read_as_it_is() -> None:
    assert [(row.cause, row.effect, row.when) for row in ATLAS.drives] == [
        (row.cause, row.effect, row.when) for row in DRIVES
    ]


def test_nothing_of_a_source_runs() -> None:
    (lamp,) = read({"machines/lamp.py": LAMP}).charts
    assert (lamp.name, lamp.title, lamp.summary, lamp.file) == ("lamp", "Lamp", "A lamp.", "machines/lamp.py")
    assert [(state.name, state.meaning, state.initial, state.final) for state in lamp.states] == [
        ("off", "Dark.", True, False),
        ("on", "", False, False),
        ("broken", "", False, True),
    ]
    press, breaks = lamp.transitions
    assert press.guard is not None
    assert (press.guard.words, press.guard.code) == ("enough", "def _enough(lamp):\n    return lamp.power > 0")
    assert (press.why, breaks.why) == ("because", "it happens")


def test_only_the_folder_of_the_machines_is_read() -> None:
    assert read({"elsewhere/lamp.py": LAMP, "machines/deeper/lamp.py": LAMP}).charts == ()


def test_an_older_revision_has_no_composition() -> None:
    assert read({"machines/lamp.py": LAMP}).drives == ()
    drives = read({COMPOSITION: 'DRIVES = (Drive("A", "b.c"), Drive("b.c", "d.e", when="f"))'}).drives
    assert drives == (Drive("A", "b.c", "", 1), Drive("b.c", "d.e", "f", 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("_E.PRESS, _S.OFF", "_E.PULL, _S.OFF", "line 37: _E.PULL can't be read without running it; expected a member"),
        ("guard=_enough", "guard=lambda lamp: True", "line 37: lambda lamp: True can't be read"),
        ('"lamp",', "name(),", "line 31: name() can't be read without running it; expected a text"),
        ("_S.BROKEN}", "*_S}", "expected a literal tuple"),
        ("frozenset({_S.BROKEN})", "_FINAL", "line 35: _FINAL can't be read without running it; expected frozenset"),
        ("Row(_E.BREAK", "make(_E.BREAK", "expected a Row(…) with event, source, target"),
        ("_S.ON, _S.BROKEN,", "_S.ON,", "expected a Row(…) with event, source, target"),
        ("    LampState,\n    LampEvent", "    Other,\n    LampEvent", "line 32: Other can't be read"),
        ("_S.ON, _S.BROKEN,", "_S.ON, _E.BREAK,", "line 38: Row(_E.BREAK, _S.ON, _E.BREAK, why='it happens') can't be"),
        ("import os", "import", "machines/lamp.py: no Python"),
    ],
)
def test_what_is_not_data_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    assert old in LAMP
    with pytest.raises(UnreadableTable, match=re.escape(message)):
        read({"machines/lamp.py": LAMP.replace(old, new)})


@pytest.mark.parametrize(
    "text",
    ["-" * 100_000 + "1", "x = a" + ".a" * 100_000, LAMP.replace("_enough,", "a" + ".a" * 900 + ",")],
    ids=["parser", "tree", "reader"],
)
def test_what_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(UnreadableTable, match=r"machines/lamp\.py: nested too deeply"):
        read({"machines/lamp.py": text})


def test_a_composition_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(UnreadableTable, match=r"spec/composition\.py: nested too deeply"):
        read({COMPOSITION: "DRIVES = " + "-" * 100_000 + "1"})


def test_a_composition_without_its_table_is_refused() -> None:
    with pytest.raises(UnreadableTable, match=r"spec/composition\.py: there is no DRIVES"):
        read({COMPOSITION: "import os"})
