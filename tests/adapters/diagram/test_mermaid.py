"""The pages hold all that the tables say, in the words of a code host, and always the same."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.diagram.chart import Chart
from adapters.diagram.marks import Kind, Mark, Marks
from adapters.diagram.mermaid import composed_diagram, pages, stale, state_diagram, write
from adapters.diagram.reading import installed, read
from spec.traceability import FINDINGS

ROOT = Path(__file__).parents[3]
ATLAS = read(installed())
CHARTS = {chart.name: chart for chart in ATLAS.charts}
PAGES = pages(ATLAS)

STATE = r'    state "[^"\n;]*(?:#\d+;[^"\n;]*)*" as s_\w+'
ARROW = r"    (?:s_\w+|\[\*\]) --> (?:s_\w+|\[\*\])(?:: [^:;\n]+(?:#\d+;[^:;\n]*)*)?"
STYLE = r"    (?:classDef is_\w+ [\w:#,\- ]+|class s_\w+(?:,s_\w+)* is_\w+)"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize("chart", ATLAS.charts, ids=lambda chart: str(chart.name))
def test_a_page_holds_every_row_of_its_table(chart: Chart) -> None:
    page = PAGES[f"{chart.name}.md"]
    assert chart.prose.strip() in page
    source = (ROOT / chart.file).read_text(encoding="utf-8").splitlines()
    for row, cells in zip(chart.transitions, rows(page, "Transitions"), strict=True):
        assert cells[:3] == [row.event, row.source, row.target]
        assert cells[3:6] == [row.guard.words if row.guard else "", row.effect.words if row.effect else "", row.why]
        file, _, line = cells[6].strip("`").rpartition(":")
        assert file == chart.file
        assert "Row(" in source[int(line) - 1]
        for function in filter(None, (row.guard, row.effect)):
            assert f"```python\n{function.code}\n```" in page


@pytest.mark.parametrize("chart", ATLAS.charts, ids=lambda chart: str(chart.name))
def test_a_page_tells_each_state_and_event(chart: Chart) -> None:
    page = PAGES[f"{chart.name}.md"]
    for state, (name, meaning, entered, left) in zip(chart.states, rows(page, "States"), strict=True):
        marks = [word for word, holds in (("initial", state.initial), ("final", state.final)) if holds]
        assert name == f"**{state.name}**" + (f" ({', '.join(marks)})" if marks else "")
        assert meaning == state.meaning
        assert bool(left) is not state.final
        assert entered or state.initial
    told = {name: cells for name, *cells in rows(page, "Events")}
    assert set(told) == {row.event for row in chart.transitions}
    for name, (causes, effects, findings, invariants) in told.items():
        assert findings == ", ".join(FINDINGS[chart.name][name])
        assert invariants
        assert causes.count("`") / 2 == sum(drive.effect == f"{chart.name}.{name}" for drive in ATLAS.drives)
        assert effects.count("`") / 2 == sum(drive.cause == f"{chart.name}.{name}" for drive in ATLAS.drives)


@pytest.mark.parametrize("chart", ATLAS.charts, ids=lambda chart: str(chart.name))
def test_a_diagram_is_mermaid_and_holds_every_transition(chart: Chart) -> None:
    first, *lines = state_diagram(chart)
    assert first == "stateDiagram-v2"
    for line in lines:
        assert re.fullmatch(f"{STATE}|{ARROW}|{STYLE}", line), line
    for row in chart.transitions:
        stays = row.source == row.target
        begin = rf'state "{row.source}<br/>' if stays else f"s_{row.source} --> s_{row.target}: "
        (line,) = [line for line in lines if line.strip().startswith(begin)]
        assert re.search(rf"(?<!\w){row.event}(?!\w)", line)
        assert row.guard is None or f"[{row.guard.words}]" in line
    assert [line.strip() for line in lines if line.endswith("[*]")] == [
        f"s_{state.name} --> [*]" for state in chart.final
    ]
    assert f"```mermaid\n{first}\n" + "\n".join(lines) + "\n```" in PAGES[f"{chart.name}.md"]


def test_marks_are_told_by_signs_and_borders() -> None:
    post = CHARTS["post"]
    marks = Marks({"acked": Mark(Kind.ADDED, "new")}, {post.transitions[0].key: Mark(Kind.REMOVED)})
    lines = list(state_diagram(post, marks))
    assert '    state "+ acked<br/>new" as s_acked' in lines
    assert "    s_queued --> s_sent: − send" in lines
    assert "    class s_acked is_added" in lines


def test_names_that_mermaid_would_misread_are_no_more_than_text() -> None:
    post = CHARTS["post"]
    queued, sent, *others = post.states
    evil = 'end"; state: {\n\x00<script>'
    states = (replace(queued, name=evil), replace(sent, name=evil.upper()), *others)
    transitions = (replace(post.transitions[0], source=evil, target=evil.upper(), event=evil),)
    lines = list(state_diagram(replace(post, states=states, transitions=transitions)))
    assert '    state "end#34;#59; state#58; #123;  #60;script#62;" as s_end___state______script_' in lines
    for line in lines[1:]:
        assert re.fullmatch(f"{STATE}|{ARROW}|{STYLE}", line), line
    twins = (replace(queued, name="a b"), replace(sent, name="a:b"))
    assert [line.rpartition(" ")[2] for line in state_diagram(replace(post, states=twins, transitions=()))][1:3] == [
        "s0",
        "s1",
    ]


def test_the_index_holds_every_machine_and_every_drive() -> None:
    index = PAGES["README.md"]
    assert list(PAGES) == ["README.md", *(f"{chart.name}.md" for chart in ATLAS.charts)]
    for chart in ATLAS.charts:
        assert f"| [{chart.name}]({chart.name}.md) | {chart.summary} |" in index
    told = rows(index, "How they drive each other")
    assert [cells[:2] for cells in told] == [[drive.cause, drive.effect] for drive in ATLAS.drives]
    assert "\n".join(composed_diagram(ATLAS)) in index


def test_the_committed_pages_are_up_to_date() -> None:
    assert stale(ROOT / "docs" / "machines", PAGES) == []


def test_what_differs_is_named_and_mended(tmp_path: Path) -> None:
    folder = tmp_path / "machines"
    names = sorted(PAGES)
    assert stale(folder, PAGES) == names
    assert write(folder, PAGES) == names
    assert stale(folder, PAGES) == []
    assert write(folder, PAGES) == []
    (folder / "post.md").write_text("# Post\n", encoding="utf-8")
    (folder / "intent.md").unlink()
    (folder / "phantom.md").touch()
    (folder / "notes.txt").touch()
    assert stale(folder, PAGES) == ["intent.md", "phantom.md", "post.md"]
    assert write(folder, PAGES) == ["intent.md", "phantom.md", "post.md"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, "notes.txt"])
    assert stale(folder, PAGES) == []
