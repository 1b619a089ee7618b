"""`hip3 diagram`: the machines as pages, as pictures, and on one page of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from adapters.cli import overlay
from adapters.diagram import graphviz, mermaid, page
from adapters.diagram.chart import Atlas
from adapters.diagram.reading import installed, read
from adapters.exit_codes import ExitCode


class Format(Enum):
    """What is written."""

    MD = "md"
    SVG = "svg"
    PNG = "png"
    HTML = "html"
    TEXT = "text"
    JSON = "json"


_PLACES: Final = {
    Format.MD: Path("docs/machines"),
    Format.SVG: Path("diagrams"),
    Format.PNG: Path("diagrams"),
    Format.HTML: Path("machines.html"),
}
"""Where it goes, unless told otherwise: a folder, for html a file."""


def command(
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="md (default): a page a machine and an index; svg, png: a picture each; html: one page of all. "
            "With --overlay: text (default), json, svg, png, html.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to, for html the file. Default: docs/machines, diagrams, or machines.html.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a page (md) is out of date.")] = False,
    overlaid: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            metavar="FILE",
            help="Show what the runs in a journal, or in an export of one, did: counts and times.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[int | None, typer.Option(min=1, help="Only this run, of --overlay.", show_default=False)] = None,
) -> None:
    """Draw every state machine from its table, and how the machines drive each other.

    **md** draws in Mermaid, which code hosts show; **svg** and **png** need Graphviz (`pip install
    'hip3-executor[diagrams]'`), and so does **html**, one page with all machines that can be
    searched and needs no network.

    The output depends on the tables only, so that a diff of it is a diff of the machines.

    **--overlay** shows each transition with the number of times that it was taken in a recorded run, and the median
    and 99th percentile of the ms before it; each state with how long things stayed. Lines are as heavy as the logarithm
    of the number.

    Exit codes: 0 done; 2 the options exclude each other, there is no such run, or Graphviz is missing; 3 can't be
    written; 8 a page is out of date; 9 the file of --overlay can't be read.
    """
    if overlaid is not None:
        _overlay(overlaid, run, form or Format.TEXT, out, check)
        return
    form = form or Format.MD
    if run is not None or form not in _PLACES:
        raise typer.BadParameter(f"{'--run' if run is not None else f'--format {form.value}'} is for --overlay")
    if check and form is not Format.MD:
        raise typer.BadParameter("--check is for --format md")
    atlas = read(installed())
    place = out or _PLACES[form]
    with _exit_if_not_written(form, place):
        if check:
            _check(atlas, place)
        elif form is Format.MD:
            _write_pages(atlas, place)
        elif form is Format.HTML:
            _write_page(atlas, place)
        else:
            _write_pictures(atlas, form, place)


@contextmanager
def _exit_if_not_written(form: Format, place: Path | None) -> Iterator[None]:
    try:
        yield
    except graphviz.GraphvizMissing as error:
        raise typer.BadParameter(f"--format {form.value}: {error}") from error
    except OSError as error:
        typer.echo(f"can't write {place}: {error}", err=True)
        raise typer.Exit(ExitCode.CONFIG) from error


def _overlay(file: Path, run: int | None, form: Format, out: Path | None, check: bool) -> None:
    if check or form.value not in overlay.PLACES:
        given = "--check" if check else f"--format {form.value}"
        raise typer.BadParameter(f"{given} and --overlay exclude each other")
    place = out or overlay.PLACES[form.value]
    with _exit_if_not_written(form, place):
        overlay.write(read(installed()), file, run, form.value, place)


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


def _write_page(atlas: Atlas, file: Path) -> None:
    text = page.render(atlas)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    typer.echo(f"{len(atlas.charts)} machines in {file}")
