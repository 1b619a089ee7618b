"""`hip3 demo`: the whole thing on one machine, in under a minute."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer
from rich.console import Console

from adapters.demo.show import show
from adapters.exit_codes import ExitCode
from adapters.logs import configure_logs


def command(
    seed: Annotated[int, typer.Option(help="Seed of the venue's market makers and faults.")] = 7,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the executor's log too.")] = False,
) -> None:
    """See every way in which an order can end, on a real socket, against a venue that verifies all of it.

    Starts a local venue in a process of its own and an executor with a throwaway key; orders rest, fill, are canceled
    and rejected, overflow a queue, and lose their connection mid-flight; then all positions are flattened, and the
    executor's own books are compared with what the venue really did.

    Exit codes: 0 everything agrees; 8 something does not.
    """
    configure_logs(logging.INFO if verbose else logging.CRITICAL)
    agrees = asyncio.run(show(Console(), seed))
    raise typer.Exit(ExitCode.OK if agrees else ExitCode.DISAGREES)
