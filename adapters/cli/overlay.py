"""`hip3 diagram --overlay`: what recorded runs did with the machines, in each of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import typer

from adapters.diagram import graphviz, overlay_page
from adapters.diagram.chart import Atlas
from adapters.diagram.overlay import FOREIGN, Overlay, document, overlay_of, told
from adapters.exit_codes import ExitCode
from adapters.journal import JournalError
from adapters.trace import UnreadableTrace

PLACES: Final = {
    "text": None,
    "json": None,
    "svg": Path("overlay"),
    "png": Path("overlay"),
    "html": Path("overlay.html"),
}
"""Where each form goes, unless told otherwise: standard output, a folder, or a file."""


def write(atlas: Atlas, file: Path, run: int | None, form: str, place: Path | None) -> None:
    """Write the overlay of the runs in `file`.

    Raises:
        typer.Exit: The file can't be read, or has no such run; it was said.
        GraphvizMissing: The form needs it.
        OSError: `place` can't be written.
    """
    try:
        overlay = overlay_of(file, atlas.charts, run)
    except (UnreadableTrace, JournalError) as error:
        typer.echo(f"hip3 diagram: {error}", err=True)
        raise typer.Exit(ExitCode.JOURNAL) from error
    if not overlay.runs:
        typer.echo(f"hip3 diagram: {file} has no run{'' if run is None else f' {run}'}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    if form in ("text", "json"):
        text = told(overlay) if form == "text" else json.dumps(document(overlay), indent=1) + "\n"
        if place is None:
            typer.echo(text, nl=False)
        else:
            place.write_text(text, encoding="utf-8")
    elif place is not None:
        _draw(overlay, file.name, form, place)
    if overlay.foreign and form != "text":
        typer.echo(f"hip3 diagram: {sum(overlay.foreign.values())} moves are in no drawing. {FOREIGN}", err=True)


def _draw(overlay: Overlay, source: str, form: str, place: Path) -> None:
    if form == "html":
        page = overlay_page.render(overlay, source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page, encoding="utf-8")
        typer.echo(f"{len(overlay.machines)} machines in {place}")
        return
    pictures = {
        machine.chart.name: graphviz.svg(machine.chart, overlay.marks(machine), alone=True).encode()
        if form == "svg"
        else graphviz.png(machine.chart, overlay.marks(machine))
        for machine in overlay.machines
    }
    place.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (place / f"{name}.{form}").write_bytes(picture)
    typer.echo(f"{len(pictures)} pictures in {place}")
