"""What it costs to append a step that changes one intent and one post, and to do the house-keeping.

    python -m tests.adapters.journal.cost FOLDER [STEPS]

FOLDER says which disk is measured. House-keeping is done every 100 steps, outside the appends, as the executor does it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from adapters.journal import Durability
from tests.adapters.journal.builders import Story, journal_at, open_journal

DURABILITIES: tuple[Durability, ...] = ("normal", "full")
BETWEEN_MAINTENANCE = 100


def timed_ns(durability: Durability, path: Path, steps: int) -> tuple[list[int], list[int]]:
    """Durations of the appends, and of the house-keeping, sorted, ns."""
    appends, maintenance = [], []
    with journal_at(path, durability=durability) as journal:
        story = Story.after(journal.recovered)
        for seq in range(steps):
            steps_told, changes = story.told(seq)
            began = time.perf_counter_ns()
            journal.append(steps_told, changes)
            ended = time.perf_counter_ns()
            appends.append(ended - began)
            if seq % BETWEEN_MAINTENANCE == BETWEEN_MAINTENANCE - 1:
                journal.maintain()
                maintenance.append(time.perf_counter_ns() - ended)
    return sorted(appends), sorted(maintenance)


def seconds_to_open(path: Path) -> float:
    began = time.perf_counter()
    journal = open_journal(path)
    took = time.perf_counter() - began
    journal.close(clean=True)
    return took


def main(folder: Path, steps: int) -> None:
    for durability in DURABILITIES:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            path = Path(place) / "journal.db"
            appends, maintenance = timed_ns(durability, path, steps)
            shown = ", ".join(f"p{per_cent} {appends[steps * per_cent // 100] / 1e3:.0f}" for per_cent in (50, 95, 99))
            print(f"{durability}: append, µs: {shown}, longest {appends[-1] / 1e3:.0f}")
            middle, longest = maintenance[len(maintenance) // 2], maintenance[-1]
            print(f"{durability}: maintain, ms: p50 {middle / 1e6:.1f}, longest {longest / 1e6:.1f}")
            size = path.stat().st_size
            took = seconds_to_open(path)
            print(
                f"{durability}: {size / steps:.0f} bytes a step; opening {size / 1e6:.0f} MB took {took * 1e3:.0f} ms"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5_000)
