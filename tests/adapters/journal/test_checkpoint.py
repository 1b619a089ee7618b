"""The log of the database is copied beside the thread that writes, stays short, and a copy that fails is no secret."""

from __future__ import annotations

import os
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from adapters.journal import JournalFull, SqliteJournal, checkpoint, verify
from tests.adapters.journal.builders import Story, copied, journal_at, room_for, steps_of

STEPS = 3_000


def log_of(path: Path) -> int:
    """Bytes of the log; it is written over from its beginning, and never cut off."""
    return os.path.getsize(f"{path}-wal")


def write(journal: SqliteJournal, story: Story, first: int, last: int) -> None:
    """Steps that are settled one by one, so that each writes its pages again."""
    for seq in range(first, last):
        journal.append(*story.told(seq))
        journal.settle()


def test_another_thread_copies_as_soon_as_there_is_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MANY_STEPS", 300)
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        threads: set[int] = set()
        journal._checkpoints._beside.set_trace_callback(lambda _: threads.add(threading.get_ident()))
        story = Story()
        write(journal, story, 0, 200)
        assert path.stat().st_size < 100_000, "there was little so far"
        assert threads == set()
        write(journal, story, 200, 300)
        copied(journal)
        assert path.stat().st_size > 100_000
        assert len(threads) == 1
        assert threading.get_ident() not in threads


def test_a_log_that_is_written_to_without_a_pause_stays_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MANY_STEPS", 100)
    lengths = []
    for long_log in (200, 1 << 40):
        monkeypatch.setattr(checkpoint, "LONG_LOG", long_log)
        path = tmp_path / f"journal{long_log}.db"
        with journal_at(path) as journal:
            story = Story()
            for seq in range(STEPS):
                journal.append(*story.told(seq))
                journal.settle()
                if seq % 100 == 0:  # a copy began with the last 100 steps; by now there is a rest
                    copied(journal)
            lengths.append(log_of(path))
        assert verify(path).findings == ()
    short, long = lengths
    assert short < long / 3


def test_a_copy_that_fails_stops_the_journal_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        story = Story()
        write(journal, story, 0, STEPS)
        journal.maintain()
        copied(journal)  # so that the log is begun anew, and its file need not grow
        for seq in range(STEPS, STEPS + 200):
            journal.append(*story.told(seq))
        journal.settle()
        with room_for(path.stat().st_size):
            journal.maintain()
            copy = journal._checkpoints._copy
            assert copy is not None
            wait([copy])
            with pytest.raises(JournalFull, match="no room"):
                journal.maintain()
        with pytest.raises(JournalFull, match="nothing more is recorded since"):
            journal.append(*story.told(STEPS + 200))
    assert len(steps_of(path, 1)) == STEPS + 200
    with journal_at(path) as journal:
        assert not journal.recovered.clean
        assert journal.recovered.unrecorded
    assert verify(path).findings == ()
