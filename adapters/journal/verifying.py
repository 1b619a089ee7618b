"""Does a journal agree with itself?

Checked are: that the steps of each run are contiguous and unchanged (their checksums are chained), that causes point
backwards, that each move begins where the one before it ended, that rows stand where the last move left them, that a
fence has the nonce of the post that it fences (settlement.md, rule 3), and that no signature is stored. Not checked is
whether the moves are ones that the machines allow: replaying the events through fresh machines shows that.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from adapters.journal.errors import ADVICE_CORRUPT, JournalCorrupt, naming
from adapters.journal.recovery import decode_intent, decode_post, decode_step
from adapters.journal.rows import Step
from adapters.journal.schema import chained, run_and_seq, step_id
from adapters.journal.snapshot import open_to_read

_MOST: Final = 100
"""Findings that are put into words; more are only counted."""
_SIGNATURE: Final = b'"signature":'


class Report(Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        runs: Runs in the journal.
        steps: Steps in it.
        intents: Intents in it.
        open_intents: Intents without an outcome.
        posts: Posts in it.
        open_posts: Posts that a restart would take up.
        disagreements: How many; 0 means that all agrees.
        findings: The first of them, in words.
    """

    runs: int
    steps: int
    intents: int
    open_intents: int
    posts: int
    open_posts: int
    disagreements: int
    findings: tuple[str, ...]


class _Last(NamedTuple):
    """The last move of one object."""

    run: int
    seq: int
    target: str


def verify(path: Path) -> Report:
    """Check the journal at `path`, which may be in use.

    Raises:
        JournalError: It can't be read.
    """
    db = open_to_read(path)
    try:
        with naming(path):
            return _Verification(path, db).report()
    finally:
        db.close()


class _Verification:
    """One pass over a journal."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db
        self._last: dict[tuple[str, int], _Last] = {}
        self._nonces: dict[int, int] = {}
        self._findings: list[str] = []
        self._disagreements = 0

    def report(self) -> Report:
        problem = self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise JournalCorrupt(f"the journal {self._path} is damaged: {problem}; {ADVICE_CORRUPT}")
        steps = self._check_steps()
        intents, open_intents = self._check_intents()
        posts, open_posts = self._check_posts()
        for (machine, key), last in self._last.items():
            if machine in ("intent", "post"):
                self._disagree(f"step {last.run}/{last.seq} moved {machine} {key}, which is not in the journal")
        return Report(
            runs=self._db.execute("SELECT count(*) FROM runs").fetchone()[0],
            steps=steps,
            intents=intents,
            open_intents=open_intents,
            posts=posts,
            open_posts=open_posts,
            disagreements=self._disagreements,
            findings=tuple(self._findings),
        )

    def _disagree(self, finding: str) -> None:
        self._disagreements += 1
        if len(self._findings) < _MOST:
            self._findings.append(finding)

    # ----------------------------------------------------------------------------------------------------- steps

    def _check_steps(self) -> int:
        count = 0
        runs = self._db.execute("SELECT run, first_seq, first_crc, steps FROM runs ORDER BY run").fetchall()
        for run, expected, crc, end in runs:
            query = "SELECT id, body, crc FROM steps WHERE id BETWEEN ? AND ? ORDER BY id"
            for key, body, stored_crc in self._db.execute(query, (step_id(run, 0), step_id(run + 1, 0) - 1)):
                seq, text = run_and_seq(key)[1], body.encode()
                if seq != expected:
                    self._disagree(f"run {run}: step {expected} should come next, {seq} does")
                elif chained(text, crc) != stored_crc:
                    self._disagree(f"step {run}/{seq} is not what was written, or follows one that is not")
                if _SIGNATURE in text:
                    self._disagree(f"step {run}/{seq} holds a signature")
                self._check_step(run, seq, decode_step(body))
                expected, crc, count = seq + 1, stored_crc, count + 1
            if end is not None and expected != end:
                self._disagree(f"run {run} ended after {end} steps, there are {expected}")
        total = self._db.execute("SELECT count(*) FROM steps").fetchone()[0]
        if total != count:
            self._disagree(f"{total - count} steps belong to no run")
        return count

    def _check_step(self, run: int, seq: int, step: Step) -> None:
        if step.seq != seq:
            self._disagree(f"step {run}/{seq} says that it is step {step.seq}")
        if step.cause is not None and not 0 <= step.cause < seq:
            self._disagree(f"step {run}/{seq} names step {step.cause} as its cause, which does not lie before it")
        for move in step.moves:
            subject = (move.machine, move.key)
            before = self._last.get(subject)
            # A new run builds its machines anew.
            if before is not None and before.run == run and before.target != move.source:
                self._disagree(
                    f"step {run}/{seq} moves {move.machine} {move.key} from {move.source}, "
                    f"step {before.seq} left it {before.target}"
                )
            self._last[subject] = _Last(run, seq, move.target)

    # ------------------------------------------------------------------------------------------------------ rows

    def _check_intents(self) -> tuple[int, int]:
        count = still_open = 0
        for seq, step, is_open, cloid, body in self._db.execute("SELECT seq, step, open, cloid, body FROM intents"):
            row = decode_intent(body)
            if (row.seq, row.open, row.cloid) != (seq, bool(is_open), cloid):
                self._disagree(f"intent {seq} is filed under another number, cloid or openness than its own")
            self._compare("intent", seq, row.state, step)
            count, still_open = count + 1, still_open + row.open
        return count, still_open

    def _check_posts(self) -> tuple[int, int]:
        count = still_open = 0
        for post_id, step, is_open, nonce, body in self._db.execute(
            "SELECT post_id, step, open, nonce, body FROM posts ORDER BY post_id"
        ):
            row = decode_post(body)
            if (row.post_id, row.open, row.nonce) != (post_id, bool(is_open), nonce):
                self._disagree(f"post {post_id} is filed under another id, nonce or openness than its own")
            self._compare("post", post_id, row.state, step)
            self._compare("settlement", post_id, row.settlement, step)
            if row.fence_of is not None and self._nonces.get(row.fence_of, nonce) != nonce:
                self._disagree(f"post {post_id} fences post {row.fence_of} with another nonce")
            self._nonces[post_id] = nonce
            count, still_open = count + 1, still_open + row.open
        return count, still_open

    def _compare(self, machine: str, key: int, state: str | None, step: int) -> None:
        """Compare a row with the last move of its object, unless a later run took it over without one."""
        last = self._last.pop((machine, key), None)
        if last is not None and last.run == run_and_seq(step)[0] and last.target != state:
            self._disagree(f"{machine} {key} is {state}, but step {last.run}/{last.seq} left it {last.target}")
