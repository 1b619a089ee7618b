"""What a change changes in the machines: two revisions' tables, compared row by row.

States are matched by name, but for those that were only renamed (`adapters.diagram.renaming` says how that is told).
Then the rows of both tables are matched under the new names. Of the rows with the same event and source, in this
order: those with the same guard and target are the same row; those with the same guard have another target; those with
the same target have another guard; what is left was removed or added. Guards and effects are compared by name and code.

Each machine is compared alone. One whose module can't be read at one revision is reported, and hides no other.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, TypeVar

from adapters.diagram.beside import code_beside
from adapters.diagram.chart import Atlas, Chart, Drive, Function, Key, State, Transition
from adapters.diagram.marks import Kind, Mark, Marks
from adapters.diagram.reading import COMPOSITION, MACHINES, UnreadableTable, read
from adapters.diagram.renaming import Renaming, find_renaming, name_of, new_name

Details: TypeAlias = tuple[str, ...]
"""What of a thing changed, each in a few words."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """A state that was added, removed, renamed, or means something else now.

    Attributes:
        name: What it is called now; of one that was removed, what it was called.
        before: As it was; None if it was added.
        after: As it is; None if it was removed.
        details: What changed beside its name.
    """

    name: str
    before: State | None
    after: State | None
    details: Details = ()

    @property
    def kind(self) -> Kind:
        """What became of it."""
        return _kind(self.before, self.after)

    @property
    def renamed(self) -> bool:
        """Whether it has another name now."""
        return self.before is not None and self.after is not None and self.before.name != self.after.name


@dataclass(frozen=True, slots=True)
class TransitionChange:
    """A row that was added, removed or changed.

    Attributes:
        before: As it was, under the new names of renamed states; None if it was added.
        after: As it is; None if it was removed.
        details: What changed.
    """

    before: Transition | None
    after: Transition | None
    details: Details = ()

    @property
    def kind(self) -> Kind:
        """What became of it."""
        return _kind(self.before, self.after)


@dataclass(frozen=True, slots=True)
class DriveChange:
    """A row of the composition that was added, removed, or has another condition."""

    before: Drive | None
    after: Drive | None

    @property
    def kind(self) -> Kind:
        """What became of it."""
        return _kind(self.before, self.after)


@dataclass(frozen=True, slots=True)
class MachineDiff:
    """A machine that changed.

    Attributes:
        before: As it was; None if it was added.
        after: As it is; None if it was removed.
        states: Its states that changed; none of a machine that exists on one side only.
        transitions: Its rows that changed; none of a machine that exists on one side only.
        orders: The events, each with its source, whose rows are tried in another order.
        chart: Both sides in one: the new machine, with what was removed.
        marks: What of the chart was added, removed and changed.
    """

    before: Chart | None
    after: Chart | None
    states: tuple[StateChange, ...]
    transitions: tuple[TransitionChange, ...]
    orders: tuple[tuple[str, str], ...]
    chart: Chart
    marks: Marks

    @property
    def kind(self) -> Kind:
        """What became of it."""
        return _kind(self.before, self.after)


@dataclass(frozen=True, slots=True)
class AtlasDiff:
    """What differs between the machines of two revisions.

    Attributes:
        machines: Those that changed, by name.
        drives: How the changed composition drives them.
        beside: Modules of machines/ whose code changed outside of the tables, with `(added)` or `(removed)`.
        unreadable: What could not be read, and so not be compared, with the revision: `before: …`, `after: …`.
        before: The machines as they were, as far as they can be read.
        after: The machines as they are, as far as they can be read.
    """

    machines: tuple[MachineDiff, ...]
    drives: tuple[DriveChange, ...]
    beside: tuple[str, ...]
    unreadable: tuple[str, ...]
    before: Atlas
    after: Atlas

    @property
    def unchanged(self) -> bool:
        """Whether the machines are certainly the same: nothing differs, and all of them were read."""
        return not (self.machines or self.drives or self.beside or self.unreadable)


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> AtlasDiff:
    """Compare the machines of two revisions, given their sources by path (`adapters.diagram.revisions`)."""
    old, old_unreadable = _read_each(before)
    new, new_unreadable = _read_each(after)
    hidden = old_unreadable.keys() | new_unreadable.keys()
    old_charts, new_charts = ({chart.name: chart for chart in atlas.charts} for atlas in (old, new))
    machines = []
    for name in sorted(old_charts.keys() | new_charts.keys()):
        one, other = old_charts.get(name), new_charts.get(name)
        if (one is None or other is None) and hidden & {chart.file for chart in (one, other) if chart is not None}:
            continue  # its other side may be what can't be read
        changed = compare_charts(one, other)
        if changed is not None:
            machines.append(changed)
    return AtlasDiff(
        machines=tuple(machines),
        drives=() if COMPOSITION in hidden else _drives(old.drives, new.drives),
        beside=tuple(_beside(before, after, old, new, hidden)),
        unreadable=tuple(
            [f"before: {old_unreadable[path]}" for path in sorted(old_unreadable)]
            + [f"after: {new_unreadable[path]}" for path in sorted(new_unreadable)]
        ),
        before=old,
        after=new,
    )


def compare_charts(before: Chart | None, after: Chart | None) -> MachineDiff | None:
    """Compare two versions of a machine; None if they are the same, or there is none."""
    if before is None or after is None:
        chart = after or before
        if chart is None:
            return None
        mark = Mark(_kind(before, after))
        marks = Marks({state.name: mark for state in chart.states}, {row.key: mark for row in chart.transitions})
        return MachineDiff(before, after, (), (), (), chart, marks)
    renamed = find_renaming(before, after)
    rows = [
        replace(row, source=new_name(renamed, row.source), target=new_name(renamed, row.target))
        for row in before.transitions
    ]
    pairs = _pairs(rows, after.transitions, _SAME_ROW)
    states = _states(before, after, renamed)
    transitions = _transitions(rows, after.transitions, pairs, renamed)
    orders = _orders(rows, after.transitions, pairs)
    if not (states or transitions or orders):
        return None
    chart, marks = _drawn(after, states, transitions, orders)
    return MachineDiff(before, after, states, transitions, orders, chart, marks)


def _kind(before: object | None, after: object | None) -> Kind:
    if before is None:
        return Kind.ADDED
    return Kind.REMOVED if after is None else Kind.CHANGED


def _read_each(sources: Mapping[str, str]) -> tuple[Atlas, dict[str, str]]:
    """The machines that can be read, and of each module that can't be, why."""
    charts: dict[str, Chart] = {}
    drives: tuple[Drive, ...] = ()
    unreadable: dict[str, str] = {}
    for path, text in sorted(sources.items()):
        try:
            atlas = read({path: text})
        except UnreadableTable as error:
            unreadable[path] = str(error)
            continue
        drives += atlas.drives
        for chart in atlas.charts:
            if chart.name in charts:
                unreadable[path] = f"{path}: a machine named {chart.name!r} is in {charts[chart.name].file} already"
            else:
                charts[chart.name] = chart
    return Atlas(tuple(charts[name] for name in sorted(charts)), drives), unreadable


# --------------------------------------------------------------------------------------------------- comparison


def _states(before: Chart, after: Chart, renamed: Renaming) -> tuple[StateChange, ...]:
    """The states that changed, in the order of the new machine; after them those that are gone."""
    old = {new_name(renamed, state.name): state for state in before.states}
    new = {state.name: state for state in after.states}
    changes = [
        StateChange(name, old.get(name), state, _state_details(old.get(name), state)) for name, state in new.items()
    ]
    gone = [StateChange(name, state, None) for name, state in old.items() if name not in new]
    return (*(change for change in changes if change.before is None or change.renamed or change.details), *gone)


def _state_details(before: State | None, after: State) -> Details:
    if before is None:
        return ()
    details = []
    if before.initial != after.initial:
        details.append("initial now" if after.initial else "no longer initial")
    if before.final != after.final:
        details.append("final now" if after.final else "no longer final")
    return (*details, *_text_details("meaning", before.meaning, after.meaning))


Pairs: TypeAlias = dict[int, int]
"""Which row of the old table is which of the new one, by their places."""
T = TypeVar("T")


def _pairs(before: Sequence[T], after: Sequence[T], alikes: Iterable[Callable[[T], Hashable]]) -> Pairs:
    """Match the rows of two tables, first by the strictest likeness; what is not matched was removed or added."""
    pairs: Pairs = {}
    for alike in alikes:
        free: defaultdict[Hashable, deque[int]] = defaultdict(deque)
        taken = set(pairs.values())
        for place, row in enumerate(after):
            if place not in taken:
                free[alike(row)].append(place)
        for place, row in enumerate(before):
            if place not in pairs and free[alike(row)]:
                pairs[place] = free[alike(row)].popleft()
    return pairs


_SAME_ROW: Final[tuple[Callable[[Transition], Hashable], ...]] = (
    lambda row: (row.key, name_of(row.guard)),
    lambda row: (row.event, row.source, name_of(row.guard)),
    lambda row: row.key,
)
_SAME_DRIVE: Final[tuple[Callable[[Drive], Hashable], ...]] = (
    lambda drive: (drive.cause, drive.effect, drive.when),
    lambda drive: (drive.cause, drive.effect),
)


def _transitions(
    before: Sequence[Transition], after: Sequence[Transition], pairs: Pairs, renamed: Renaming
) -> tuple[TransitionChange, ...]:
    """The rows that changed, in the order of the new table; after them those that are gone."""
    changes = []
    old = {new: before[place] for place, new in pairs.items()}
    for place, row in enumerate(after):
        was = old.get(place)
        details = () if was is None else _row_details(was, row, renamed)
        if was is None or details:
            changes.append(TransitionChange(was, row, details))
    gone = [TransitionChange(row, None) for place, row in enumerate(before) if place not in pairs]
    return (*changes, *gone)


def _row_details(before: Transition, after: Transition, renamed: Renaming) -> Details:
    details = []
    if before.target != after.target:
        details.append(f"led to {before.target}")
    details += _function_details("guard", before.guard, after.guard, renamed)
    details += _function_details("effect", before.effect, after.effect, renamed)
    return (*details, *_text_details("reason", before.why, after.why))


def _text_details(what: str, before: str, after: str) -> Details:
    if before == after:
        return ()
    if not before or not after:
        return (f"{what} {'removed' if before else 'added'}: “{before or after}”",)
    return (f"{what} “{before}” → “{after}”",)


def _function_details(what: str, before: Function | None, after: Function | None, renamed: Renaming) -> Details:
    same = _body(before, renamed) == _body(after, {})
    if name_of(before) == name_of(after):
        return () if same else (f"{what} {name_of(after)}: other code",)
    return (f"{what} {name_of(before)} → {name_of(after)}{', same code' if same else ''}",)


def _body(function: Function | None, renamed: Renaming) -> str | None:
    """The code without the function's own name, under the new names of the states.

    A guard names a state as its enum's member, `PostState.SENT`, which is renamed together with the state.
    """
    if function is None:
        return None
    code = re.sub(rf"\b{re.escape(function.name)}\b", "", function.code)
    return re.sub(r"(?<=\.)[A-Z][A-Z0-9_]*\b", lambda found: new_name(renamed, found[0].lower()).upper(), code)


def _orders(before: Sequence[Transition], after: Sequence[Transition], pairs: Pairs) -> tuple[tuple[str, str], ...]:
    """The events, each with its source, whose kept rows stand in another order now, so that another may be taken."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for old, new in sorted(pairs.items()):
        places[before[old].event, before[old].source].append(new)
    return tuple(sorted(where for where, order in places.items() if order != sorted(order)))


def _drives(before: Sequence[Drive], after: Sequence[Drive]) -> tuple[DriveChange, ...]:
    """How the composition changed, in the order of the new table; after it the rows that are gone."""
    pairs = _pairs(before, after, _SAME_DRIVE)
    old = {new: before[place] for place, new in pairs.items()}
    changes = [
        DriveChange(old.get(place), drive)
        for place, drive in enumerate(after)
        if place not in old or old[place].when != drive.when
    ]
    return (*changes, *(DriveChange(drive, None) for place, drive in enumerate(before) if place not in pairs))


def _beside(
    before: Mapping[str, str], after: Mapping[str, str], old: Atlas, new: Atlas, hidden: Set[str]
) -> Iterator[str]:
    """The modules of machines/ whose code changed outside of the tables.

    A module that came or went with its machines is told by them. Of one whose table can't be read on one
    side, all counts as code.
    """
    lasting = {chart.name for chart in old.charts} & {chart.name for chart in new.charts}
    for path in sorted(before.keys() | after.keys()):
        if not path.startswith(f"{MACHINES}/"):
            continue
        charts = [tuple(chart for chart in atlas.charts if chart.file == path) for atlas in (old, new)]
        if path not in before or path not in after:
            held = {chart.name for chart in (*charts[0], *charts[1])}
            if not held or held & lasting:  # a machine that only moved says nothing of the code around it
                yield f"{path} ({'added' if path in after else 'removed'})"
            continue
        if path in hidden:
            charts = [(), ()]
        if code_beside(before[path], charts[0]) != code_beside(after[path], charts[1]):
            yield path


# ------------------------------------------------------------------------------------------------------ drawing


def _drawn(
    after: Chart,
    states: Iterable[StateChange],
    transitions: Iterable[TransitionChange],
    orders: Iterable[tuple[str, str]],
) -> tuple[Chart, Marks]:
    """Both sides in one chart: the new machine, and what is gone; with marks."""
    gone_states = [state.before for state in states if state.before is not None and state.after is None]
    row_marks: defaultdict[Key, list[Mark]] = defaultdict(list)
    gone_rows = []
    for row in transitions:
        if row.after is not None:
            row_marks[row.after.key].append(Mark(row.kind, _note(row.details)))
        if row.before is not None and (row.after is None or row.after.target != row.before.target):
            gone_rows.append(row.before)  # one that leads elsewhere now is drawn twice
            row_marks[row.before.key].append(Mark(Kind.REMOVED))
    rows = (*after.transitions, *gone_rows)
    reordered = set(orders)
    for kept in after.transitions:
        if (kept.event, kept.source) in reordered and kept.key not in row_marks:
            row_marks[kept.key].append(Mark(Kind.CHANGED, "tried in another order"))
    sharing = Counter(row.key for row in rows)
    marks = Marks(
        dict(map(_state_mark, states)),
        {key: _shared(marks, sharing[key]) for key, marks in row_marks.items()},
    )
    return replace(after, states=(*after.states, *gone_states), transitions=rows), marks


def _state_mark(change: StateChange) -> tuple[str, Mark]:
    was = (f"was {change.before.name}",) if change.renamed and change.before is not None else ()
    return change.name, Mark(change.kind, _note((*was, *change.details)))


def _shared(marks: Sequence[Mark], rows: int) -> Mark:
    """The one mark of all rows with the same event between the same states, which a drawing does not tell apart."""
    kinds = {mark.kind for mark in marks}
    kind = kinds.pop() if len(kinds) == 1 and len(marks) == rows else Kind.CHANGED
    notes = [mark.note or f"one of {rows} {mark.kind.value}" for mark in marks if mark.note or kind is not mark.kind]
    return Mark(kind, "; ".join(dict.fromkeys(notes)))


def _note(details: Iterable[str]) -> str:
    """Details as a note in a drawing, which has no room for sentences."""
    return ", ".join(re.sub(r"(?s)^(meaning|reason) .*", r"other \1", detail) for detail in details)
