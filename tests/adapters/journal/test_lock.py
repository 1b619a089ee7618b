"""One executor per journal, and a lock that dies with its holder."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from adapters.journal import Changes, JournalCorrupt, JournalInUse, JournalLocked
from tests.adapters.journal.builders import OTHER_SIGNER, SIGNER, end_all, journal_at, open_journal, step, tell
from tests.adapters.journal.children import child

PEERS = 4


def test_of_executors_that_start_at_once_one_gets_the_journal_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with ExitStack() as stack:
        peers = [stack.enter_context(child("contender", path)) for _ in range(PEERS)]
        for peer in peers:
            assert peer.hear() == ["up"]
        for peer in peers:
            peer.tell("go")
        answers = {peer: peer.hear() for peer in peers}
        (holder,) = [peer for peer, answer in answers.items() if answer == ["got"]]
        refusals = [answer for peer, answer in answers.items() if peer is not holder]
        assert refusals == [["refused", str(holder.pid)]] * (PEERS - 1), "the holder is named"
        with pytest.raises(JournalInUse, match=f"in use by process {holder.pid}, signer {SIGNER}"):
            open_journal(path)
        holder.kill()
        with journal_at(path) as journal:
            assert journal.recovered.run == 2
            assert not journal.recovered.clean


def test_one_process_can_not_have_it_twice_either_whoever_signs(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path), pytest.raises(JournalInUse, match=f"process {os.getpid()}") as refused:
        open_journal(path, signer=OTHER_SIGNER)
    assert refused.value.pid == os.getpid()
    with journal_at(path) as journal:
        assert journal.recovered.clean


@pytest.mark.parametrize(
    "name", ["", '{"pid": 4194305, "signer": "0x"}'], ids=["no name yet", "the name of a dead one"]
)
def test_a_holder_that_is_not_named_is_not_made_up(tmp_path: Path, name: str) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path):
        Path(f"{path}-lock").write_text(name)
        with pytest.raises(JournalInUse, match="in use by another process") as refused:
            open_journal(path)
        assert refused.value.pid is None


def test_a_link_leads_to_the_same_lock(tmp_path: Path) -> None:
    path, folder = tmp_path / "journal.db", tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "link.db").symlink_to(path)
    with journal_at(path), pytest.raises(JournalInUse):
        open_journal(folder / "link.db")


def test_a_journal_that_could_not_be_opened_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_text(
        "this is no database but a letter, and it is as long as the header of a database would have to be, 100"
    )
    for _ in range(2):
        with pytest.raises(JournalCorrupt):
            open_journal(path)
    path.unlink()
    with journal_at(path) as journal:
        assert journal.recovered.run == 1


def test_a_journal_that_failed_is_noted_for_the_next_runs_until_no_intent_is_open(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    assert not journal.recovered.unrecorded
    tell(journal, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal.append([step()], Changes())
        with pytest.raises(JournalLocked):
            journal.settle()
    journal.close(clean=False)
    for _ in range(2):
        with journal_at(path) as journal:
            assert journal.recovered.unrecorded
    with journal_at(path) as journal:
        end_all(journal)
    with journal_at(path) as journal:
        assert not journal.recovered.unrecorded
