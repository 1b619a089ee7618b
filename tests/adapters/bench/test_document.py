"""docs/performance.md describes the benchmark that runs."""

from __future__ import annotations

import re
from typing import Final

from adapters.bench.goals import GOALS
from adapters.bench.scenarios import SCENARIOS
from adapters.bench.variants import VARIANTS
from tests.docs.documents import text_of

TEXT: Final = text_of("docs/performance.md")


def first_cells(heading: str) -> list[str]:
    """The first cell of each row of the table under a heading."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]


def test_its_clients_are_those_of_the_code() -> None:
    told = [name for cell in first_cells("Who is compared") for name in re.findall(r"`([^`]+)`", cell)]
    assert told == list(VARIANTS)


def test_its_scenarios_are_those_of_the_code() -> None:
    assert first_cells("What is asked of them") == [f"`{name}`" for name in SCENARIOS]


def test_its_goals_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| .*?([≥≤] [\d.]+)", TEXT, re.MULTILINE)
    assert rows == [(goal.name, goal.scenario, goal.limit) for goal in GOALS]
