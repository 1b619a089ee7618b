"""The owner's handle on an intent: what was answered at once, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from machines.intent import Admission, Outcome


class Ticket:
    """Given for every submit; awaiting it gives the outcome, once it is certain.

    Attributes:
        admission: The answer at once (finding B4); unless it is accepted, the outcome is there already (or, for
            ALREADY_FLATTENING, that of the order under way: finding X9).
        cloid: The client order id of the order concerned; None for a cancel by oid, or when refused.
        history: What happened to the intent, in order: unix ms and a sentence.
    """

    __slots__ = ("_future", "admission", "cloid", "history")

    def __init__(
        self,
        admission: Admission,
        cloid: str | None,
        future: asyncio.Future[Outcome],
        history: list[tuple[int, str]],
    ) -> None:
        """Tie an admission to the future of its outcome."""
        self.admission = admission
        self.cloid = cloid
        self.history = history
        self._future = future

    def __await__(self) -> Generator[None, None, Outcome]:
        # Shielded: a waiter that gives up must not take the outcome from the other waiters.
        return asyncio.shield(self._future).__await__()

    def __repr__(self) -> str:
        return f"<Ticket {self.cloid} {self.admission.value}: {self.outcome}>"

    @property
    def outcome(self) -> Outcome | None:
        """How the intent ended; None while it has not.

        Raises:
            ExecutorFailed: The executor broke before the intent ended.
        """
        return self._future.result() if self._future.done() else None
