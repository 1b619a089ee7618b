"""The journal in memory does what the SQLite journal does, for the rows that a run really writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from adapters.journal import (
    Changes,
    JournalFull,
    JournalMisused,
    PostRow,
    Recovered,
    Retention,
    SqliteJournal,
    Step,
)
from adapters.simulation.journal import Disk, MemoryJournal, WriteFailure
from adapters.simulation.world import Simulation
from machines.clock import ManualClock

STEP = Step(unix_ms=1, monotonic_ms=1, event="Tick")


def post(post_id: int, nonce: int = 7, state: str = "sent") -> PostRow:
    return PostRow(
        post_id=post_id,
        nonce=nonce,
        kind="noop",
        priority=None,
        items=(),
        fence_of=None,
        epoch=1,
        prepared_unix_ms=1,
        expires_after=None,
        state=state,
    )


def changes(*posts: PostRow) -> Changes:
    return Changes(posts=posts)


def test_every_restart_finds_what_it_would_find_in_sqlite(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = ManualClock()
    compared: list[Recovered] = []
    files: list[SqliteJournal] = []
    begin, append, close = MemoryJournal.__init__, MemoryJournal.append, MemoryJournal.close

    def open_both(self: MemoryJournal, disk: Disk, signer: str) -> None:
        begin(self, disk, signer)
        if files:
            files[-1].close(clean=False)
        path = tmp_path / "journal"
        file = SqliteJournal.open(path, signer=signer, durability="normal", retention=Retention(), clock=clock)
        assert msgspec.structs.replace(file.recovered, clean=self.recovered.clean) == self.recovered
        compared.append(self.recovered)
        files.append(file)

    def append_to_both(self: MemoryJournal, steps: Sequence[Step], rows: Changes) -> int:
        seq = append(self, steps, rows)
        assert files[-1].append(steps, rows) == seq
        return seq

    monkeypatch.setattr(MemoryJournal, "__init__", open_both)
    monkeypatch.setattr(MemoryJournal, "append", append_to_both)
    monkeypatch.setattr(MemoryJournal, "close", close)
    world = Simulation(2)
    world.troubles.per_minute.pop(next(f for f in world.troubles.per_minute if f.name == "JOURNAL_KEPT"), None)
    world.suffer(180_000)
    files[-1].close(clean=False)
    assert len(compared) > 5
    assert any(recovered.posts for recovered in compared)
    assert any(recovered.intents for recovered in compared)


@pytest.mark.parametrize("failure", list(WriteFailure))
def test_a_failed_write_is_whole_or_not_at_all_and_the_last(failure: WriteFailure) -> None:
    disk = Disk()
    journal = MemoryJournal(disk, "key")
    journal.append([STEP], changes(post(1)))
    disk.failure = failure
    with pytest.raises(JournalFull):
        journal.append([STEP], changes(post(2)))
    with pytest.raises(JournalFull):
        journal.append([STEP], changes(post(3)))
    assert disk.has_post(2) is (failure is WriteFailure.KEPT)
    assert not disk.has_post(3)


def test_numbers_of_earlier_runs_and_other_nonces_are_refused() -> None:
    disk = Disk()
    journal = MemoryJournal(disk, "key")
    journal.append([STEP], changes(post(1, state="unsent")))
    with pytest.raises(JournalMisused, match="post 1 has another nonce"):
        journal.append([STEP], changes(post(1, nonce=8)))
    with pytest.raises(JournalMisused, match="post 1 belongs to an earlier run"):
        MemoryJournal(disk, "key").append([STEP], changes(post(1)))


def test_nonces_are_remembered_per_key() -> None:
    disk = Disk()
    MemoryJournal(disk, "a").append([STEP], changes(post(1, nonce=70)))
    MemoryJournal(disk, "b").append([STEP], changes(post(2, nonce=50)))
    assert [MemoryJournal(disk, key).recovered.last_nonce for key in ("a", "b", "c")] == [70, 50, 0]


def test_an_orderly_end_is_noted() -> None:
    disk = Disk()
    MemoryJournal(disk, "key").close(clean=True)
    journal = MemoryJournal(disk, "key")
    assert journal.recovered.clean
    journal.maintain()
    assert not MemoryJournal(disk, "key").recovered.clean
