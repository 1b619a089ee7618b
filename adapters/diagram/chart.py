"""What is drawn: the state machines, and how they drive each other, as plain data.

A chart is made by reading sources (`adapters.diagram.reading`), never by running them, so that one form serves for the
machines that are installed and for those of any other revision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Key: TypeAlias = tuple[str, str, str]
"""What names a transition within its machine: event, source, target."""


@dataclass(frozen=True, slots=True)
class Function:
    """A guard or an effect.

    Attributes:
        name: As in the source: `_last_held`.
        code: Its source without docstring and comments, so that layout alone is no difference.
        line: Where it begins in the machine's file.
    """

    name: str
    code: str
    line: int

    @property
    def words(self) -> str:
        """Its name for a reader: `last held`."""
        return self.name.strip("_").replace("_", " ")


@dataclass(frozen=True, slots=True)
class State:
    """A state.

    Attributes:
        name: Its value: `timed_out`.
        meaning: What its docstring says.
        initial: Whether an object begins in it.
        final: Whether an object never leaves it.
        line: Where it stands in the machine's file.
    """

    name: str
    meaning: str
    initial: bool
    final: bool
    line: int


@dataclass(frozen=True, slots=True)
class Transition:
    """A row of a table.

    Attributes:
        event: What happens.
        source: The state in which it happens.
        target: The state afterwards.
        guard: Must hold; None for always.
        effect: What is done; None for nothing.
        why: The row's reason.
        line: Where the row begins in the machine's file.
    """

    event: str
    source: str
    target: str
    guard: Function | None
    effect: Function | None
    why: str
    line: int

    @property
    def key(self) -> Key:
        """What names it within its machine."""
        return self.event, self.source, self.target


@dataclass(frozen=True, slots=True)
class Chart:
    """A state machine.

    Attributes:
        name: As in traces: `hard_stop`.
        prose: What its module says of it.
        file: The module's path in the repository: `machines/post.py`.
        line: Where the machine is made.
        states: In the order of their enum.
        transitions: In the order of the table.
    """

    name: str
    prose: str
    file: str
    line: int
    states: tuple[State, ...]
    transitions: tuple[Transition, ...]

    @property
    def title(self) -> str:
        """Its name for a reader: `Hard stop`."""
        return self.name.replace("_", " ").capitalize()

    @property
    def summary(self) -> str:
        """The first line of its prose."""
        return self.prose.strip().partition("\n")[0]

    @property
    def final(self) -> tuple[State, ...]:
        """The states that end it."""
        return tuple(state for state in self.states if state.final)


@dataclass(frozen=True, slots=True)
class Drive:
    """One event that brings about another, in the same step of the executor.

    Attributes:
        cause: An event of the core (`ConnectionLost`), or of a machine (`post.time_out`).
        effect: An event of a machine: `inflight.quarantine`.
        when: Under which condition; empty for always.
        line: Where it stands in spec/composition.py.
    """

    cause: str
    effect: str
    when: str
    line: int


@dataclass(frozen=True, slots=True)
class Atlas:
    """All machines of a revision.

    Attributes:
        charts: The machines, by name.
        drives: How they drive each other; empty where the revision does not say.
    """

    charts: tuple[Chart, ...]
    drives: tuple[Drive, ...]
