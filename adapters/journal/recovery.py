"""What a new run takes over from the ones before it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from adapters.journal.errors import ADVICE_CORRUPT, JournalCorrupt
from adapters.journal.rows import IntentRow, OpenPost, PostRow, Recovered, Step
from adapters.journal.schema import run_and_seq, step_id
from machines.clock import Clock

decode_step: Final = msgspec.json.Decoder(Step).decode
decode_intent: Final = msgspec.json.Decoder(IntentRow).decode
decode_post: Final = msgspec.json.Decoder(PostRow).decode


class _Run(NamedTuple):
    run: int
    signer: str
    began_unix_ms: int
    ended_unix_ms: int | None
    clean: int
    first_seq: int


def begin_run(db: sqlite3.Connection, path: Path, signer: str, clock: Clock, torn_frames: int) -> Recovered:
    """Begin the next run, and say what is left of the earlier ones; in one transaction.

    Raises:
        JournalCorrupt: A step of the last run is missing.
        msgspec.DecodeError: A record can't be read.
    """
    db.execute("BEGIN IMMEDIATE")
    columns = ", ".join(_Run._fields)
    row = db.execute(f"SELECT {columns} FROM runs ORDER BY run DESC LIMIT 1").fetchone()  # noqa: S608
    last = None if row is None else _Run(*row)
    if last is not None:
        _end_run(db, path, last)
    gone = "SELECT max(gone_nonce), max(gone_post_id), max(gone_intent_seq) FROM runs"
    _, gone_post, gone_intent = db.execute(gone).fetchone()
    of_signer = db.execute(f"{gone} WHERE signer = ?", (signer,)).fetchone()[0]
    kept = db.execute("SELECT max(nonce) FROM posts JOIN runs USING (run) WHERE signer = ?", (signer,)).fetchone()[0]
    recovered = Recovered(
        run=1 if last is None else last.run + 1,
        last_nonce=max(of_signer or 0, kept or 0),
        last_post_id=max(gone_post or 0, db.execute("SELECT max(post_id) FROM posts").fetchone()[0] or 0),
        last_intent_seq=max(gone_intent or 0, db.execute("SELECT max(seq) FROM intents").fetchone()[0] or 0),
        last_signer=None if last is None else last.signer,
        clean=last is None or bool(last.clean),
        torn_frames=torn_frames,
        intents=_open_intents(db),
        posts=_open_posts(db),
    )
    db.execute(
        "INSERT INTO runs (run, signer, pid, began_unix_ms) VALUES (?, ?, ?, ?)",
        (recovered.run, signer, os.getpid(), clock.now_ms()),
    )
    db.execute("COMMIT")
    return recovered


def began_of(db: sqlite3.Connection, run: int) -> int:
    """When a run began, unix ms."""
    began: int = db.execute("SELECT began_unix_ms FROM runs WHERE run = ?", (run,)).fetchone()[0]
    return began


def _open_intents(db: sqlite3.Connection) -> tuple[IntentRow, ...]:
    return tuple(decode_intent(body) for (body,) in db.execute("SELECT body FROM intents WHERE open ORDER BY seq"))


def _open_posts(db: sqlite3.Connection) -> tuple[OpenPost, ...]:
    query = "SELECT body, run, signer FROM posts JOIN runs USING (run) WHERE open ORDER BY post_id"
    return tuple(OpenPost(decode_post(body), run, signer) for body, run, signer in db.execute(query))


def _end_run(db: sqlite3.Connection, path: Path, last: _Run) -> None:
    """See that the last run is whole; if it did not end in order, write down where it ended."""
    count, low, high = db.execute(
        "SELECT count(*), min(id), max(id) FROM steps WHERE id >= ?", (step_id(last.run, 0),)
    ).fetchone()
    end = last.first_seq + count
    if count and (low, high) != (step_id(last.run, last.first_seq), step_id(last.run, end - 1)):
        low_seq, high_seq = run_and_seq(low)[1], run_and_seq(high)[1]
        raise JournalCorrupt(
            f"run {last.run} of the journal {path} should have steps from {last.first_seq} on without a gap, it has "
            f"{count} between {low_seq} and {high_seq}; {ADVICE_CORRUPT}"
        )
    if last.ended_unix_ms is None:
        ended = last.began_unix_ms
        if count:
            ended = decode_step(db.execute("SELECT body FROM steps WHERE id = ?", (high,)).fetchone()[0]).unix_ms
        db.execute("UPDATE runs SET ended_unix_ms = ?, steps = ? WHERE run = ?", (ended, end, last.run))
