"""`hip3 trace`: recorded runs, checked against the machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.exit_codes import ExitCode
from adapters.journal import JournalError
from adapters.replay import NotReplayable, replay
from adapters.trace import UnreadableTrace, trace_of

app = typer.Typer(help="Check recorded runs against the machines.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Check recorded runs against the machines."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A journal, or an export of one.", show_default=False)],
    run: Annotated[int | None, typer.Option(min=1, help="Only this run.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
) -> None:
    """Replay each recorded run through fresh machines: every step must move and ask for exactly what was recorded.

    Exit codes: 0 all equal, 2 there is no such run, 8 a step differs; it was shown, 9 the file can't be read.
    """
    try:
        with trace_of(file) as runs:
            results = [_check(number, steps) for number, steps in runs if run in (None, number)]
    except (UnreadableTrace, JournalError) as error:
        typer.echo(f"hip3 trace: {error}", err=True)
        raise typer.Exit(ExitCode.JOURNAL) from error
    if not results:
        typer.echo(f"hip3 trace: {file} has no run{'' if run is None else f' {run}'}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    for result in results:
        typer.echo(json.dumps(result) if as_json else _sentence(result))
    if any(result["differs"] for result in results):
        raise typer.Exit(ExitCode.DISAGREES)


def _check(run: int, steps: Any) -> dict[str, Any]:
    count, differs = 1, None
    try:
        for divergence in replay(steps):
            count += 1
            differs = None if divergence is None else str(divergence)
    except NotReplayable as error:
        differs = str(error)
    return {"run": run, "steps": count, "differs": differs}


def _sentence(result: dict[str, Any]) -> str:
    if result["differs"] is None:
        return f"run {result['run']}: {result['steps']} steps replayed, all equal"
    return f"run {result['run']}: {result['differs']}"
