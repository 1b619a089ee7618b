"""Diagrams from the tables: one Markdown page a machine, with a Mermaid state diagram and the table itself.

Nothing is drawn by hand, so nothing drifts: the pages in docs/machines are what `render` makes of the tables that run,
and a test compares them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import machines
from machines.table import Row, StateMachine

AnyMachine: TypeAlias = StateMachine[Any, Any]


def all_machines() -> list[tuple[AnyMachine, str]]:
    """Every state machine of `machines/`, by name, with the text that its module begins with."""
    found: dict[str, tuple[AnyMachine, str]] = {}
    for module_info in pkgutil.iter_modules(machines.__path__, "machines."):
        module = importlib.import_module(module_info.name)
        for value in vars(module).values():
            if isinstance(value, StateMachine) and value.states.__module__ == module.__name__:
                found[value.name] = (value, module.__doc__ or "")
    return [found[name] for name in sorted(found)]


def render(machine: AnyMachine, prose: str) -> str:
    """The page of one machine."""
    title = machine.name.replace("_", " ").capitalize()
    lines = [
        "<!-- Made by `hip3 diagram` from the transition table; do not edit. -->",
        f"# {title}",
        "",
        prose.strip(),
        "",
        "## Diagram",
        "",
        "```mermaid",
        "stateDiagram-v2",
        *(f"    {line}" for line in _diagram(machine)),
        "```",
        "",
        "## Transitions",
        "",
        "| event | from | to | if | does | why |",
        "|---|---|---|---|---|---|",
        *(_table_line(row) for row in machine.table),
        "",
    ]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """All pages by file name, the index included."""
    made = {f"{machine.name}.md": render(machine, prose) for machine, prose in all_machines()}
    index = ["<!-- Made by `hip3 diagram`; do not edit. -->", "# State machines", ""]
    for machine, prose in all_machines():
        index.append(f"- [{machine.name}]({machine.name}.md): {prose.strip().splitlines()[0]}")
    return {"README.md": "\n".join([*index, ""]), **made}


def stale(folder: Path) -> list[str]:
    """The pages in `folder` that are missing, outdated, or belong to no machine."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder: Path) -> list[str]:
    """Bring the pages in `folder` up to date; returns those that changed."""
    wanted = pages()
    changed = stale(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return changed


def _diagram(machine: AnyMachine) -> Iterator[str]:
    yield f"[*] --> {machine.initial.value}"
    for row in machine.table:
        guard = f" [{_words(row.guard)}]" if row.guard is not None else ""
        yield f"{row.source.value} --> {row.target.value}: {row.event.value}{guard}"
    for state in machine.states:
        if state in machine.final:
            yield f"{state.value} --> [*]"


def _table_line(row: Row[Any, Any]) -> str:
    return (
        f"| {row.event.value} | {row.source.value} | {row.target.value} | {_words(row.guard)} | {_words(row.effect)} "
        f"| {row.why} |"
    )


def _words(function: Callable[..., Any] | None) -> str:
    return "" if function is None else function.__name__.strip("_").replace("_", " ")
