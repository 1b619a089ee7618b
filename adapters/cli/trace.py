"""`hip3 trace`: recorded runs, checked against the machines, and told."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.exit_codes import ExitCode
from adapters.journal import JournalError, Step
from adapters.replay import NotReplayable, replay
from adapters.said import Party
from adapters.story import COLUMNS, Line, NotInTrace, Story, mermaid, rows, story_of
from adapters.trace import UnreadableTrace, trace_of
from adapters.verification.tlc import Tlc, TlcFailed, TlcUnavailable, find_tlc
from adapters.verification.trace_tla import check_trace

app = typer.Typer(
    help="Recorded runs: check them against the machines, or read the story of a post or an order.",
    no_args_is_help=True,
)
_STYLES: Final = {Party.STRATEGY: "magenta", Party.EXECUTOR: "cyan", Party.WIRE: "yellow", Party.VENUE: "green"}
_CLOID: Final = re.compile("0x[0-9a-f]{32}")
_File = Annotated[Path, typer.Argument(metavar="FILE", help="A journal, or an export of one.", show_default=False)]
_Run = Annotated[int | None, typer.Option(min=1, help="Only this run.", show_default=False)]


@app.command()
def check(
    file: _File,
    run: _Run = None,
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
    with _exit_if_unreadable(), trace_of(file) as runs:
        results = [_check(number, list(steps), checker) for number, steps in runs if run in (None, number)]
    if not results:
        typer.echo(f"hip3 trace: {file} has no run{'' if run is None else f' {run}'}", err=True)
        raise typer.Exit(ExitCode.USAGE)
    for result in results:
        typer.echo(json.dumps(result) if as_json else _sentence(result))
    if any(result["differs"] or result["refused"] for result in results):
        raise typer.Exit(ExitCode.DISAGREES)


@app.command()
def show(
    file: _File,
    wanted: Annotated[
        str,
        typer.Argument(metavar="POST_ID|CLOID", help="A post by its id, or an order by its cloid.", show_default=False),
    ],
    run: _Run = None,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid sequence diagram.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell the story of one post or order: who said what to whom, and what that moved.

    Of a post, with its fences and the intents that it carried; of an order, with its cancels and the posts that carried
    it. On a terminal a table; otherwise a heading for each run and a line an interaction, its columns separated by
    tabs: ms since the heading, from → to, what was said, the moves of the machines.

    Exit codes: 0 told, 2 the record has no such post or order, 9 the file can't be read.
    """
    if as_mermaid and as_json:
        raise typer.BadParameter("--mermaid and --json exclude each other")
    if not (wanted.isascii() and wanted.isdecimal()) and _CLOID.fullmatch(wanted.lower()) is None:
        raise typer.BadParameter(f"{wanted!r} is neither the id of a post nor a cloid (0x and 32 hex digits)")
    try:
        with _exit_if_unreadable():
            story = story_of(file, int(wanted) if wanted.isdecimal() else wanted.lower(), run)
    except NotInTrace as error:
        typer.echo(f"hip3 trace: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE) from error
    if as_json:
        typer.echo(msgspec.json.encode(story))
    elif as_mermaid:
        typer.echo(mermaid(story), nl=False)
    elif sys.stdout.isatty():
        _show(story)
    else:
        typer.echo(story.title)
        for chapter in story.chapters:
            typer.echo(chapter.heading)
            for row in rows(chapter):
                typer.echo("\t".join(row).rstrip("\t"))


def _show(story: Story) -> None:
    """Show a story on a terminal."""
    console = Console()
    console.print(Text(story.title, style="bold"))
    for chapter in story.chapters:
        table = Table(*COLUMNS, title=Text(chapter.heading), title_justify="left", expand=True)
        table.columns[0].justify = "right"
        table.columns[0].no_wrap = True
        for line in chapter.lines:
            table.add_row(f"+{line.at_ms}", _parties(line), Text(line.text), Text("\n".join(line.moved), style="dim"))
        console.print(table)


def _parties(line: Line) -> Text:
    parts = [Text(party.value, style=_STYLES[party]) for party in dict.fromkeys((line.source, line.target))]
    return Text(" → ").join(parts)


@contextmanager
def _exit_if_unreadable() -> Iterator[None]:
    try:
        yield
    except (UnreadableTrace, JournalError) as error:
        typer.echo(f"hip3 trace: {error}", err=True)
        raise typer.Exit(ExitCode.JOURNAL) from error


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
