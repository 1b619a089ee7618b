"""What a drawing says beside the machine itself: what changed, or what a recorded run did.

A mark is told by pattern and words as well as by colour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final

from adapters.diagram.chart import Key


class Kind(Enum):
    """What is special about a state or a transition."""

    PLAIN = "plain"
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    UNUSED = "unused"
    """The recorded run never came here."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a state or a transition is drawn.

    Attributes:
        kind: What is special about it.
        note: A line under its name: `was sent`, `412 ×, 3 ms`.
        weight: How heavy its line is, from 0 (thin) to 1 (as heavy as lines get).
    """

    kind: Kind = Kind.PLAIN
    note: str = ""
    weight: float = 0.0


PLAIN: Final = Mark()


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one machine's drawing.

    Attributes:
        states: By the state's name; what is missing is plain.
        transitions: By the transition's key; what is missing is plain.
    """

    states: Mapping[str, Mark] = field(default_factory=lambda: MappingProxyType({}))
    transitions: Mapping[Key, Mark] = field(default_factory=lambda: MappingProxyType({}))

    def of_state(self, name: str) -> Mark:
        """The mark of a state."""
        return self.states.get(name, PLAIN)

    def of_transition(self, key: Key) -> Mark:
        """The mark of a transition."""
        return self.transitions.get(key, PLAIN)


UNMARKED: Final = Marks()
"""A machine as it is."""
