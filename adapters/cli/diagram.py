"""`hip3 diagram`: the machines as pages, as pictures, and on one page of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from adapters.cli import diff, overlay
from adapters.diagram import graphviz, mermaid, page
from adapters.diagram.chart import Atlas
from adapters.diagram.reading import installed, read
from adapters.diagram.revisions import FORM
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
            "With --diff: text (default), md, svg, png, html. With --overlay: text (default), json, svg, png, html.",
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
    revisions: Annotated[
        str | None,
        typer.Option("--diff", metavar="BASE..HEAD", help=f"Show what changed: {FORM}.", show_default=False),
    ] = None,
    repo: Annotated[
        Path | None,
        typer.Option(help="A folder of the repository of --diff. Default: the present folder.", show_default=False),
    ] = None,
) -> None:
    """Draw every state machine from its table, and how the machines drive each other.

    **md** draws in Mermaid, which code hosts show; **svg** and **png** need Graphviz (`pip install
    'hip3-executor[diagrams]'`), and so does **html**, one page with all machines that can be
    searched and needs no network.

    The output depends on the tables only, so that a diff of it is a diff of the machines.

    **--overlay** shows each transition with the number of times that it was taken in a recorded run, and the median
    and 99th percentile of the ms before it; each state with how long things stayed. Lines are as heavy as the logarithm
    of the number.

    **--diff** shows what changed in the machines between two revisions of a git repository: states, transitions,
    guards, effects, how the machines drive each other, and modules whose code changed beside the tables. Text for a
    terminal or a log, **md** for a pull request's comment, pictures of the machines that changed, or one page. Nothing
    of either revision is run, imported or evaluated: git is asked for the sources, and their tables are read as text.

    Exit codes: 0 done, with --diff: the machines are unchanged; 1 with --diff: they changed, or can't be told
    unchanged; 2 the options exclude each other, there is no such run or revision, or Graphviz is missing; 3 can't be
    written; 8 a page is out of date; 9 the file of --overlay can't be read.
    """
    if repo is not None and revisions is None:
        raise typer.BadParameter("--repo is for --diff")
    if run is not None and overlaid is None:
        raise typer.BadParameter("--run is for --overlay")
    if overlaid is not None and revisions is not None:
        raise typer.BadParameter("--overlay and --diff exclude each other")
    if overlaid is not None:
        form = form or Format.TEXT
        place = _place("--overlay", overlay.PLACES, form, out, check)
        with _exit_if_not_written(form, place):
            overlay.write(read(installed()), overlaid, run, form.value, place)
        return
    if revisions is not None:
        form = form or Format.TEXT
        place = _place("--diff", diff.PLACES, form, out, check)
        with _exit_if_not_written(form, place):
            diff.write(revisions, repo or Path(), form.value, place)
    form = form or Format.MD
    if form not in _PLACES:
        raise typer.BadParameter(f"--format {form.value} is for --overlay or --diff")
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


def _place(option: str, places: Mapping[str, Path | None], form: Format, out: Path | None, check: bool) -> Path | None:
    """Where a form of `option` goes; None for standard output."""
    if check or form.value not in places:
        given = "--check" if check else f"--format {form.value}"
        raise typer.BadParameter(f"{given} and {option} exclude each other")
    return out or places[form.value]


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
