"""What stands around a machine: what its events serve, what brings them about, and what they bring about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adapters.diagram.chart import Atlas, Chart, Drive, Function, Transition
from spec.invariants import Invariant
from spec.traceability import FINDINGS, invariants_of


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a machine.

    Attributes:
        name: As in the table.
        words: The effects of its transitions, each once: `give back`.
        findings: The ids of the findings that it answers, as the installed catalogue has them.
        invariants: Those that cover one of these findings.
        causes: What brings it about.
        effects: What it brings about.
    """

    name: str
    words: tuple[str, ...]
    findings: tuple[str, ...]
    invariants: tuple[Invariant, ...]
    causes: tuple[Drive, ...]
    effects: tuple[Drive, ...]


def events(atlas: Atlas, chart: Chart) -> tuple[Event, ...]:
    """The events of a machine, in the order of its table."""
    return tuple(_event(atlas, chart, name) for name in dict.fromkeys(row.event for row in chart.transitions))


def origins(atlas: Atlas, event: str) -> tuple[str, ...]:
    """The events of the core from which the drives lead to an event of a machine, in the order of the drives."""
    reached = {event}
    while more := {drive.cause for drive in atlas.drives if drive.effect in reached} - reached:
        reached |= more
    reached.discard(event)
    return tuple(
        cause for cause in dict.fromkeys(drive.cause for drive in atlas.drives) if cause in reached and "." not in cause
    )


def entering(chart: Chart, state: str) -> tuple[Transition, ...]:
    """The transitions that lead into a state from another."""
    return tuple(row for row in chart.transitions if row.target == state != row.source)


def leaving(chart: Chart, state: str) -> tuple[Transition, ...]:
    """The transitions that lead out of a state to another."""
    return tuple(row for row in chart.transitions if row.source == state != row.target)


def staying(chart: Chart, state: str) -> tuple[Transition, ...]:
    """The transitions that leave an object in the state."""
    return tuple(row for row in chart.transitions if row.source == state == row.target)


def functions(chart: Chart) -> tuple[Function, ...]:
    """The guards and effects of a machine, in the order of its file."""
    found: Iterable[Function | None] = (each for row in chart.transitions for each in (row.guard, row.effect))
    return tuple(sorted({each for each in found if each is not None}, key=lambda function: function.line))


def place(chart: Chart, line: int) -> str:
    """A line of a machine's file: `machines/post.py:131`."""
    return f"{chart.file}:{line}"


def _event(atlas: Atlas, chart: Chart, name: str) -> Event:
    findings = FINDINGS.get(chart.name, {}).get(name, ())
    full = f"{chart.name}.{name}"
    return Event(
        name=name,
        words=tuple(dict.fromkeys(row.effect.words for row in chart.transitions if row.event == name and row.effect)),
        findings=findings,
        invariants=invariants_of(findings),
        causes=tuple(drive for drive in atlas.drives if drive.effect == full),
        effects=tuple(drive for drive in atlas.drives if drive.cause == full),
    )
