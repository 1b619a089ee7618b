"""The goals: ratios and times that the executor has to reach with everything on, and whether a run reached them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from msgspec import Struct

from adapters.bench.messages import Measures
from adapters.bench.runner import Run
from adapters.bench.summary import Spread, ratios, spread
from adapters.bench.variants import EXECUTOR, FLOOR, SDK

Figures: TypeAlias = Callable[[Sequence[Run]], list[float]]


@dataclass(frozen=True, slots=True)
class Goal:
    """One thing to reach.

    Attributes:
        name: Its number in the issue that set it, with a letter where that has several.
        says: What is compared.
        scenario: Where it is measured.
        figures: Gives its value in each round from the scenario's runs.
        at_least: The least that it may be; None if there is no least.
        at_most: The most that it may be; None if there is no most.
        always: Whether every round has to reach it, not only their median.
    """

    name: str
    says: str
    scenario: str
    figures: Figures
    at_least: float | None = None
    at_most: float | None = None
    always: bool = False

    @property
    def limit(self) -> str:
        """What is asked for, in words."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def reached_by(self, value: Spread) -> bool:
        """Whether a value is good enough."""
        worst_low, worst_high = (value.least, value.most) if self.always else (value.median, value.median)
        return (self.at_least is None or worst_low >= self.at_least) and (
            self.at_most is None or worst_high <= self.at_most
        )


class Verdict(Struct, frozen=True):
    """What became of a goal; value and answer are None if it was not measured."""

    goal: str
    says: str
    limit: str
    value: Spread | None
    met: bool | None


def verdicts(runs: Sequence[Run]) -> list[Verdict]:
    """What became of each goal."""
    told = []
    for goal in GOALS:
        values = goal.figures([run for run in runs if run.scenario == goal.scenario])
        value = spread(values) if values else None
        met = None if value is None else goal.reached_by(value)
        told.append(Verdict(goal.name, goal.says, goal.limit, value, met))
    return told


def _rate(of: Measures) -> float:
    return of.orders_per_s


def _cpu(of: Measures) -> float:
    return of.cpu_us


def _growth(of: Measures) -> float:
    return of.course[-1].rss_mb / of.course[0].rss_mb


def _posts_ahead(of: Measures) -> float:
    return float("inf") if of.posts_ahead is None else of.posts_ahead


def _of_executor(figure: Callable[[Measures], float], runs: Sequence[Run]) -> list[float]:
    return [figure(run.measures) for run in runs if run.entry == EXECUTOR.name]


def _ratio(entry: str, base: str, figure: Callable[[Measures], float]) -> Figures:
    return partial(ratios, entry=entry, base=base, figure=figure)


_to_floor: Final = partial(_ratio, EXECUTOR.name, FLOOR.name)
_to_sdk: Final = partial(_ratio, EXECUTOR.name, SDK.name)

GOALS: Final = (
    Goal("1a", "50 in flight: orders/s, of the floor's", "flight", _to_floor(_rate), at_least=0.6),
    Goal("1b", "50 in flight: orders/s, of the official SDK's", "flight", _to_sdk(_rate), at_least=6),
    Goal(
        "2",
        "one at a time: submit→outcome p50, of the floor's",
        "one",
        _to_floor(lambda of: of.to_outcome.p50),
        at_most=1.5,
    ),
    Goal("3a", "50 orders a post: orders/s, of the floor's", "posts", _to_floor(_rate), at_least=0.5),
    Goal("3b", "50 orders a post: orders/s, of the SDK's bulk orders", "posts", _to_sdk(_rate), at_least=1.5),
    Goal(
        "4a",
        "idle: submit→wire p50, ms",
        "idle",
        partial(_of_executor, lambda of: of.to_wire.p50 / 1e3),
        at_most=0.3,
    ),
    Goal(
        "4b", "idle: submit→wire p99, ms", "idle", partial(_of_executor, lambda of: of.to_wire.p99 / 1e3), at_most=1.0
    ),
    Goal(
        "5a",
        "10,000 orders waiting: CPU per order, of that with 10",
        "queue",
        _ratio("10,000 wait", "10 wait", _cpu),
        at_most=1.1,
    ),
    Goal(
        "5b",
        "a long run: memory at the end, of that after a twentieth of it",
        "million",
        partial(_of_executor, _growth),
        at_most=1.1,
    ),
    Goal(
        "6a",
        "1,000 cancels while 900 orders wait: order posts before the last cancel",
        "cancels",
        partial(_of_executor, _posts_ahead),
        at_most=0,
        always=True,
    ),
    Goal(
        "6b",
        "one cancel behind full flight: order posts before it",
        "cancel",
        partial(_of_executor, _posts_ahead),
        at_most=0,
        always=True,
    ),
)
