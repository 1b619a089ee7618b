"""`hip3 verify`: why the executor can be believed, level by level, with what each level leaves open."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from adapters.exit_codes import ExitCode
from adapters.verification.level import Check, Level, LevelResult, Options, Status
from adapters.verification.levels import LEVELS, run_level
from adapters.verification.report import as_html, as_json
from adapters.verification.stamp import NotVerified, hash_of_sources, write_stamp

_STYLES: Final[dict[Status, str]] = {"passed": "green", "failed": "bold red", "not_run": "yellow"}
_NAMES: Final = ", ".join(level.name for level in LEVELS)


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
    as_json_: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the results as an HTML page too.", show_default=False)
    ] = None,
) -> None:
    """Verify the machines that trade: their tables, proofs about them, a model, and the code itself.

    Each level says what it showed and what it does not show. A level that can't run here is shown as not run, never as
    passed. What passed is kept in a stamp for the exact sources, which `hip3 run` asks for.

    Exit codes: 0 nothing failed; 2 no such level; 3 the report or the stamp can't be written; 8 a check failed.
    """
    chosen = _chosen(level or [], quick)
    console = Console(stderr=as_json_, highlight=False, soft_wrap=True)
    sources = hash_of_sources()
    results = [_run(console, each, Options(examples=examples, seed=seed)) for each in chosen]
    if as_json_:
        typer.echo(json.dumps(as_json(results), indent=2))
    failed = any(result.status == "failed" for result in results)
    try:
        if report is not None:
            report.write_text(as_html(results), encoding="utf-8")
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


def _run(console: Console, level: Level, options: Options) -> LevelResult:
    console.print(f"[bold]{level.name}[/bold]")

    def show(check: Check) -> None:
        word, style = check.status.replace("_", " "), _STYLES[check.status]
        console.print(f"  [{style}]{word:8}[/{style}] {check.seconds:6.1f} s  {_plain(check.name)}", end="")
        console.print("" if check.status == "passed" else f": {_plain(check.detail)}")

    if sys.stderr.isatty() and sys.stdout.isatty():
        with console.status(f"level {level.name}"):
            result = run_level(level, options, show)
    else:
        result = run_level(level, options, show)
    style = _STYLES[result.status]
    console.print(f"  [{style}]{result.status.replace('_', ' ')}[/{style}] in {result.seconds:.1f} s")
    console.print(f"  shows: {level.shows if result.status == 'passed' else 'nothing, because not all of it passed'}")
    console.print(f"  does not show: {level.does_not_show}")
    return result


def _plain(text: str) -> str:
    """Square brackets are not markup here."""
    return text.replace("[", r"\[")
