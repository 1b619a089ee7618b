"""The results for people: a table a scenario, and one of the goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from adapters.bench.goals import Verdict
from adapters.bench.messages import Mark, Percentiles
from adapters.bench.summary import Row, Spread

NOTES: Final = (
    "Medians of the rounds. “of its base”: to the floor on the same event loop, within a round; in brackets the least "
    "and the most. Times are those of a call, from its submission: to the moment at which the venue has read its last "
    "order, and to its last outcome. RSS is the peak."
)
IN_A_HURRY: Final = "In a hurry: a tenth of the time, a twentieth of the long run. These figures mean little."
_COLUMNS: Final = (
    "orders/s",
    "of its base",
    "CPU µs\nan order",
    "of its\nbase",
    "to the wire, ms\np50/p99/p99.9",
    "to the outcome, ms\np50/p99/p99.9",
    "RSS\nMB",
    "GC pauses,\nlongest ms",
    "venue\nbusy",
)


def table(title: str, rows: Sequence[Row]) -> Table:
    """How the clients did in a scenario."""
    shown = _table(title)
    shown.add_column("")
    for heading in _COLUMNS:
        shown.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        shown.add_row(
            row.entry,
            f"{row.orders_per_s.median:,.0f}",
            with_spread(row.rate_ratio),
            f"{row.cpu_us.median:,.1f}",
            "" if row.cpu_ratio is None else figure(row.cpu_ratio.median),
            _percentiles(row.to_wire),
            _percentiles(row.to_outcome),
            f"{row.peak_rss_mb:,.0f}",
            f"{row.pauses:,.0f}, {figure(row.longest_pause_us / 1e3)}" if row.pauses else "none",
            f"{row.venue_load:.0%}",
        )
    return shown


def course_table(course: Sequence[Mark]) -> Table:
    """How a long run went."""
    shown = _table("in its course")
    for heading in ("orders", "RSS MB", "orders/s", "journal MB"):
        shown.add_column(heading, justify="right")
    for mark in course:
        shown.add_row(f"{mark.orders:,}", f"{mark.rss_mb:,.1f}", f"{mark.orders_per_s:,.0f}", f"{mark.journal_mb:,.1f}")
    return shown


def goals_table(verdicts: Sequence[Verdict]) -> Table:
    """Which goals were reached."""
    shown = _table("goals, with everything on")
    shown.add_column("")
    shown.add_column("what")
    shown.add_column("asked", justify="right")
    shown.add_column("measured", justify="right")
    shown.add_column("")
    for verdict in verdicts:
        shown.add_row(verdict.goal, verdict.says, verdict.limit, with_spread(verdict.value), _word(verdict.met))
    return shown


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _word(met: bool | None) -> Text:
    if met is None:
        return Text("not measured", "dim")
    return Text("met", "green") if met else Text("NOT MET", "bold red")


def with_spread(of: Spread | None) -> str:
    """A figure, with the least and the most of its rounds if there were several."""
    if of is None:
        return ""
    if of.least == of.most:
        return figure(of.median)
    return f"{figure(of.median)} ({figure(of.least)}–{figure(of.most)})"


def figure(value: float) -> str:
    """A number with three digits that count; larger ones without decimals."""
    size = abs(value)
    if size >= 100 or size == 0:
        return f"{value:,.0f}"
    return f"{value:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"


def _percentiles(of: Percentiles) -> str:
    return "/".join(figure(each / 1e3) for each in (of.p50, of.p99, of.p999))
