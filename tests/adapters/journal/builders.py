"""A made-up run whose every step can be told from its number, so that what a journal holds can be checked exactly."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any, Self

import msgspec
from hypothesis import settings

from adapters.clock import SystemClock
from adapters.journal import (
    Changes,
    Durability,
    IntentRow,
    Journal,
    Move,
    PostRow,
    Recovered,
    Retention,
    SqliteJournal,
    Step,
)
from adapters.journal.reading import reading
from machines.clock import Clock

SIGNER = "0x" + "a1" * 20
OTHER_SIGNER = "0x" + "b2" * 20
STARTED = 1_700_000_000_000
STEPS_PER_ORDER = 3
FEW_EXAMPLES = max(25, settings.get_profile(settings.get_current_profile_name()).max_examples // 5)
"""Examples of a property whose every example writes files."""


def open_journal(
    path: Path,
    *,
    signer: str = SIGNER,
    durability: Durability = "normal",
    retention: Retention | None = None,
    clock: Clock | None = None,
) -> SqliteJournal:
    return SqliteJournal.open(
        path, signer=signer, durability=durability, retention=retention or Retention(), clock=clock or SystemClock()
    )


@contextmanager
def journal_at(path: Path, **options: Any) -> Iterator[SqliteJournal]:
    journal = open_journal(path, **options)
    try:
        yield journal
    finally:
        journal.close(clean=True)


@contextmanager
def room_for(length: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def copied(journal: SqliteJournal) -> None:
    """Wait until the copy of the log that is under way, if any, has ended, and let the journal see it."""
    copy = journal._checkpoints._copy
    if copy is not None:
        wait([copy])
        journal._checkpoints.wrote(0)


def cloid_of(intent: int) -> str:
    return f"0x{intent * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}"


def intent_row(seq: int, state: str = "posted", outcome: dict[str, Any] | None = None, **fields: Any) -> IntentRow:
    facts: dict[str, Any] = {
        "cloid": cloid_of(seq),
        "market": "xyz:TSLA",
        "priority": "new_order",
        "kind": "order",
        "request": {"market": "xyz:TSLA", "side": "buy", "size": "1.5", "price": "401.2", "tif": "Ioc"},
    }
    return IntentRow(seq=seq, state=state, outcome=outcome, **facts | fields)


def post_row(post_id: int, state: str = "sent", **fields: Any) -> PostRow:
    facts: dict[str, Any] = {
        "nonce": STARTED + post_id,
        "kind": "order",
        "priority": "new_order",
        "items": (),
        "fence_of": None,
        "epoch": 1,
        "prepared_unix_ms": STARTED,
        "expires_after": STARTED + 6_000,
    }
    return PostRow(post_id=post_id, state=state, **facts | fields)


def step(event: str = "Tick", *moves: Move, **fields: Any) -> Step:
    return Step(unix_ms=STARTED, monotonic_ms=17, event=event, moves=moves, **fields)


class Story:
    """One order after the other: made ready, written, answered. Numbers continue where earlier runs ended."""

    def __init__(self, last_intent_seq: int = 0, last_post_id: int = 0) -> None:
        self._intents = last_intent_seq
        self._posts = last_post_id

    @classmethod
    def after(cls, recovered: Recovered) -> Self:
        return cls(recovered.last_intent_seq, recovered.last_post_id)

    def told(self, seq: int) -> tuple[list[Step], Changes]:
        """Step `seq` and its changes."""
        order, stage = divmod(seq, STEPS_PER_ORDER)
        intent, post = self._intents + order + 1, self._posts + order + 1
        outcome = {"type": "Filled", "oid": 40_000 + intent, "size": "1.5", "average_price": "401.15"}
        moves: tuple[Move, ...]
        effects: tuple[dict[str, Any], ...] = ()
        match stage:
            case 0:
                event, effects = "Submit", ({"type": "Transmit", "post_id": post},)
                moves = (Move("intent", intent, "enqueue", "accepted", "queued"),)
                rows = intent_row(intent, "queued"), post_row(post, "queued", items=(intent,))
            case 1:
                event = "PostWritten"
                moves = (
                    Move("post", post, "send", "queued", "sent"),
                    Move("intent", intent, "post", "queued", "posted"),
                )
                rows = intent_row(intent, attempts=(post,)), post_row(post, items=(intent,))
            case _:
                event, effects = "ReplyReceived", ({"type": "IntentEnded", "intent": intent},)
                moves = (
                    Move("post", post, "ack", "sent", "acked"),
                    Move("intent", intent, "fill", "posted", "filled"),
                )
                rows = (
                    intent_row(intent, "filled", outcome, attempts=(post,)),
                    post_row(post, "acked", items=(intent,), answered=True),
                )
        told = Step(
            seq=seq,
            unix_ms=STARTED + seq * 40,
            monotonic_ms=seq * 40,
            event=event,
            facts={"post_id": post, "order": order, "cloid": cloid_of(intent)},
            moves=moves,
            effects=effects,
            cause=seq - 1 if stage else None,
        )
        return [told], Changes((rows[0],), (rows[1],))


def tell(journal: Journal, steps: int) -> None:
    """Append the first steps of a story to a journal that was just opened."""
    story = Story.after(journal.recovered)
    for seq in range(steps):
        assert journal.append(*story.told(seq)) == seq


def rows_after(story: Story, steps: int) -> tuple[dict[int, IntentRow], dict[int, PostRow]]:
    """The rows as they stand after the first steps of a story."""
    intents: dict[int, IntentRow] = {}
    posts: dict[int, PostRow] = {}
    for seq in range(steps):
        changes = story.told(seq)[1]
        intents |= {row.seq: row for row in changes.intents}
        posts |= {row.post_id: row for row in changes.posts}
    return intents, posts


def end_all(journal: Journal) -> None:
    """Do what recovery does, in the simplest way: everything that was left open ends."""
    left = journal.recovered
    replace = msgspec.structs.replace
    outcome = {"type": "NotExecuted", "reason": "left over from an earlier run"}
    journal.append(
        [step("Recovered")],
        Changes(
            tuple(replace(row, state="not_executed", outcome=outcome) for row in left.intents),
            tuple(replace(post.row, state="disconnected", answered=True) for post in left.posts),
        ),
    )


def steps_of(path: Path, run: int) -> list[Step]:
    with reading(path) as journal:
        return [entry.step for entry in journal.steps(run)]


def crash_copy(source: Path, target: Path) -> Path:
    """The journal as it would be found if its process had died just now."""
    for suffix in ("", "-wal", "-redo"):
        copyfile(f"{source}{suffix}", f"{target}{suffix}")
    return target
