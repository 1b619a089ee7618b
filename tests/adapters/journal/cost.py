"""What it costs to append a step that changes one intent and one post, to settle, and to do the house-keeping.

    python -m tests.adapters.journal.cost FOLDER [STEPS]

FOLDER says which disk is measured. Journals take turns, a hundred steps at a time. Of each durability there are two:
one that settles after several appends, as the executor lets it do, and one that settles after each, which is what a
transaction for each append costs. House-keeping is done after each turn, outside the appends, as the executor does it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from adapters.journal import Durability
from tests.adapters.journal.builders import Story, journal_at, open_journal

TURN = 100
SETTLED_AFTER = 20
VARIANTS: tuple[tuple[Durability, int], ...] = (
    ("normal", SETTLED_AFTER),
    ("normal", 1),
    ("full", SETTLED_AFTER),
    ("full", 1),
)


class Variant:
    """One journal, and how long what was asked of it took, ns."""

    def __init__(self, path: Path, durability: Durability, settled_after: int) -> None:
        self.path = path
        self.durability = durability
        self.settled_after = settled_after
        self.appends: list[int] = []
        self.settlings: list[int] = []
        self.maintenance: list[int] = []

    def turns(self, steps: int) -> Iterator[None]:
        """Append so many steps; pauses after each turn."""
        with journal_at(self.path, durability=self.durability) as journal:
            story = Story.after(journal.recovered)
            for seq in range(steps):
                steps_told, changes = story.told(seq)
                began = time.perf_counter_ns()
                journal.append(steps_told, changes)
                appended = time.perf_counter_ns()
                self.appends.append(appended - began)
                if seq % self.settled_after == self.settled_after - 1:
                    journal.settle()
                    self.settlings.append(time.perf_counter_ns() - appended)
                if seq % TURN == TURN - 1:
                    began = time.perf_counter_ns()
                    journal.maintain()
                    self.maintenance.append(time.perf_counter_ns() - began)
                    yield

    def summary(self) -> Iterator[str]:
        """What came out, in lines."""
        name = f"{self.durability}, settled after {self.settled_after}"
        if self.settled_after == 1:
            both = [append + settling for append, settling in zip(self.appends, self.settlings, strict=True)]
            yield f"{name}: append and settle, µs: {spread(both)}"
            return
        yield f"{name}: append, µs: {spread(self.appends)}"
        yield f"{name}: settle, µs: {spread(self.settlings)}"
        yield f"{name}: maintain, µs: {spread(self.maintenance)}"
        size, began = self.path.stat().st_size, time.perf_counter()
        open_journal(self.path).close(clean=True)
        took = time.perf_counter() - began
        per_step = size / len(self.appends)
        yield f"{name}: {per_step:.0f} bytes a step; opening {size / 1e6:.0f} MB took {took * 1e3:.0f} ms"


def spread(durations_ns: list[int]) -> str:
    ordered = sorted(durations_ns)
    shown = (f"p{per_cent} {ordered[len(ordered) * per_cent // 100] / 1e3:.0f}" for per_cent in (50, 95, 99))
    return f"{', '.join(shown)}, longest {ordered[-1] / 1e3:.0f}"


def main(folder: Path, steps: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        variants = [Variant(Path(place) / f"{number}.db", *terms) for number, terms in enumerate(VARIANTS)]
        under_way = [variant.turns(steps) for variant in variants]
        while under_way:
            under_way = [turns for turns in under_way if next(turns, "over") != "over"]
        for variant in variants:
            for line in variant.summary():
                print(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5_000)
