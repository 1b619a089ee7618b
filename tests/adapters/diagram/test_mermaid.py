"""Diagrams come from the tables, whole and always the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.diagram.chart import Chart
from adapters.diagram.mermaid import pages, render, stale, write
from adapters.diagram.reading import installed, read

ROOT = Path(__file__).parents[3]
ATLAS = read(installed())


@pytest.mark.parametrize("chart", ATLAS.charts, ids=lambda chart: str(chart.name))
def test_a_page_holds_every_row_of_its_table(chart: Chart) -> None:
    page = render(chart)
    diagram = page.partition("```mermaid\nstateDiagram-v2\n")[2].partition("```")[0].splitlines()
    assert diagram[0].strip() == f"[*] --> {next(state.name for state in chart.states if state.initial)}"
    arrows = [line.strip() for line in diagram if re.match(r"    \w+ --> \w+: ", line)]
    table = [line for line in page.splitlines() if line.startswith("| ")][1:]
    for row, arrow, line in zip(chart.transitions, arrows, table, strict=True):
        assert arrow.startswith(f"{row.source} --> {row.target}: {row.event}")
        assert line.startswith(f"| {row.event} | {row.source} | {row.target} |")
        assert row.why in line
    ends = {line.strip() for line in diagram if line.endswith("--> [*]")}
    assert ends == {f"{state.name} --> [*]" for state in chart.final}
    assert chart.prose.strip() in page


def test_all_machines_are_drawn() -> None:
    assert list(pages(ATLAS)) == ["README.md", *(f"{chart.name}.md" for chart in ATLAS.charts)]


def test_the_committed_pages_are_up_to_date() -> None:
    assert stale(ROOT / "docs" / "machines") == []


def test_what_differs_is_named_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "machines"
    names = sorted(pages(ATLAS))
    assert stale(folder) == names
    assert write(folder) == names
    assert stale(folder) == []
    assert write(folder) == []
    (folder / "post.md").write_text("# Post\n", encoding="utf-8")
    (folder / "intent.md").unlink()
    (folder / "phantom.md").touch()
    (folder / "notes.txt").touch()
    assert stale(folder) == ["intent.md", "phantom.md", "post.md"]
    assert write(folder) == ["intent.md", "phantom.md", "post.md"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "notes.txt"])
    assert stale(folder) == []
