"""Logs that were cut or damaged anywhere: a whole beginning is recovered, and what was dropped is said."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from adapters.journal import Changes, Retention, redo, verify
from tests.adapters.journal.builders import (
    Story,
    copied,
    crash_copy,
    journal_at,
    open_journal,
    rows_after,
    step,
    steps_of,
)

RUN = 2
STEPS = 30
CUTS = 90


class Log(NamedTuple):
    """A journal whose process died, all settled, before anything was copied out of its write-ahead log.

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
        journal.settle()
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
        journal.settle()
    journal.maintain()
    copied(journal)
    before = os.path.getsize(f"{path}-wal")
    journal.append(*story.told(120))
    journal.settle()
    assert os.path.getsize(f"{path}-wal") == before, "it was begun anew"
    dead = crash_copy(path, tmp_path / "dead.db")
    journal.close(clean=True)
    with journal_at(dead) as found:
        assert found.recovered.torn_frames == 0
        assert len(steps_of(dead, 1)) == 121


# ------------------------------------------------------------------------------------------------------ the redo log

SETTLED = 6


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """A journal whose process died with its first steps settled and the others in the redo log."""
    live = tmp_path / "live.db"
    with journal_at(live) as journal:
        story = Story()
        for seq in range(STEPS):
            journal.append(*story.told(seq))
            if seq == SETTLED - 1:
                journal.settle()
        return crash_copy(live, tmp_path / "dead.db")


def left_of(dead: Path, redo_text: bytes) -> tuple[int, int]:
    """Recover with such a redo log; the steps that are left, which a reader sees before, and the lines dropped."""
    path = crash_copy(dead, dead.with_name("copy.db"))
    redo.path_of(path).write_bytes(redo_text)
    seen = steps_of(path, 1)
    report = verify(path)
    story = Story()
    intents, posts = rows_after(story, len(seen))
    assert seen == [story.told(seq)[0][0] for seq in range(len(seen))]
    assert report.findings == ()
    assert report.open_intents == sum(row.open for row in intents.values())
    with journal_at(path) as journal:
        left = journal.recovered
        assert left.intents == tuple(row for row in intents.values() if row.open)
        assert [post.row for post in left.posts] == [row for row in posts.values() if row.open]
        assert (left.last_intent_seq, left.last_post_id) == (max(intents, default=0), max(posts, default=0))
        assert redo.read(path) == b""
    assert steps_of(path, 1) == seen
    assert msgspec.structs.replace(verify(path), runs=report.runs) == report
    return len(seen), left.torn_frames


def test_a_redo_log_cut_at_any_byte_of_its_last_line_leaves_the_lines_before(dead: Path) -> None:
    text = redo.read(dead)
    last = text.rindex(b"\n", 0, -1) + 1
    assert left_of(dead, text) == (STEPS, 0)
    assert left_of(dead, text[:last]) == (STEPS - 1, 0)
    for cut in range(last + 1, len(text)):
        found = redo.parsed(text[:cut])
        assert (len(found.records), found.torn) == (STEPS - SETTLED - 1, 1)
    for cut in (last + 1, last + 8, last + 9, (last + len(text)) // 2, len(text) - 2, len(text) - 1):
        assert left_of(dead, text[:cut]) == (STEPS - 1, 1)


def test_a_redo_log_cut_anywhere_leaves_the_whole_lines(dead: Path) -> None:
    text, chance = redo.read(dead), random.Random(9)
    for cut in sorted(chance.randrange(len(text)) for _ in range(CUTS // 4)):
        whole = text[:cut].count(b"\n")
        torn = text[:cut] != b"" and not text[:cut].endswith(b"\n")
        assert left_of(dead, text[:cut]) == (SETTLED + whole, int(torn))


def test_any_bit_of_the_last_line_of_a_redo_log_that_is_another_drops_the_line(dead: Path) -> None:
    text = redo.read(dead)
    last = text.rindex(b"\n", 0, -1) + 1
    for place in range(last, len(text)):
        damaged = bytearray(text)
        damaged[place] ^= 1 << place % 8
        found = redo.parsed(bytes(damaged))
        assert len(found.records) == STEPS - SETTLED - 1
        assert found.torn >= 1


def test_what_was_settled_is_not_settled_again(dead: Path) -> None:
    """A crash came after the transaction and before the log was emptied; more than once."""
    text = redo.read(dead)
    for _ in range(3):
        with journal_at(dead) as journal:
            assert journal.recovered.torn_frames == 0
            journal.append(*Story.after(journal.recovered).told(0))
        redo.path_of(dead).write_bytes(text)
        assert len(steps_of(dead, 1)) == STEPS
        assert verify(dead).findings == ()
    assert verify(dead).steps == STEPS + 3


def test_what_was_settled_and_then_deleted_is_not_settled_again(dead: Path) -> None:
    text = redo.read(dead)
    for _ in range(3):
        with journal_at(dead, retention=Retention(runs=1)) as journal:
            journal.append([step()], Changes())
            journal.maintain()
    redo.path_of(dead).write_bytes(text)
    assert steps_of(dead, 1) == []
    with journal_at(dead) as journal:
        assert journal.recovered.run == 5
    assert verify(dead).findings == ()
