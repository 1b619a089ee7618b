"""What a recorded run did with the machines: how often each transition was taken, how long things stayed in a state.

A **stay** begins when an object comes into a state and ends when it leaves for another one; a transition's time is that
from the beginning of the stay to the transition. Only stays of which the record tells both ends are measured: an object
that an earlier run left, or whose beginning was retired from the journal, is counted but not timed until its next move,
and no stay goes on from one run into the next, because their clocks do not compare.

Times are whole ms of the monotonic clock, kept as a histogram for each row, so that median and p99 are exact: by the
nearest-rank rule, the smallest value that at least so many per cent do not exceed. Memory grows with what is open at a
time and with how many different times there were, not with the record.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from adapters.diagram.chart import Chart, Key
from adapters.diagram.marks import Kind, Mark, Marks
from adapters.journal import Move, Step
from adapters.recorder import BEGAN
from adapters.said import named
from adapters.trace import trace_of, understood
from machines.intent import INTENT, IntentState
from machines.settlement import SETTLEMENT

Thing: TypeAlias = tuple[str, int]
"""A machine's name, and which one of its kind."""

_SHARED: Final = ("session", "hard_stop", "inflight")
"""Machines of which a run has one; they begin with it."""


@dataclass(slots=True)
class Times:
    """How long something took, each time.

    Attributes:
        histogram: How often each number of ms was seen.
    """

    histogram: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many times were measured."""
        return self.histogram.total()

    @property
    def median_ms(self) -> int | None:
        """The median; None if nothing was measured."""
        return self.nearest_rank(50)

    @property
    def p99_ms(self) -> int | None:
        """The 99th percentile; None if nothing was measured."""
        return self.nearest_rank(99)

    def nearest_rank(self, percent: int) -> int | None:
        """The smallest value that at least `percent` per cent of all do not exceed; None if there are none."""
        left = math.ceil(self.count * percent / 100)
        for value in sorted(self.histogram):
            left -= self.histogram[value]
            if left <= 0:
                return value
        return None


@dataclass(slots=True)
class Use:
    """What a run did with a state or a transition.

    Attributes:
        count: How often the state was come into, or the transition taken.
        times: Of completed stays; of the stays that the transition ended, or fell into.
    """

    count: int = 0
    times: Times = field(default_factory=Times)

    @property
    def note(self) -> str:
        """In a line: `412 ×, median 3 ms, p99 41 ms`."""
        median, p99 = self.times.median_ms, self.times.p99_ms
        if median is None:
            return f"{self.count:,} ×"
        if self.times.count == 1:
            return f"{self.count:,} ×, {median:,} ms"
        return f"{self.count:,} ×, median {median:,} ms, p99 {p99:,} ms"


@dataclass(frozen=True, slots=True)
class MachineUse:
    """What a run did with a machine.

    Attributes:
        chart: The machine.
        states: By name, all of them.
        transitions: By key, all of them.
    """

    chart: Chart
    states: Mapping[str, Use]
    transitions: Mapping[Key, Use]

    @property
    def moves(self) -> int:
        """How often one of its transitions was taken."""
        return sum(use.count for use in self.transitions.values())


@dataclass(frozen=True, slots=True)
class Overlay:
    """What recorded runs did.

    Attributes:
        runs: The runs read, in order.
        steps: How many steps they have.
        machines: Their machines, as the atlas has them.
        foreign: Moves that no table has, by machine and key: another version of this program made them.
    """

    runs: tuple[int, ...]
    steps: int
    machines: tuple[MachineUse, ...]
    foreign: Mapping[tuple[str, Key], int]

    def marks(self, machine: MachineUse) -> Marks:
        """How a machine's drawing shows it.

        Lines are as heavy as the logarithm of their counts, because counts lie orders of magnitude apart: in
        proportion, all but a few would be hairlines. The scale is one for all machines.
        """
        most = max((use.count for each in self.machines for use in each.transitions.values()), default=0)

        def mark(use: Use) -> Mark:
            if not use.count:
                return Mark(Kind.UNUSED, "never")
            return Mark(note=use.note, weight=math.log1p(use.count) / math.log1p(most))

        states = {name: Mark(note=use.note) if use.count else mark(use) for name, use in machine.states.items()}
        return Marks(states, {key: mark(use) for key, use in machine.transitions.items()})


def overlay_of(path: Path, charts: Iterable[Chart], run: int | None = None) -> Overlay:
    """What the runs in a journal, or in an export of one, did with the machines.

    Args:
        path: The file.
        charts: The machines.
        run: Only this run; None for all.

    Raises:
        UnreadableTrace: The file is no record, or a step is not what an executor writes.
        JournalError: It is a journal that can't be read.
    """
    with trace_of(path) as runs:
        return overlay((entry for entry in runs if run in (None, entry[0])), charts)


def overlay(runs: Iterable[tuple[int, Iterable[Step]]], charts: Iterable[Chart]) -> Overlay:
    """What recorded runs did with the machines.

    Raises:
        UnreadableTrace: A step is not what an executor writes.
    """
    counted = _Count(charts)
    for run, steps in runs:
        counted.begin(run)
        for step in steps:
            with understood(run, step):
                counted.take(step)
    return Overlay(tuple(counted.runs), counted.steps, counted.machines, dict(sorted(counted.foreign.items())))


class _Count:
    """Goes through the steps and counts."""

    def __init__(self, charts: Iterable[Chart]) -> None:
        self.machines = tuple(
            MachineUse(
                chart,
                {state.name: Use() for state in chart.states},
                {transition.key: Use() for transition in chart.transitions},
            )
            for chart in charts
        )
        self.foreign: Counter[tuple[str, Key]] = Counter()
        self.runs: list[int] = []
        self.steps = 0
        self._by_name = {machine.chart.name: machine for machine in self.machines}
        self._initial = {m.chart.name: next(s.name for s in m.chart.states if s.initial) for m in self.machines}
        self._final = {m.chart.name: {state.name for state in m.chart.final} for m in self.machines}
        self._stays: dict[Thing, tuple[str, int | None]] = {}  # the state, and since when
        self._carriers: dict[int, int] = {}  # of open intents: the last post

    def begin(self, run: int) -> None:
        """A run begins."""
        self.runs.append(run)
        self._stays.clear()
        self._carriers.clear()

    def take(self, step: Step) -> None:
        """Go on by a step."""
        self.steps += 1
        now = step.monotonic_ms
        if step.event == BEGAN:
            for name in _SHARED:
                self._make((name, 0), now)
        elif step.event == "Recovered":
            for post in step.facts["posts"]:
                self._carry(post["row"]["post_id"], [item["seq"] for item in post["items"]])
                if post["items"]:
                    self._make((SETTLEMENT.name, post["row"]["post_id"]), now)
        for move in step.moves:
            self._move(move, step.event, now)
        for effect in step.effects:
            if effect["type"] == "Transmit":
                self._make(("post", effect["post"]["post"]), now)
                self._carry(effect["post"]["post"], [item["intent"] for item in effect["items"]])

    def _carry(self, post: int, items: Iterable[int]) -> None:
        self._carriers |= dict.fromkeys(items, post)

    def _make(self, thing: Thing, now: int) -> None:
        """Something begins in its first state."""
        if thing not in self._stays and thing[0] in self._initial:
            self._come(thing, self._initial[thing[0]], now)

    def _come(self, thing: Thing, state: str, since: int | None) -> None:
        """Something is in a state now, since when is known or None; what has ended is forgotten."""
        machine = self._by_name[thing[0]]
        machine.states[state].count += 1
        if state in self._final[thing[0]]:
            self._stays.pop(thing, None)
        else:
            self._stays[thing] = (state, since)

    def _move(self, move: Move, event: str, now: int) -> None:
        thing, key = (move.machine, move.key), (move.event, move.source, move.target)
        machine = self._by_name.get(move.machine)
        if machine is None or key not in machine.transitions:
            self.foreign[move.machine, key] += 1
            self._stays.pop(thing, None)
            return
        if self._stays.get(thing, ("", None))[0] != move.source:
            # An intent is made in the very step that moves it first; of anything else the record does not tell.
            made_now = event == "Submit" and move.source == self._initial[move.machine]
            self._come(thing, move.source, now if made_now else None)
        use, leaves = machine.transitions[key], move.target != move.source
        use.count += 1
        _, since = self._stays[thing]
        if since is not None:
            use.times.histogram[now - since] += 1
            if leaves:
                machine.states[move.source].times.histogram[now - since] += 1
        if leaves:
            self._come(thing, move.target, now)
        if move.machine == INTENT.name:
            self._note_fate(move, now)

    def _note_fate(self, move: Move, now: int) -> None:
        """An intent whose fate is unknown leaves an attempt of its post to be settled."""
        if move.target == IntentState.UNKNOWN.value and move.key in self._carriers:
            self._make((SETTLEMENT.name, self._carriers[move.key]), now)
        elif move.target in self._final[INTENT.name]:
            self._carriers.pop(move.key, None)


# ------------------------------------------------------------------------------------------------------------- as text


FOREIGN: Final = "Moves that no table of this version has; another version of the program made them"


def told(overlay: Overlay) -> str:
    """An overlay as tables of plain text."""
    return "\n".join([*_lines(overlay), ""])


def _lines(overlay: Overlay) -> Iterator[str]:
    yield f"{named('run', overlay.runs)}, {overlay.steps:,} steps"
    for machine in overlay.machines:
        yield from ("", f"{machine.chart.title} ({machine.chart.file}): {machine.moves:,} moves")
        rows: list[tuple[str, ...]] = [("transition", "", "taken", "median ms", "p99 ms")]
        rows += [(key[0], f"{key[1]} → {key[2]}", *figures(use)) for key, use in machine.transitions.items()]
        rows += [("", "", "", "", ""), ("state", "", "visits", "median ms", "p99 ms")]
        rows += [(name, "", *figures(use)) for name, use in machine.states.items()]
        yield from _aligned(rows)
    if overlay.foreign:
        yield from ("", f"{FOREIGN}:")
        yield from _aligned([(*words, f"{count:,}") for words, count in foreign_moves(overlay)])


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines: the first two columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if place < _WORDS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


_WORDS: Final = 2
"""Columns of words in a table; figures follow."""


def figures(use: Use) -> tuple[str, str, str]:
    """Count, median and p99 for a table."""
    if not use.count:
        return "never", "", ""
    median, p99 = ("–" if ms is None else f"{ms:,}" for ms in (use.times.median_ms, use.times.p99_ms))
    return f"{use.count:,}", median, p99


def foreign_moves(overlay: Overlay) -> Iterator[tuple[tuple[str, str], int]]:
    """Moves that no table has, for a table: what moved by what and how, and how often."""
    for (machine, (event, source, target)), count in overlay.foreign.items():
        yield (f"{machine}.{event}", f"{source} → {target}"), count


def document(overlay: Overlay) -> dict[str, Any]:
    """An overlay as plain data for a program."""
    return {
        "runs": list(overlay.runs),
        "steps": overlay.steps,
        "machines": [
            {
                "machine": machine.chart.name,
                "states": [{"state": name, **_data(use)} for name, use in machine.states.items()],
                "transitions": [{**_fields(key), **_data(use)} for key, use in machine.transitions.items()],
            }
            for machine in overlay.machines
        ],
        "foreign": [
            {"machine": name, **_fields(key), "count": count} for (name, key), count in overlay.foreign.items()
        ],
    }


def _fields(key: Key) -> dict[str, str]:
    return dict(zip(("event", "source", "target"), key, strict=True))


def _data(use: Use) -> dict[str, int | None]:
    times = use.times
    return {"count": use.count, "timed": times.count, "median_ms": times.median_ms, "p99_ms": times.p99_ms}
