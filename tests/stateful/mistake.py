"""A mistake that a finding or a rule forbids, as data that can be put back while a program runs.

No file is edited: a mistake patches names of the machines, and takes the patches back when its context ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import getdoc
from types import ModuleType
from typing import Any, Final, TypeAlias

import pytest

from machines.table import StateMachine
from tests.stateful.record import Explorer

Patch: TypeAlias = pytest.MonkeyPatch
PutBack: TypeAlias = Callable[[Patch], None]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        id: Its name; begins with `rule_NN_` if a rule of settlement.md forbids it.
        findings: The findings of findings.md that forbid it.
        rules: The rules of settlement.md that forbid it.
        description: What goes wrong, in a sentence.
        machine: The state machine that has to notice it.
        put_back: Patches the machines.
    """

    id: str
    findings: tuple[str, ...]
    rules: tuple[int, ...]
    description: str
    machine: type[Explorer]
    put_back: PutBack

    @contextmanager
    def apply(self) -> Iterator[None]:
        """The mistake is made inside, and nowhere else."""
        with pytest.MonkeyPatch.context() as patch:
            self.put_back(patch)
            yield


REGISTERED: Final[list[Mistake]] = []


def mistake(*findings: str, by: type[Explorer], rules: tuple[int, ...] = ()) -> Callable[[PutBack], PutBack]:
    """Register a patch as a mistake that `findings` and `rules` forbid, and that the state machine `by` must notice."""

    def register(put_back: PutBack) -> PutBack:
        description = getdoc(put_back) or ""
        REGISTERED.append(Mistake(put_back.__name__, findings, rules, description, by, put_back))
        return put_back

    return register


def with_effect(
    patch: Patch, module: ModuleType, machine: StateMachine[Any, Any], event: Any, effect: Callable[..., None]
) -> None:
    """Rebuild the machine of `module` with another effect on all rows of `event`."""
    table = tuple(replace(row, effect=effect) if row.event is event else row for row in machine.table)
    rebuilt = StateMachine(
        machine.name, machine.states, machine.events, initial=machine.initial, final=machine.final, table=table
    )
    patch.setattr(module, machine.name.upper(), rebuilt)
