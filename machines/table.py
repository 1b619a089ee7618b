"""Transition tables, and the one engine that runs them.

A machine here is a table: a tuple of `Row`s, each saying *in `source`, `event` leads to `target`, if `guard` holds,
doing `effect`*. The table is data, so that the tests check it, the diagrams are drawn from it and the proofs are
derived from it. `StateMachine` hands the table to one shared `transitions.Machine`; the objects that it moves are
plain slotted dataclasses with a `state` attribute (one `Machine` per kind, never one per object: style.md).

Rules that every table keeps:

* Guards and effects are plain functions of the object and the event's facts. A guard changes nothing.
* Effects run before the state moves. If one raises, the state has not moved.
* Rows with the same event and source carry guards that exclude each other, or the last one carries none.
* An event that has no row in the present state raises `IllegalEvent` and changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from transitions import EventData, Machine, MachineError

from machines.errors import IllegalEvent

if TYPE_CHECKING:
    from transitions.core import TransitionConfigDict

# At INFO the library formats five log lines a trigger, which costs more than the trigger itself.
logging.getLogger("transitions").setLevel(logging.WARNING)

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)


@dataclass(frozen=True, slots=True)
class Row(Generic[S, E]):
    """One transition.

    Attributes:
        event: What happens.
        source: The state in which it happens.
        target: The state afterwards.
        guard: Must hold for this row to be taken; None means always.
        effect: What is done before the state moves; None means nothing.
        why: One line for diagrams and reviewers.
    """

    event: E
    source: S
    target: S
    guard: Callable[..., bool] | None = None
    effect: Callable[..., None] | None = None
    why: str = ""


class StateMachine(Generic[S, E]):
    """A table with its engine; shared by all objects of a kind.

    Attributes:
        name: The machine's name, as in diagrams and traces.
        states: The enum of its states.
        events: The enum of its events.
        initial: The state in which an object begins.
        final: The states that an object does not leave.
        table: The rows, in the order in which they are tried.
        observers: Called with (object, event, source, target) after each move; for coverage and traces.
    """

    def __init__(
        self,
        name: str,
        states: type[S],
        events: type[E],
        *,
        initial: S,
        final: frozenset[S],
        table: tuple[Row[S, E], ...],
    ) -> None:
        self.name = name
        self.states = states
        self.events = events
        self.initial = initial
        self.final = final
        self.table = table
        self.observers: list[Callable[[Any, E, S, S], None]] = []
        self._engine = Machine(
            model=None,
            states=states,
            initial=initial,
            transitions=[_config(row) for row in table],
            auto_transitions=False,
            send_event=True,
            queued=False,
            ignore_invalid_triggers=False,
            name=name,
        )

    def step(self, obj: Any, event: E, **facts: Any) -> bool:
        """Move `obj` by `event`, the only way in which its state changes.

        Args:
            obj: An object of this machine's kind, with a `state` attribute.
            event: What happened.
            facts: What the guards and effects of this event need to know.

        Returns:
            True if a row was taken; False if the guards of all rows refused, in which case nothing changed.

        Raises:
            IllegalEvent: The table has no row for this event in the present state; nothing changed.
        """
        source: S = obj.state
        try:
            moved = self._engine.events[event.value].trigger(obj, **facts)
        except MachineError:
            raise IllegalEvent(self.name, source.value, event.value) from None
        if moved and self.observers:
            for observer in self.observers:
                observer(obj, event, source, obj.state)
        return moved


def _config(row: Row[Any, Any]) -> TransitionConfigDict:
    """The library's form of a row."""
    config: TransitionConfigDict = {"trigger": row.event.value, "source": row.source, "dest": row.target}
    if row.guard is not None:
        config["conditions"] = _with_facts(row.guard)
    if row.effect is not None:
        config["before"] = _with_facts(row.effect)
    return config


def _with_facts(function: Callable[..., Any]) -> Callable[[EventData], Any]:
    """Let a plain function of (object, **facts) be called with the library's EventData."""
    return lambda data: function(data.model, **data.kwargs)
