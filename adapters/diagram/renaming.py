"""Which states of a machine only changed their name, told by structure and never by likeness of names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from typing import Final, TypeAlias

from adapters.diagram.chart import Chart, Function, Transition

Renaming: TypeAlias = Mapping[str, str]
"""New names of states by their old ones."""


def new_name(renaming: Renaming, name: str) -> str:
    """What a state is called now."""
    return renaming.get(name, name)


def name_of(function: Function | None) -> str:
    """A guard's or effect's name, as in the source; `none` where there is none."""
    return "none" if function is None else function.name


def find_renaming(before: Chart, after: Chart) -> Renaming:
    """Which states only changed their name.

    A state that only the old machine has is the same as one that only the new machine has if

    1. they look alike and nothing else looks so: both begin the machine or neither does, both end it or neither does,
       and from both, rows with the same event, guard and effect (by name) lead to and from states that look alike,
       where a state that kept its name looks like itself only; and
    2. with all renamed states under their new names, the rows that touch it are exactly the same.

    So a state whose rows changed in the same revision counts as removed and added; and of several states that nothing
    but their names tells apart, none counts as renamed. The order of the table plays no part, nor do reasons.
    """
    alike: defaultdict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for (side, name), look in _looks((before, after)).items():
        alike[look][side].append(name)
    renamed = {old[0]: new[0] for old, new in alike.values() if len(old) == len(new) == 1}
    while True:
        touched, touching = _rows_by_state(before, renamed), _rows_by_state(after, {})
        same = {old: new for old, new in renamed.items() if touched[new] == touching[new]}
        if len(same) == len(renamed):
            return renamed
        renamed = same


_FARTHEST: Final = 100
"""Two states are told apart by rows at most so many steps away."""


def _looks(charts: tuple[Chart, Chart]) -> dict[tuple[int, str], int]:
    """How the states look that one of two machines has alone, by side and name: a number, equal for those alike.

    Each round looks one step farther, until nothing new is seen.
    """
    names = [{state.name for state in chart.states} for chart in charts]
    kept: dict[str, int] = {name: -place for place, name in enumerate(sorted(names[0] & names[1]), start=1)}
    looks = _numbered(
        {
            (side, state.name): (state.initial, state.final)
            for side, chart in enumerate(charts)
            for state in chart.states
            if state.name not in kept
        }
    )
    for _ in range(_FARTHEST):
        around: defaultdict[tuple[int, str], Counter[Hashable]] = defaultdict(Counter)
        for side, chart in enumerate(charts):
            for row in chart.transitions:
                source, target = (kept.get(name, looks.get((side, name))) for name in (row.source, row.target))
                around[side, row.source]["to", *_label(row), target] += 1
                around[side, row.target]["from", *_label(row), source] += 1
        closer = _numbered({node: (look, frozenset(around[node].items())) for node, look in looks.items()})
        if len(set(closer.values())) == len(set(looks.values())):
            break
        looks = closer
    return looks


def _numbered(looks: Mapping[tuple[int, str], Hashable]) -> dict[tuple[int, str], int]:
    """The same number for the same look."""
    numbers: dict[Hashable, int] = {}
    return {node: numbers.setdefault(look, len(numbers)) for node, look in looks.items()}


def _label(row: Transition) -> tuple[str, str, str]:
    """What a row says, but for its states and its reason."""
    return row.event, name_of(row.guard), name_of(row.effect)


def _rows_by_state(chart: Chart, renamed: Renaming) -> defaultdict[str, Counter[Hashable]]:
    """The rows that touch each state, both under new names."""
    rows: defaultdict[str, Counter[Hashable]] = defaultdict(Counter)
    for row in chart.transitions:
        ends = new_name(renamed, row.source), new_name(renamed, row.target)
        for name in set(ends):
            rows[name][*_label(row), *ends] += 1
    return rows
