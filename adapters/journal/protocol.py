"""What the executor asks of a journal, whatever keeps it: a file today, a replicated log one day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from adapters.journal.rows import Changes, Recovered, Step


class Journal(Protocol):
    """The record of a run.

    Steps are written in groups, in their order, each group before anything of it has an effect outside: before a frame
    leaves, before an outcome is told to its owner (settlement.md, rules 1 and 2). A journal that failed once refuses
    every further step with the same kind of error, because what follows a step that is not recorded must not be
    recorded either; it can still be read.
    """

    @property
    def recovered(self) -> Recovered:
        """What earlier runs left behind."""
        ...

    def append(self, steps: Sequence[Step], changes: Changes) -> int:
        """Record steps with the rows that they changed, whole or not at all; durable when it returns.

        Args:
            steps: What happened, in order; the journal numbers them.
            changes: The rows as they are after the last of the steps.

        Returns:
            The number of the last step in this run.

        Raises:
            JournalError: It is not recorded, and nothing more will be.
        """
        ...

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """How the order `cloid` ended, in this run or an earlier one; None if it has not, or is not known.

        Raises:
            JournalError: The journal can't be read.
        """
        ...

    def settle(self) -> None:
        """Move what was appended lately to where it stays; for moments in which little waits, soon after an append.

        Nothing depends on it but the work that a later append, or a restart, is spared.

        Raises:
            JournalError: It failed, and nothing more will be recorded; what was appended is recorded all the same.
        """
        ...

    def maintain(self) -> None:
        """Do a bounded piece of house-keeping; for moments in which nothing waits.

        Raises:
            JournalError: As for `append`.
        """
        ...

    def close(self, clean: bool) -> None:
        """End the run; `clean` says that it ended in order.

        Raises:
            JournalError: The end could not be recorded; everything before it is.
        """
        ...
