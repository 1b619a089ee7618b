"""Who is measured: the floor, the executor in full and with parts off, and the official SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Variant:
    """A client, and how it is set up.

    Attributes:
        name: How it is shown.
        kind: The code that it runs: adapters/bench/floor.py, adapters/executor.py, or the SDK.
        on_uvloop: Whether it runs on uvloop instead of asyncio's own loop.
        journal: Whether it writes a journal.
        monitor: Whether the invariants are evaluated.
    """

    name: str
    kind: Literal["floor", "executor", "sdk"]
    on_uvloop: bool = False
    journal: bool = True
    monitor: bool = True


FLOOR: Final = Variant("floor", "floor")
EXECUTOR: Final = Variant("executor", "executor")
NO_JOURNAL: Final = Variant("executor, no journal", "executor", journal=False)
NO_MONITOR: Final = Variant("executor, no monitor", "executor", monitor=False)
NEITHER: Final = Variant("executor, neither", "executor", journal=False, monitor=False)
SDK: Final = Variant("official SDK", "sdk")
FLOOR_ON_UVLOOP: Final = Variant("floor on uvloop", "floor", on_uvloop=True)
EXECUTOR_ON_UVLOOP: Final = Variant("executor on uvloop", "executor", on_uvloop=True)

VARIANTS: Final = {
    variant.name: variant
    for variant in (FLOOR, EXECUTOR, NO_JOURNAL, NO_MONITOR, NEITHER, SDK, FLOOR_ON_UVLOOP, EXECUTOR_ON_UVLOOP)
}
"""All of them, by name, in the order in which they are shown."""
