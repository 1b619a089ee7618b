"""How often the suite makes each move of each machine: `pytest --transition-coverage FILE` writes it as JSON.

Counted is what the machines of pytest's own processes do, by their observers; moves of processes that a test starts
(`hip3 run` killed halfway) are not. Two rows of the same event between the same states are one move, because an
observer can't tell which guard held. `hip3 review --coverage` reads the file.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Any, Final

import pytest

from machines.catalogue import MACHINES, observing

OPTION: Final = "--transition-coverage"
_OUTPUT: Final = "transition_coverage"
"""What a worker's counts are called on their way to the controller."""


class TransitionCoverage:
    """A plugin that counts from the first test to the last; under xdist the controller adds up what the workers saw."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._moves: Counter[tuple[Enum, Enum, Enum]] = Counter()
        self._taken: Counter[str] = Counter()
        self._out: set[str] = set()
        self._tests = 0
        self._observing = ExitStack()

    def pytest_sessionstart(self) -> None:
        """Watch the machines."""
        self._observing.enter_context(observing(self._note))

    def _note(self, obj: object, event: Enum, source: Enum, target: Enum) -> None:
        self._moves[event, source, target] += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """A worker of xdist begins to count."""
        self._out.add(node.gateway.id)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker counted; one that died before its end brings nothing and stays out."""
        taken = getattr(node, "workeroutput", {}).get(_OUTPUT)
        if taken is not None:
            self._taken.update(taken)
            self._out.discard(node.gateway.id)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the tests that ran; under xdist the controller hears of all of them."""
        self._tests += report.when == "call"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the counts to the controller, or write them."""
        self._observing.close()
        for machine in MACHINES:
            for row in machine.table:
                key = row.event, row.source, row.target
                self._taken[_key(machine.name, *key)] += self._moves.pop(key, 0)
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_OUTPUT] = dict(self._taken)
        elif not self._out:
            self._path.write_text(json.dumps(self._report(), indent=1) + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was written, and which rows nobody took."""
        if self._out:
            terminalreporter.write_line(f"transition coverage not written: no counts of {', '.join(sorted(self._out))}")
            return
        rows = [(name, row) for name, rows in self._report()["machines"].items() for row in rows]
        never = [f"{name}.{row['event']} {row['source']} → {row['target']}" for name, row in rows if not row["taken"]]
        told = f"; never: {', '.join(never)}" if never else ""
        terminalreporter.write_line(
            f"transition coverage: {len(rows) - len(never)} of {len(rows)} rows{told}; {self._path}"
        )

    def _report(self) -> dict[str, Any]:
        return {
            "tests": self._tests,
            "machines": {
                machine.name: [
                    {
                        "event": row.event.value,
                        "source": row.source.value,
                        "target": row.target.value,
                        "taken": self._taken[_key(machine.name, row.event, row.source, row.target)],
                    }
                    for row in machine.table
                ]
                for machine in MACHINES
            },
        }


def _key(machine: str, event: Enum, source: Enum, target: Enum) -> str:
    """A move as a text, which travels between xdist's processes."""
    return f"{machine} {event.value} {source.value} {target.value}"
