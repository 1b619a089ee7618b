"""The transition tables, and how they drive each other, as a TLA+ module: the model moves by the very rows that trade.

`spec/Tables.tla` is written by this module and never by hand; `spec/Executor.tla` looks every move up in it. A changed
row therefore changes the model, and an event that a table does not allow stops the checker.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Final, get_args

import spec
from machines import events as ev
from machines.catalogue import MACHINES, AnyMachine
from spec.composition import DRIVES

NAMES: Final = {machine.name: machine.name.title().replace("_", "") for machine in MACHINES}
"""The machines' names in the model: `hard_stop` is `HardStop` there."""

_HEAD: Final = """\
------------------------------- MODULE Tables -------------------------------
\\* The transition tables of machines/, one row as <<event, source, target>>.
\\* Written by adapters/verification/tla_tables.py (spec/README.md says how); not to be edited.
"""

_MAY: Final = """
\\* Which moves, as <<machine, event>>, an event of the core may bring about, in however many strides.
\\* From spec/composition.py.
"""


def tables_module() -> str:
    """The text of `spec/Tables.tla`, as the tables of machines/ have it now."""
    machines = "".join(_machine(NAMES[machine.name], machine) for machine in MACHINES)
    return _HEAD + machines + _may() + "=" * 77 + "\n"


def write_tables(path: Path) -> None:
    """Write the module to `path`."""
    path.write_text(tables_module(), encoding="utf-8")


def _machine(name: str, machine: AnyMachine) -> str:
    members = machine.states.__members__.values()
    rows = [f'<<"{row.event.value}", "{row.source.value}", "{row.target.value}">>' for row in machine.table]
    return (
        f"\n{name}States == {{{_words(members)}}}\n"
        f"{name}Final == {{{_words(state for state in members if state in machine.final)}}}\n"
        f"{name}Rows == {{\n  " + ",\n  ".join(rows) + "}\n"
    )


def _may() -> str:
    """Which moves each event of the core may bring about, in however many strides (spec/composition.py)."""
    names = sorted(kind.__name__ for kind in get_args(ev.Event))
    return (
        "\n" + _MAY + "May == [\n  " + ",\n  ".join(f"{name} |-> {{{_brought_about(name)}}}" for name in names) + "]\n"
    )


def _brought_about(event: str) -> str:
    reached: set[str] = set()
    frontier = {event}
    while frontier:
        frontier = {row.effect for row in DRIVES if row.cause in frontier} - reached
        reached |= frontier
    return ", ".join('<<"{}", "{}">>'.format(*trigger.split(".")) for trigger in sorted(reached))


def _words(members: Iterable[Enum]) -> str:
    return ", ".join(f'"{member.value}"' for member in members)


if __name__ == "__main__":
    write_tables(Path(spec.__file__).parent / "Tables.tla")
