"""`hip3 trace`: recorded runs, checked against the machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from adapters.exit_codes import ExitCode
from adapters.journal import JournalError, Step
from adapters.replay import NotReplayable, replay
from adapters.trace import UnreadableTrace, trace_of
from adapters.verification.tlc import Tlc, TlcFailed, TlcUnavailable, find_tlc
from adapters.verification.trace_tla import check_trace

app = typer.Typer(help="Check recorded runs against the machines.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Check recorded runs against the machines."""


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A journal, or an export of one.", show_default=False)],
    run: Annotated[int | None, typer.Option(min=1, help="Only this run.", show_default=False)] = None,
    tlc: Annotated[
        bool,
        typer.Option(help="Let TLC read each run too, if there is Java."),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a run.")] = False,
) -> None:
    """Check each recorded run twice.

    It is replayed through fresh machines: every step must move and ask for exactly what was recorded. And TLC reads it
    with spec/TraceExecutor.tla: every line must be a step of the model.

    Exit codes: 0 all equal, 2 there is no such run, 8 a step differs; it was shown, 9 the file can't be read.
    """
    checker = _tlc() if tlc else "not asked for"
    try:
        with trace_of(file) as runs:
            results = [_check(number, list(steps), checker) for number, steps in runs if run in (None, number)]
    except (UnreadableTrace, JournalError) as error:
        typer.echo(f"hip3 trace: {error}", err=True)
        raise typer.Exit(ExitCode.JOURNAL) from error
    if not results:
        typer.echo(f"hip3 trace: {file} has no run{'' if run is None else f' {run}'}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    for result in results:
        typer.echo(json.dumps(result) if as_json else _sentence(result))
    if any(result["differs"] or result["refused"] for result in results):
        raise typer.Exit(ExitCode.DISAGREES)


def _tlc() -> Tlc | str:
    """TLC, or why there is none."""
    try:
        return find_tlc()
    except TlcUnavailable as error:
        return str(error)


def _check(run: int, steps: list[Step], tlc: Tlc | str) -> dict[str, Any]:
    """What a run is found to be.

    Returns:
        `run` and `steps`; `differs`, where the replay parts from the record; `refused`, the first line that is no step
        of the model; `not_run`, why TLC did not read it; None for what is as it should be.
    """
    differs = refused = None
    try:
        for divergence in replay(steps):
            differs = None if divergence is None else str(divergence)
        refused = check_trace(tlc, steps) if isinstance(tlc, Tlc) else None
    except NotReplayable as error:
        differs = str(error)
    except TlcFailed as error:
        tlc = str(error)
    not_run = tlc if isinstance(tlc, str) else None
    return {"run": run, "steps": len(steps), "differs": differs, "refused": refused, "not_run": not_run}


def _sentence(result: dict[str, Any]) -> str:
    replayed = result["differs"] or f"{result['steps']} steps replayed, all equal"
    if result["not_run"] is not None:
        read = f"not read by TLC: {result['not_run']}"
    else:
        read = f"TLC: {result['refused']}" if result["refused"] else "TLC: each is a step of the model"
    return f"run {result['run']}: {replayed}; {read}"
