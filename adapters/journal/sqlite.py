"""The journal in an SQLite file, with a redo log before it.

An append writes one line to the redo log (adapters/journal/redo.py): one `write`, and no transaction. `settle` moves
what has gathered there into the database, a few milliseconds later. With `normal` durability a step survives the end of
this process, however it comes: it is in the system's hands when `append` returns. With `full` it survives the end of
the system too: it is on the disk (`fdatasync`). docs/journal.md has what each costs.

The write-ahead log of the database is copied into it by another thread (adapters/journal/checkpoint.py), not by the
transaction that happens to fill it. An append that fails may have reached the file all the same (the write went
through, the `fdatasync` after it did not), so a restart may find steps whose append failed: whole, and without any
effect, because effects come after the append.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from threading import get_ident
from typing import Any, Final, Literal, Self, TypeAlias

import msgspec

from adapters.journal import wal
from adapters.journal.checkpoint import FEW_STEPS, Checkpoints
from adapters.journal.claims import Claims
from adapters.journal.errors import JournalError, JournalMisused, JournalUnwritable, named, naming
from adapters.journal.lock import JournalLock
from adapters.journal.pending import Pending, take_over
from adapters.journal.recovery import began_of, begin_run, decode_intent
from adapters.journal.redo import RedoLog
from adapters.journal.retention import Retention, Sweeper
from adapters.journal.rows import Changes, Recovered, Step
from adapters.journal.schema import chained, check, create, step_id
from machines.clock import Clock

Durability: TypeAlias = Literal["normal", "full"]

BUSY_S: Final = 1.0
"""How long a lock of another program is waited for; a post waits 3 s at least for its reply."""
_PENDING_STEPS: Final = 2_000
"""Steps at which an append settles by itself, if nobody calls `settle`: about 1.5 MB of redo log."""

_encode: Final = msgspec.json.Encoder().encode


class SqliteJournal:
    """A run's record in an SQLite file; see `Journal` for what its methods promise.

    Everything that is asked of it happens on the thread that opened it.
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        redo_log: RedoLog,
        lock: JournalLock,
        recovered: Recovered,
        retention: Retention,
        clock: Clock,
    ) -> None:
        """Use `open` instead."""
        self.path = path
        self._db = db
        self._redo = redo_log
        self._lock = lock
        self._recovered = recovered
        self._sweeper = Sweeper(db, recovered.run, retention, clock)
        self._clock = clock
        self._pending = Pending()
        self._claims = Claims(db, self._pending, recovered)
        self._files = [(name, os.stat(name).st_ino) for name in (str(path), f"{path}-wal")]
        self._redo_file = (str(redo_log.path), os.stat(redo_log.path).st_ino)
        self._thread = get_ident()
        self._base = step_id(recovered.run, 0)
        self._next = 0
        self._crc = 0
        self._until_it_fails = _UntilItFails(path, db, lock)
        self._checkpoints = Checkpoints(path, db, BUSY_S)

    @classmethod
    def open(cls, path: Path, *, signer: str, durability: Durability, retention: Retention, clock: Clock) -> Self:
        """Create or open the journal at `path`, take its lock, and begin a run.

        Args:
            path: The file; `-redo`, `-wal`, `-shm` and `-lock` stand beside it. Its folder must exist.
            signer: Address of the key that signs in this run.
            durability: What an appended step survives.
            retention: How much history is kept.
            clock: Dates the run.

        Raises:
            JournalInUse: Another executor has it.
            JournalLocked: Another program holds a lock on it.
            JournalFull: There is no room for the beginning of the run.
            JournalUnwritable: It can't be created or opened.
            JournalCorrupt: It is damaged, or something else.
            JournalTooNew: A newer version wrote it.
        """
        with naming(path), ExitStack() as opened:
            path = path.resolve()  # by whatever link it is reached, it has one lock
            lock = JournalLock(path, signer)
            opened.callback(lock.release)
            torn = wal.frames(path)
            db = _connect(path, durability)
            opened.callback(db.close)
            create(db)
            check(db, path)
            _, known, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            redo_log = RedoLog(path, durable=durability == "full")
            opened.callback(redo_log.close)
            torn_lines = take_over(db, path)
            recovered = begin_run(db, path, signer, clock, max(0, torn - known) + torn_lines)
            redo_log.begin_run(recovered.run, began_of(db, recovered.run))
            if lock.unrecorded and not recovered.intents:
                lock.note(False)  # whatever it was has been settled
            recovered = msgspec.structs.replace(recovered, unrecorded=lock.unrecorded)
            journal = cls(path, db, redo_log, lock, recovered, retention, clock)
            opened.pop_all()
            return journal

    @property
    def recovered(self) -> Recovered:
        """What earlier runs left behind."""
        return self._recovered

    @property
    def run(self) -> int:
        """The number of this run."""
        return self._recovered.run

    def append(self, steps: Sequence[Step], changes: Changes) -> int:
        """Record steps with the rows that they changed, whole or not at all; durable when it returns.

        Raises:
            JournalError: It is not recorded, and nothing more will be.
        """
        with self._until_it_fails:
            return self._append(steps, changes)

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """How the order `cloid` ended, in this run or an earlier one; None if it has not, or is not known.

        Raises:
            JournalError: The journal can't be read.
        """
        with naming(self.path):
            # A cancel has the cloid of the order that it cancels; the question is about the order.
            pending = self._pending.order(cloid)
            found = self._db.execute(
                "SELECT body FROM intents WHERE cloid = ? AND seq > ? ORDER BY seq DESC",
                (cloid, -1 if pending is None else pending[0].seq),
            )
            settled = next((row for row in (decode_intent(body) for (body,) in found) if not row.is_cancel), None)
            if settled is None and pending is not None:
                settled = decode_intent(pending[2])
            return None if settled is None else settled.outcome

    def settle(self) -> None:
        """Move what was appended since the last time into the database, in one transaction; let it not grow too large.

        Raises:
            JournalError: It failed, and nothing more will be recorded; what was appended stands in the redo log.
        """
        with self._until_it_fails:
            self._sweeper.wrote(self._settle())

    def maintain(self) -> None:
        """Delete a piece of what need not be kept, and copy the log into the database if it has grown.

        Raises:
            JournalError: It failed, and nothing more will be recorded.
        """
        with self._until_it_fails:
            self._settle()
            self._sweeper.sweep()
            self._checkpoints.copy(FEW_STEPS)

    def close(self, clean: bool) -> None:
        """End the run and free the lock; a journal that failed records no end.

        Raises:
            JournalError: The end could not be recorded; everything before it is.
        """
        try:
            if self._until_it_fails.failure is None:
                with naming(self.path):
                    self._settle()
                    self._db.execute(
                        "UPDATE runs SET ended_unix_ms = ?, clean = ?, steps = ? WHERE run = ?",
                        (self._clock.now_ms(), clean, self._next, self.run),
                    )
        finally:
            self._checkpoints.close()
            self._db.close()
            self._redo.close()
            self._lock.release()
            self._until_it_fails.failure = JournalMisused(f"the journal {self.path} is closed")

    # ------------------------------------------------------------------------------------------------ one append

    def _append(self, steps: Sequence[Step], changes: Changes) -> int:
        self._see_that_it_may(steps)
        first, crc = self._next, self._crc
        texts, keyed = [], []
        for seq, step in enumerate(steps, first):
            text = _encode(step if step.seq == seq else msgspec.structs.replace(step, seq=seq))
            crc = chained(text, crc)
            texts.append(text)
            keyed.append((self._base + seq, text, crc))
        key = keyed[-1][0]
        intents = [(row, key, _encode(row)) for row in changes.intents]
        posts = [(row, key, _encode(row)) for row in changes.posts]
        self._claims.check(intents, posts)
        self._redo.append(first, self._crc, texts, [text for _, _, text in intents], [text for _, _, text in posts])
        self._claims.note(intents, posts)
        self._pending.add(keyed, intents, posts)
        self._next += len(steps)
        self._crc = crc
        if len(self._pending.steps) >= _PENDING_STEPS:
            self._settle()
        return self._next - 1

    def _settle(self) -> int:
        """Move what is pending; how many steps that were."""
        pending = self._pending
        if not pending:
            return 0
        for file in self._files:
            _see_that_it_is_there(*file)
        pending.write(self._db, self.path)
        written = len(pending.steps)
        pending.clear()
        self._redo.clear()
        self._checkpoints.wrote(written)
        return written

    def _see_that_it_may(self, steps: Sequence[Step]) -> None:
        if not steps:
            raise JournalMisused(f"the journal {self.path} was given rows without a step; a step changes rows")
        if get_ident() != self._thread:
            raise JournalMisused(f"the journal {self.path} was written by another thread than the one that opened it")
        _see_that_it_is_there(*self._redo_file)


class _UntilItFails(AbstractContextManager[None]):
    """Lets the first failure be the last thing that happens to a journal.

    Attributes:
        failure: What it was; None so far.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: JournalLock) -> None:
        self.failure: JournalError | None = None
        self._path = path
        self._db = db
        self._lock = lock

    def __enter__(self) -> None:
        if self.failure is not None:
            raise type(self.failure)(f"nothing more is recorded since: {self.failure}")

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            return
        # A process that is interrupted may have recorded a step and not know it.
        interruption = JournalMisused(f"the journal {self._path} was interrupted ({type(error).__name__})")
        self.failure = named(error, self._path) if isinstance(error, Exception) else interruption
        with suppress(sqlite3.Error):
            self._db.rollback()
        with suppress(OSError):
            self._lock.note(True)
        if self.failure not in (error, interruption):
            raise self.failure from error


def _see_that_it_is_there(name: str, inode: int) -> None:
    """A file that was deleted or replaced can still be written to, and is gone at the restart."""
    if os.stat(name).st_ino != inode:
        raise JournalUnwritable(f"{name} was replaced while in use; stop, and put the journal back")


def _connect(path: Path, durability: Durability) -> sqlite3.Connection:
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        db.execute(f"PRAGMA synchronous = {durability.upper()}")
        db.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        db.close()
        raise
    return db
