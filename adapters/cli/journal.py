"""`hip3 journal`: looking into the journal of a live executor, while it runs or afterwards."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters.exit_codes import ExitCode
from adapters.journal.errors import JournalError
from adapters.journal.reading import JournalReader, RunStep, Subject, reading
from adapters.journal.rows import Move
from adapters.journal.verifying import verify

app = typer.Typer(
    name="journal",
    help="Look into the journal of an executor, while it runs or afterwards.",
    no_args_is_help=True,
    add_completion=False,
)
_COLUMNS: Final = ("step", "time (UTC)", "event", "facts", "moves", "effects", "cause")
_encode: Final = msgspec.json.Encoder().encode

_File = Annotated[Path, typer.Argument(metavar="FILE", help="The journal.", show_default=False)]
_Run = Annotated[int | None, typer.Option("--run", min=1, help="Only this run.", show_default=False)]


@app.command()
def show(
    file: _File,
    run: _Run = None,
    post: Annotated[
        int | None, typer.Option(min=1, help="Only what concerns this post, its fences included.", show_default=False)
    ] = None,
    cloid: Annotated[
        str | None, typer.Option(help="Only what concerns this order, its posts included.", show_default=False)
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="At most so many steps, the newest.")] = 50,
) -> None:
    """Show the last steps: what happened, what moved, what was done about it.

    On a terminal a table; otherwise a line a step, its columns separated by tabs. A step is named RUN/NUMBER.

    Exit codes: 0 shown, 9 the journal can't be read.
    """
    if post is not None and cloid is not None:
        raise typer.BadParameter("--post and --cloid exclude each other")
    with _exit_if_unusable(), reading(file) as journal:
        subject = _subject(journal, post, cloid)
        found = (entry for entry in journal.steps(run) if subject is None or subject.concerns(entry.step))
        rows = [_cells(entry) for entry in deque(found, maxlen=last)]
    if sys.stdout.isatty():
        table = Table(*_COLUMNS, expand=True)
        for row in rows:
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    for row in (_COLUMNS, *rows):
        typer.echo("\t".join(row))


@app.command()
def export(
    file: _File,
    run: _Run = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here instead of standard output.", show_default=False)
    ] = None,
) -> None:
    """Write the steps as NDJSON: one JSON object a line, with run and seq.

    Exit codes: 0 written, 2 the output can't be written, 9 the journal can't be read.
    """
    with _exit_if_unusable(), reading(file) as journal:
        if output is None:
            _export(journal, run, sys.stdout.buffer)
            return
        try:
            with output.open("wb") as stream:
                _export(journal, run, stream)
        except OSError as error:
            typer.echo(f"hip3 journal: {output} can't be written: {error.strerror}", err=True)
            raise typer.Exit(ExitCode.USAGE) from error


@app.command("verify")
def verify_command(file: _File) -> None:
    """Check that a journal is whole and agrees with itself.

    Exit codes: 0 all agrees, 9 the journal can't be read, 8 something disagrees; it was listed.
    """
    with _exit_if_unusable():
        report = verify(file)
    for finding in report.findings:
        typer.echo(finding)
    typer.echo(
        f"{file}: {report.runs} runs, {report.steps} steps, {report.intents} intents ({report.open_intents} open), "
        f"{report.posts} posts ({report.open_posts} open): "
        + ("all agrees" if not report.disagreements else f"disagreements: {report.disagreements}")
    )
    if report.disagreements:
        raise typer.Exit(ExitCode.DISAGREES)


@contextmanager
def _exit_if_unusable() -> Iterator[None]:
    try:
        yield
    except JournalError as error:
        typer.echo(f"hip3 journal: {error}", err=True)
        raise typer.Exit(ExitCode.JOURNAL) from error


def _export(journal: JournalReader, run: int | None, stream: BinaryIO) -> None:
    for entry in journal.steps(run):
        stream.write(_encode({"run": entry.run} | msgspec.to_builtins(entry.step)) + b"\n")


def _subject(journal: JournalReader, post: int | None, cloid: str | None) -> Subject | None:
    if post is not None:
        return journal.post(post)
    return None if cloid is None else journal.order(cloid)


def _cells(entry: RunStep) -> tuple[str, ...]:
    run, step = entry
    moment = datetime.fromtimestamp(step.unix_ms / 1_000, UTC)
    return (
        f"{run}/{step.seq}",
        f"{moment:%Y-%m-%d %H:%M:%S}.{step.unix_ms % 1_000:03}",
        step.event,
        _json(step.facts),
        ", ".join(map(_arrow, step.moves)),
        _json(step.effects),
        "" if step.cause is None else f"{run}/{step.cause}",
    )


def _arrow(move: Move) -> str:
    return f"{move.machine} {move.key}: {move.source} → {move.target}"


def _json(value: Any) -> str:
    return _encode(value).decode() if value else ""
