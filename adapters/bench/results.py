"""All that a benchmark found out, as one structure: what is written as JSON, and what the report and the plot show."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from adapters.bench.facts import Facts
from adapters.bench.goals import Verdict, verdicts
from adapters.bench.runner import Run
from adapters.bench.scenarios import SCENARIOS
from adapters.bench.summary import Row, rows


class Compared(Struct, frozen=True, kw_only=True):
    """A scenario with its summary and its runs."""

    name: str
    title: str
    rows: list[Row]
    runs: list[Run]


class Results(Struct, frozen=True, kw_only=True):
    """A benchmark.

    Attributes:
        facts: Where it ran.
        quick: Whether it was done in a hurry; then its figures mean little.
        scenarios: What was measured.
        goals: Which goals were reached.
    """

    facts: Facts
    quick: bool
    scenarios: list[Compared]
    goals: list[Verdict]

    def of(self, scenario: str) -> Compared | None:
        """A scenario; None if it did not run."""
        return next((each for each in self.scenarios if each.name == scenario), None)


def results(facts: Facts, runs: Sequence[Run], *, quick: bool) -> Results:
    """What the runs come to."""
    compared = []
    for name, scenario in SCENARIOS.items():
        own = [run for run in runs if run.scenario == name]
        if own:
            compared.append(Compared(name=name, title=scenario.title, rows=rows(scenario, own), runs=own))
    return Results(facts=facts, quick=quick, scenarios=compared, goals=verdicts(runs))
