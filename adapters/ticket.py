"""The owner's handle on an intent: what was answered at once, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from machines.intent import Admission, Intent, Outcome


class Promise:
    """What the owner of an intent waits for: its outcome, or the fault that keeps it from coming.

    Attributes:
        intent: The intent; None if there is none, because it was refused or is only known from the journal.
        history: What happened to it, in order: unix ms and a sentence.
    """

    __slots__ = ("_fault", "_outcome", "_waiters", "history", "intent")

    def __init__(self, intent: Intent | None, unix_ms: int, why: str) -> None:
        """Begin to wait, at `unix_ms`, because of `why`."""
        self.intent = intent
        self.history = [(unix_ms, why)]
        self._outcome: Outcome | None = None
        self._fault: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def outcome(self) -> Outcome | None:
        """The outcome; None while there is none.

        Raises:
            ExecutorFailed: There will be none.
        """
        if self._fault is not None:
            raise self._fault
        return self._outcome

    def keep(self, outcome: Outcome) -> None:
        """The outcome is certain: all who wait get it."""
        self._outcome = outcome
        self._wake()

    def break_with(self, fault: Exception) -> None:
        """There will be no outcome: all who wait get `fault`."""
        self._fault = fault
        self._wake()

    def __await__(self) -> Generator[None, None, Outcome]:
        # Each waiter has its own future: one that gives up must not take the outcome from the others.
        while (outcome := self.outcome) is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            yield from waiter
        return outcome

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


class Ticket:
    """Given for every submit; awaiting it gives the outcome, once it is certain.

    Attributes:
        admission: The answer at once (finding B4); unless it is accepted, the outcome is there already (or, for
            ALREADY_FLATTENING, that of the order under way: finding X9).
        cloid: The client order id of the order concerned; None for a cancel by oid, or when refused.
    """

    __slots__ = ("_promise", "admission", "cloid")

    def __init__(self, admission: Admission, cloid: str | None, promise: Promise) -> None:
        """Tie an admission to the promise of an outcome."""
        self.admission = admission
        self.cloid = cloid
        self._promise = promise

    def __await__(self) -> Generator[None, None, Outcome]:
        return self._promise.__await__()

    def __repr__(self) -> str:
        return f"<Ticket {self.cloid} {self.admission.value}: {self.outcome}>"

    @property
    def history(self) -> list[tuple[int, str]]:
        """What happened to the intent, in order: unix ms and a sentence."""
        return self._promise.history

    @property
    def outcome(self) -> Outcome | None:
        """How the intent ended; None while it has not.

        Raises:
            ExecutorFailed: The executor broke before the intent ended.
        """
        return self._promise.outcome
