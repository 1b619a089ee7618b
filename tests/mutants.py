"""Every mistake that findings.md and settlement.md forbid, put back one at a time and hunted.

`python -m tests.mutants` prints the table. The random suite hunts most of them (tests/stateful/mistakes.py), the
simulator those of journal and restart (tests/simulation/mistakes.py). `hip3 verify --level mutants` runs this with
`--json` and demands that none survives.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Final

from tests.simulation import mistakes as simulated
from tests.stateful import mistakes as stateful
from tests.stateful.hunt import hunt

FINDINGS: Final = frozenset(
    f"{letter}{number}"
    for letter, last in (("N", 5), ("B", 7), ("P", 7), ("I", 2), ("D", 3), ("X", 9))
    for number in range(1, last + 1)
)
"""The ids of findings.md."""
RULES: Final = frozenset(range(1, 21))
"""The rules of settlement.md."""
WORKERS: Final = 2


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake, and what became of it.

    Attributes:
        id: Its name, with who hunts it.
        findings: The findings that forbid it.
        rules: The rules of settlement.md that forbid it.
        description: What goes wrong, in a sentence.
        killed_by: What it broke; None while it lives.
        seconds: How long the hunt took.
    """

    id: str
    findings: tuple[str, ...]
    rules: tuple[int, ...]
    description: str
    killed_by: str | None = None
    seconds: float = 0.0


def mutants() -> dict[str, tuple[Mutant, Callable[[], str | None]]]:
    """All of them by id, each with its hunt, which says what killed it."""
    found: dict[str, tuple[Mutant, Callable[[], str | None]]] = {}
    for mistake in stateful.MISTAKES:
        name = f"suite/{mistake.id}"
        mutant = Mutant(name, mistake.findings, mistake.rules, mistake.description)
        found[name] = mutant, lambda mistake=mistake: _by_suite(mistake)  # type: ignore[misc]
    for other in simulated.MISTAKES:
        name = f"simulator/{other.id}"
        mutant = Mutant(name, other.findings, other.rules, other.description)
        found[name] = mutant, lambda other=other: _by_simulator(other)  # type: ignore[misc]
    return found


def _by_suite(mistake: stateful.Mistake) -> str | None:
    kill = hunt(mistake)
    return None if kill is None else kill.by


def _by_simulator(mistake: simulated.Mistake) -> str | None:
    kill = simulated.kill(mistake)
    return None if kill is None else f"{kill.failure.name}, seed {kill.seed}"


def hunted(name: str) -> Mutant:
    """Hunt one of them."""
    mutant, hunt_it = mutants()[name]
    start = perf_counter()
    with redirect_stdout(sys.stderr):  # what the suite prints of its seeds
        killed_by = hunt_it()
    return Mutant(**{**asdict(mutant), "killed_by": killed_by, "seconds": perf_counter() - start})


def all_hunted() -> Iterator[Mutant]:
    """Hunt them all, in processes of their own; they come as they are killed."""
    with ProcessPoolExecutor(WORKERS) as pool:
        for done in as_completed([pool.submit(hunted, name) for name in mutants()]):
            yield done.result()


def main() -> int:
    """Print what became of each; 1 if one survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    as_json = parser.parse_args().json
    survivors = 0
    for mutant in all_hunted():
        survivors += mutant.killed_by is None
        if as_json:
            print(json.dumps(asdict(mutant)), flush=True)
        else:
            forbidden = ",".join((*mutant.findings, *map(str, mutant.rules)))
            print(
                f"{forbidden:<12} {mutant.id:<72} {mutant.seconds:6.2f} s  {mutant.killed_by or 'SURVIVES'}", flush=True
            )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
