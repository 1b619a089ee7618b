"""What a diagram shows, as boxes and arrows: made of a machine and its marks, or of all machines and their drives.

A drawing knows nothing of Graphviz or SVG. Text is measured here, with widths of its own instead of a font's, so that
the same machine gives the same diagram everywhere, on machines without fonts too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Final, Literal, TypeAlias

from adapters.diagram.chart import Atlas, Chart, Drive, State, Transition
from adapters.diagram.marks import UNMARKED, Kind, Marks

Style: TypeAlias = Literal["name", "event", "soft"]

FONT_SIZES: Final[dict[Style, int]] = {"name": 14, "event": 12, "soft": 11}
"""In px."""
LINE_HEIGHT: Final = 1.3
"""In font sizes."""
SIGNS: Final = {Kind.PLAIN: "", Kind.ADDED: "+ ", Kind.REMOVED: "− ", Kind.CHANGED: "~ ", Kind.UNUSED: ""}
"""What stands before the name of what is marked."""
LEGEND: Final = {
    Kind.PLAIN: "double border: final; dot: where it begins",
    Kind.ADDED: "+ and a heavy line: added",
    Kind.REMOVED: "− and a dashed line: removed",
    Kind.CHANGED: "~ and a heavy dotted line: changed",
    Kind.UNUSED: "a thin grey dotted line: never taken in the recorded run",
}
"""What marks look like, in words."""

_BASE_WIDTHS: Final = {Kind.PLAIN: 1.2, Kind.ADDED: 2.8, Kind.REMOVED: 1.8, Kind.CHANGED: 2.4, Kind.UNUSED: 1.0}
_HEAVIEST: Final = 5.0
_BOX_PADDING: Final = (11.0, 7.0)
"""At the sides, above and below, in px."""
_LABEL_PADDING: Final = (5.0, 2.0)
_NARROW: Final = frozenset(" !'(),-./:;I[]fijlrt|")
_BROAD: Final = frozenset("@MWmw%—→")
_LONGEST_LINE: Final = 30
"""In characters; an event and its guard that need more take two lines."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a box or at an arrow.

    Attributes:
        text: What it says.
        style: Its size and weight.
        kind: What is special about what it names.
    """

    text: str
    style: Style = "event"
    kind: Kind = Kind.PLAIN

    @property
    def width(self) -> float:
        """In px: about that of Helvetica, Arial or Liberation Sans, by the sort of each letter."""
        ems = sum(0.3 if letter in _NARROW else 0.86 if letter in _BROAD else 0.54 for letter in self.text)
        return ems * FONT_SIZES[self.style] * (1.08 if self.style == "name" else 1)

    @property
    def height(self) -> float:
        """In px."""
        return FONT_SIZES[self.style] * LINE_HEIGHT


def _size(lines: tuple[Line, ...], padding: tuple[float, float]) -> tuple[float, float]:
    """Width and height of a block of lines with so much at each side, in px."""
    width = max(line.width for line in lines)
    return width + 2 * padding[0], sum(line.height for line in lines) + 2 * padding[1]


@dataclass(frozen=True, slots=True)
class Arrow:
    """One or more transitions between the same two states, or drives between the same two machines.

    Attributes:
        source: The key of the box where it begins.
        target: The key of the box where it ends.
        lines: What stands at it.
        kind: What is special about all of its transitions.
        weight: How heavy its line is, from 0 to 1.
    """

    source: str
    target: str
    lines: tuple[Line, ...]
    kind: Kind = Kind.PLAIN
    weight: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of its text in px."""
        return _size(self.lines, _LABEL_PADDING)


@dataclass(frozen=True, slots=True)
class Box:
    """A state, or in the composed view a machine.

    Attributes:
        key: What arrows call it.
        lines: What stands in it.
        says: What it means; shown to who points at it.
        initial: Whether an arrow from nowhere leads to it.
        final: Whether its border is double.
        kind: What is special about it.
        weight: How heavy its border is, from 0 to 1.
        loops: The arrows that lead from it to itself. Their text stands in the box, where no other arrow crosses it.
        heading: What stands above that text.
    """

    key: str
    lines: tuple[Line, ...]
    says: str = ""
    initial: bool = False
    final: bool = False
    kind: Kind = Kind.PLAIN
    weight: float = 0.0
    loops: tuple[Arrow, ...] = ()
    heading: str = "stays here on"

    @property
    def text(self) -> tuple[Line, ...]:
        """All that stands in it."""
        stays = tuple(line for loop in self.loops for line in loop.lines)
        return (*self.lines, Line(self.heading, "soft"), *stays) if stays else self.lines

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in px."""
        return _size(self.text, _BOX_PADDING)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A diagram.

    Attributes:
        title: Its name.
        description: All that it shows, in words.
        boxes: In the order in which they are placed.
        arrows: Likewise; those that lead from a box to itself are the box's.
        flows: Whether the boxes stand in the order in which most objects pass through them.
    """

    title: str
    description: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    flows: bool

    @property
    def legend(self) -> tuple[str, ...]:
        """What is to be said of how it looks."""
        arrows = (*self.arrows, *(loop for box in self.boxes for loop in box.loops))
        used = {Kind.PLAIN} | {box.kind for box in self.boxes} | {arrow.kind for arrow in arrows}
        return tuple(LEGEND[kind] for kind in Kind if kind in used) if any(box.initial for box in self.boxes) else ()


def escaped(text: str) -> str:
    """Text for SVG and for Graphviz's labels, without what these can't hold: it may come from an untrusted revision."""
    return escape("".join(letter if letter.isprintable() else " " for letter in text))


def line_width(kind: Kind, weight: float) -> float:
    """How wide a border or an arrow is, in px."""
    return _BASE_WIDTHS[kind] + _HEAVIEST * weight


def of_machine(chart: Chart, marks: Marks = UNMARKED) -> Drawing:
    """A machine with its marks.

    Transitions between the same two states share an arrow if their marks are of the same kind.
    """
    order = {kind: place for place, kind in enumerate(Kind)}
    places = {state.name: place for place, state in enumerate(chart.states)}

    def ends(row: Transition) -> tuple[int, int, int]:
        return places[row.source], places[row.target], order[marks.of_transition(row.key).kind]

    arrows: list[Arrow] = []
    for _, rows in groupby(sorted(chart.transitions, key=ends), key=ends):
        together = list(rows)
        found = [marks.of_transition(row.key) for row in together]
        lines = tuple(line for row in together for line in _transition_lines(row, marks))
        weight = max(mark.weight for mark in found)
        arrows.append(Arrow(together[0].source, together[0].target, lines, found[0].kind, weight))
    return Drawing(
        title=f"{chart.title}: state diagram",
        description=_description(chart),
        boxes=tuple(_state_box(state, marks, _loops(arrows, state.name)) for state in chart.states),
        arrows=tuple(arrow for arrow in arrows if arrow.source != arrow.target),
        flows=True,
    )


def of_all(atlas: Atlas) -> Drawing:
    """The machines as boxes, with the events of the core that reach them, and arrows for how they drive each other."""
    names = {chart.name for chart in atlas.charts}
    inside = [drive for drive in atlas.drives if _machine(drive.cause) in names and _machine(drive.effect) in names]
    inside.sort(key=_machines)
    arrows = [
        Arrow(source, target, tuple(Line(text) for text in _bundles(drives)))
        for (source, target), drives in groupby(inside, key=_machines)
    ]
    boxes = []
    for chart in atlas.charts:
        outside = [drive for drive in atlas.drives if _machine(drive.effect) == chart.name and "." not in drive.cause]
        lines = [Line(chart.title, "name")]
        if outside:
            lines += [Line("from outside", "soft"), *(Line(text) for text in _bundles(outside))]
        boxes.append(Box(chart.name, tuple(lines), chart.summary, loops=_loops(arrows, chart.name), heading="within"))
    arrows = [arrow for arrow in arrows if arrow.source != arrow.target]
    words = "; ".join(f"{drive.cause} brings about {drive.effect}" for drive in atlas.drives)
    return Drawing("How the machines drive each other", f"{words}.", tuple(boxes), tuple(arrows), flows=False)


def _loops(arrows: Iterable[Arrow], key: str) -> tuple[Arrow, ...]:
    return tuple(arrow for arrow in arrows if arrow.source == key == arrow.target)


def _state_box(state: State, marks: Marks, loops: tuple[Arrow, ...]) -> Box:
    mark = marks.of_state(state.name)
    lines = [Line(SIGNS[mark.kind] + state.name, "name", mark.kind)]
    if mark.note:
        lines.append(Line(mark.note, "soft", mark.kind))
    return Box(state.name, tuple(lines), state.meaning, state.initial, state.final, mark.kind, mark.weight, loops)


def _transition_lines(row: Transition, marks: Marks) -> Iterator[Line]:
    mark = marks.of_transition(row.key)
    event = SIGNS[mark.kind] + row.event
    guard = f"[{row.guard.words}]" if row.guard is not None else ""
    if guard and len(event) + len(guard) < _LONGEST_LINE:
        yield Line(f"{event} {guard}", "event", mark.kind)
    else:
        yield Line(event, "event", mark.kind)
        if guard:
            yield Line(guard, "soft", mark.kind)
    if mark.note:
        yield Line(mark.note, "soft", mark.kind)


def _bundles(drives: Iterable[Drive]) -> Iterator[str]:
    """A line for all causes of the same effects, in their order: `ack, fail → release`."""
    effects: dict[str, dict[str, None]] = {}
    for drive in drives:
        effects.setdefault(_event(drive.cause), {})[_event(drive.effect)] = None
    causes: dict[tuple[str, ...], list[str]] = {}
    for cause, found in effects.items():
        causes.setdefault(tuple(found), []).append(cause)
    for same, together in causes.items():
        yield f"{', '.join(together)} → {', '.join(same)}"


def _machine(event: str) -> str:
    return event.rpartition(".")[0]


def _machines(drive: Drive) -> tuple[str, str]:
    return _machine(drive.cause), _machine(drive.effect)


def _event(event: str) -> str:
    return event.rpartition(".")[2]


def _description(chart: Chart) -> str:
    initial = ", ".join(state.name for state in chart.states if state.initial)
    final = ", ".join(state.name for state in chart.final)
    rows = "; ".join(
        f"{row.source} to {row.target} on {row.event}{f' if {row.guard.words}' if row.guard else ''}"
        for row in chart.transitions
    )
    return f"Begins in {initial}; ends in {final}. {rows}." if final else f"Begins in {initial}; never ends. {rows}."
