"""What is known of the machines under review, from files that other commands wrote.

What was not given is nowhere called passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec

from adapters.diagram.chart import Chart, Key
from adapters.diagram.diff import AtlasDiff, MachineDiff
from adapters.journal import JournalError, Step
from adapters.replay import NotReplayable, replay
from adapters.trace import UnreadableTrace, trace_of
from adapters.verification.level import Status

MUTANTS: Final = "mutants"
"""The level of `hip3 verify` that hunts mistakes."""
_WHOLE: Final = "all mutants"
"""Its check that is about no single mistake."""
_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of a file of results; a full one has some hundred thousand."""


class UnusableEvidence(Exception):
    """A file can't be used; the message names it, says what is wrong, and which command writes such a file."""


class Check(msgspec.Struct, frozen=True):
    """One check of a level; see `adapters.verification.level.Check`."""

    name: str
    status: Status
    seconds: float
    detail: str


class Level(msgspec.Struct, frozen=True):
    """One level of `hip3 verify`, as it ended."""

    name: str
    status: Status
    seconds: float
    shows: str
    does_not_show: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> int:
        """How many of its checks passed."""
        return sum(check.status == "passed" for check in self.checks)


class Verification(msgspec.Struct, frozen=True):
    """What `hip3 verify --json` wrote.

    Attributes:
        sources: The hash of the sources that were verified (`adapters.verification.stamp`).
        seconds: How long it took.
        levels: Those that ran.
    """

    sources: str
    seconds: float
    levels: tuple[Level, ...]

    @property
    def status(self) -> Status:
        """Failed if a level failed; passed if all that ran did, and there are some; else not run."""
        statuses = {level.status for level in self.levels}
        if "failed" in statuses:
            return "failed"
        return "passed" if statuses == {"passed"} else "not_run"

    @property
    def mutants(self) -> Mutants | None:
        """How the hunt for mistakes ended; None if its level did not run."""
        for level in self.levels:
            if level.name == MUTANTS and level.status != "not_run":
                hunted = [check for check in level.checks if check.name != _WHOLE]
                alive = tuple(check for check in hunted if check.status != "passed")
                return Mutants(len(hunted), alive, level.status)
        return None


@dataclass(frozen=True, slots=True)
class Mutants:
    """The mistakes that were put back on purpose.

    Attributes:
        hunted: How many.
        alive: Those that nothing noticed.
        status: Of the whole level, which also wants enough of them.
    """

    hunted: int
    alive: tuple[Check, ...]
    status: Status


class Taken(msgspec.Struct, frozen=True):
    """How often the suite made a move."""

    event: str
    source: str
    target: str
    taken: Annotated[int, msgspec.Meta(ge=0)]


class Coverage(msgspec.Struct, frozen=True):
    """What `pytest --transition-coverage` wrote: for each machine, its moves."""

    tests: Annotated[int, msgspec.Meta(ge=0)]
    machines: dict[str, tuple[Taken, ...]]


@dataclass(frozen=True, slots=True)
class MachineCoverage:
    """How much of a machine the suite covers.

    Attributes:
        name: The machine.
        rows: How many moves its table has.
        never: Those that the suite never made.
        unmeasured: Those that the file does not know: it was written for other tables.
        changed: Those of `never` and `unmeasured` that this change added or changed.
    """

    name: str
    rows: int
    never: tuple[Key, ...]
    unmeasured: tuple[Key, ...]
    changed: tuple[Key, ...]

    @property
    def covered(self) -> int:
        """How many moves the suite made."""
        return self.rows - len(self.never) - len(self.unmeasured)


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run, replayed.

    Attributes:
        number: Which of the file's.
        steps: How many steps were replayed and equal.
        differs: Where it parts from the record, or why it can't be replayed; None if all steps are equal.
    """

    number: int
    steps: int
    differs: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """A file of recorded runs, replayed.

    Attributes:
        name: The file's name.
        runs: Its runs.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def equal(self) -> bool:
        """Whether every step of every run was equal."""
        return all(run.differs is None for run in self.runs)


def read_verification(path: Path) -> Verification:
    """The results of a verification.

    Raises:
        UnusableEvidence: It is not what `hip3 verify --json` writes.
    """
    return _decoded(path, Verification, "hip3 verify --json")


def read_coverage(path: Path) -> Coverage:
    """The transition coverage of the suite.

    Raises:
        UnusableEvidence: It is not what `pytest --transition-coverage FILE` writes.
    """
    return _decoded(path, Coverage, "pytest --transition-coverage FILE")


def read_trace(path: Path) -> Trace:
    """Replay all runs in a journal, or in an export of one, through the machines of this process.

    Raises:
        UnusableEvidence: The file is neither, can't be read, or has no run.
    """
    try:
        with trace_of(path) as runs:
            replayed = tuple(_replayed(number, steps) for number, steps in runs)
    except (UnreadableTrace, JournalError) as error:
        raise UnusableEvidence(f"--trace: {error}") from error
    if not replayed:
        raise UnusableEvidence(f"--trace: {path} has no run; give a journal of `hip3 run`, or `hip3 journal export`")
    return Trace(path.name, replayed)


def coverage_of(coverage: Coverage, charts: Iterable[Chart], diff: AtlasDiff) -> tuple[MachineCoverage, ...]:
    """How much of each machine of the new revision the suite covers, and which changed rows it does not."""
    touched = {machine.chart.name: _touched(machine) for machine in diff.machines}
    return tuple(_machine_coverage(chart, coverage, touched.get(chart.name, frozenset())) for chart in charts)


def _machine_coverage(chart: Chart, coverage: Coverage, touched: frozenset[Key]) -> MachineCoverage:
    taken = {(move.event, move.source, move.target): move.taken for move in coverage.machines.get(chart.name, ())}
    keys = list(dict.fromkeys(row.key for row in chart.transitions))
    return MachineCoverage(
        name=chart.name,
        rows=len(keys),
        never=tuple(key for key in keys if taken.get(key) == 0),
        unmeasured=tuple(key for key in keys if key not in taken),
        changed=tuple(key for key in keys if key in touched and not taken.get(key)),
    )


def _touched(machine: MachineDiff) -> frozenset[Key]:
    """The moves of a machine that a change added or changed."""
    if machine.after is None:
        return frozenset()
    if machine.before is None:
        return frozenset(row.key for row in machine.after.transitions)
    return frozenset(change.after.key for change in machine.transitions if change.after is not None)


def _replayed(number: int, steps: Iterable[Step]) -> Run:
    equal = 1  # the first step begins the replay
    try:
        for divergence in replay(steps):
            if divergence is not None:
                return Run(number, equal, str(divergence))
            equal += 1
    except NotReplayable as error:
        return Run(number, 0, str(error))
    return Run(number, equal, None)


T = TypeVar("T")


def _decoded(path: Path, kind: type[T], command: str) -> T:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise UnusableEvidence(f"{path} can't be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise UnusableEvidence(f"{path} has more than {_LARGEST} bytes; expected what `{command}` writes")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableEvidence(f"{path}: {error}; expected what `{command}` writes") from error
