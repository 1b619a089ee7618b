"""The journal as an SQLite file: tables, version, and how it is opened.

`steps.id` is the run's number times 2**40 plus the step's number, so that one integer is key, order and address. `crc`
of a step covers its text and the `crc` of the step before it: no step can be changed, dropped or moved unnoticed. Texts
are JSON. `step` of a row is the id of the step that wrote it last; `open` says that recovery needs it, so that it must
stay.

Retention (adapters/journal/retention.py) leaves in `runs` what must not be forgotten of what it deletes: where the
steps that are left begin, and the highest nonce, post id and intent number of the rows that are gone.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from zlib import crc32

from adapters.journal.errors import ADVICE_CORRUPT, JournalCorrupt, JournalTooNew

VERSION: Final = 1
_APPLICATION: Final = 0x48495033
"""Marks an SQLite file as ours: `HIP3`."""
_RUN_BITS: Final = 40
"""A run has room for 2**40 steps: at a thousand a second, 34 years."""

_TABLES: Final = (
    """CREATE TABLE runs (
        run INTEGER PRIMARY KEY, signer TEXT NOT NULL, pid INTEGER NOT NULL,
        began_unix_ms INTEGER NOT NULL, ended_unix_ms INTEGER, clean INTEGER NOT NULL DEFAULT 0, steps INTEGER,
        first_seq INTEGER NOT NULL DEFAULT 0, first_crc INTEGER NOT NULL DEFAULT 0,
        gone_nonce INTEGER NOT NULL DEFAULT 0, gone_post_id INTEGER NOT NULL DEFAULT 0,
        gone_intent_seq INTEGER NOT NULL DEFAULT 0)""",
    "CREATE TABLE steps (id INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL)",
    """CREATE TABLE intents (
        seq INTEGER PRIMARY KEY, run INTEGER NOT NULL, step INTEGER NOT NULL, open INTEGER NOT NULL,
        cloid TEXT, body TEXT NOT NULL)""",
    "CREATE INDEX intents_by_cloid ON intents (cloid) WHERE cloid IS NOT NULL",
    """CREATE TABLE posts (
        post_id INTEGER PRIMARY KEY, run INTEGER NOT NULL, step INTEGER NOT NULL, open INTEGER NOT NULL,
        nonce INTEGER NOT NULL, body TEXT NOT NULL)""",
)


def step_id(run: int, seq: int) -> int:
    """The key of a step."""
    return run << _RUN_BITS | seq


def run_and_seq(key: int) -> tuple[int, int]:
    """The run and the number of the step with this key."""
    return key >> _RUN_BITS, key & (1 << _RUN_BITS) - 1


def chained(body: bytes, crc: int) -> int:
    """The checksum of a step after one with checksum `crc`."""
    return crc32(body, crc)


def create(db: sqlite3.Connection) -> None:
    """Make the tables, if the file is still empty."""
    if db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None:
        return
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN IMMEDIATE")
    for statement in (
        *_TABLES,
        f"PRAGMA application_id = {_APPLICATION}",
        f"PRAGMA user_version = {VERSION}",
    ):
        db.execute(statement)
    db.execute("COMMIT")


def check(db: sqlite3.Connection, path: Path) -> None:
    """See that the file is a journal that this version can read.

    Raises:
        JournalCorrupt: It is another program's, or damaged.
        JournalTooNew: A newer version wrote it.
    """
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise JournalCorrupt(f"{path} is an SQLite file but no journal; name another file")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise JournalTooNew(
            f"the journal {path} has schema version {version}, this program knows up to {VERSION}; "
            "use the version that wrote it, or a newer one"
        )
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise JournalCorrupt(f"the journal {path} is damaged: {problem}; {ADVICE_CORRUPT}")
