"""The pages of docs/machines: one a machine, with a Mermaid state diagram and the table itself.

Nothing is drawn by hand, so nothing drifts: the committed pages are what `pages` makes of the tables that run, and
`hip3 diagram --check` compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapters.diagram.chart import Atlas, Chart, Function, Transition
from adapters.diagram.reading import installed, read


def render(chart: Chart) -> str:
    """The page of one machine."""
    lines = [
        "<!-- Made by `hip3 diagram` from the transition table; do not edit. -->",
        f"# {chart.title}",
        "",
        chart.prose.strip(),
        "",
        "## Diagram",
        "",
        "```mermaid",
        "stateDiagram-v2",
        *(f"    {line}" for line in _diagram(chart)),
        "```",
        "",
        "## Transitions",
        "",
        "| event | from | to | if | does | why |",
        "|---|---|---|---|---|---|",
        *(_table_line(row) for row in chart.transitions),
        "",
    ]
    return "\n".join(lines)


def pages(atlas: Atlas) -> dict[str, str]:
    """All pages by file name, the index included."""
    made = {f"{chart.name}.md": render(chart) for chart in atlas.charts}
    index = ["<!-- Made by `hip3 diagram`; do not edit. -->", "# State machines", ""]
    index += [f"- [{chart.name}]({chart.name}.md): {chart.summary}" for chart in atlas.charts]
    return {"README.md": "\n".join([*index, ""]), **made}


def stale(folder: Path) -> list[str]:
    """The pages in `folder` that are missing, outdated, or belong to no machine."""
    wanted = pages(read(installed()))
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder: Path) -> list[str]:
    """Bring the pages in `folder` up to date; returns those that changed."""
    wanted = pages(read(installed()))
    changed = stale(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed


def _diagram(chart: Chart) -> Iterator[str]:
    for state in chart.states:
        if state.initial:
            yield f"[*] --> {state.name}"
    for row in chart.transitions:
        guard = f" [{row.guard.words}]" if row.guard is not None else ""
        yield f"{row.source} --> {row.target}: {row.event}{guard}"
    for state in chart.final:
        yield f"{state.name} --> [*]"


def _table_line(row: Transition) -> str:
    return f"| {row.event} | {row.source} | {row.target} | {_words(row.guard)} | {_words(row.effect)} | {row.why} |"


def _words(function: Function | None) -> str:
    return "" if function is None else function.words
