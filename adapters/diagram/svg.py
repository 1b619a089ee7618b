"""Writes a placed drawing as SVG.

An `<svg>` for a page takes its colours from the page (`diagram/diagram.css` belongs into the page's style) and follows
its light or dark. `alone` it is a file with its own style for both schemes, and with its legend. Nothing in it has an
id, so that a page can hold any number of drawings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot
from typing import Final, TypeAlias

from adapters import pages
from adapters.diagram.drawing import FONT_SIZES, Box, Drawing, Line, escaped, line_width
from adapters.diagram.marks import Kind

Point: TypeAlias = tuple[float, float]

_MARGIN: Final = 8.0
_ASCENT: Final = 0.95
"""From the top of a line to its baseline, in font sizes."""
_LOOP: Final = 20.0
"""The height of a loop, in px."""
_LOOP_REACH: Final = 1.6 * _LOOP
"""Farther from its box no loop runs; Graphviz knows nothing of loops, and leaves no room for them."""
_SHRUNK: Final = 0.75
"""To so much of its size a wide drawing is shrunk to fit; a wider one scrolls."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Where an arrow runs.

    Attributes:
        points: Bézier curves: a start, then three points each.
        end: Its tip.
        label: The middle of its text; None if it has none.
    """

    points: tuple[Point, ...]
    end: Point
    label: Point | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands, in px, downwards.

    Attributes:
        width: Of the drawing.
        height: Of the drawing.
        boxes: The middle of each box, by key.
        starts: The dot from which an arrow leads to an initial box, by the box's key.
        arrows: In the order of the drawing's.
    """

    width: float
    height: float
    boxes: Mapping[str, Point]
    starts: Mapping[str, tuple[Point, Curve]]
    arrows: tuple[Curve, ...]


def draw(shown: Drawing, layout: Layout, *, alone: bool) -> str:
    """The drawing as SVG."""
    legend = [Line(text, "soft") for text in shown.legend] if alone else []
    loops = [layout.boxes[box.key][0] + box.size[0] / 2 + _LOOP_REACH for box in shown.boxes if box.loops]
    width = max(layout.width, *(line.width for line in legend), *loops, 0.0) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + sum(line.height for line in legend)
    if legend:
        height += _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" role="img" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="{-_MARGIN:.0f} {-_MARGIN:.0f} {width:.0f} {height:.0f}"'
            f' style="width: min(100%, {width:.0f}px); min-width: {width * _SHRUNK:.0f}px; height: auto">',
            f"<title>{escaped(shown.title)}</title>",
            f"<desc>{escaped(shown.description)}</desc>",
            *(
                [f"<style>{pages.source('pages/colours.css')}{pages.source('diagram/diagram.css')}</style>"]
                if alone
                else []
            ),
            *_arrows(shown, layout),
            *(line for box in shown.boxes for line in _box(box, layout.boxes[box.key])),
            *_labels(shown, layout),
            *_lines(legend, "start", 0.0, layout.height + _MARGIN),
            "</svg>\n",
        ]
    )


def _arrows(shown: Drawing, layout: Layout) -> Iterator[str]:
    for (x, y), curve in layout.starts.values():
        yield f'<circle class="tip plain" cx="{_number(x)}" cy="{_number(y)}" r="5"/>'
        yield from _arrow(curve, Kind.PLAIN, 0.0)
    for arrow, curve in zip(shown.arrows, layout.arrows, strict=True):
        yield from _arrow(curve, arrow.kind, arrow.weight)


def _arrow(curve: Curve, kind: Kind, weight: float) -> Iterator[str]:
    start, *rest = (f"{_number(x)} {_number(y)}" for x, y in curve.points)
    width = line_width(kind, weight)
    yield f'<path class="line {kind.value}" stroke-width="{width:.1f}" d="M{start}C{" ".join(rest)}"/>'
    (x0, y0), (x1, y1) = curve.points[-1], curve.end
    length = hypot(x1 - x0, y1 - y0) or 1.0
    half = max(3.5, width * 0.9)
    dx, dy = (x1 - x0) / length * half, (y1 - y0) / length * half
    corners = ((x0 - dy, y0 + dx), (x1, y1), (x0 + dy, y0 - dx))
    yield f'<polygon class="tip {kind.value}" points="{" ".join(f"{_number(x)},{_number(y)}" for x, y in corners)}"/>'


def _box(box: Box, middle: Point) -> Iterator[str]:
    width, height = box.size
    left, top = middle[0] - width / 2, middle[1] - height / 2
    yield f"<g><title>{escaped(box.says)}</title>" if box.says else "<g>"
    for inset, kind in ((0.0, "box"), (3.5, "inner"))[: 2 if box.final else 1]:
        place = f'x="{_number(left + inset)}" y="{_number(top + inset)}"'
        sides = f'width="{_number(width - 2 * inset)}" height="{_number(height - 2 * inset)}"'
        line = f'stroke-width="{line_width(box.kind, box.weight):.1f}"'
        yield f'<rect class="{kind} {box.kind.value}" {place} {sides} rx="{5 - inset / 2:.0f}" {line}/>'
    for number, loop in enumerate(box.loops):
        yield from _arrow(_loop((left + width, top + 6.0 + number * _LOOP)), loop.kind, loop.weight)
    text = sum(line.height for line in box.text)
    yield from _lines(box.text, "middle", middle[0], middle[1] - text / 2)
    yield "</g>"


def _loop(start: Point) -> Curve:
    """From the side of a box back to it; what happens there stands in the box."""
    x, y = start
    out = x + _LOOP_REACH
    return Curve(((x, y), (out, y - 4.0), (out, y + _LOOP), (x + 10.0, y + _LOOP - 3.0)), (x, y + _LOOP - 5.0), None)


def _labels(shown: Drawing, layout: Layout) -> Iterator[str]:
    for arrow, curve in zip(shown.arrows, layout.arrows, strict=True):
        if curve.label is not None:
            text = sum(line.height for line in arrow.lines)
            yield from _lines(arrow.lines, "middle", curve.label[0], curve.label[1] - text / 2)


def _lines(lines: tuple[Line, ...] | list[Line], anchor: str, x: float, top: float) -> Iterator[str]:
    for line in lines:
        y = top + FONT_SIZES[line.style] * _ASCENT
        at = f'x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}" style="font-size: {FONT_SIZES[line.style]}px"'
        yield f'<text class="{line.style} {line.kind.value}" {at}>{escaped(line.text)}</text>'
        top += line.height


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
