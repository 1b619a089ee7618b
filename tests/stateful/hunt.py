"""Does the suite find a mistake, by what, and how fast? `python -m tests.stateful.hunt` prints the table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import pytest
from hypothesis import Phase
from hypothesis.errors import FlakyFailure

from machines.errors import MachinesError
from tests.stateful.checks import Violated
from tests.stateful.mistake import Mistake
from tests.stateful.mistakes import MISTAKES
from tests.stateful.record import RECORD, SEED, run

MOST_RUNS: Final = 300
"""After so many random runs a mistake has survived; all are found in far fewer."""
STEPS: Final = 25
FOUND: Final = (AssertionError, MachinesError, pytest.fail.Exception)
"""How a mistake shows: a check fails, or a machine refuses. Anything else would be an error of the patch."""


@dataclass(frozen=True, slots=True)
class Kill:
    """How a mistake was found.

    Attributes:
        by: The invariant, truth or prediction that it broke, or the error of the machine that refused.
        runs: How many runs it took.
        seconds: How long it took.
        detail: What was seen.
    """

    by: str
    runs: int
    seconds: float
    detail: str


def hunt(mistake: Mistake, *, seed: int = SEED, most_runs: int = MOST_RUNS) -> Kill | None:
    """Put a mistake back, and run its state machine until it is found; None if it survives."""
    began, runs = perf_counter(), RECORD.runs
    found: BaseException
    try:
        with mistake.apply():
            run(
                mistake.machine,
                seed=seed,
                max_examples=most_runs,
                stateful_step_count=STEPS // mistake.machine.pace,
                database=None,
                phases=(Phase.generate,),
                report_multiple_bugs=False,
            )
    except FOUND as error:
        found = error
    except FlakyFailure as error:  # found, and not when Hypothesis looked again: threads need not meet each time
        found = error.exceptions[0]
    else:
        return None
    by = found.by if isinstance(found, Violated) else f"{mistake.machine.__name__}: {type(found).__name__}"
    return Kill(by, RECORD.runs - runs, perf_counter() - began, str(found).partition("\n")[0])


def main() -> int:
    """Hunt every mistake; the exit code is 1 if one survives."""
    survivors = 0
    for mistake in MISTAKES:
        kill = hunt(mistake)
        names = ",".join((*mistake.findings, *(f"rule {rule}" for rule in mistake.rules)))
        found = "SURVIVES" if kill is None else f"{kill.seconds:6.2f} s {kill.runs:4} runs  {kill.by}"
        print(f"{names:<14} {mistake.id:<62} {found}")
        survivors += kill is None
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
