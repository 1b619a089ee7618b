"""Diagrams come from the tables, whole and always the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters.diagram import AnyMachine, all_machines, pages, render, stale, write

ROOT = Path(__file__).parents[2]
MACHINES = all_machines()


@pytest.mark.parametrize(("machine", "prose"), MACHINES, ids=[machine.name for machine, _ in MACHINES])
def test_a_page_holds_every_row_of_its_table(machine: AnyMachine, prose: str) -> None:
    page = render(machine, prose)
    diagram = page.partition("```mermaid\nstateDiagram-v2\n")[2].partition("```")[0].splitlines()
    assert diagram[0].strip() == f"[*] --> {machine.initial.value}"
    arrows = [line.strip() for line in diagram if re.match(r"    \w+ --> \w+: ", line)]
    assert len(arrows) == len(machine.table)
    table = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(table) == len(machine.table)
    for row, arrow, line in zip(machine.table, arrows, table, strict=True):
        assert arrow.startswith(f"{row.source.value} --> {row.target.value}: {row.event.value}")
        assert line.startswith(f"| {row.event.value} | {row.source.value} | {row.target.value} |")
        assert row.why in line
    ends = {line.strip() for line in diagram if line.endswith("--> [*]")}
    assert ends == {f"{state.value} --> [*]" for state in machine.final}
    assert prose.strip() in page


def test_all_machines_are_found_and_drawn_the_same_every_time() -> None:
    assert {machine.name for machine, _ in MACHINES} >= {"hard_stop", "inflight", "intent", "post", "session"}
    assert pages() == pages()
    assert list(pages()) == ["README.md", *(f"{machine.name}.md" for machine, _ in MACHINES)]


def test_the_committed_pages_are_up_to_date() -> None:
    assert stale(ROOT / "docs" / "machines") == []


def test_what_differs_is_named_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "machines"
    names = sorted(pages())
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
