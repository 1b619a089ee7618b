"""`kill -9` at any moment: what was acknowledged is there, nothing is half there, and the lock is free."""

from __future__ import annotations

import os
import random
import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from adapters.journal import SqliteJournal, redo, verify
from adapters.journal.snapshot import open_to_read
from tests.adapters.journal.builders import Story, cloid_of, end_all, journal_at, rows_after, steps_of
from tests.adapters.journal.children import Child, child

ROUNDS = 100
LONGEST_S = 0.03


class Killed(NamedTuple):
    """What the process said before it died: its run (None if it had not begun one) and its last acknowledged step."""

    run: int | None
    acknowledged: int


def kill_once(writer: Child, delay_s: float, *, after: str) -> Killed:
    """Have a run begun, and its process killed `delay_s` after it said the word `after`."""
    writer.tell("go")
    pid, run, acknowledged = 0, None, 0
    while (said := writer.hear())[0] != "dead":
        match said:
            case ["pid", number]:
                pid = int(number)
            case ["run", number]:
                run = int(number)
            case ["ack", number]:
                assert int(number) == acknowledged
                acknowledged += 1
        if said[0] == after:
            threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL)).start()
    return Killed(run, acknowledged)


def assert_nothing_is_lost_or_half_there(journal: SqliteJournal, killed: Killed, story: Story) -> None:
    """Check what a killed run, which told `story`, has left."""
    left = journal.recovered
    found = steps_of(journal.path, left.run - 1)
    assert not left.clean
    assert killed.run in (left.run - 1, None)
    assert len(found) - killed.acknowledged in (0, 1), "at most one step is there that was not acknowledged"
    assert found == [story.told(seq)[0][0] for seq in range(len(found))]
    intents, posts = rows_after(story, len(found))
    assert left.intents == tuple(row for row in intents.values() if row.open)
    assert [post.row for post in left.posts] == [row for row in posts.values() if row.open]
    if posts:
        assert (left.last_intent_seq, left.last_post_id) == (max(intents), max(posts))
        assert left.last_nonce == posts[max(posts)].nonce
    for seq, row in intents.items():
        assert journal.outcome_of(cloid_of(seq)) == row.outcome


def test_whenever_it_is_killed_every_acknowledged_step_is_there_and_none_is_half_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    chance = random.Random(20240229)
    story = Story()
    acknowledged = begun = torn = left_open = unsettled = 0
    with child("writer", path) as writer:
        for number in range(ROUNDS):
            # Every fourth is killed while it opens the journal, the others while they write.
            killed = kill_once(writer, chance.uniform(0, LONGEST_S), after="run" if number % 4 else "pid")
            unsettled += in_the_redo_log_alone(path)
            with journal_at(path) as journal:
                if journal.recovered.clean:
                    assert killed == Killed(None, 0)
                else:
                    assert_nothing_is_lost_or_half_there(journal, killed, story)
                    begun += 1
                acknowledged += killed.acknowledged
                torn += journal.recovered.torn_frames > 0
                left_open += bool(journal.recovered.intents)
                end_all(journal)
                story = Story.after(journal.recovered)
    report = verify(path)
    assert report.findings == ()
    assert (report.open_intents, report.open_posts) == (0, 0)
    assert acknowledged > ROUNDS
    assert left_open > 0
    assert unsettled > 0
    print(
        f"{acknowledged} steps, {begun} runs, {left_open} left something open, {unsettled} steps unsettled, {torn} torn"
    )


def in_the_redo_log_alone(path: Path) -> bool:
    """Whether a killed run left steps in the redo log that the database does not have."""
    if not redo.read(path):
        return False
    with closing(open_to_read(path)) as db:
        (views,) = db.execute("SELECT count(*) FROM temp.sqlite_master WHERE type = 'view'").fetchone()
    return bool(views)


def test_killed_between_its_transaction_and_the_emptying_of_the_log_it_has_settled(tmp_path: Path) -> None:
    path, steps = tmp_path / "journal.db", 8
    with child("settler", path, steps) as settler:
        assert settler.hear() == ["told"]
        assert settler.end() == -signal.SIGKILL
    assert len(redo.parsed(redo.read(path)).records) == steps
    assert not in_the_redo_log_alone(path)
    assert steps_of(path, 1) == [Story().told(seq)[0][0] for seq in range(steps)]
    with journal_at(path) as journal:
        assert_nothing_is_lost_or_half_there(journal, Killed(1, steps), Story())
        assert redo.read(path) == b""
    assert verify(path).findings == ()
