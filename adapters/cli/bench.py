"""`hip3 bench`: what the executor costs, beside a hand-written floor and the official SDK."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from adapters.bench.errors import BenchError
from adapters.bench.report import table
from adapters.bench.runner import Run, runs_of
from adapters.bench.scenarios import SCENARIOS, Scenario
from adapters.bench.summary import rows
from adapters.exit_codes import ExitCode

_NAMES: Final = ", ".join(SCENARIOS)
_FILE_WIDTH: Final = 200
"""What is printed to a file or a pipe is not broken into lines for a terminal."""


def command(
    only: Annotated[
        list[str] | None, typer.Option("--only", help=f"Run this scenario only; may be repeated. {_NAMES}.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How many times each client is measured.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Few orders: to see it work, not to believe it.")] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all results here.", show_default=False)
    ] = None,
) -> None:
    """Measure the executor beside a hand-written floor and the official SDK, in one run.

    Exit codes: 0 it ran; 2 no such scenario; 3 a file can't be written; 6 a run failed.
    """
    chosen = _chosen(only or [])
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    try:
        runs = asyncio.run(_run(console, chosen, rounds, quick))
    except BenchError as error:
        typer.echo(f"hip3 bench: {error}", err=True)
        raise typer.Exit(ExitCode.FAULT) from error
    if as_json is not None:
        as_json.write_text(json.dumps(msgspec.to_builtins(runs), indent=1) + "\n", encoding="utf-8")


def _chosen(names: list[str]) -> list[Scenario]:
    for name in names:
        if name not in SCENARIOS:
            raise typer.BadParameter(f"there is no scenario {name!r}; there are: {_NAMES}", param_hint="--only")
    return [scenario for scenario in SCENARIOS.values() if not names or scenario.name in names]


async def _run(console: Console, chosen: list[Scenario], rounds: int, quick: bool) -> list[Run]:
    """Run scenarios, with a table of each when it is done."""
    done = []
    for scenario in chosen:
        runs = []
        async for run in runs_of(scenario, rounds, quick=quick):
            runs.append(run)
            typer.echo(f"{scenario.name}: round {run.round} of {rounds}, {run.variant}", err=True)
        console.print(table(scenario, rows(scenario, runs)))
        console.print()
        done += runs
    return done
