"""The journal of the live executor: what it did, and how everything that it took on stands.

It is written before anything takes effect, so that a restart knows of every post that may have left and of every
outcome that may have been told (settlement.md, rules 1 and 2). It is the trace of the run, too: contiguous numbers and
causes, never clocks. docs/journal.md is for who operates it.
"""

from adapters.journal.errors import (
    JournalCorrupt,
    JournalError,
    JournalFull,
    JournalInUse,
    JournalLocked,
    JournalMisused,
    JournalTooNew,
    JournalUnwritable,
)
from adapters.journal.protocol import Journal
from adapters.journal.retention import Retention
from adapters.journal.rows import Changes, IntentRow, Move, OpenPost, PostRow, Recovered, Step
from adapters.journal.sqlite import Durability, SqliteJournal
from adapters.journal.verifying import Report, verify

__all__ = [
    "Changes",
    "Durability",
    "IntentRow",
    "Journal",
    "JournalCorrupt",
    "JournalError",
    "JournalFull",
    "JournalInUse",
    "JournalLocked",
    "JournalMisused",
    "JournalTooNew",
    "JournalUnwritable",
    "Move",
    "OpenPost",
    "PostRow",
    "Recovered",
    "Report",
    "Retention",
    "SqliteJournal",
    "Step",
    "verify",
]
