"""What a reader sees: a journal as it was at one moment, the redo log included.

Where the redo log holds more than the database, views stand before the tables and show both, so that no query needs to
know.

The log is read first and the database after it. What an executor moves from the one to the other in between is then
seen in both, and known by its number; read the other way round, it would be seen in neither.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from adapters.journal import redo
from adapters.journal.errors import JournalCorrupt, naming
from adapters.journal.pending import Pending, unsettled
from adapters.journal.schema import check

_TRIES: Final = 5
"""How often a log that changes while it is read is read again; an executor empties it every few milliseconds."""

_VIEWS: Final = (
    "CREATE TEMP TABLE late_steps (id INTEGER PRIMARY KEY, body TEXT, crc INTEGER)",
    "CREATE TEMP TABLE late_intents (seq INTEGER PRIMARY KEY, run INTEGER, step INTEGER, open INTEGER, cloid TEXT,"
    " body TEXT)",
    "CREATE TEMP TABLE late_posts (post_id INTEGER PRIMARY KEY, run INTEGER, step INTEGER, open INTEGER, nonce INTEGER,"
    " body TEXT)",
    "CREATE TEMP VIEW steps AS SELECT * FROM main.steps UNION ALL SELECT * FROM late_steps",
    "CREATE TEMP VIEW intents AS SELECT * FROM main.intents WHERE seq NOT IN (SELECT seq FROM late_intents)"
    " UNION ALL SELECT * FROM late_intents",
    "CREATE TEMP VIEW posts AS SELECT * FROM main.posts WHERE post_id NOT IN (SELECT post_id FROM late_posts)"
    " UNION ALL SELECT * FROM late_posts",
)
"""A name in TEMP stands before the same name in the file."""
_INSERT_STEP: Final = "INSERT INTO late_steps VALUES (?, ?, ?)"
_INSERT_INTENT: Final = (
    "INSERT INTO late_intents VALUES (?1, coalesce((SELECT run FROM main.intents WHERE seq = ?1), ?2), ?3, ?4, ?5, ?6)"
)
_INSERT_POST: Final = (
    "INSERT INTO late_posts VALUES (?1, coalesce((SELECT run FROM main.posts WHERE post_id = ?1), ?2), ?3, ?4, ?5, ?6)"
)
"""A row stays one of the run that made it."""


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that only reads, from one snapshot; the journal may be in use meanwhile.

    Raises:
        JournalError: There is no such file, or it is no journal that can be read.
    """
    with naming(path):
        path.stat()
        path = path.resolve()  # the redo log stands beside the file itself, not beside a link to it
        text = redo.read(path)
        for _ in range(_TRIES):
            try:
                return _opened(path, text)
            except JournalCorrupt:
                before, text = text, redo.read(path)
                if text == before:
                    raise
        return _opened(path, text)


def _opened(path: Path, redo_text: bytes) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("BEGIN")
        check(db, path)
        pending = unsettled(db, path, redo.parsed(redo_text).records)
        if pending:
            _show(db, pending)
    except BaseException:
        db.close()
        raise
    return db


def _show(db: sqlite3.Connection, pending: Pending) -> None:
    """Let queries find what is pending, too."""
    for statement in _VIEWS:
        db.execute(statement)
    db.executemany(_INSERT_STEP, pending.step_values)
    db.executemany(_INSERT_INTENT, pending.intent_values)
    db.executemany(_INSERT_POST, pending.post_values)
