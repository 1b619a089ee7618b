"""`hip3 demo`: the whole thing on one machine, in under a minute."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from adapters.demo.show import show
from adapters.exit_codes import ExitCode
from adapters.journal import JournalError
from adapters.logs import configure_logs


def command(
    seed: Annotated[int, typer.Option(help="Seed of the venue's market makers and faults.")] = 7,
    journal: Annotated[
        Path | None, typer.Option(help="Keep the run's journal in this file; by default it is thrown away.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the executor's log too.")] = False,
) -> None:
    """See every way in which an order can end, on a real socket, against a venue that verifies all of it.

    Starts a local venue in a process of its own and an executor with a throwaway key; orders rest, fill, are canceled
    and rejected, overflow a queue, and lose their connection mid-flight; then all positions are flattened, and the
    executor's own books are compared with what the venue really did.

    Exit codes: 0 everything agrees; 8 something does not; 9 the journal can't be used.
    """
    configure_logs(logging.INFO if verbose else logging.CRITICAL)
    try:
        with TemporaryDirectory(prefix="hip3-demo-") as folder:
            agrees = asyncio.run(show(Console(), seed, journal or Path(folder) / "demo.journal"))
    except JournalError as error:
        typer.echo(f"hip3 demo: {error}", err=True)
        raise typer.Exit(ExitCode.JOURNAL) from error
    raise typer.Exit(ExitCode.OK if agrees else ExitCode.DISAGREES)
