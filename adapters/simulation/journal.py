"""The journal in memory: the same rows, encoded and decoded, on a disk that survives the executor and can fail.

It promises what the SQLite journal promises (adapters/journal/protocol.py), and refuses what that one refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from adapters.journal import Changes, IntentRow, JournalFull, JournalMisused, OpenPost, PostRow, Recovered, Step

_encode: Final = msgspec.json.Encoder().encode
_intent: Final = msgspec.json.Decoder(IntentRow).decode
_post: Final = msgspec.json.Decoder(PostRow).decode


def _text_of(outcome: dict[str, Any] | None) -> bytes | None:
    return None if outcome is None else _encode(outcome)


class WriteFailure(Enum):
    """How a write fails: a COMMIT that is reported as failed may have reached the file all the same."""

    LOST = "nothing is recorded"
    KEPT = "the step is recorded"


class Disk:
    """What survives the executor.

    Attributes:
        steps: The encoded steps of the present run.
        written: How many steps there were in all runs.
        failure: How the next write fails; None if it does not.
    """

    def __init__(self) -> None:
        """An empty disk."""
        self.steps: list[bytes] = []
        self.written = 0
        self.failure: WriteFailure | None = None
        self._hash = hashlib.blake2b(digest_size=16)
        self._signers: list[str] = []
        self._clean = True
        self._last_nonces: dict[str, int] = {}
        self._posts: dict[int, tuple[bytes, int, int]] = {}
        self._open_posts: dict[int, None] = {}
        self._intents: dict[int, tuple[bytes, str | None, bytes | None]] = {}
        self._open_intents: dict[int, None] = {}

    def begin_run(self, signer: str) -> Recovered:
        """Begin the next run, and say what the earlier ones left."""
        recovered = Recovered(
            run=len(self._signers) + 1,
            last_nonce=self._last_nonces.get(signer, 0),
            last_post_id=max(self._posts, default=0),
            last_intent_seq=max(self._intents, default=0),
            last_signer=self._signers[-1] if self._signers else None,
            clean=self._clean,
            torn_frames=0,
            intents=tuple(_intent(self._intents[seq][0]) for seq in sorted(self._open_intents)),
            posts=tuple(self._open_post(post_id) for post_id in sorted(self._open_posts)),
        )
        self._signers.append(signer)
        self._clean = False
        self.steps = []
        return recovered

    def _open_post(self, post_id: int) -> OpenPost:
        body, run, _ = self._posts[post_id]
        return OpenPost(_post(body), run, self._signers[run - 1])

    def end_run(self, clean: bool) -> None:
        """Note how the run ended."""
        self._clean = clean

    def write(self, steps: Sequence[bytes], changes: Changes) -> None:
        """Keep steps with their rows."""
        self.steps += steps
        self.written += len(steps)
        for step in steps:
            self._hash.update(step)
        for intent in changes.intents:
            self._intents[intent.seq] = (_encode(intent), intent.cloid, _text_of(intent.outcome))
            _keep_if(intent.open, self._open_intents, intent.seq)
        run = len(self._signers)
        for post in changes.posts:
            of_run = self._posts[post.post_id][1] if post.post_id in self._posts else run
            self._posts[post.post_id] = (_encode(post), of_run, post.nonce)
            _keep_if(post.open, self._open_posts, post.post_id)
            signer = self._signers[of_run - 1]
            self._last_nonces[signer] = max(self._last_nonces.get(signer, 0), post.nonce)

    @property
    def unfinished(self) -> tuple[list[int], list[int]]:
        """The numbers of the intents and the ids of the posts, of all runs, that a restart would have to take up."""
        return list(self._open_intents), list(self._open_posts)

    def has_post(self, post_id: int) -> bool:
        """Whether a post is recorded."""
        return post_id in self._posts

    def digest(self) -> str:
        """A fingerprint of all steps of all runs."""
        return self._hash.hexdigest()

    def nonce(self, post_id: int) -> int | None:
        """The nonce of a post, if it is recorded."""
        return self._posts[post_id][2] if post_id in self._posts else None

    def intent(self, seq: int) -> IntentRow | None:
        """How an intent stands."""
        return _intent(self._intents[seq][0]) if seq in self._intents else None

    def final(self, seq: int) -> tuple[str | None, bytes | None] | None:
        """What of an intent can't change any more, if it is recorded: its cloid, and its outcome once it has one."""
        return self._intents[seq][1:] if seq in self._intents else None

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """How the order `cloid` ended."""
        rows = (_intent(body) for body, of, _ in self._intents.values() if of == cloid)
        return next((row.outcome for row in rows if not row.is_cancel), None)


class MemoryJournal:
    """One run's access to the disk; see `adapters.journal.Journal`."""

    def __init__(self, disk: Disk, signer: str) -> None:
        """Begin a run in which `signer` signs."""
        self._disk = disk
        self._recovered = disk.begin_run(signer)
        self._inherited_intents = {row.seq for row in self._recovered.intents}
        self._inherited_posts = {entry.row.post_id for entry in self._recovered.posts}
        self._failed = False

    @property
    def recovered(self) -> Recovered:
        """What earlier runs left behind."""
        return self._recovered

    def append(self, steps: Sequence[Step], changes: Changes) -> int:
        """Record steps with the rows that they changed.

        Raises:
            JournalFull: The write failed, as was wished, or an earlier one did.
            JournalMisused: A number belongs to something else, or an outcome is final.
        """
        disk = self._disk
        self._check(changes)
        if self._failed:
            raise JournalFull("nothing more is recorded since an earlier write failed")
        failure, disk.failure = disk.failure, None
        if failure is not WriteFailure.LOST:
            numbered = enumerate(steps, len(disk.steps))
            disk.write([_encode(msgspec.structs.replace(step, seq=seq)) for seq, step in numbered], changes)
            if failure is None:
                return len(disk.steps) - 1
        self._failed = True
        raise JournalFull("there is no room for the journal")

    def outcome_of(self, cloid: str) -> dict[str, Any] | None:
        """How the order `cloid` ended; None if it has not, or is not known."""
        return self._disk.outcome_of(cloid)

    def settle(self) -> None:
        """What is appended stays where it is."""

    def maintain(self) -> None:
        """Nothing has to be kept small."""

    def close(self, clean: bool) -> None:
        """End the run."""
        if not self._failed:
            self._disk.end_run(clean)

    def _check(self, changes: Changes) -> None:
        disk, earlier = self._disk, self._recovered
        for row in changes.intents:
            if row.seq <= earlier.last_intent_seq and row.seq not in self._inherited_intents:
                raise JournalMisused(f"intent {row.seq} belongs to an earlier run")
            cloid, outcome = disk.final(row.seq) or (row.cloid, None)
            if cloid != row.cloid or outcome not in (None, _text_of(row.outcome)):
                raise JournalMisused(f"intent {row.seq} has another cloid, or another outcome, in the journal")
        for post in changes.posts:
            if post.post_id <= earlier.last_post_id and post.post_id not in self._inherited_posts:
                raise JournalMisused(f"post {post.post_id} belongs to an earlier run")
            if disk.nonce(post.post_id) not in (None, post.nonce):
                raise JournalMisused(f"post {post.post_id} has another nonce in the journal")


def _keep_if(wanted: bool, keys: dict[int, None], key: int) -> None:
    if wanted:
        keys[key] = None
    else:
        keys.pop(key, None)
