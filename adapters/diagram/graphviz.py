"""Diagrams as SVG and PNG, placed by Graphviz.

For SVG Graphviz only places boxes of given sizes, and reads no fonts: with the same version of Graphviz, the same
machine gives the same bytes everywhere. A PNG is drawn by Graphviz itself, in light colours, with the fonts of this
machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from adapters.diagram import drawing
from adapters.diagram.chart import Atlas, Chart
from adapters.diagram.drawing import FONT_SIZES, Arrow, Box, Drawing, Line, escaped, line_width
from adapters.diagram.marks import UNMARKED, Kind, Marks
from adapters.diagram.svg import Curve, Layout, Point, draw

_POINTS: Final = 72
"""In an inch, in which Graphviz takes the sizes of boxes; a point is a px here."""
_FONT: Final = "Liberation Sans,Helvetica,Arial,DejaVu Sans"
_COLOURS: Final = {
    Kind.PLAIN: "#1c1e21",
    Kind.ADDED: "#17683a",
    Kind.REMOVED: "#a8201a",
    Kind.CHANGED: "#7a5600",
    Kind.UNUSED: "#5c636b",
}
_PATTERNS: Final = {
    Kind.PLAIN: "solid",
    Kind.ADDED: "solid",
    Kind.REMOVED: "dashed",
    Kind.CHANGED: "dotted",
    Kind.UNUSED: "dotted",
}


class GraphvizMissing(Exception):
    """Graphviz is not installed; the message says how to install it."""


def svg(chart: Chart, marks: Marks = UNMARKED, *, alone: bool = False) -> str:
    """A machine as an `<svg>` element for a page (adapters/diagram/svg.py), or `alone` as a file.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    return _svg(drawing.of_machine(chart, marks), alone)


def composed_svg(atlas: Atlas, *, alone: bool = False) -> str:
    """How the machines drive each other, as an `<svg>` element for a page, or `alone` as a file.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    return _svg(drawing.of_all(atlas), alone)


def png(chart: Chart, marks: Marks = UNMARKED) -> bytes:
    """A machine as a PNG.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    return _png(drawing.of_machine(chart, marks))


def composed_png(atlas: Atlas) -> bytes:
    """How the machines drive each other, as a PNG.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    return _png(drawing.of_all(atlas))


def _svg(shown: Drawing, alone: bool) -> str:
    placed = _graph("\n".join(_dot(shown, with_text=False))).draw(format="json0", prog="dot")
    return draw(shown, _layout(shown, msgspec.json.decode(placed, type=_Placed)), alone=alone)


def _png(shown: Drawing) -> bytes:
    drawn: bytes = _graph("\n".join(_dot(shown, with_text=True))).draw(format="png", prog="dot")
    return drawn


def _graph(dot: str) -> Any:
    try:
        import pygraphviz  # type: ignore[import-untyped]  # an extra: pages without drawings need none
    except ImportError as error:
        raise GraphvizMissing("drawings need Graphviz: pip install 'hip3-executor[diagrams]'") from error
    return pygraphviz.AGraph(string=dot)


# ------------------------------------------------------------------------------------------------ to Graphviz


def _dot(shown: Drawing, *, with_text: bool) -> Iterator[str]:
    """The drawing in Graphviz's language. Without text, boxes and labels have the sizes that the text needs."""
    yield "digraph {"
    yield f"graph [nodesep=0.4, ranksep=0.35, pad=0.15, dpi=144{_dot_legend(shown) if with_text else ''}];"
    yield f'node [shape=box, fontname="{_FONT}", label="", margin="0.15,0.1"];'
    yield f'edge [fontname="{_FONT}", arrowsize=0.8];'
    names = {box.key: f"n{number}" for number, box in enumerate(shown.boxes)}
    for box in shown.boxes:
        yield f"{names[box.key]} [{_dot_box(box, with_text)}];"
    for box in shown.boxes:
        if box.initial:
            name = names[box.key]
            yield f"s{name} [shape=circle, style=filled, fillcolor=black, width=0.14, fixedsize=true];"
            yield f"s{name} -> {name} [id=s{name}];"
        for loop in box.loops if with_text else ():
            yield f"{names[box.key]} -> {names[box.key]} [{_dot_line(loop)}];"
    places = {box.key: place for place, box in enumerate(shown.boxes)}
    for number, arrow in enumerate(shown.arrows):
        # An arrow against the flow is given as one with it that points backwards: so the boxes keep their order.
        back = shown.flows and places[arrow.target] < places[arrow.source]
        first, last = (arrow.target, arrow.source) if back else (arrow.source, arrow.target)
        facts = f"id=e{number}, {'dir=back, ' if back else ''}{_dot_arrow(arrow, with_text)}"
        yield f"{names[first]} -> {names[last]} [{facts}];"
    yield "}"


def _dot_box(box: Box, with_text: bool) -> str:
    if with_text:
        return f"label={_dot_text(box.text)}, peripheries={2 if box.final else 1}, {_dot_line(box)}"
    width, height = box.size
    return f"fixedsize=true, width={width / _POINTS:.4f}, height={height / _POINTS:.4f}"


def _dot_arrow(arrow: Arrow, with_text: bool) -> str:
    if with_text:
        return f"label={_dot_text(arrow.lines)}, {_dot_line(arrow)}"
    width, height = arrow.size
    size = f'WIDTH="{width:.0f}" HEIGHT="{height:.0f}"'
    return f'label=<<TABLE BORDER="0" FIXEDSIZE="TRUE" {size}><TR><TD></TD></TR></TABLE>>'


def _dot_line(part: Box | Arrow) -> str:
    colour = _COLOURS[part.kind]
    style = f'penwidth={line_width(part.kind, part.weight):.1f}, style="{_PATTERNS[part.kind]}"'
    return f'color="{colour}", fontcolor="{colour}", {style}'


def _dot_text(lines: tuple[Line, ...]) -> str:
    told = []
    for line in lines:
        text = escaped(line.text)
        bold = text if line.style == "soft" else f"<B>{text}</B>"
        told.append(f'<FONT POINT-SIZE="{FONT_SIZES[line.style]}" COLOR="{_COLOURS[line.kind]}">{bold}</FONT>')
    return f"<{'<BR/>'.join(told)}>"


def _dot_legend(shown: Drawing) -> str:
    words = "".join(f'{escaped(line)}<BR ALIGN="LEFT"/>' for line in shown.legend)
    return f', fontname="{_FONT}", fontsize=11, labeljust=l, labelloc=b, label=<{words}>' if words else ""


# ---------------------------------------------------------------------------------------------- from Graphviz


class _Node(msgspec.Struct):
    """A node as Graphviz tells it."""

    name: str
    pos: str


class _Edge(msgspec.Struct):
    """An edge as Graphviz tells it: its spline, and the middle of its text."""

    id: str
    pos: str
    lp: str = ""


class _Placed(msgspec.Struct):
    """A graph as Graphviz tells it; in points, and upwards."""

    bb: str
    objects: list[_Node] = []
    edges: list[_Edge] = []


def _layout(shown: Drawing, placed: _Placed) -> Layout:
    left, bottom, right, top = (float(number) for number in placed.bb.split(","))

    def point(text: str) -> Point:
        x, y = text.split(",")
        return float(x) - left, top - float(y)

    def curve(edge: _Edge) -> Curve:
        end, *places = edge.pos.split()
        points = [point(each) for each in places]
        if end.startswith("s,"):  # it points backwards
            points.reverse()
        return Curve(tuple(points), point(end[2:]), point(edge.lp) if edge.lp else None)

    nodes = {node.name: point(node.pos) for node in placed.objects}
    edges = {edge.id: curve(edge) for edge in placed.edges}
    names = {box.key: f"n{number}" for number, box in enumerate(shown.boxes)}
    return Layout(
        width=right - left,
        height=top - bottom,
        boxes={key: nodes[name] for key, name in names.items()},
        starts={key: (nodes[f"s{name}"], edges[f"s{name}"]) for key, name in names.items() if f"s{name}" in nodes},
        arrows=tuple(edges[f"e{number}"] for number in range(len(shown.arrows))),
    )
