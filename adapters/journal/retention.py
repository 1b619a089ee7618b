"""How much history is kept.

Steps go oldest first: those of ended runs that are too many or too old, and, while the file is too large, the oldest of
all, those of the present run included (an executor may run for months). A row goes when the step that wrote it last has
gone, and only if nothing of it is open: what recovery needs stays, however old. Of the rows that go, the highest nonce
and numbers are kept in `runs`.

Each sweep does a bounded piece of work. Rows are looked through a page at a time, round and round. A file that is too
large is swept as it is written, twice as much as comes in, so that no load lets it grow.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from msgspec import Struct

from adapters.journal.errors import JournalMisused
from adapters.journal.schema import run_and_seq, step_id
from machines.clock import Clock

SWEEP: Final = 500
"""Steps, and rows of each table, that one sweep looks at."""
_SLACK_PAGES: Final = 256
_VACUUM_PAGES: Final = 64
"""Free pages that stay for the next steps, and pages given back to the system at a time."""
_DAY_MS: Final = 86_400_000


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept.

    Attributes:
        runs: Ended runs, besides the present one; at least the last, whose outcomes its owner may ask for.
        days: Days after its end that a run is kept.
        bytes: What the journal may hold in all; open rows do not count.
    """

    runs: int = 50
    days: int = 30
    bytes: int = 1 << 30

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise JournalMisused(f"retention: {name} must be at least 1, got {getattr(self, name)}")


class _Table(NamedTuple):
    """The statements for the rows of one table.

    Attributes:
        page: The next rows: number, run, nonce, and whether each may go.
        delete: Deletes a row.
        remember: Keeps of a row that goes what must not be forgotten.
    """

    page: str
    delete: str
    remember: str


_TABLES: Final = (
    _Table(
        "SELECT seq, run, 0, NOT open AND step < ? FROM intents WHERE seq > ? ORDER BY seq LIMIT ?",
        "DELETE FROM intents WHERE seq = ?",
        "UPDATE runs SET gone_intent_seq = max(gone_intent_seq, :number) WHERE run = :run",
    ),
    _Table(
        "SELECT post_id, run, nonce, NOT open AND step < ? FROM posts WHERE post_id > ? ORDER BY post_id LIMIT ?",
        "DELETE FROM posts WHERE post_id = ?",
        "UPDATE runs SET gone_post_id = max(gone_post_id, :number), gone_nonce = max(gone_nonce, :nonce)"
        " WHERE run = :run",
    ),
)


class Sweeper:
    """Deletes what is not kept any more."""

    def __init__(self, db: sqlite3.Connection, run: int, retention: Retention, clock: Clock) -> None:
        """Work on `db`, while run number `run` is under way."""
        self._db = db
        self._run = run
        self._retention = retention
        self._clock = clock
        self._cursors = dict.fromkeys(_TABLES, 0)
        self._unswept = 0  # steps written since it was last seen whether the file is too large

    def wrote(self, steps: int) -> None:
        """So many steps more are in the database: delete more than that, if it is too large."""
        self._unswept += steps
        while self._unswept >= SWEEP // 2:
            self._unswept -= SWEEP // 2
            if self._too_large:
                self.sweep()

    def sweep(self) -> None:
        """Do a bounded piece of work, in one transaction."""
        self._db.execute("BEGIN IMMEDIATE")
        self._sweep_steps()
        floor = self._db.execute("SELECT min(id) FROM steps").fetchone()[0]
        if floor is not None:
            for table in _TABLES:
                self._sweep_rows(table, floor)
        self._db.execute("COMMIT")
        if self._pragma("freelist_count") > _SLACK_PAGES:
            self._db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()

    def _sweep_steps(self) -> None:
        doomed = self._db.execute(
            "SELECT id, crc FROM steps WHERE id < ? ORDER BY id LIMIT ?", (self._cut(), SWEEP)
        ).fetchall()
        if not doomed:
            return
        self._db.execute("DELETE FROM steps WHERE id <= ?", (doomed[-1][0],))
        last_of_run = {run_and_seq(key)[0]: (key, crc) for key, crc in doomed}
        for run, (key, crc) in last_of_run.items():
            self._db.execute(
                "UPDATE runs SET first_seq = ?, first_crc = ? WHERE run = ?", (run_and_seq(key)[1] + 1, crc, run)
            )

    def _cut(self) -> int:
        """The id before which steps go."""
        too_old = self._db.execute(
            "SELECT max(run) FROM runs WHERE run < ? AND ended_unix_ms < ?",
            (self._run, self._clock.now_ms() - self._retention.days * _DAY_MS),
        ).fetchone()[0]
        too_many = self._run - 1 - self._retention.runs
        cut = step_id(max(too_old or 0, too_many, 0) + 1, 0)
        if self._too_large:
            newest = self._db.execute("SELECT max(id) FROM steps").fetchone()[0]
            cut = max(cut, newest or 0)
        return cut

    @property
    def _too_large(self) -> bool:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size") > self._retention.bytes

    def _sweep_rows(self, table: _Table, floor: int) -> None:
        """Delete finished rows that were last written before step `floor`, among the next page of a table."""
        page = self._db.execute(table.page, (floor, self._cursors[table], SWEEP)).fetchall()
        self._cursors[table] = page[-1][0] if len(page) == SWEEP else 0
        for number, run, nonce, doomed in page:
            if doomed:
                self._db.execute(table.delete, (number,))
                self._db.execute(table.remember, {"number": number, "run": run, "nonce": nonce})

    def _pragma(self, name: str) -> int:
        value: int = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return value
