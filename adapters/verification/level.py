"""What a level of the verification is, and what it brings: named checks, each with what it saw.

Every level also says what it does *not* show, because the levels are there to make up for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal["passed", "failed", "not_run"]


@dataclass(frozen=True)
class Check:
    """One check and how it ended.

    Attributes:
        name: What was checked.
        status: Whether it held; `not_run` never counts as passed.
        seconds: How long it took.
        detail: What was seen: figures when it passed, the counterexample when it failed, what is missing otherwise.
    """

    name: str
    status: Literal["passed", "failed", "not_run"]
    seconds: float
    detail: str


class CheckFailed(Exception):
    """A check found what must not be; the message is its counterexample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be set about a run of the levels.

    Attributes:
        examples: Examples for each state machine of the random level; None for the suite's own number.
        seed: Seed of the random level; None for the suite's own examples.
    """

    examples: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One level.

    Attributes:
        name: As `--level` takes it.
        shows: What it shows when it passes, in one line.
        does_not_show: What it leaves open, in one line.
        quick: Whether it is part of `--quick`.
        run: Runs it; the checks come as they end, so that progress can be shown.
    """

    name: str
    shows: str
    does_not_show: str
    quick: bool
    run: Callable[[Options], Iterable[Check]]


@dataclass(frozen=True, slots=True)
class LevelResult:
    """A level that has run."""

    level: Level
    checks: Sequence[Check]
    seconds: float

    @property
    def status(self) -> Status:
        """Failed if one check failed; else not run if one was not, or there were none; else passed."""
        statuses = {check.status for check in self.checks}
        if "failed" in statuses:
            return "failed"
        return "passed" if statuses == {"passed"} else "not_run"


_LONGEST_DETAIL: Final = 4_000
"""A counterexample of an unforeseen error may be long; so much of it is kept."""


def check(name: str, body: Callable[[], str]) -> Check:
    """Run one check: `body` returns what it saw, or raises `CheckFailed` with the counterexample.

    Any other exception fails the check too: what breaks the check may be what it is there to find.
    """
    start = perf_counter()
    status: Status = "passed"
    try:
        detail = body()
    except CheckFailed as failure:
        status, detail = "failed", str(failure)
    except Exception as error:
        status, detail = "failed", f"{type(error).__name__}: {error}"
    return Check(name, status, perf_counter() - start, detail[:_LONGEST_DETAIL])
