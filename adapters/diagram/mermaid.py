"""The pages of docs/machines: one a machine, with a Mermaid diagram and all that its table says, and an index.

Nothing is drawn by hand, so nothing drifts: the committed pages are what `pages` makes of the tables that run, and
`hip3 diagram --check` compares them. Mermaid is drawn by whoever shows the page, as code hosts do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from adapters.diagram import drawing, purpose
from adapters.diagram.chart import Atlas, Chart, Drive, Function, State, Transition
from adapters.diagram.drawing import Box, Line
from adapters.diagram.marks import UNMARKED, Kind, Marks
from adapters.diagram.purpose import Event, place
from adapters.diagram.reading import COMPOSITION

_MADE: Final = "<!-- Made by `hip3 diagram` from the transition tables; do not edit. -->"
_INDEX: Final = "README.md"
_MORE: Final = re.compile(r"[^\w .,()\[\]+−~×→]")
"""What Mermaid might take for more than text."""
_STYLES: Final = {
    "final": "stroke-width:4px",
    Kind.ADDED.value: "fill:#dafbe1,stroke:#116329,stroke-width:3px,color:#0b3d1a",
    Kind.REMOVED.value: "fill:#ffebe9,stroke:#a40e26,stroke-dasharray:6 4,color:#6b0a18",
    Kind.CHANGED.value: "fill:#fff8c5,stroke:#7d4e00,stroke-width:2px,stroke-dasharray:2 2,color:#4d3000",
    Kind.UNUSED.value: "fill:#f6f8fa,stroke:#656d76,stroke-dasharray:1 3,color:#57606a",
}
"""Of states; fixed colours, dark on light, because a code host's Mermaid knows nothing of the page around it."""


def pages(atlas: Atlas) -> dict[str, str]:
    """All pages by file name, the index included."""
    made = {f"{chart.name}.md": "\n".join(_page(atlas, chart)) for chart in atlas.charts}
    return {_INDEX: "\n".join(_index(atlas)), **made}


def stale(folder: Path, wanted: dict[str, str]) -> list[str]:
    """The pages in `folder` that are missing, outdated, or belong to no machine."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder: Path, wanted: dict[str, str]) -> list[str]:
    """Bring the pages in `folder` up to date; returns those that changed."""
    changed = stale(folder, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed


def state_diagram(chart: Chart, marks: Marks = UNMARKED) -> Iterator[str]:
    """A machine in Mermaid; what leaves an object in its state stands in the state's box.

    Mermaid gives arrows neither colour nor pattern: a sign before its event says what is special about a transition.
    """
    shown = drawing.of_machine(chart, marks)
    names = _names_of(shown.boxes)
    yield "stateDiagram-v2"
    for box in shown.boxes:
        yield f'    state "{_label(box.text)}" as {names[box.key]}'
    for box in shown.boxes:
        if box.initial:
            yield f"    [*] --> {names[box.key]}"
    for arrow in shown.arrows:
        yield f"    {names[arrow.source]} --> {names[arrow.target]}: {_label(arrow.lines)}"
    for box in shown.boxes:
        if box.final:
            yield f"    {names[box.key]} --> [*]"
    for name, style in _STYLES.items():
        styled = [names[box.key] for box in shown.boxes if name in (box.kind.value, "final" if box.final else "")]
        if styled:
            yield f"    classDef is_{name} {style}"
            yield f"    class {','.join(styled)} is_{name}"


def composed_diagram(atlas: Atlas) -> Iterator[str]:
    """How the machines drive each other, in Mermaid; a box names the events of the core that reach its machine."""
    shown = drawing.of_all(atlas)
    names = _names_of(shown.boxes)
    yield "flowchart TB"
    for box in shown.boxes:
        yield f'    {names[box.key]}["{_label(box.text)}"]'
    for arrow in shown.arrows:
        yield f'    {names[arrow.source]} -->|"{_label(arrow.lines)}"| {names[arrow.target]}'


def _names_of(boxes: Iterable[Box]) -> dict[str, str]:
    """What boxes are called in Mermaid, where `end` or `state` would be taken for a word of its own."""
    readable = {box.key: f"s_{re.sub(r'[^A-Za-z0-9_]', '_', box.key)}" for box in boxes}
    if len(set(readable.values())) == len(readable):
        return readable
    return {key: f"s{place}" for place, key in enumerate(readable)}


def _label(lines: Iterable[Line]) -> str:
    return "<br/>".join(_text(line.text) for line in lines)


def _text(text: str) -> str:
    """Text, with what Mermaid might take for more as numbered characters."""
    return _MORE.sub(lambda found: f"#{ord(found[0])};" if found[0].isprintable() else " ", text)


# ------------------------------------------------------------------------------------------------- the pages


def _index(atlas: Atlas) -> Iterator[str]:
    yield from (_MADE, "# State machines", "")
    yield "Every object of the executor lives in one of these machines. An event that has no row is refused."
    yield from ("", "| machine | what it is | ends in |", "|---|---|---|")
    for chart in atlas.charts:
        yield f"| [{chart.name}]({chart.name}.md) | {_cell(chart.summary)} | {_ends(chart)} |"
    yield from ("", "## How they drive each other", "", "```mermaid", *composed_diagram(atlas), "```", "")
    yield "A box is a machine; below its name, the events of the core that reach it from outside. `a → b` at an arrow:"
    yield "in the same step, event a of the one machine brings about event b of the other. In full:"
    yield from ("", "| cause | brings about | when | source |", "|---|---|---|---|")
    for drive in atlas.drives:
        yield f"| {drive.cause} | {drive.effect} | {_cell(drive.when) or 'always'} | `{COMPOSITION}:{drive.line}` |"
    yield ""


def _page(atlas: Atlas, chart: Chart) -> Iterator[str]:
    yield from (_MADE, f"# {chart.title}", "", chart.prose.strip(), "")
    yield f"Ends in: {_ends(chart)}. Source: `{place(chart, chart.line)}`."
    yield from ("", "## Diagram", "", "```mermaid", *state_diagram(chart), "```", "")
    yield "A transition says `event [guard]`. A heavy border and an arrow to the black dot mark a final state."
    yield from ("", "## States", "", "| state | meaning | entered by | left by |", "|---|---|---|---|")
    yield from (_state_row(chart, state) for state in chart.states)
    yield from ("", "## Transitions", "")
    yield from ("| event | from | to | if | does | why | source |", "|---|---|---|---|---|---|---|")
    yield from (_transition_row(chart, row) for row in chart.transitions)
    yield from ("", "## Events", "")
    yield "Findings are the requirements in [findings.md](../findings.md); an invariant serves an event if it covers"
    yield "one of its findings ([verification.md](../verification.md))."
    yield from ("", "| event | brought about by | brings about | findings | invariants |", "|---|---|---|---|---|")
    yield from (_event_row(event) for event in purpose.events(atlas, chart))
    yield ""
    functions = purpose.functions(chart)
    if functions:
        yield from ("## Guards and effects", "")
    for function in functions:
        yield from (f"`{place(chart, function.line)}`", "", "```python", function.code, "```", "")


def _state_row(chart: Chart, state: State) -> str:
    marks = ", ".join(word for word, holds in (("initial", state.initial), ("final", state.final)) if holds)
    name = f"**{state.name}**{f' ({marks})' if marks else ''}"
    entered = _names(f"{row.event} from {row.source}" for row in purpose.entering(chart, state.name))
    left = _names(f"{row.event} to {row.target}" for row in purpose.leaving(chart, state.name))
    return f"| {name} | {_cell(state.meaning)} | {entered} | {left} |"


def _transition_row(chart: Chart, row: Transition) -> str:
    facts = (_words(row.guard), _words(row.effect), row.why)
    told = " | ".join(_cell(fact) for fact in facts)
    return f"| {row.event} | {row.source} | {row.target} | {told} | `{place(chart, row.line)}` |"


def _event_row(event: Event) -> str:
    causes = _drives((drive.cause, drive) for drive in event.causes)
    effects = _drives((drive.effect, drive) for drive in event.effects)
    invariants = ", ".join(invariant.id for invariant in event.invariants)
    return f"| {event.name} | {causes} | {effects} | {', '.join(event.findings)} | {invariants} |"


def _drives(drives: Iterable[tuple[str, Drive]]) -> str:
    return "<br>".join(f"`{name}`{f': {_cell(drive.when)}' if drive.when else ''}" for name, drive in drives)


def _names(names: Iterable[str]) -> str:
    return "<br>".join(_cell(name) for name in names)


def _words(function: Function | None) -> str:
    return "" if function is None else function.words


def _ends(chart: Chart) -> str:
    return ", ".join(f"**{state.name}**" for state in chart.final) or "nothing, it goes on"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
