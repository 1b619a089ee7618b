"""Everything that can be wrong with the file has a name, stops the journal, and leaves what was recorded whole."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copyfile
from zlib import crc32

import msgspec
import pytest

from adapters.journal import (
    JournalCorrupt,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalTooNew,
    JournalUnwritable,
    redo,
    verify,
)
from adapters.journal.errors import named
from adapters.journal.sqlite import BUSY_S
from machines.clock import ManualClock
from tests.adapters.journal.builders import (
    STARTED,
    Story,
    cloid_of,
    crash_copy,
    journal_at,
    open_journal,
    room_for,
    steps_of,
    tell,
)
from tests.adapters.journal.children import child

IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def closed_journal(path: Path, steps: int = 12) -> Path:
    with journal_at(path) as journal:
        tell(journal, steps)
    return path


def change(path: Path, *statements: str) -> None:
    """What another program might do to the file."""
    db = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


# -------------------------------------------------------------------------------------------------------------- full


def small_disk(folder: Path) -> tuple[str, ...]:
    """The command that runs another one with a disk of 400 kB mounted on `folder`."""
    return (*IN_A_NAMESPACE, "sh", "-c", f'mount -t tmpfs -o size=400k tmpfs "{folder}" && exec "$@"', "sh")


def may_mount() -> bool:
    if shutil.which(IN_A_NAMESPACE[0]) is None:
        return False
    tried = subprocess.run([*small_disk(Path("/tmp")), "true"], capture_output=True, check=False)  # noqa: S108, S603
    return tried.returncode == 0


WAYS = ["file-size limit", *(["full disk"] if may_mount() else [])]
"""A disk can be made only where mounting in a namespace is allowed; the limit works everywhere."""


@pytest.mark.parametrize("settled", [1, 7, 1_000], ids=["in settling", "in either", "in an append"])
@pytest.mark.parametrize("way", WAYS)
def test_when_there_is_no_room_nothing_is_half_written_and_nothing_more_is_taken(
    tmp_path: Path, way: str, settled: int
) -> None:
    path, limit = tmp_path / "journal.db", 300_000
    arguments, within = (
        ([path, settled, limit], ()) if way == "file-size limit" else ([path, settled], small_disk(tmp_path))
    )
    with child("filler", *arguments, within=within) as filler:
        found = msgspec.json.decode(" ".join(filler.hear()))
    assert found["acknowledged"] > 10
    assert "there is no room" in found["message"]
    assert "make room" in found["message"]
    assert found["refuses_more"]
    assert found["outcome"]["type"] == "Filled", "it can still be read"
    assert set(found["files"]) <= {f"journal.db{suffix}" for suffix in ("", "-redo", "-wal", "-shm", "-lock")}
    assert found["report"]["findings"] == []
    assert found["report"]["steps"] == found["acknowledged"]
    if way == "file-size limit":
        with journal_at(path) as journal:  # once there is room again
            assert not journal.recovered.clean
            assert steps_of(path, 1) == [Story().told(seq)[0][0] for seq in range(found["acknowledged"])]


@pytest.mark.parametrize("room", [0, 1, 100, 500])
def test_an_append_that_finds_room_for_a_part_takes_it_away_again(tmp_path: Path, room: int) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    tell(journal, 7)
    whole = redo.read(path)
    with room_for(len(whole) + room), pytest.raises(JournalFull, match="make room"):
        journal.append(*Story().told(7))
    assert redo.read(path) == whole
    with pytest.raises(JournalFull, match="nothing more is recorded since"):
        journal.append(*Story().told(8))
    found = steps_of(path, 1)
    assert len(found) == 7
    journal.close(clean=True)
    with journal_at(path) as after:
        assert (after.recovered.clean, after.recovered.torn_frames, after.recovered.unrecorded) == (False, 0, True)
        assert steps_of(path, 1) == found


@pytest.mark.parametrize("room", [0, 10, 6_000])
def test_where_there_is_no_room_to_begin_nothing_begins(tmp_path: Path, room: int) -> None:
    path = tmp_path / "journal.db"
    with room_for(room), pytest.raises(JournalFull, match="make room"):
        open_journal(path)
    with journal_at(path) as journal:
        assert (journal.recovered.run, journal.recovered.clean) == (1, True)


def test_a_database_that_may_not_grow_is_full(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal:
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count = {pages}")
        tell(journal, 100)
        with pytest.raises(JournalFull, match="database or disk is full"):
            journal.settle()
    with journal_at(tmp_path / "journal.db") as journal:
        assert len(steps_of(journal.path, 1)) == 100, "they stood in the redo log"


# ------------------------------------------------------------------------------------------------------------ locked


def test_a_lock_of_another_program_is_waited_for_a_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 6)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        journal.append(*Story().told(6))
        began = time.monotonic()
        with pytest.raises(JournalLocked, match="another program holds a lock"):
            journal.settle()
        assert BUSY_S / 2 < time.monotonic() - began < BUSY_S + 5
        other.close()
        with pytest.raises(JournalLocked, match="nothing more is recorded since"):
            journal.append(*Story().told(7))
        assert journal.outcome_of(cloid_of(1)) is not None
    assert len(steps_of(path, 1)) == 7
    assert verify(path).findings == ()


def test_a_short_lock_of_another_program_only_delays(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.1, other.rollback).start()
        tell(journal, 6)
        journal.settle()
        other.close()
        assert journal.outcome_of(cloid_of(1)) is not None
    assert len(steps_of(path, 1)) == 6


def test_a_journal_locked_by_another_program_is_not_opened(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "journal.db")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalLocked, match="then start again"):
        open_journal(path)
    other.close()
    with journal_at(path) as journal:
        assert journal.recovered.run == 2


# ----------------------------------------------------------------------------------------------------------- corrupt


def no_database(path: Path) -> None:
    path.write_bytes(b"\x00\xffnot a database" * 500)


def of_another_program(path: Path) -> None:
    change(path, "CREATE TABLE letters (text)")


def cut_in_half(path: Path) -> None:
    closed_journal(path, 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 4096 * 4096])


def a_step_lost(path: Path) -> None:
    change(closed_journal(path), "DELETE FROM steps WHERE body ->> '$.seq' = 7")


def an_open_intent_garbled(path: Path) -> None:
    change(closed_journal(path, 10), "UPDATE intents SET body = substr(body, 5) WHERE open")


def an_open_post_garbled(path: Path) -> None:
    change(closed_journal(path, 10), "UPDATE posts SET body = '{}' WHERE open")


def a_table_lost(path: Path) -> None:
    change(closed_journal(path), "DROP TABLE posts")


CORRUPTIONS = [
    no_database,
    of_another_program,
    cut_in_half,
    a_step_lost,
    an_open_intent_garbled,
    an_open_post_garbled,
    a_table_lost,
]


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_a_damaged_journal_is_not_traded_on(tmp_path: Path, corrupt: Callable[[Path], None]) -> None:
    path = tmp_path / "journal.db"
    corrupt(path)
    for _ in range(2):
        with pytest.raises(JournalCorrupt, match=str(path)):
            open_journal(path)


def test_a_page_overwritten_anywhere_is_noticed(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "journal.db", 90)
    whole = path.read_bytes()
    for start in range(0, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        with pytest.raises(JournalCorrupt):
            open_journal(path)
    path.write_bytes(whole)
    with journal_at(path) as journal:
        assert journal.recovered.clean


def test_damage_that_shows_while_it_is_written_stops_it(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "journal.db", 90)
    journal = open_journal(path)
    page = journal._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'intents_by_cloid'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    change(path, "UPDATE runs SET pid = 0")  # another's write makes SQLite read the pages again
    tell(journal, 3)
    with pytest.raises(JournalCorrupt):
        journal.settle()
    journal.close(clean=True)


# ------------------------------------------------------------------------------------------- newer, and not writable


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "journal.db")
    change(path, "PRAGMA user_version = 2")
    for use in (open_journal, verify):
        with pytest.raises(JournalTooNew, match="schema version 2, this program knows up to 1"):
            use(path)


def test_a_record_with_fields_of_a_newer_version_can_be_read(tmp_path: Path) -> None:
    path = closed_journal(tmp_path / "journal.db", 10)
    change(path, "UPDATE intents SET body = json_set(body, '$.colour', 'blue')")
    with journal_at(path) as journal:
        assert len(journal.recovered.intents) == 1


def a_folder_in_its_place(folder: Path) -> Path:
    (folder / "journal.db").mkdir()
    return folder / "journal.db"


def a_folder_that_is_not_there(folder: Path) -> Path:
    return folder / "missing" / "journal.db"


def a_folder_that_takes_no_files(folder: Path) -> Path:
    return Path("/proc/self/journal.db")


@pytest.mark.parametrize("place", [a_folder_in_its_place, a_folder_that_is_not_there, a_folder_that_takes_no_files])
def test_where_nothing_can_be_written_no_journal_is_opened(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(JournalUnwritable, match="its folder exists"):
        open_journal(place(tmp_path))


def delete_it(path: Path) -> None:
    path.unlink()


def delete_its_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def put_another_in_its_place(path: Path) -> None:
    crash_copy(path, path.with_name("other.db")).replace(path)


def delete_its_redo_log(path: Path) -> None:
    redo.path_of(path).unlink()


def put_another_redo_log_in_its_place(path: Path) -> None:
    copyfile(redo.path_of(path), path.with_name("other"))
    path.with_name("other").replace(redo.path_of(path))


@pytest.mark.parametrize("loss", [delete_it, delete_its_log, put_another_in_its_place])
def test_a_file_that_is_taken_away_is_not_written_to(tmp_path: Path, loss: Callable[[Path], None]) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    tell(journal, 3)
    loss(path)
    with pytest.raises(JournalUnwritable, match=str(path)):
        journal.settle()
    with pytest.raises(JournalUnwritable, match="nothing more is recorded"):
        journal.append(*Story().told(3))
    journal.close(clean=True)


@pytest.mark.parametrize("loss", [delete_its_redo_log, put_another_redo_log_in_its_place])
def test_a_redo_log_that_is_taken_away_takes_no_append(tmp_path: Path, loss: Callable[[Path], None]) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    tell(journal, 3)
    loss(path)
    with pytest.raises(JournalUnwritable, match=f"{path}-redo|{path} can't be opened"):
        journal.append(*Story().told(3))
    journal.close(clean=True)


# -------------------------------------------------------------------------------------- a redo log that does not belong


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    """A journal whose process died with six steps settled and six in the redo log."""
    live = tmp_path / "live.db"
    with journal_at(live) as journal:
        tell(journal, 6)
        journal.settle()
        for seq in range(6, 12):
            journal.append(*Story().told(seq))
        return crash_copy(live, tmp_path / "dead.db")


def of_another_journal(path: Path) -> None:
    other = path.with_name("other.db")
    with journal_at(other, clock=ManualClock(STARTED)) as journal:
        tell(journal, 12)
        copyfile(redo.path_of(other), redo.path_of(path))


def without_its_database(path: Path) -> None:
    path.unlink()
    Path(f"{path}-wal").unlink()


def with_an_older_database(path: Path) -> None:
    with journal_at(path.with_name("older.db")):
        crash_copy(path.with_name("older.db"), path.with_name("aside"))
    for suffix in ("", "-wal"):
        path.with_name(f"aside{suffix}").replace(f"{path}{suffix}")


def with_its_first_line_lost(path: Path) -> None:
    text = redo.read(path)
    redo.path_of(path).write_bytes(text[text.index(b"\n") + 1 :])


def with_a_line_in_the_middle_damaged(path: Path) -> None:
    lines = redo.read(path).splitlines(keepends=True)
    lines[2] = lines[2].replace(b"Tick", b"Tock").replace(b"ReplyReceived", b"ReplyDeceived")
    redo.path_of(path).write_bytes(b"".join(lines))


def with_its_lines_in_another_order(path: Path) -> None:
    lines = redo.read(path).splitlines(keepends=True)
    redo.path_of(path).write_bytes(b"".join(lines[:1] + lines[:0:-1]))


def with_lines_for_a_run_that_has_ended(path: Path) -> None:
    change(path, "UPDATE runs SET ended_unix_ms = 1, steps = 6")


def after_other_steps(path: Path) -> None:
    change(path, "UPDATE steps SET crc = crc + 1 WHERE id = (SELECT max(id) FROM steps)")


@pytest.mark.parametrize(
    "harm",
    [
        of_another_journal,
        without_its_database,
        with_an_older_database,
        with_its_first_line_lost,
        with_a_line_in_the_middle_damaged,
        with_its_lines_in_another_order,
        with_lines_for_a_run_that_has_ended,
        after_other_steps,
    ],
)
def test_a_redo_log_that_does_not_go_on_where_the_database_ends_is_refused(
    dead: Path, harm: Callable[[Path], None]
) -> None:
    harm(dead)
    before = redo.read(dead)
    for _ in range(2):
        with pytest.raises(JournalCorrupt, match=r"does not belong to the database .* move the redo log away"):
            open_journal(dead)
    with pytest.raises(JournalCorrupt, match="does not belong to the database"):
        verify(dead)
    assert redo.read(dead) == before, "it is kept"
    redo.path_of(dead).unlink()
    with journal_at(dead):
        assert verify(dead).findings == () or harm is after_other_steps


def test_a_row_that_contradicts_the_database_is_refused(dead: Path) -> None:
    change(dead, "INSERT INTO posts SELECT 4, run, step, open, 5, body FROM posts LIMIT 1")
    with pytest.raises(JournalCorrupt, match=r"one of the posts \[3, 4\] is in the journal .* with another .* nonce"):
        open_journal(dead)


def test_a_line_that_is_whole_and_no_record_is_not_passed_over(dead: Path) -> None:
    with redo.path_of(dead).open("ab") as file:
        file.write(b"%08x %b\n" % (crc32(b'{"run":1}'), b'{"run":1}'))
    for use in (open_journal, verify):
        with pytest.raises(JournalCorrupt, match="a record that can't be read"):
            use(dead)


def test_an_input_output_error_that_is_not_about_room_is_named_so(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    found = named(error, tmp_path / "journal.db")
    assert isinstance(found, JournalUnwritable)
    assert "disk I/O error" in str(found)
    assert list(tmp_path.iterdir()) == [], "the probe is gone"


def test_all_errors_are_journal_errors_and_say_what_to_do() -> None:
    assert {kind.__name__ for kind in JournalError.__subclasses__()} == {
        "JournalInUse",
        "JournalLocked",
        "JournalFull",
        "JournalUnwritable",
        "JournalCorrupt",
        "JournalTooNew",
        "JournalMisused",
    }
