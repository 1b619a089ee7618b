"""`hip3 bench`: what the executor costs, beside a hand-written floor and the official SDK."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from adapters.bench import plot, report
from adapters.bench.errors import BenchError, ExtraMissing, NeedsLinux
from adapters.bench.facts import gathered
from adapters.bench.results import Results, results
from adapters.bench.runner import Run, require_means, rounds_of, runs_of
from adapters.bench.scenarios import SCENARIOS, Scenario
from adapters.bench.summary import rows
from adapters.exit_codes import ExitCode

_NAMES: Final = ", ".join(SCENARIOS)
_FILE_WIDTH: Final = 200
"""What is printed to a file or a pipe is not broken into lines for a terminal."""


def command(
    only: Annotated[
        list[str] | None, typer.Option("--only", help=f"Measure this scenario only; may be repeated. {_NAMES}.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How many times each client is measured.")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the time: to see it work, not to believe it.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Fail if a goal that was measured was not reached.")] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything here.", show_default=False)
    ] = None,
    as_plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw it here, as SVG.", show_default=False)
    ] = None,
) -> None:
    """Measure the executor beside a hand-written floor and the official SDK, in one run.

    The floor is the least that a Python client has to do: sign, write, read. The executor runs in full, and with parts
    off, so that the price of each is known. Every client is a process of its own, and so is the venue, which answers at
    once and checks nothing. Rounds are interleaved, ratios are taken within a round, and medians are reported.

    Absolute figures say as much about the machine as about the clients; ratios hold. It needs Linux and the extra
    `bench` (`pip install 'hip3-executor[bench]'`), and takes about ten minutes; nothing else should run meanwhile.

    Exit codes: 0 it ran; 2 no such scenario, or the extra is missing; 3 a file can't be written; 6 a client gave no
    measures; 8 with --check: a goal was not reached; 130 interrupted.
    """
    chosen = _chosen(only or [])
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    try:
        require_means()
        facts = gathered()
        runs = asyncio.run(_run(console, chosen, rounds, quick=quick))
    except (ExtraMissing, NeedsLinux) as error:
        typer.echo(f"hip3 bench: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE) from error
    except BenchError as error:
        typer.echo(f"hip3 bench: {error}", err=True)
        raise typer.Exit(ExitCode.FAULT) from error
    found = results(facts, runs, quick=quick)
    console.print(report.goals_table(found.goals))
    for line in ("", report.NOTES, facts.in_words(), *([report.IN_A_HURRY] if quick else [])):
        console.print(line, soft_wrap=not console.is_terminal)
    _write(found, as_json, as_plot)
    if check and any(goal.met is False for goal in found.goals):
        raise typer.Exit(ExitCode.DISAGREES)


def _chosen(names: list[str]) -> list[Scenario]:
    for name in names:
        if name not in SCENARIOS:
            raise typer.BadParameter(f"there is no scenario {name!r}; there are: {_NAMES}", param_hint="--only")
    return [scenario for scenario in SCENARIOS.values() if not names or scenario.name in names]


async def _run(console: Console, chosen: list[Scenario], rounds: int, *, quick: bool) -> list[Run]:
    """Measure scenarios, and show the table of each when it is done."""
    progress = Console(stderr=True, highlight=False)
    done: list[Run] = []
    with progress.status("starting", refresh_per_second=1) as status:  # not more: it takes from what is measured
        for scenario in chosen:
            runs: list[Run] = []
            wanted = rounds_of(scenario, rounds) * len(scenario.entries)
            async for run in runs_of(scenario, rounds, quick=quick):
                runs.append(run)
                line = (
                    f"{scenario.name}: {len(runs)} of {wanted}, {run.entry}: {run.measures.orders_per_s:,.0f} orders/s"
                )
                status.update(line)
                if not progress.is_terminal:
                    typer.echo(line, err=True)
            console.print(report.table(f"{scenario.name}: {scenario.title}", rows(scenario, runs)))
            for run in runs:
                if run.measures.course:
                    console.print(report.course_table(run.measures.course))
            console.print()
            done += runs
    return done


def _write(found: Results, as_json: Path | None, as_plot: Path | None) -> None:
    try:
        if as_json is not None:
            as_json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        if as_plot is not None:
            as_plot.write_text(plot.drawn(found), encoding="utf-8")
    except OSError as error:
        typer.echo(f"hip3 bench: the results can't be written: {error}", err=True)
        raise typer.Exit(ExitCode.CONFIG) from error
