"""Draws the results as one SVG of small charts: who is how fast, what each part costs, what many orders change.

Every chart has a scale of its own that begins at 0. A chart whose scenario did not run is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from markupsafe import escape

from adapters import pages
from adapters.bench.messages import Mark
from adapters.bench.report import figure
from adapters.bench.results import Results
from adapters.bench.summary import Row
from adapters.bench.variants import EXECUTOR, FLOOR, NO_JOURNAL, NO_MONITOR

_COLUMNS: Final = 3
_WIDTH: Final = 400
"""Of a chart with its margins, px."""
_LABELS: Final = 150
_BARS: Final = 165
_ROW: Final = 22
_HEAD: Final = 56
_GAP: Final = 26
_STYLE: Final = """
.bench { font: 13px Helvetica, Arial, "Liberation Sans", sans-serif; background: var(--page); }
.bench text { fill: var(--text); } .bench .soft { fill: var(--soft); } .bench .head { font-weight: 700; }
.bench .end { text-anchor: end; } .bench .other { fill: var(--soft); opacity: .45; } .bench .ours { fill: var(--link); }
.bench .part { fill: var(--changed); } .bench .axis { stroke: var(--line); }
.bench .spread { stroke: var(--text); } .bench .course { fill: none; stroke: var(--link); stroke-width: 2; }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from `start` to `end`; with `spread`, a line from the least to the most."""

    label: str
    start: float
    end: float
    kind: Literal["ours", "other", "part"]
    spread: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """Its length in figures."""
        length = self.end - self.start
        return f"+{figure(length)}" if self.kind == "part" and length >= 0 else figure(length)


@dataclass(frozen=True, slots=True)
class Bars:
    """A chart of bars."""

    title: str
    unit: str
    bars: tuple[Bar, ...]

    @property
    def height(self) -> float:
        """In px."""
        return _HEAD + _ROW * len(self.bars)

    def draw(self) -> Iterator[str]:
        """The chart at the origin."""
        yield from _headed(self.title, self.unit)
        most = max(max(bar.end, bar.spread[1] if bar.spread else 0.0) for bar in self.bars) or 1.0
        scale = _BARS / most
        yield _line("axis", _LABELS, _HEAD - 6, _LABELS, self.height)
        for number, bar in enumerate(self.bars):
            top = _HEAD + number * _ROW
            left, right = sorted((max(0.0, bar.start), max(0.0, bar.end)))
            yield _text("end" if bar.kind != "other" else "end soft", _LABELS - 8, top + 11, bar.label)
            yield (
                f'<rect class="{bar.kind}" x="{_LABELS + left * scale:.1f}" y="{top}" '
                f'width="{max(1.0, (right - left) * scale):.1f}" height="15"/>'
            )
            reach = right
            if bar.spread is not None and bar.spread[0] < bar.spread[1]:
                least, reach = bar.spread[0], max(right, bar.spread[1])
                yield _line("spread", _LABELS + least * scale, top + 7.5, _LABELS + bar.spread[1] * scale, top + 7.5)
            yield _text("soft", _LABELS + reach * scale + 6, top + 11, bar.text)


@dataclass(frozen=True, slots=True)
class Course:
    """A chart of a figure over the orders of a long run."""

    title: str
    unit: str
    marks: Sequence[Mark]

    @property
    def height(self) -> float:
        """In px."""
        return _HEAD + 5 * _ROW

    def draw(self) -> Iterator[str]:
        """The chart at the origin."""
        yield from _headed(self.title, self.unit)
        left, right, bottom = 46.0, _WIDTH - 70.0, self.height - 16
        last = self.marks[-1]
        most = max(mark.rss_mb for mark in self.marks)

        def at(mark: Mark) -> tuple[float, float]:
            x = left + (right - left) * mark.orders / last.orders
            return x, bottom - (bottom - _HEAD) * mark.rss_mb / most

        yield _line("axis", left, bottom, right, bottom)
        yield _line("axis", left, _HEAD, left, bottom)
        yield _text("end soft", left - 6, _HEAD + 8, figure(most))
        yield _text("end soft", left - 6, bottom, "0")
        yield _text("end soft", right, bottom + 15, f"{last.orders:,} orders")
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, self.marks))
        yield f'<polyline class="course" points="{points}"/>'
        yield _text("soft", at(last)[0] + 6, at(last)[1] + 4, figure(last.rss_mb))


Chart: TypeAlias = Bars | Course


def drawn(results: Results) -> str:
    """The results as an SVG that needs nothing else."""
    charts = list(_charts(results))
    rows = [charts[first : first + _COLUMNS] for first in range(0, len(charts), _COLUMNS)]
    width, top, parts = _WIDTH * _COLUMNS, 62.0, []
    for row in rows:
        for place, chart in enumerate(row):
            parts += [f'<g transform="translate({place * _WIDTH + 10} {top:.0f})">', *chart.draw(), "</g>"]
        top += max(chart.height for chart in row) + _GAP
    height = max(top, 80.0)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="bench" role="img" width="{width}" height="{height:.0f}" '
            f'viewBox="0 0 {width} {height:.0f}">',
            "<title>hip3 bench</title>",
            f"<style>{pages.source('pages/colours.css')}{_STYLE}</style>",
            f'<rect width="{width}" height="{height:.0f}" style="fill: var(--page)"/>',
            _text("head", 10, 24, f"hip3 bench, {results.facts.made_at}{', in a hurry' if results.quick else ''}"),
            _text("soft", 10, 44, results.facts.in_words()),
            *parts,
            "</svg>\n",
        ]
    )


def _charts(results: Results) -> Iterator[Chart]:
    yield from _compared(results, "one", "one at a time", "submit→outcome p50, µs", lambda row: row.to_outcome.p50)
    for name, title in (("flight", "50 in flight"), ("posts", "50 orders a post")):
        yield from _compared(
            results, name, title, "orders/s; the line: least to most", lambda row: row.orders_per_s.median
        )
    for name, title in (("one", "one at a time"), ("flight", "50 in flight"), ("posts", "50 orders a post")):
        yield from _prices(results, name, f"{title}: what each part costs")
    yield from _idle(results)
    yield from _compared(results, "queue", "orders waiting", "CPU µs an order", lambda row: row.cpu_us.median)
    million = results.of("million")
    if million is not None:
        yield Course("a long run: memory", "MB", million.runs[0].measures.course)


def _compared(results: Results, scenario: str, title: str, unit: str, pick: Callable[[Row], float]) -> Iterator[Chart]:
    """A bar for each entry."""
    compared = results.of(scenario)
    if compared is None:
        return
    rates = "orders/s" in unit
    yield Bars(
        title,
        unit,
        tuple(
            Bar(
                row.entry,
                0.0,
                pick(row),
                "ours" if row.entry == EXECUTOR.name or scenario == "queue" else "other",
                (row.orders_per_s.least, row.orders_per_s.most) if rates else None,
            )
            for row in compared.rows
        ),
    )


def _prices(results: Results, scenario: str, title: str) -> Iterator[Chart]:
    """From the floor's CPU per order to the executor's, part by part."""
    compared = results.of(scenario)
    if compared is None:
        return
    cpu = {row.entry: row.cpu_us.median for row in compared.rows}
    floor, whole = cpu[FLOOR.name], cpu[EXECUTOR.name]
    journal, monitor = whole - cpu[NO_JOURNAL.name], whole - cpu[NO_MONITOR.name]
    rest = whole - journal - monitor
    yield Bars(
        title,
        "CPU µs an order",
        (
            Bar("floor", 0.0, floor, "other"),
            Bar("machines and shell", floor, rest, "part"),
            Bar("monitor", rest, rest + monitor, "part"),
            Bar("journal", rest + monitor, whole, "part"),
            Bar("executor", 0.0, whole, "ours"),
        ),
    )


def _idle(results: Results) -> Iterator[Chart]:
    compared = results.of("idle")
    if compared is None:
        return
    bars = []
    for row in compared.rows:
        kind: Literal["ours", "other"] = "ours" if row.entry == EXECUTOR.name else "other"
        bars += [
            Bar(f"{row.entry}, p50", 0.0, row.to_wire.p50, kind),
            Bar(f"{row.entry}, p99", 0.0, row.to_wire.p99, kind),
        ]
    yield Bars("an order every 150 ms", "submit→wire, µs", tuple(bars))


def _headed(title: str, unit: str) -> Iterator[str]:
    yield _text("head", 0, 14, title)
    yield _text("soft", 0, 32, unit)


def _text(kind: str, x: float, y: float, words: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
