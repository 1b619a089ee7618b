"""How the machines drive each other: which event of one brings about which event of another, in the same step.

The table is read by people (the composed diagram) and by TLC (adapters/verification/tla_tables.py writes from it which
event of a recorded run may cause which moves). It drives nothing itself; the code does, and recorded runs are held
against this table: every move has a cause here that stands in the same step, and every row here was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Drive:
    """One event that brings about another.

    Attributes:
        cause: An event of the core (machines/events.py), or `machine.event`.
        effect: `machine.event`.
        when: Under which condition; empty for always.
    """

    cause: str
    effect: str
    when: str = ""


DRIVES: Final = (
    # What the owner says.
    Drive("Submit", "intent.enqueue", "admitted to its queue"),
    Drive("Submit", "intent.cancel", "a cancel of an order that is still queued here"),
    Drive("Submit", "hard_stop.trip", "the reduce-only queue is full"),
    Drive("StopTripped", "hard_stop.trip"),
    Drive("StopReset", "hard_stop.reset"),
    Drive("DrainStarted", "session.drain"),
    Drive("Closed", "session.close"),
)
"""First the events of the core, then those of the machines."""
