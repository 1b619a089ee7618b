"""`hip3 verify`: why the executor can be believed, level by level, with what each level leaves open."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.exit_codes import ExitCode
from adapters.verification.level import Check, Level, LevelResult, Options, Status
from adapters.verification.levels import LEVELS, run_level
from adapters.verification.report import WORDS, as_html, as_json, counted, shown
from adapters.verification.stamp import NotVerified, hash_of_sources, write_stamp

_STYLES: Final[dict[Status, str]] = {"passed": "green", "failed": "bold red", "not_run": "yellow"}
_NAMES: Final = ", ".join(level.name for level in LEVELS)
_FILE_WIDTH: Final = 200
"""What is printed to a file or a pipe is not broken into lines for a terminal: the longest line of a level fits."""


def command(
    level: Annotated[
        list[str] | None, typer.Option("--level", help=f"Run this level only; may be repeated. {_NAMES}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run the quick levels: tables, proof, code.")] = False,
    examples: Annotated[
        int | None, typer.Option(min=1, help="Level random: examples for each state machine.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Level random: draw other examples, from this seed.", show_default=False)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print each check, not only what did not pass.")] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the results as an HTML page too.", show_default=False)
    ] = None,
) -> None:
    """Verify the machines that trade: their tables, proofs about them, a model, and the code itself.

    What does not pass is printed as it comes, and a table of the levels at the end. Each level says what it showed and
    what it does not show. A level that can't run here is shown as not run, never as passed. What passed is kept in a
    stamp for the exact sources, which `hip3 run` asks for.

    Exit codes: 0 nothing failed; 2 no such level; 3 the report or the stamp can't be written; 8 a check failed.
    """
    chosen = _chosen(level or [], quick)
    console = Console(stderr=as_json_, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    sources = hash_of_sources()
    results = [_run(console, each, Options(examples=examples, seed=seed), verbose=verbose) for each in chosen]
    console.print()
    console.print(_summary(results))
    if as_json_:
        typer.echo(json.dumps(as_json(results, sources), indent=2))
    failed = any(result.status == "failed" for result in results)
    try:
        if report is not None:
            report.write_text(as_html(results, sources), encoding="utf-8")
        stamp = write_stamp(results, sources)
    except NotVerified as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.DISAGREES) from error
    except OSError as error:
        typer.echo(f"the report or the stamp can't be written: {error}", err=True)
        raise typer.Exit(ExitCode.DISAGREES if failed else ExitCode.CONFIG) from error
    if failed:
        raise typer.Exit(ExitCode.DISAGREES)
    console.print("nothing failed" if stamp is None else str(stamp))


def _chosen(names: list[str], quick: bool) -> list[Level]:
    known = {level.name for level in LEVELS}
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"there is no level {name!r}; there are: {_NAMES}", param_hint="--level")
    if names and quick:
        raise typer.BadParameter("--level and --quick exclude each other", param_hint="--quick")
    return [level for level in LEVELS if (level.name in names if names else level.quick or not quick)]


def _run(console: Console, level: Level, options: Options, *, verbose: bool) -> LevelResult:
    """Run a level, with a running count if a terminal is there to show it."""
    ended = 0
    with console.status(f"{level.name}: 0 checks") as status:

        def show(check: Check) -> None:
            nonlocal ended
            ended += 1
            status.update(Text(f"{level.name}: {ended} checks, the last one {check.name}"))
            if verbose or check.status != "passed":
                console.print(_line(level, check), soft_wrap=True)

        result = run_level(level, options, show)
    line = Text.assemble(f"{level.name:8} ", _word(result.status), f" {counted(result)} checks, {result.seconds:.1f} s")
    console.print(line, soft_wrap=True)
    return result


def _line(level: Level, check: Check) -> Text:
    seconds = f" {check.seconds:6.1f} s  "
    return Text.assemble(f"{level.name:8} ", _word(check.status), seconds, f"{check.name}: {check.detail}")


def _word(status: Status) -> tuple[str, str]:
    return f"{WORDS[status]:8}", _STYLES[status]


def _summary(results: Sequence[LevelResult]) -> Table:
    """One row a level: how it ended, and what that shows and leaves open."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("level")
    table.add_column("status")
    table.add_column("checks", justify="right")
    table.add_column("time", justify="right")
    table.add_column("what it shows and does not show")
    for result in results:
        table.add_row(
            result.level.name,
            Text(*_word(result.status)),
            counted(result),
            f"{result.seconds:.1f} s",
            f"shows: {shown(result)}\ndoes not show: {result.level.does_not_show}",
        )
    return table
