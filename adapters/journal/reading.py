"""Reading a journal from outside, while it is in use or afterwards: its steps, and those about one post or order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from adapters.journal.errors import naming
from adapters.journal.recovery import decode_post, decode_step
from adapters.journal.rows import Move, PostRow, Step
from adapters.journal.schema import run_and_seq, step_id
from adapters.journal.snapshot import open_to_read


class RunStep(NamedTuple):
    """A step and the run that it belongs to."""

    run: int
    step: Step


class Subject(NamedTuple):
    """What steps are looked for.

    Attributes:
        cloid: Of the order; None if it was not named by one.
        intents: Numbers of the intents concerned.
        posts: Ids of the posts concerned.
    """

    cloid: str | None
    intents: frozenset[int]
    posts: frozenset[int]

    def concerns(self, step: Step) -> bool:
        """Whether `step` is about it."""
        return any(map(self.moved, step.moves)) or self.names(step.facts) or self.names(step.effects)

    def moved(self, move: Move) -> bool:
        """Whether it is what `move` moved."""
        return move.machine in _KEYED and move.key in (self.intents if move.machine == "intent" else self.posts)

    def names(self, value: Any) -> bool:
        """Whether recorded facts, or effects, speak of it."""
        if isinstance(value, dict):
            return self._is_named(value) or any(map(self.names, value.values()))
        return isinstance(value, list | tuple) and any(map(self.names, value))

    def _is_named(self, value: dict[str, Any]) -> bool:
        post_id, item = value.get("post_id"), value.get("seq")
        if post_id is not None and item is not None and self.intents:  # a look-up: of one item of the post
            return item in self.intents
        if post_id in self.posts or (self.cloid is not None and value.get("cloid") == self.cloid):
            return True
        post, intent = value.get("post"), value.get("intent")  # as effects refer to them
        return (isinstance(post, int) and post in self.posts) or (isinstance(intent, int) and intent in self.intents)


_KEYED = frozenset({"intent", "post", "settlement"})
"""Machines whose moves name an intent or a post."""


class JournalReader:
    """A journal as it was at one moment."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        """Read with `db`; use `reading` instead."""
        self._path = path
        self._db = db

    def steps(self, run: int | None = None) -> Iterator[RunStep]:
        """All steps in order, or those of one run.

        Raises:
            JournalCorrupt: One of them can't be read.
        """
        low, high = (0, 2**63 - 1) if run is None else (step_id(run, 0), step_id(run + 1, 0) - 1)
        with naming(self._path):
            query = "SELECT id, body FROM steps WHERE id BETWEEN ? AND ? ORDER BY id"
            for key, body in self._db.execute(query, (low, high)):
                yield RunStep(run_and_seq(key)[0], decode_step(body))

    def post(self, post_id: int) -> Subject:
        """A post with its fences."""
        return Subject(None, frozenset(), self._with_fences({post_id}))

    def order(self, cloid: str) -> Subject:
        """All that concerns the order `cloid`: its intents, the posts that carried them, and their fences."""
        with naming(self._path):
            found = self._db.execute("SELECT seq FROM intents WHERE cloid = ?", (cloid,))
            intents = frozenset(seq for (seq,) in found)
            carriers = {post.post_id for post in self._posts() if not intents.isdisjoint(post.items)}
        return Subject(cloid, intents, self._with_fences(carriers))

    def _with_fences(self, posts: set[int]) -> frozenset[int]:
        with naming(self._path):
            return frozenset(posts | {post.post_id for post in self._posts() if post.fence_of in posts})

    def _posts(self) -> Iterator[PostRow]:
        return (decode_post(body) for (body,) in self._db.execute("SELECT body FROM posts"))


@contextmanager
def reading(path: Path) -> Iterator[JournalReader]:
    """Read the journal at `path`.

    Raises:
        JournalError: There is no such file, or it is no journal that can be read.
    """
    db = open_to_read(path)
    try:
        yield JournalReader(path, db)
    finally:
        db.close()
