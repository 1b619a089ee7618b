"""The watch over the live executor: the invariants of `spec`, evaluated before anything of a step takes effect.

What steps moved is noted, and looked at together: before a frame leaves, before an outcome is told. So the price does
not multiply with the orders of a turn, and nothing that was not looked at gets out.
"""

from __future__ import annotations

from typing import Final

from machines.executor import ExecutorCore
from machines.intent import Intent
from machines.post import PostRequest
from machines.settlement import Attempt
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

    def __init__(self, core: ExecutorCore) -> None:
        """Watch `core`, from zero."""
        self.checks = 0
        self.violated = 0
        self.first: list[Violation] = []
        self._core = core
        self._posts: list[PostRequest] = []  # moved since the last look, some of them more than once
        self._intents: list[Intent] = []
        self._attempts: list[Attempt] = []

    def note(self) -> None:
        """Note what the step just taken moved."""
        self._posts += self._core.moved_posts
        self._intents += self._core.intents.moved
        self._attempts += self._core.settler.moved

    def check(self) -> Violation | None:
        """Evaluate all invariants over what was noted; the first one that does not hold, or None."""
        self.checks += len(INVARIANTS)
        each_once = dict.fromkeys
        snapshot = self._core.snapshot(
            [*each_once(self._posts)], [*each_once(self._intents)], [*each_once(self._attempts)]
        )
        self._posts.clear()
        self._intents.clear()
        self._attempts.clear()
        found = list(violations(snapshot))
        self.violated += len(found)
        self.first.extend(found[: KEPT - len(self.first)])
        return found[0] if found else None
