"""`hip3 simulate`: the real core in a simulated world, one seed a run, on all processors."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from adapters.exit_codes import ExitCode
from adapters.simulation import HOURS, Report, Result, simulate

SEEDS: Final = 100
"""Runs by default."""
_CHUNK: Final = 5
"""Runs that a process is given at a time."""


def command(
    seeds: Annotated[
        int | None, typer.Option(min=1, help=f"How many runs; {SEEDS} by default, 1 with --seed.", show_default=False)
    ] = None,
    hours: Annotated[float, typer.Option(min=0.001, help="Simulated hours of faults in each run.")] = HOURS,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the first run; the next ones follow.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run the real core through every fault there is, in a simulated world, thousands of times faster than life.

    In each run a strategy trades while the network, the venue, the clock, the journal and the executor itself fail, at
    rates that its seed draws. All invariants are checked after each step, and every outcome against what the venue
    really did. Then the world heals, and everything has to settle. A run depends on its seed and its length only.

    From 40 simulated hours on, a fault or a transition that never happened is a failure too.

    Exit codes: 0 everything held; 8 something did not, with the command that repeats it.
    """
    first = seed or 0
    count = seeds or (SEEDS if seed is None else 1)
    report = Report(hours)
    for result in _shown(_results(range(first, first + count), hours), count):
        report.add(result)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    if not report.good:
        raise typer.Exit(ExitCode.DISAGREES)


def _results(seeds: range, hours: float) -> Iterator[Result]:
    """The runs, in the order of their seeds."""
    run = partial(simulate, hours=hours)
    processes = min(os.cpu_count() or 1, len(seeds))
    if processes == 1:
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run, seeds, chunksize=_CHUNK)


def _shown(results: Iterator[Result], count: int) -> Iterator[Result]:
    """The runs, with their progress on standard error: a bar on a terminal, a line every tenth elsewhere."""
    console = Console(stderr=True)
    violations, began = 0, time.monotonic()
    with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("simulating", total=count)
        for done, result in enumerate(results, start=1):
            violations += result.failure is not None
            progress.update(task, completed=done, description=f"simulating, {violations} violations")
            if progress.disable and (done % max(1, count // 10) == 0 or done == count):
                seconds = time.monotonic() - began
                typer.echo(f"{done} of {count} runs, {violations} with a violation, {seconds:.0f} s", err=True)
            yield result


def _print(report: Report) -> None:
    """The report for people: tables on a terminal, a line a count elsewhere."""
    console = Console() if sys.stdout.isatty() else None
    for heading, counts in report.sections().items():
        if console is None:
            typer.echo(f"{heading}:")
            for name, times in counts.items():
                typer.echo(f"{times:>9}  {name}")
            typer.echo()
        else:
            table = Table(heading, "times")
            table.columns[1].justify = "right"
            for name, times in counts.items():
                table.add_row(name, f"{times:,}", style=None if times else "dim")
            console.print(table)
    for line in report.verdict():
        typer.echo(line)
