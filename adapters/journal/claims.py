"""Which rows an append may write: a number belongs to one intent or post for good, and an outcome is final.

A row that can still change is known by what of it can't, so that an append asks memory alone. What has ended is
forgotten, and the database is asked in the rare case that it is written once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from adapters.journal.errors import JournalMisused
from adapters.journal.pending import Pending, Written
from adapters.journal.rows import IntentRow, PostRow, Recovered

_TOO_LARGE: Final = 1 << 63
"""Numbers below it are what SQLite's integers hold."""


class Claims:
    """What the rows of a journal hold to, while a run is under way."""

    def __init__(self, db: sqlite3.Connection, pending: Pending, recovered: Recovered) -> None:
        """Know what earlier runs left open; `pending` is what `db` does not have yet."""
        self._db = db
        self._pending = pending
        self._recovered = recovered
        self._inherited_intents = frozenset(row.seq for row in recovered.intents)
        self._inherited_posts = frozenset(post.row.post_id for post in recovered.posts)
        self._cloids = {row.seq: row.cloid for row in recovered.intents}  # of open intents
        self._nonces = {post.row.post_id: post.row.nonce for post in recovered.posts}  # of open posts
        self._last_intent = recovered.last_intent_seq
        self._last_post = recovered.last_post_id

    def check(self, intents: Sequence[Written[IntentRow]], posts: Sequence[Written[PostRow]]) -> None:
        """See that these rows may be written.

        Raises:
            JournalMisused: One of them may not.
        """
        for row, _, body in intents:
            self._check_intent(row, body)
        for post, _, _ in posts:
            self._check_post(post)
        if len(intents) > 1:
            _see_that_each_is_one("intent", [row.seq for row, _, _ in intents])
        if len(posts) > 1:
            _see_that_each_is_one("post", [row.post_id for row, _, _ in posts])

    def note(self, intents: Sequence[Written[IntentRow]], posts: Sequence[Written[PostRow]]) -> None:
        """The rows were written."""
        for row, _, _ in intents:
            if row.seq > self._last_intent:
                self._last_intent = row.seq
            if row.open:
                self._cloids[row.seq] = row.cloid
            else:
                self._cloids.pop(row.seq, None)
        for post, _, _ in posts:
            if post.post_id > self._last_post:
                self._last_post = post.post_id
            if post.open:
                self._nonces[post.post_id] = post.nonce
            else:
                self._nonces.pop(post.post_id, None)

    def _check_intent(self, row: IntentRow, body: bytes) -> None:
        seq = row.seq
        if seq in self._cloids:
            if self._cloids[seq] == row.cloid:
                return
        elif seq > self._last_intent:
            _see_that_it_fits("intent", seq)
            return
        else:
            last = self._recovered.last_intent_seq
            _see_that_it_is_ours("intent", seq, last, seq in self._inherited_intents)
            if self._may_follow(row, body):
                return
        raise JournalMisused(
            f"intent {seq} is in the journal with another cloid, or with an outcome that is not this one; a number "
            "belongs to one intent, and an outcome is final"
        )

    def _check_post(self, row: PostRow) -> None:
        post_id = row.post_id
        nonce = self._nonces.get(post_id)
        if nonce is None:
            _see_that_it_fits("nonce", row.nonce)
            if post_id > self._last_post:
                _see_that_it_fits("post", post_id)
                return
            last = self._recovered.last_post_id
            _see_that_it_is_ours("post", post_id, last, post_id in self._inherited_posts)
            nonce = self._nonce_of(post_id)
        if nonce not in (None, row.nonce):
            raise JournalMisused(f"post {post_id} is in the journal with another nonce; a post id belongs to one post")

    def _may_follow(self, row: IntentRow, body: bytes) -> bool:
        """Whether an intent that has ended, or was passed over, may be written so."""
        written = self._pending.intents.get(row.seq)
        if written is not None:
            return (written[0].cloid, written[2]) == (row.cloid, body)
        found = self._db.execute("SELECT cloid, body FROM intents WHERE seq = ?", (row.seq,)).fetchone()
        return found is None or found == (row.cloid, body.decode())

    def _nonce_of(self, post_id: int) -> int | None:
        """The nonce of a post that is over; None if its id was passed over."""
        written = self._pending.posts.get(post_id)
        if written is not None:
            return written[0].nonce
        found = self._db.execute("SELECT nonce FROM posts WHERE post_id = ?", (post_id,)).fetchone()
        return None if found is None else int(found[0])


def _see_that_it_is_ours(what: str, number: int, last: int, inherited: bool) -> None:
    """A number of an earlier run belongs to this one only if what it names was taken over (settlement.md, rule 14)."""
    if number <= last and not inherited:
        raise JournalMisused(f"{what} {number} belongs to an earlier run; number new ones from {last + 1}")


def _see_that_it_fits(what: str, number: int) -> None:
    if not 0 <= number < _TOO_LARGE:
        raise JournalMisused(f"the {what} {number} is too large for the journal, or negative; see who numbers them")


def _see_that_each_is_one(what: str, numbers: list[int]) -> None:
    if len(set(numbers)) < len(numbers):
        raise JournalMisused(f"one append has two rows of one {what}, among {numbers}; it takes the last state of each")
