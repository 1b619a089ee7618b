"""`hip3 diagram`: the machines as pages and as pictures."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from adapters.diagram import graphviz, mermaid
from adapters.diagram.chart import Atlas
from adapters.diagram.reading import installed, read
from adapters.exit_codes import ExitCode


class Format(Enum):
    """What is written."""

    MD = "md"
    SVG = "svg"
    PNG = "png"


_PLACES: Final = {
    Format.MD: Path("docs/machines"),
    Format.SVG: Path("diagrams"),
    Format.PNG: Path("diagrams"),
}
"""Where it goes, unless told otherwise."""


def command(
    form: Annotated[
        Format,
        typer.Option("--format", help="md: a page a machine and an index; svg, png: a picture each"),
    ] = Format.MD,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to. Default: docs/machines, or diagrams for pictures.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a page (md) is out of date.")] = False,
) -> None:
    """Draw every state machine from its table, and how the machines drive each other.

    **md** draws in Mermaid, which code hosts show; **svg** and **png** need Graphviz (`pip install
    'hip3-executor[diagrams]'`).

    The output depends on the tables only, so that a diff of it is a diff of the machines.

    Exit codes: 0 done; 2 the options exclude each other, or Graphviz is missing; 3 can't be written; 8 a page is out
    of date.
    """
    if check and form is not Format.MD:
        raise typer.BadParameter("--check is for --format md")
    atlas = read(installed())
    place = out or _PLACES[form]
    try:
        if check:
            _check(atlas, place)
        elif form is Format.MD:
            _write_pages(atlas, place)
        else:
            _write_pictures(atlas, form, place)
    except graphviz.GraphvizMissing as error:
        raise typer.BadParameter(f"--format {form.value}: {error}") from error
    except OSError as error:
        typer.echo(f"can't write {place}: {error}", err=True)
        raise typer.Exit(ExitCode.CONFIG) from error


def _check(atlas: Atlas, folder: Path) -> None:
    wanted = mermaid.pages(atlas)
    outdated = mermaid.stale(folder, wanted)
    if outdated:
        typer.echo(f"out of date in {folder}: {', '.join(outdated)}; run: hip3 diagram --out {folder}", err=True)
        raise typer.Exit(ExitCode.DISAGREES)
    typer.echo(f"all {len(wanted)} pages in {folder} are up to date")


def _write_pages(atlas: Atlas, folder: Path) -> None:
    wanted = mermaid.pages(atlas)
    changed = mermaid.write(folder, wanted)
    typer.echo(f"{len(changed)} of {len(wanted)} pages changed in {folder}")


def _write_pictures(atlas: Atlas, form: Format, folder: Path) -> None:
    if form is Format.SVG:
        pictures = {chart.name: graphviz.svg(chart, alone=True).encode() for chart in atlas.charts}
        pictures["composed"] = graphviz.composed_svg(atlas, alone=True).encode()
    else:
        pictures = {chart.name: graphviz.png(chart) for chart in atlas.charts}
        pictures["composed"] = graphviz.composed_png(atlas)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        (folder / f"{name}.{form.value}").write_bytes(picture)
    typer.echo(f"{len(pictures)} pictures in {folder}")
