"""Many runs, added up: what broke, and whether everything that should have happened really did.

A check that passes because nothing happened shows nothing. So each fault, each sight and each row of every transition
table is counted over all runs, and one that never came is a failure like a broken promise; unless there were so few
runs that the rare ones can't be expected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from adapters.simulation.faults import Fault, Sight
from adapters.simulation.world import HOUR_MS, Failure, Move, Result
from machines.catalogue import MACHINES

HOURS: Final = 0.1
"""Default length of phase 1, in simulated hours."""
COMPLETE_FROM_HOURS: Final = 40.0
"""From so many simulated hours of phase 1 on, in all runs, everything has to happen at least once."""


class Report:
    """What a number of runs came to.

    Attributes:
        hours: Length of phase 1 of each, in simulated hours.
        runs: How many there were.
        failures: Those that failed, by seed.
        steps: Steps of the core in all of them.
        lives: How often the executor was started.
        simulated_ms: Simulated time in all of them.
        counts: How often each fault struck and each sight was seen.
        moves: How often each row of each table was taken.
        outcomes: How many intents ended how.
    """

    def __init__(self, hours: float) -> None:
        """Begin without a run."""
        self.hours = hours
        self.runs = 0
        self.failures: dict[int, Failure] = {}
        self.steps = 0
        self.lives = 0
        self.simulated_ms = 0
        self.counts: Counter[Fault | Sight] = Counter()
        self.moves: Counter[Move] = Counter()
        self.outcomes: Counter[str] = Counter()

    def add(self, result: Result) -> None:
        """Add a run."""
        self.runs += 1
        if result.failure is not None:
            self.failures[result.seed] = result.failure
        self.steps += result.steps
        self.lives += result.lives
        self.simulated_ms += result.simulated_ms
        self.counts += result.counts
        self.moves += result.moves
        self.outcomes += result.outcomes

    # ------------------------------------------------------------------------------------------------------ judgement

    @property
    def good(self) -> bool:
        """Whether nothing broke, and enough happened."""
        return not self.failures and not self.never()

    def never(self) -> list[str]:
        """What should have happened by now and never did; nothing can be expected of a few runs."""
        if self.runs * self.hours < COMPLETE_FROM_HOURS:
            return []
        expected = self.faults() | self.sights() | self.transitions()
        return [name for name, count in expected.items() if not count]

    def faults(self) -> dict[str, int]:
        """Each fault, and how often it struck."""
        return {fault.value: self.counts[fault] for fault in Fault}

    def sights(self) -> dict[str, int]:
        """What the faults led to, and how often."""
        return {sight.value: self.counts[sight] for sight in Sight}

    def transitions(self) -> dict[str, int]:
        """Each row of each table, with its count."""
        return {
            f"{machine.name}: {row.source.value} --{row.event.value}--> {row.target.value}": self.moves[
                row.event, row.source, row.target
            ]
            for machine in MACHINES
            for row in machine.table
        }

    # --------------------------------------------------------------------------------------------------- presentation

    def sections(self) -> dict[str, dict[str, int]]:
        """All counts, under their headings."""
        return {
            "faults": self.faults(),
            "what they led to": self.sights(),
            "transitions": self.transitions(),
            "outcomes": dict(self.outcomes.most_common()),
        }

    def verdict(self) -> Iterator[str]:
        """What broke, what never happened, and the sum of it all."""
        for seed, failure in self.failures.items():
            where = f"life {failure.life}, step {failure.step}, {failure.at_ms / 1_000:.3f} s"
            yield f"seed {seed}, {where}: {failure.name}: {failure.detail}"
            yield from (f"    {step}" for step in failure.trace)
            yield f"  to repeat: {self.replay(seed)}"
            yield ""
        never = self.never()
        if never:
            yield f"never happened: {'; '.join(never)}"
        yield (
            f"{self.runs} runs, {self.simulated_ms / HOUR_MS:.1f} simulated hours, {self.steps} steps of the core, "
            f"{self.lives} lives of the executor, {sum(self.outcomes.values())} outcomes told: "
            f"{len(self.failures)} runs with a violation"
        )

    def replay(self, seed: int) -> str:
        """The shortest command that repeats a failed run: its first phase need not go on after the failure."""
        hours = min(self.hours, math.ceil(self.failures[seed].at_ms / HOUR_MS * 1_000) / 1_000)
        return f"hip3 simulate --seed {seed}" + ("" if hours == HOURS else f" --hours {hours:g}")

    def as_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "good": self.good,
            "runs": self.runs,
            "hours": self.hours,
            "simulated_hours": round(self.simulated_ms / HOUR_MS, 3),
            "steps": self.steps,
            "lives": self.lives,
            "violations": [
                {
                    "seed": seed,
                    "life": failure.life,
                    "step": failure.step,
                    "at_ms": failure.at_ms,
                    "invariant": failure.name,
                    "detail": failure.detail,
                    "trace": failure.trace,
                    "replay": self.replay(seed),
                }
                for seed, failure in self.failures.items()
            ],
            "never": self.never(),
            "faults": self.faults(),
            "sights": self.sights(),
            "transitions": self.transitions(),
            "outcomes": dict(self.outcomes),
        }
