"""What was appended and is not in the database yet: each step, and of each row the newest state.

One transaction takes all of it. Several appends change the same row, and the database is told of the last state only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from adapters.journal import redo
from adapters.journal.errors import ADVICE_CORRUPT, JournalCorrupt
from adapters.journal.recovery import decode_intent, decode_post
from adapters.journal.rows import IntentRow, PostRow
from adapters.journal.schema import chained, run_and_seq, step_id

RowT = TypeVar("RowT", IntentRow, PostRow)

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


Written: TypeAlias = tuple[RowT, int, bytes]
"""A row as it was written: how it stands, the id of the step that wrote it, and its text."""


class Pending:
    """Steps and rows that wait for a transaction.

    Attributes:
        steps: Id, text and checksum of each, in order.
        intents: The newest of each intent, by its number.
        posts: The newest of each post, by its id.
    """

    def __init__(self) -> None:
        """Nothing waits."""
        self.steps: list[tuple[int, bytes, int]] = []
        self.intents: dict[int, Written[IntentRow]] = {}
        self.posts: dict[int, Written[PostRow]] = {}
        self._orders: dict[str, int] = {}  # by their cloid, the newest intent that is no cancel

    def __bool__(self) -> bool:
        return bool(self.steps)

    def add(
        self,
        steps: Iterable[tuple[int, bytes, int]],
        intents: Iterable[Written[IntentRow]],
        posts: Iterable[Written[PostRow]],
    ) -> None:
        """Add what one append recorded."""
        self.steps += steps
        for intent in intents:
            row = intent[0]
            self.intents[row.seq] = intent
            if row.cloid is not None and not row.is_cancel and self._orders.get(row.cloid, -1) < row.seq:
                self._orders[row.cloid] = row.seq
        for post in posts:
            self.posts[post[0].post_id] = post

    def order(self, cloid: str) -> Written[IntentRow] | None:
        """The newest intent that waits and that is about the order `cloid`, and no cancel of it."""
        seq = self._orders.get(cloid)
        return None if seq is None else self.intents[seq]

    def clear(self) -> None:
        """The database has it all."""
        self.steps.clear()
        self.intents.clear()
        self.posts.clear()
        self._orders.clear()

    @property
    def step_values(self) -> list[tuple[object, ...]]:
        """The columns of each step."""
        return [(key, body.decode(), crc) for key, body, crc in self.steps]

    @property
    def intent_values(self) -> list[tuple[object, ...]]:
        """The columns of each intent."""
        return [
            (row.seq, run_and_seq(step)[0], step, row.open, row.cloid, body.decode())
            for row, step, body in self.intents.values()
        ]

    @property
    def post_values(self) -> list[tuple[object, ...]]:
        """The columns of each post."""
        return [
            (row.post_id, run_and_seq(step)[0], step, row.open, row.nonce, body.decode())
            for row, step, body in self.posts.values()
        ]

    def write(self, db: sqlite3.Connection, path: Path) -> None:
        """Write it into the database of the journal at `path`, in one transaction.

        Raises:
            JournalCorrupt: The database has another cloid, outcome or nonce for one of the rows.
            sqlite3.Error: It can't be written.
        """
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_INSERT_STEP, self.step_values)
        for statement, values, what in (
            (_UPSERT_INTENT, self.intent_values, "intents"),
            (_UPSERT_POST, self.post_values, "posts"),
        ):
            if values and db.executemany(statement, values).rowcount != len(values):
                numbers = [value[0] for value in values]
                raise JournalCorrupt(
                    f"one of the {what} {numbers} is in the journal {path} with another cloid, outcome or nonce than "
                    f"was recorded; {ADVICE_CORRUPT}"
                )
        db.execute("COMMIT")


def take_over(db: sqlite3.Connection, path: Path) -> int:
    """Move what a crash left in the redo log into the database; the torn lines that it had.

    Raises:
        JournalCorrupt: As `unsettled`, and `Pending.write`.
        sqlite3.Error: It can't be written.
    """
    found = redo.parsed(redo.read(path))
    pending = unsettled(db, path, found.records)
    if pending:
        pending.write(db, path)
    return found.torn


def unsettled(db: sqlite3.Connection, path: Path, records: Iterable[redo.Record]) -> Pending:
    """What of a redo log the database of the journal at `path` does not have yet.

    Raises:
        JournalCorrupt: The redo log is another journal's, or does not go on where the database ends.
        msgspec.DecodeError: A row can't be read.
    """
    pending = Pending()
    for (run, began), of_run in groupby(records, lambda record: (record.run, record.began_unix_ms)):
        expected, crc, ended = _end_of(db, path, run, began)
        for record in of_run:
            end = record.seq + len(record.steps)
            if end <= expected:
                continue  # the process ended after the transaction, and before the log was emptied
            if ended or (record.seq, record.crc) != (expected, crc):
                raise _gap(path, f"it goes on with step {run}/{record.seq}, the database ends before {run}/{expected}")
            steps = []
            for seq, raw in enumerate(record.steps, expected):
                crc = chained(bytes(raw), crc)
                steps.append((step_id(run, seq), bytes(raw), crc))
            key = step_id(run, end - 1)
            pending.add(
                steps,
                [(decode_intent(raw), key, bytes(raw)) for raw in record.intents],
                [(decode_post(raw), key, bytes(raw)) for raw in record.posts],
            )
            expected = end
    return pending


def _end_of(db: sqlite3.Connection, path: Path, run: int, began_unix_ms: int) -> tuple[int, int, bool]:
    """The number of the step that comes next in a run, the checksum of the last one, and whether the run has ended."""
    row = db.execute(
        "SELECT first_seq, first_crc, ended_unix_ms IS NOT NULL FROM runs WHERE run = ? AND began_unix_ms = ?",
        (run, began_unix_ms),
    ).fetchone()
    if row is None:
        raise _gap(path, f"it is of a run {run} that the database does not know, so of another journal")
    first_seq, first_crc, ended = row
    last = db.execute(
        "SELECT id, crc FROM steps WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1",
        (step_id(run, 0), step_id(run + 1, 0) - 1),
    ).fetchone()
    return (first_seq, first_crc, bool(ended)) if last is None else (run_and_seq(last[0])[1] + 1, last[1], bool(ended))


def _gap(path: Path, what: str) -> JournalCorrupt:
    return JournalCorrupt(
        f"the redo log {path}-redo does not belong to the database {path} as it is: {what}. Put back the files that "
        "belong together. If the system itself ended (a power failure), the database may have lost its last steps: "
        "move the redo log away, keep it for inspection, and start again when the venue shows no order of this account "
        "that you do not know"
    )
