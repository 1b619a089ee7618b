"""What the rounds of a scenario come to: medians, and ratios to the client that each is compared with.

A ratio is taken within a round, between runs that followed each other closely, and the median of the rounds' ratios is
what is reported, with the least and the most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import TypeAlias

from msgspec import Struct

from adapters.bench.messages import Measures, Percentiles
from adapters.bench.runner import Run
from adapters.bench.scenarios import Entry, Scenario

Figure: TypeAlias = Callable[[Measures], float]


class Spread(Struct, frozen=True):
    """A figure over the rounds."""

    median: float
    least: float
    most: float


class Row(Struct, frozen=True, kw_only=True):
    """How one client did in a scenario; each figure is the median of its rounds, and means what `Measures` says.

    Attributes:
        entry: The client.
        base: Who it is compared with; None for who is compared with nobody.
        rate_ratio: Its orders/s in those of the base.
        cpu_ratio: Its CPU per order in that of the base.
        longest_pause_us: The longest pause of the garbage collector in all rounds.
        posts_ahead: The most in all rounds.
    """

    entry: str
    base: str | None
    rounds: int
    orders_per_s: Spread
    rate_ratio: Spread | None
    cpu_us: Spread
    cpu_ratio: Spread | None
    to_wire: Percentiles
    to_outcome: Percentiles
    peak_rss_mb: float
    pauses: float
    pauses_us: float
    longest_pause_us: float
    venue_load: float
    posts_ahead: int | None


def spread(values: Iterable[float]) -> Spread:
    """Median, least and most; there must be a value."""
    each = sorted(values)
    return Spread(median(each), each[0], each[-1])


def ratios(runs: Sequence[Run], entry: str, base: str, figure: Figure) -> list[float]:
    """A figure of `entry` in that of `base`, round by round; empty if one of them did not run."""
    of = {(run.entry, run.round): figure(run.measures) for run in runs}
    rounds = sorted({run.round for run in runs})
    pairs = [(of.get((entry, number)), of.get((base, number))) for number in rounds]
    return [ours / theirs for ours, theirs in pairs if ours is not None and theirs]


def rows(scenario: Scenario, runs: Sequence[Run]) -> list[Row]:
    """A row for each entry that ran in the scenario."""
    told = []
    for entry in scenario.entries:
        measures = [run.measures for run in runs if run.entry == entry.name]
        if measures:
            told.append(_row(entry, measures, runs))
    return told


def _row(entry: Entry, measures: Sequence[Measures], runs: Sequence[Run]) -> Row:
    def middle(figure: Figure) -> float:
        return median(map(figure, measures))

    def ratio(figure: Figure) -> Spread | None:
        if entry.base is None:
            return None
        values = ratios(runs, entry.name, entry.base, figure)
        return spread(values) if values else None

    return Row(
        entry=entry.name,
        base=entry.base,
        rounds=len(measures),
        orders_per_s=spread(each.orders_per_s for each in measures),
        rate_ratio=ratio(lambda each: each.orders_per_s),
        cpu_us=spread(each.cpu_us for each in measures),
        cpu_ratio=ratio(lambda each: each.cpu_us),
        to_wire=_middle_of([each.to_wire for each in measures]),
        to_outcome=_middle_of([each.to_outcome for each in measures]),
        peak_rss_mb=middle(lambda each: each.peak_rss_mb),
        pauses=middle(lambda each: each.pauses.number),
        pauses_us=middle(lambda each: each.pauses.total_us),
        longest_pause_us=max(each.pauses.longest_us for each in measures),
        venue_load=middle(lambda each: each.venue_load),
        posts_ahead=max((each.posts_ahead for each in measures if each.posts_ahead is not None), default=None),
    )


def _middle_of(each: Sequence[Percentiles]) -> Percentiles:
    return Percentiles(*(median(getattr(one, name) for one in each) for name in Percentiles.__struct_fields__))
