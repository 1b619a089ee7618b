"""A journal in memory that keeps steps alone: for who wants to see what a core does, and recovers nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from msgspec import json
from msgspec.structs import replace

from adapters.journal.rows import Changes, Recovered, Step


class KeptSteps:
    """A run's steps; see `Journal` for what its methods promise.

    Attributes:
        steps: The newest of them, as they would be read back from a file.
    """

    recovered: Recovered

    def __init__(self, keep: int | None = None) -> None:
        """Keep the newest `keep` steps; None for all."""
        self.steps: deque[Step] = deque(maxlen=keep)
        self._next = 0

    def append(self, steps: Sequence[Step], changes: Changes) -> int:
        """Keep steps; the number of the last one."""
        for step in steps:
            self.steps.append(json.decode(json.encode(replace(step, seq=self._next)), type=Step))
            self._next += 1
        return self._next - 1

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """None: rows are not kept."""
        return None

    def settle(self) -> None:
        """Nothing has to be moved."""

    def maintain(self) -> None:
        """Nothing has to be tidied up."""

    def close(self, clean: bool) -> None:
        """Nothing has to be recorded."""
