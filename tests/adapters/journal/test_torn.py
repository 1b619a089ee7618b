"""A log that was cut or damaged anywhere: a whole beginning is recovered, and what was dropped is said."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from adapters.journal import verify
from tests.adapters.journal.builders import Story, crash_copy, journal_at, open_journal, rows_after, steps_of

RUN = 2
STEPS = 30
CUTS = 90


class Log(NamedTuple):
    """A journal whose process died before anything was copied out of its log.

    Attributes:
        path: The journal.
        wal: Its whole log.
        ends: Length of the log after the run began, and after each step.
    """

    path: Path
    wal: bytes
    ends: list[int]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    path = tmp_path / "live.db"
    open_journal(path).close(clean=True)  # so that the log of the run under test begins with the run
    journal = open_journal(path)
    story, wal = Story(), Path(f"{path}-wal")
    ends = [wal.stat().st_size]
    for seq in range(STEPS):
        journal.append(*story.told(seq))
        ends.append(wal.stat().st_size)
    crash_copy(path, tmp_path / "dead.db")
    journal.close(clean=True)
    dead = tmp_path / "dead.db"
    return Log(dead, Path(f"{dead}-wal").read_bytes(), ends)


def left_by(log: Log, wal: bytes, path: Path) -> tuple[int, int]:
    """Recover from a damaged log; the steps that are left, and the frames that were dropped."""
    path.write_bytes(log.path.read_bytes())
    Path(f"{path}-wal").write_bytes(wal)
    story = Story()
    with journal_at(path) as journal:
        left = journal.recovered
        found = steps_of(path, RUN)
        intents, posts = rows_after(story, len(found))
        assert left.intents == tuple(row for row in intents.values() if row.open)
        assert [post.row for post in left.posts] == [row for row in posts.values() if row.open]
        assert (left.last_intent_seq, left.last_post_id) == (max(intents, default=0), max(posts, default=0))
    assert found == [story.told(seq)[0][0] for seq in range(len(found))]
    assert verify(path).findings == ()
    return len(found), left.torn_frames


def test_a_log_cut_at_any_byte_leaves_all_whole_steps_and_the_rest_is_said_to_be_lost(log: Log, tmp_path: Path) -> None:
    chance = random.Random(7)
    cuts = {chance.randrange(log.ends[0], len(log.wal)) for _ in range(CUTS)}
    for number, cut in enumerate(sorted(cuts.union(log.ends))):
        steps, torn = left_by(log, log.wal[:cut], tmp_path / f"cut{number}.db")
        whole = max(seq for seq, end in enumerate(log.ends) if end <= cut)
        assert steps == whole
        assert (torn > 0) == (cut not in log.ends), f"cut at byte {cut}"
    assert len(cuts - set(log.ends)) > CUTS // 2


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 33, 4_000, 10_000])
def test_a_log_cut_before_the_run_began_begins_anew(log: Log, tmp_path: Path, cut: int) -> None:
    steps, torn = left_by(log, log.wal[:cut], tmp_path / "cut.db")
    assert steps == 0
    assert (torn > 0) == (cut not in (0, 32))


def test_garbage_anywhere_in_the_log_costs_what_follows_and_nothing_before(log: Log, tmp_path: Path) -> None:
    chance = random.Random(8)
    for number in range(CUTS // 3):
        place = chance.randrange(log.ends[0], len(log.wal))
        damaged = bytearray(log.wal)
        damaged[place] ^= 1 << chance.randrange(8)
        steps, _ = left_by(log, bytes(damaged), tmp_path / f"bit{number}.db")
        assert steps == max(seq for seq, end in enumerate(log.ends) if end <= place)


def test_what_an_earlier_round_of_the_log_left_is_not_taken_for_a_torn_record(tmp_path: Path) -> None:
    """Once copied into the database, the log is written over from its beginning; old frames stay behind the new."""
    path = tmp_path / "live.db"
    journal = open_journal(path)
    story = Story()
    for seq in range(120):
        journal.append(*story.told(seq))
    journal.maintain()
    before = os.path.getsize(f"{path}-wal")
    journal.append(*story.told(120))
    assert os.path.getsize(f"{path}-wal") == before, "it was begun anew"
    dead = crash_copy(path, tmp_path / "dead.db")
    journal.close(clean=True)
    with journal_at(dead) as found:
        assert found.recovered.torn_frames == 0
        assert len(steps_of(dead, 1)) == 121
