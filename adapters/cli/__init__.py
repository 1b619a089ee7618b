"""The command line `hip3`; each module holds one command."""

from __future__ import annotations

import typer

from adapters.cli import bench, demo, diagram, journal, review, run, simulate, trace, venue, verify

app = typer.Typer(
    name="hip3",
    help="An order executor for Hyperliquid: every intent that it accepts ends in exactly one outcome.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.command("demo")(demo.command)
app.command("run")(run.command)
app.command("venue")(venue.command)
app.command("simulate")(simulate.command)
app.add_typer(journal.app, name="journal")
app.add_typer(trace.app, name="trace")
app.command("diagram")(diagram.command)
app.command("review")(review.command)
app.command("verify")(verify.command)
app.command("bench")(bench.command)


def main() -> None:
    """Entry point of the `hip3` command."""
    app()
