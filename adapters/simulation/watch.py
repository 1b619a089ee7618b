"""The invariants of spec/invariants.py, evaluated after each step and over everything that the run ever moved."""

from __future__ import annotations

from typing import Final

from adapters.simulation.errors import PromiseBroken
from machines.executor import ExecutorCore
from machines.intent import Intent, NotExecuted, Priority, Rejected
from machines.post import PostRequest
from machines.settlement import Attempt
from machines.snapshot import Snapshot
from spec.invariants import violations

EVERYTHING_EVERY: Final = 50
"""Steps after which all objects are looked at, not only those that the last step moved."""


class Watch:
    """Watches one core.

    Attributes:
        steps: Steps seen so far.
    """

    def __init__(self, core: ExecutorCore) -> None:
        """Watch `core`."""
        self.steps = 0
        self._core = core
        self._posts: dict[int, PostRequest] = {}
        self._intents: dict[int, Intent] = {}
        self._attempts: dict[int, Attempt] = {}

    def step(self) -> None:
        """The core made a step.

        Raises:
            PromiseBroken: An invariant does not hold.
        """
        core = self._core
        self._posts.update((post.post_id, post) for post in core.moved_posts)
        self._intents.update((intent.seq, intent) for intent in core.intents.moved)
        self._attempts.update((attempt.post.post_id, attempt) for attempt in core.settler.moved)
        self.steps += 1
        if self.steps % EVERYTHING_EVERY == 0:
            self.everything()
        else:
            _check(core.snapshot())

    def cloids(self) -> set[str]:
        """The orders that this core has known."""
        orders = (intent for intent in self._intents.values() if intent.priority is not Priority.CANCEL)
        return {intent.cloid for intent in orders if intent.cloid is not None}

    def denied_or_placed(self) -> list[Intent]:
        """The orders that have an outcome which an order on the book with another oid contradicts (finding X7)."""
        return [
            intent
            for intent in self._intents.values()
            if intent.priority is not Priority.CANCEL
            and (isinstance(intent.outcome, Rejected | NotExecuted) or getattr(intent.outcome, "oid", None) is not None)
        ]

    def everything(self) -> None:
        """Look at all objects.

        Raises:
            PromiseBroken: An invariant does not hold.
        """
        posts, intents, attempts = self._posts.values(), self._intents.values(), self._attempts.values()
        _check(self._core.snapshot(list(posts), list(intents), list(attempts)))


def _check(snapshot: Snapshot) -> None:
    for violation in violations(snapshot):
        raise PromiseBroken(violation.invariant.id, violation.detail)
