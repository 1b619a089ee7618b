"""Runs with chosen figures, for what is made of them."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.bench.facts import Facts
from adapters.bench.messages import Mark, Measures, Pauses, Percentiles
from adapters.bench.runner import Run
from adapters.bench.scenarios import SCENARIOS

FACTS = Facts(
    made_at="2026-01-02T03:04:05+00:00",
    commit="0123456789abcdef",
    changed=True,
    cpu="A <fast> & cheap one",
    cores=2,
    kernel="Linux 6",
    load=0.5,
    journal_on="ext4",
    python="CPython 3.11",
    packages={"picows": "2.3.1"},
)


def measures(**figures: Any) -> Measures:
    """A run of 1,000 orders in a second, but for what is named."""
    latency = Percentiles(100.0, 200.0, 300.0)
    usual = Measures(
        orders=1_000,
        seconds=1.0,
        orders_per_s=1_000.0,
        cpu_us=500.0,
        to_wire=latency,
        to_outcome=latency,
        peak_rss_mb=50.0,
        pauses=Pauses(2, 300.0, 200.0),
        venue_load=0.2,
    )
    return msgspec.structs.replace(usual, **figures)


def run(scenario: str, entry: str, number: int = 1, **figures: Any) -> Run:
    """A round of an entry."""
    return Run(scenario, entry, number, measures(**figures))


def course(*rss_mb: float) -> tuple[Mark, ...]:
    """Marks with these memories."""
    return tuple(
        Mark(orders=1_000 * number, rss_mb=rss, orders_per_s=1_000.0, journal_mb=float(number))
        for number, rss in enumerate(rss_mb, 1)
    )


def whole_benchmark(rounds: int = 2) -> list[Run]:
    """A run of every entry of every scenario in each round."""
    return [
        run(
            name,
            entry.name,
            number,
            orders_per_s=1_000.0 * place * number,
            posts_ahead=0 if name.startswith("cancel") else None,
            course=course(50.0, 51.0) if name == "million" else (),
        )
        for name, scenario in SCENARIOS.items()
        for number in range(1, rounds + 1)
        for place, entry in enumerate(scenario.entries, 1)
    ]
