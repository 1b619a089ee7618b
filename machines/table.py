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

The library's own event and transition classes serve callbacks at nine places, names instead of functions, and logging
of each; no table here asks for any of that, and it costs more than the rest of a step. So both are subclassed through
the hooks that the library has for it (`event_cls`, `transition_cls`), and what is left is: look the rows up, ask the
guards, do the effect, set the state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar

from transitions import Event, Machine, MachineError, Transition

from machines.errors import IllegalEvent

# At INFO the library formats five log lines a trigger, which costs more than the trigger itself.
logging.getLogger("transitions").setLevel(logging.WARNING)


class Word(Enum):
    """A name out of a fixed list, as all states and events are.

    Its members are keys wherever a step looks something up, and the library's hash of them is written in Python. One
    member is one object, so the hash of an object serves as well, and costs nothing.
    """

    __hash__ = object.__hash__


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
    """

    observers: ClassVar[list[Callable[[Any, Any, Any, Any], None]]] = []
    """Called with (object, event, source, target) after each move of any machine; for coverage and traces."""

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
        self._engine = _Engine(
            model=None,
            states=states,
            initial=initial,
            transitions=[
                {"trigger": row.event.value, "source": row.source, "dest": row.target, "row": row} for row in table
            ],
            auto_transitions=False,
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
            moved = self._engine.events[event._value_].trigger(obj, **facts)
        except MachineError:
            raise IllegalEvent(self.name, source.value, event.value) from None
        if moved and self.observers:
            for observer in self.observers:
                observer(obj, event, source, obj.state)
        return moved


class _Transition(Transition):
    """A row, as the library keeps it."""

    def __init__(self, *args: Any, row: Row[Any, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard, self._effect, self._target = row.guard, row.effect, row.target

    def take(self, obj: Any, facts: dict[str, Any]) -> bool:
        """Move `obj`, if the guard holds; an effect that raises leaves the state."""
        if self._guard is not None and not self._guard(obj, **facts):
            return False
        if self._effect is not None:
            self._effect(obj, **facts)
        obj.state = self._target
        return True


class _Event(Event):
    """The rows of one event, by the name of the state in which they apply."""

    transitions: dict[str, list[_Transition]]  # type: ignore[assignment]  # the engine makes no others

    def trigger(self, model: Any, *_: Any, **facts: Any) -> bool:
        """Take the first row whose guard holds; False if all refused.

        Raises:
            MachineError: There is no row for the present state.
        """
        rows = self.transitions.get(model.state._name_)  # `name` is a property in Python, this is a field
        if rows is None:
            raise MachineError(f"{self.name} has no row for {model.state}")
        for row in rows:  # noqa: SIM110  `any` with a generator costs as much again
            if row.take(model, facts):
                return True
        return False


class _Engine(Machine):
    """The library's machine, with the two classes above."""

    event_cls = _Event
    transition_cls = _Transition
