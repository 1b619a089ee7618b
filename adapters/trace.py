"""Recorded runs as files: a journal, or the NDJSON that `hip3 journal export` writes of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from adapters.journal import Step
from adapters.journal.reading import RunStep, reading

_SQLITE: Final = b"SQLite format 3\x00"


class UnreadableTrace(Exception):
    """The file is neither a journal nor an export of one; the message names the line and says what is wrong."""


class _Line(Step, frozen=True, kw_only=True):
    run: int


_DECODER: Final = msgspec.json.Decoder(_Line)
_STEP: Final = tuple(Step.__struct_fields__)


@contextmanager
def trace_of(path: Path) -> Iterator[Iterator[tuple[int, Iterator[Step]]]]:
    """The runs in a file, in order, each with its steps; to be read once, while the context lasts.

    Raises:
        UnreadableTrace: It can't be opened, or a line is no step.
        JournalError: It is a journal that can't be read.
    """
    try:
        with path.open("rb") as file:
            is_journal = file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise UnreadableTrace(f"{path} can't be read: {error.strerror}") from error
    if is_journal:
        with reading(path) as journal:
            yield _by_run(journal.steps())
    else:
        yield _by_run(_lines(path))


@contextmanager
def understood(run: int, step: Step) -> Iterator[None]:
    """Read the facts, moves and effects of a step inside: they are what a file says, and not checked before.

    Raises:
        UnreadableTrace: One of them is missing, or of another kind than an executor writes.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise UnreadableTrace(
            f"run {run}, step {step.seq} ({step.event}) is not what an executor writes: {found}"
        ) from error


def _by_run(steps: Iterator[RunStep]) -> Iterator[tuple[int, Iterator[Step]]]:
    for run, entries in groupby(steps, key=lambda entry: entry.run):
        yield run, (entry.step for entry in entries)


def _lines(path: Path) -> Iterator[RunStep]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = _DECODER.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UnreadableTrace(
                    f"{path}, line {number}: {error}; expected a journal, or what `hip3 journal export` writes"
                ) from error
            yield RunStep(entry.run, Step(**{name: getattr(entry, name) for name in _STEP}))
