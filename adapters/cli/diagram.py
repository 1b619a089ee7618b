"""`hip3 diagram`: the pages of docs/machines, from the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapters.diagram import mermaid
from adapters.diagram.reading import installed, read
from adapters.exit_codes import ExitCode


def command(
    out: Annotated[Path, typer.Option(help="Folder of the pages.")] = Path("docs/machines"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a page is out of date.")] = False,
) -> None:
    """Draw every state machine from its table: Mermaid diagrams and transition tables, as Markdown.

    The output depends on the tables only, so that a diff of it is a diff of the machines.
    """
    if not check:
        changed = mermaid.write(out)
        typer.echo(f"{len(changed)} of {len(mermaid.pages(read(installed())))} pages changed in {out}")
        return
    outdated = mermaid.stale(out)
    if outdated:
        typer.echo(f"out of date in {out}: {', '.join(outdated)}; run: hip3 diagram --out {out}", err=True)
        raise typer.Exit(ExitCode.DISAGREES)
    typer.echo(f"all {len(mermaid.pages(read(installed())))} pages in {out} are up to date")
