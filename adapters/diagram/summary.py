"""What changed in the machines, in words: plain lines for a terminal or a log, Markdown for a pull request's comment.

One line a change, with its sign first: `+` added, `-` removed, `~` changed, `→` renamed; `!` is what could not be
compared. The texts may come from an untrusted revision, so nothing of them can leave its line, its code block or its
label.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from adapters.diagram.chart import Drive, State, Transition
from adapters.diagram.diff import AtlasDiff, DriveChange, MachineDiff, StateChange, TransitionChange
from adapters.diagram.marks import Kind
from adapters.diagram.mermaid import state_diagram

UNCHANGED: Final = "The machines are unchanged."
_SIGNS: Final = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}
_LONGEST: Final = 400
"""Characters of a line; a longer one is cut, because nobody reads on."""


def summary(diff: AtlasDiff) -> str:
    """What changed, as plain text; it depends on the two revisions' tables and on nothing else."""
    lines = headline(diff)
    for machine in diff.machines:
        lines += ["", _machine_line(machine), *(f"  {line}" for line in machine_lines(machine))]
    for section in (drive_lines(diff), beside_lines(diff)):
        lines += ["", *section] if section else []
    return "".join(f"{line}\n" for line in lines)


def markdown(diff: AtlasDiff, before: str, after: str) -> str:
    """What changed, for a pull request: the same lines, and a Mermaid diagram for each machine that changed.

    Args:
        diff: What changed.
        before: What the old revision is called.
        after: What the new revision is called.
    """
    lines = ["## State machines", "", f"{_code(before)} → {_code(after)}", ""]
    lines += headline(diff)
    for machine in diff.machines:
        lines += ["", f"### {_WORDS[machine.kind]}: {_code(machine.chart.name)}", ""]
        lines += _fenced("diff", [_machine_line(machine), *machine_lines(machine)])
        lines += ["", *_fenced("mermaid", state_diagram(machine.chart, machine.marks))]
    for title, section in (
        ("How the machines drive each other", drive_lines(diff)),
        ("Beside the tables", beside_lines(diff)),
    ):
        if section:
            lines += ["", f"### {title}", "", *_fenced("diff", section)]
    if diff.machines:
        lines += ["", "In the diagrams `+` is added, `−` removed, `~` changed; a removed state has a dashed border."]
    return "".join(f"{line}\n" for line in lines)


_WORDS: Final = {Kind.ADDED: "Added", Kind.REMOVED: "Removed", Kind.CHANGED: "Changed"}


def headline(diff: AtlasDiff) -> list[str]:
    """How much changed, in a few sentences."""
    if diff.unchanged:
        return [UNCHANGED]
    kinds = [machine.kind for machine in diff.machines]
    counts = [f"{kinds.count(kind)} {word.lower()}" for kind, word in _WORDS.items() if kind in kinds]
    told = [f"Machines: {', '.join(counts)}." if counts else "No machine's table changed."]
    if diff.drives:
        told.append(f"Of how they drive each other, {counted(len(diff.drives), 'row')} changed.")
    if diff.beside:
        told.append(f"Beside the tables, code changed in {counted(len(diff.beside), 'module')}.")
    if diff.unreadable:
        told.append(f"{counted(len(diff.unreadable), 'module').capitalize()} could not be read.")
    return told


def machine_lines(machine: MachineDiff) -> list[str]:
    """A line for each change of a machine; none for one that exists on one side only."""
    lines = [line for state in machine.states for line in _state_lines(state)]
    lines += [line for row in machine.transitions for line in _row_lines(row)]
    lines += [
        f"~ order: the rows of {event} in {source} are tried in another order" for event, source in machine.orders
    ]
    return [plain(line) for line in lines]


def drive_lines(diff: AtlasDiff) -> list[str]:
    """A line for each change of how the machines drive each other."""
    return [plain(line) for drive in diff.drives for line in _drive_lines(drive)]


def beside_lines(diff: AtlasDiff) -> list[str]:
    """A line for each module whose code changed outside of the tables, or that can't be read."""
    lines = [f"~ code beside the tables changed: {path}" for path in diff.beside]
    return [plain(line) for line in (*lines, *(f"! not compared: {why}" for why in diff.unreadable))]


def plain(text: str) -> str:
    """A text as one line, without anything that a terminal would obey or that reorders letters."""
    line = " ".join(text.split())
    line = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter)[0] == "C" else letter for letter in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def row_label(row: Transition) -> str:
    """A row in short: `send [_ready] / _register: queued → sent`."""
    guard = "" if row.guard is None else f" [{row.guard.name}]"
    effect = "" if row.effect is None else f" / {row.effect.name}"
    return f"{row.event}{guard}{effect}: {row.source} → {row.target}"


def _machine_line(machine: MachineDiff) -> str:
    chart = machine.chart
    size = f": {counted(len(chart.states), 'state')}, {counted(len(chart.transitions), 'transition')}"
    line = f"{_SIGNS[machine.kind]} machine {chart.name} ({chart.file})"
    return plain(line if machine.kind is Kind.CHANGED else line + size)


def _state_lines(change: StateChange) -> Iterator[str]:
    if change.renamed and change.before is not None:
        yield f"→ state {change.before.name} → {change.name}"
    match change:
        case StateChange(before=None, after=State() as state):
            yield f"+ state {_told(state)}"
        case StateChange(before=State() as state, after=None):
            yield f"- state {_told(state)}"
        case _:
            yield from (f"~ state {change.name}: {detail}" for detail in change.details)


def _told(state: State) -> str:
    roles = [role for role, holds in (("initial", state.initial), ("final", state.final)) if holds]
    role = f" ({', '.join(roles)})" if roles else ""
    return f"{state.name}{role}: {state.meaning}" if state.meaning else f"{state.name}{role}"


def _row_lines(change: TransitionChange) -> Iterator[str]:
    match change:
        case TransitionChange(before=None, after=Transition() as row):
            yield f"+ {row_label(row)}"
        case TransitionChange(before=Transition() as row, after=None):
            yield f"- {row_label(row)}"
        case TransitionChange(after=Transition() as row):
            yield from (f"~ {row_label(row)}: {detail}" for detail in change.details)


def _drive_lines(change: DriveChange) -> Iterator[str]:
    match change:
        case DriveChange(before=Drive() as before, after=Drive() as drive):
            yield f"~ {_driven(drive)}: condition {before.when or 'none'} → {drive.when or 'none'}"
        case DriveChange(before=None, after=Drive() as drive):
            yield f"+ {_driven(drive)}{f' ({drive.when})' if drive.when else ''}"
        case DriveChange(before=Drive() as drive):
            yield f"- {_driven(drive)}{f' ({drive.when})' if drive.when else ''}"


def _driven(drive: Drive) -> str:
    return f"{drive.cause} → {drive.effect}"


def counted(number: int, noun: str) -> str:
    """So many of a thing: `1 row`, `2 rows`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


# ------------------------------------------------------------------------------------------------------ Markdown


def _fenced(language: str, lines: Iterable[str]) -> list[str]:
    """A code block that its lines can't end."""
    inside = list(lines)
    longest = max((len(run) for line in inside for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *inside, fence]


def _code(text: str) -> str:
    """A text as code in a line of Markdown."""
    return f"`{plain(text).replace('`', chr(0x2019))}`"
