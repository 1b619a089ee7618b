"""The transition tables as a TLA+ module, so that the model moves by the very rows that trade.

`spec/Tables.tla` is written by this module and never by hand; `spec/Executor.tla` looks every move up in it. A changed
row therefore changes the model, and an event that a table does not allow stops the checker.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Final

import spec
from machines.catalogue import MACHINES, AnyMachine

NAMES: Final = {machine.name: machine.name.title().replace("_", "") for machine in MACHINES}
"""The machines' names in the model: `hard_stop` is `HardStop` there."""

_HEAD: Final = """\
------------------------------- MODULE Tables -------------------------------
\\* The transition tables of machines/, one row as <<event, source, target>>.
\\* Written by adapters/verification/tla_tables.py (spec/README.md says how); not to be edited.
"""


def tables_module() -> str:
    """The text of `spec/Tables.tla`, as the tables of machines/ have it now."""
    return _HEAD + "".join(_machine(NAMES[machine.name], machine) for machine in MACHINES) + "=" * 77 + "\n"


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


def _words(members: Iterable[Enum]) -> str:
    return ", ".join(f'"{member.value}"' for member in members)


if __name__ == "__main__":
    write_tables(Path(spec.__file__).parent / "Tables.tla")
