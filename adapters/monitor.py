"""The watch over the live executor: the invariants of `spec`, evaluated after each step."""

from __future__ import annotations

from typing import Final

from machines.snapshot import Snapshot
from spec.invariants import INVARIANTS, Violation, violations

KEPT: Final = 100
"""Violations kept for the report; the first ones tell the story."""


class Monitor:
    """Checks and counts.

    Attributes:
        checks: Predicates evaluated so far.
        violated: How many of them did not hold.
        first: The first violations seen, at most `KEPT`.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.checks = 0
        self.violated = 0
        self.first: list[Violation] = []

    def check(self, snapshot: Snapshot) -> Violation | None:
        """Evaluate all invariants; the first one that does not hold, or None."""
        self.checks += len(INVARIANTS)
        found = list(violations(snapshot))
        self.violated += len(found)
        self.first.extend(found[: KEPT - len(self.first)])
        return found[0] if found else None
