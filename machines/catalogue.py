"""All state machines, in the order in which an intent meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, TypeAlias

from machines.hard_stop import HARD_STOP
from machines.inflight import INFLIGHT
from machines.intent import INTENT
from machines.post import POST
from machines.session import SESSION
from machines.settlement import SETTLEMENT
from machines.table import StateMachine

AnyMachine: TypeAlias = StateMachine[Any, Any]

MACHINES: Final[tuple[AnyMachine, ...]] = (INTENT, POST, INFLIGHT, SETTLEMENT, SESSION, HARD_STOP)


@contextmanager
def observing(note: Callable[[Any, Enum, Enum, Enum], None]) -> Iterator[None]:
    """Call `note` with (object, event, source, target) after each move of any machine inside."""
    StateMachine.observers.append(note)
    try:
        yield
    finally:
        StateMachine.observers.remove(note)
