"""`hip3 diagram --diff`: what changed in the machines between two revisions, in each of its forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from adapters.diagram import graphviz
from adapters.diagram.diff import AtlasDiff, compare
from adapters.diagram.revisions import Revision, RevisionError, revisions
from adapters.diagram.summary import markdown, summary
from adapters.exit_codes import Comparison, ExitCode
from adapters.review import page

PLACES: Final = {
    "text": None,
    "md": None,
    "svg": Path("diff"),
    "png": Path("diff"),
    "html": Path("diff.html"),
}
"""Where each form goes, unless told otherwise: standard output, a folder, or a file."""
_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow", "→": "cyan", "!": "bold yellow"}


def sources(asked: str, repo: Path, command: str) -> tuple[Revision, Revision]:
    """The two revisions that `asked` names.

    Raises:
        typer.Exit: They can't be had; it was said.
    """
    try:
        return revisions(asked, repo)
    except RevisionError as error:
        typer.echo(f"hip3 {command}: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE) from error


def write(asked: str, repo: Path, form: str, place: Path | None) -> None:
    """Write what changed, and leave with the exit code that says whether anything did.

    Raises:
        typer.Exit: Always, if nothing else is raised.
        GraphvizMissing: The form needs it.
        OSError: `place` can't be written.
    """
    before, after = sources(asked, repo, "diagram")
    diff = compare(before.sources, after.sources)
    if place is None:
        _show(diff, before, after, form)
    elif form in ("svg", "png"):
        _draw(diff, form, place)
    else:
        texts = {
            "text": lambda: summary(diff),
            "md": lambda: markdown(diff, before.title, after.title),
            "html": lambda: page.render(page.Review(before, after, diff)),
        }
        place.write_text(texts[form](), encoding="utf-8")
    raise typer.Exit(Comparison.SAME if diff.unchanged else Comparison.DIFFERENT)


def _show(diff: AtlasDiff, before: Revision, after: Revision, form: str) -> None:
    """Print it; in colour on a terminal."""
    if form == "md":
        typer.echo(markdown(diff, before.title, after.title), nl=False)
        return
    console = Console(highlight=False, markup=False, emoji=False)
    for line in summary(diff).splitlines():
        console.print(Text(line, style=_COLOURS.get(line.strip()[:1], "")), soft_wrap=True)


def _draw(diff: AtlasDiff, form: str, folder: Path) -> None:
    """A picture of each machine that changed. Its name may come from an untrusted revision, and stays in the folder."""
    pictures: dict[str, bytes] = {}
    for machine in diff.machines:
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", machine.chart.name)[:60]
        name = safe if safe not in pictures else f"{safe}-{len(pictures)}"
        pictures[name] = (
            graphviz.svg(machine.chart, machine.marks, alone=True).encode()
            if form == "svg"
            else graphviz.png(machine.chart, machine.marks)
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / f"{name}.{form}").write_bytes(picture)
    typer.echo(f"{len(pictures)} pictures in {folder}")
