"""The journal in an SQLite file: one transaction for the steps that are recorded together.

With `normal` durability a step survives the end of this process, however it comes: it is in the system's hands when
`append` returns. With `full` it survives the end of the system too: it is on the disk (`fsync`). docs/journal.md has
what each costs.

The write-ahead log is copied into the database by `maintain`, in a moment in which nothing waits, not by the append
that happens to fill it. A COMMIT that fails may have reached the file all the same (the write went through, the `fsync`
after it did not), so a restart may find a step whose append failed: whole, and without any effect, because effects come
after the append.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import msgspec

from adapters.journal import wal
from adapters.journal.errors import JournalError, JournalMisused, JournalUnwritable, named, naming
from adapters.journal.lock import JournalLock
from adapters.journal.recovery import begin_run, decode_intent
from adapters.journal.retention import Retention, Sweeper
from adapters.journal.rows import Changes, IntentRow, PostRow, Recovered, Step
from adapters.journal.schema import chained, check, create, step_id
from machines.clock import Clock

Durability: TypeAlias = Literal["normal", "full"]

BUSY_S: Final = 1.0
"""How long a lock of another program is waited for; a post waits 3 s at least for its reply."""
_CHECKPOINT_STEPS: Final = 100
"""Steps after which `maintain` copies the log into the database: about 2 MB of log."""
_CHECKPOINT_PAGES: Final = 4_000
"""Pages of log (16 MB) at which an append does it, if nobody calls `maintain`."""

_INSERT_STEP: Final = "INSERT INTO steps (id, body, crc) VALUES (?, ?, ?)"
_UPSERT_INTENT: Final = (
    "INSERT INTO intents (seq, run, step, open, cloid, body) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (seq) DO UPDATE SET step = excluded.step, open = excluded.open, body = excluded.body"
    " WHERE intents.cloid IS excluded.cloid AND (intents.open OR intents.body = excluded.body)"
)
"""A number belongs to one intent, and an outcome is final: else no row is changed."""
_UPSERT_POST: Final = (
    "INSERT INTO posts (post_id, run, step, open, nonce, body) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (post_id) DO UPDATE SET step = excluded.step, open = excluded.open, body = excluded.body"
    " WHERE posts.nonce = excluded.nonce"
)

_encode: Final = msgspec.json.Encoder().encode


class SqliteJournal:
    """A run's record in an SQLite file; see `Journal` for what its methods promise.

    Everything happens on the thread that opened it.
    """

    def __init__(
        self,
        path: Path,
        db: sqlite3.Connection,
        lock: JournalLock,
        recovered: Recovered,
        retention: Retention,
        clock: Clock,
    ) -> None:
        """Use `open` instead."""
        self.path = path
        self._db = db
        self._lock = lock
        self._recovered = recovered
        self._sweeper = Sweeper(db, recovered.run, retention, clock)
        self._clock = clock
        self._inherited_intents = {row.seq for row in recovered.intents}
        self._inherited_posts = {post.row.post_id for post in recovered.posts}
        self._files = [(name, os.stat(name).st_ino) for name in (path, f"{path}-wal")]
        self._next = 0
        self._crc = 0
        self._steps_in_log = 0
        self._failure: JournalError | None = None

    @classmethod
    def open(cls, path: Path, *, signer: str, durability: Durability, retention: Retention, clock: Clock) -> Self:
        """Create or open the journal at `path`, take its lock, and begin a run.

        Args:
            path: The file; `-wal`, `-shm` and `-lock` stand beside it. Its folder must exist.
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
        with naming(path):
            path = path.resolve()  # by whatever link it is reached, it has one lock
            lock = JournalLock(path, signer)
            try:
                torn = wal.frames(path)
                db = _connect(path, durability)
            except BaseException:
                lock.release()
                raise
            try:
                create(db)
                check(db, path)
                _, known, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                recovered = begin_run(db, path, signer, clock, max(0, torn - known))
                if lock.unrecorded and not recovered.intents:
                    lock.note(False)  # whatever it was has been settled
                recovered = msgspec.structs.replace(recovered, unrecorded=lock.unrecorded)
                return cls(path, db, lock, recovered, retention, clock)
            except BaseException:
                db.close()
                lock.release()
                raise

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
        with self._stop_on_failure():
            return self._append(steps, changes)

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """How the order `cloid` ended, in this run or an earlier one; None if it has not, or is not known.

        Raises:
            JournalError: The journal can't be read.
        """
        with naming(self.path):
            bodies = self._db.execute("SELECT body FROM intents WHERE cloid = ? ORDER BY seq DESC", (cloid,)).fetchall()
            rows = (decode_intent(body) for (body,) in bodies)
            # A cancel has the cloid of the order that it cancels; the question is about the order.
            return next((row.outcome for row in rows if not row.kind.startswith("cancel")), None)

    def maintain(self) -> None:
        """Delete a piece of what need not be kept, and copy the log into the database if it has grown.

        Raises:
            JournalError: It failed, and nothing more will be recorded.
        """
        with self._stop_on_failure():
            self._sweeper.sweep()
            if self._steps_in_log >= _CHECKPOINT_STEPS:
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._steps_in_log = 0

    def close(self, clean: bool) -> None:
        """End the run and free the lock; a journal that failed records no end.

        Raises:
            JournalError: The end could not be recorded; everything before it is.
        """
        try:
            if self._failure is None:
                with naming(self.path):
                    self._db.execute(
                        "UPDATE runs SET ended_unix_ms = ?, clean = ?, steps = ? WHERE run = ?",
                        (self._clock.now_ms(), clean, self._next, self.run),
                    )
        finally:
            self._db.close()
            self._lock.release()
            self._failure = JournalMisused(f"the journal {self.path} is closed")

    # ------------------------------------------------------------------------------------------------ one append

    def _append(self, steps: Sequence[Step], changes: Changes) -> int:
        crc, values = self._crc, []
        for seq, step in enumerate(steps, self._next):
            body = _encode(step if step.seq == seq else msgspec.structs.replace(step, seq=seq))
            crc = chained(body, crc)
            values.append((step_id(self.run, seq), body.decode(), crc))
        last = self._next + len(steps) - 1
        key = step_id(self.run, last)
        intents = [self._intent_values(row, key) for row in changes.intents]
        posts = [self._post_values(row, key) for row in changes.posts]
        self._see_that_it_is_there()
        execute = self._db.execute
        execute("BEGIN IMMEDIATE")
        self._db.executemany(_INSERT_STEP, values)
        if intents and self._db.executemany(_UPSERT_INTENT, intents).rowcount != len(intents):
            raise JournalMisused(
                f"one of the intents {[row.seq for row in changes.intents]} is in the journal with another cloid, or "
                "with an outcome that is not this one; a number belongs to one intent, and an outcome is final"
            )
        if posts and self._db.executemany(_UPSERT_POST, posts).rowcount != len(posts):
            raise JournalMisused(
                f"one of the posts {[row.post_id for row in changes.posts]} is in the journal with another nonce; "
                "a post id belongs to one post"
            )
        execute("COMMIT")
        self._next = last + 1
        self._crc = crc
        self._steps_in_log += len(steps)
        return last

    def _intent_values(self, row: IntentRow, key: int) -> tuple[Any, ...]:
        _see_that_it_is_ours("intent", row.seq, self._recovered.last_intent_seq, self._inherited_intents)
        return row.seq, self.run, key, row.open, row.cloid, _encode(row).decode()

    def _post_values(self, row: PostRow, key: int) -> tuple[Any, ...]:
        _see_that_it_is_ours("post", row.post_id, self._recovered.last_post_id, self._inherited_posts)
        return row.post_id, self.run, key, row.open, row.nonce, _encode(row).decode()

    def _see_that_it_is_there(self) -> None:
        """A file that was deleted or replaced can still be written to, and is gone at the restart."""
        for name, inode in self._files:
            if os.stat(name).st_ino != inode:
                raise JournalUnwritable(f"{name} was replaced while in use; stop, and put the journal back")

    @contextmanager
    def _stop_on_failure(self) -> Iterator[None]:
        """Do nothing more after a failure, and let this one be the last."""
        if self._failure is not None:
            raise type(self._failure)(f"nothing more is recorded since: {self._failure}")
        try:
            yield
        except Exception as error:
            self._failure = named(error, self.path)
            with suppress(sqlite3.Error):
                self._db.rollback()
            with suppress(OSError):
                self._lock.note(True)
            if self._failure is error:
                raise
            raise self._failure from error


def _see_that_it_is_ours(what: str, number: int, last: int, inherited: set[int]) -> None:
    """A number of an earlier run belongs to this one only if what it names was taken over (settlement.md, rule 14)."""
    if number <= last and number not in inherited:
        raise JournalMisused(f"{what} {number} belongs to an earlier run; number new ones from {last + 1}")


def _connect(path: Path, durability: Durability) -> sqlite3.Connection:
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        db.execute(f"PRAGMA synchronous = {durability.upper()}")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    except BaseException:
        db.close()
        raise
    return db
