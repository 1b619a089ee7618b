"""`hip3 review`: one page for who reviews a change of the machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adapters.cli import diff
from adapters.diagram.diff import compare
from adapters.diagram.graphviz import GraphvizMissing
from adapters.diagram.revisions import FORM
from adapters.exit_codes import ExitCode
from adapters.review import page
from adapters.review.evidence import UnusableEvidence, read_coverage, read_trace, read_verification


def command(
    revisions: Annotated[str, typer.Argument(metavar="BASE..HEAD", help=f"{FORM}.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page.")] = Path("review.html"),
    repo: Annotated[Path, typer.Option(help="A folder of the repository.")] = Path(),
    verify: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Output of `hip3 verify --json`.", show_default=False)
    ] = None,
    coverage: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `pytest --transition-coverage FILE` wrote.", show_default=False),
    ] = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A journal, or an export of one, to be replayed; may be repeated.", show_default=False
        ),
    ] = None,
) -> None:
    """Write one page for a pull request: what changed in the machines, and what is known of them.

    Diagrams of what changed, changed invariants, results of the verification and of the hunt for mistakes, how much of
    the tables the suite covers, and recorded runs replayed. What was not given is said to be not given. The page needs
    nothing but a browser.

    Nothing of either revision is run: their sources are read as text. Recorded runs are replayed through the machines
    of this installation, and the page says whether these are HEAD's.

    Exit codes: 0 written; 2 the revisions or a given file can't be used, or Graphviz is missing; 3 the page can't be
    written.
    """
    before, after = diff.sources(revisions, repo, "review")
    try:
        review = page.Review(
            before,
            after,
            compare(before.sources, after.sources),
            None if verify is None else read_verification(verify),
            None if coverage is None else read_coverage(coverage),
            tuple(read_trace(path) for path in trace or ()),
        )
        text = page.render(review)
    except (UnusableEvidence, GraphvizMissing) as error:
        typer.echo(f"hip3 review: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE) from error
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        typer.echo(f"hip3 review: {out} can't be written: {error.strerror}", err=True)
        raise typer.Exit(ExitCode.CONFIG) from error
    typer.echo(f"wrote {out}")
