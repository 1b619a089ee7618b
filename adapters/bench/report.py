"""The results for people: a table a scenario."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from adapters.bench.messages import Percentiles
from adapters.bench.scenarios import Scenario
from adapters.bench.summary import Row, Spread


def table(scenario: Scenario, rows: Sequence[Row]) -> Table:
    """How the clients did in a scenario."""
    shown = Table(title=f"{scenario.name}: {scenario.title}", title_justify="left", box=None, pad_edge=False)
    shown.add_column("client")
    for heading in (
        "orders/s",
        "to its base",
        "CPU µs/order",
        "to its base",
        "submit→wire µs\np50 / p99 / p99.9",
        "submit→outcome µs\np50 / p99 / p99.9",
        "peak RSS MB",
        "GC pauses\nnumber, longest",
    ):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(
            row.variant,
            f"{row.orders_per_s.median:,.0f}",
            ratio(row.rate_ratio),
            f"{row.cpu_us.median:,.1f}",
            ratio(row.cpu_ratio),
            _percentiles(row.to_wire),
            _percentiles(row.to_outcome),
            f"{row.peak_rss_mb:,.0f}",
            f"{row.pauses:,.0f}, {row.longest_pause_us / 1e3:,.1f} ms" if row.pauses else "none",
        )
    return shown


def ratio(of: Spread | None) -> str:
    """A ratio with its spread."""
    if of is None:
        return ""
    return f"{of.median:.2f} ({of.least:.2f}–{of.most:.2f})"


def _percentiles(of: Percentiles) -> str:
    return f"{of.p50:,.0f} / {of.p99:,.0f} / {of.p999:,.0f}"
