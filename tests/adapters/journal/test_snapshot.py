"""A reader sees one moment of a journal, the redo log included, whatever an executor does meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.cli.journal import app
from adapters.journal import JournalCorrupt, SqliteJournal, redo, verify
from adapters.journal.snapshot import open_to_read
from tests.adapters.journal.builders import (
    STEPS_PER_ORDER,
    Story,
    cloid_of,
    crash_copy,
    end_all,
    journal_at,
    steps_of,
    tell,
)
from tests.adapters.journal.children import child

STEPS = 4 * STEPS_PER_ORDER + 1
COMMANDS = (
    ("show",),
    ("show", "--last", "3"),
    ("show", "--post", "2"),
    ("show", "--cloid", cloid_of(2)),
    ("show", "--cloid", cloid_of(5)),
    ("export",),
    ("verify",),
)


def said(path: Path) -> list[str]:
    """What the commands say of a journal."""
    answers = [CliRunner().invoke(app, [name, str(path), *options]) for name, *options in COMMANDS]
    assert all(answer.exit_code == 0 for answer in answers)
    return [answer.stdout.replace(str(path), "it") for answer in answers]


def rows_of(path: Path) -> list[list[tuple[object, ...]]]:
    """All that the tables hold."""
    with closing(open_to_read(path)) as db:
        queries = ("steps ORDER BY id", "intents ORDER BY seq", "posts ORDER BY post_id")
        return [db.execute(f"SELECT * FROM {query}").fetchall() for query in queries]  # noqa: S608


@pytest.mark.parametrize("settled", [None, 0, 1, 5, STEPS - 1])
def test_a_reader_sees_the_same_before_and_after_it_is_settled(tmp_path: Path, settled: int | None) -> None:
    live, before, after = (tmp_path / name for name in ("live.db", "before.db", "after.db"))
    with journal_at(live) as journal:
        tell(journal, 2)
    with journal_at(live) as journal:
        end_all(journal)  # rows of the earlier run change
        story = Story.after(journal.recovered)
        for seq in range(STEPS):
            if seq == settled:
                journal.settle()
            journal.append(*story.told(seq))
        crash_copy(live, before)
        journal.settle()
        crash_copy(live, after)
    assert rows_of(before) == rows_of(after)
    assert said(before) == said(after)
    assert redo.read(after) == b""
    assert redo.read(before).count(b"\n") == (STEPS + 1 if settled is None else STEPS - settled)


def test_a_reader_beside_a_writer_sees_a_whole_beginning_and_all_that_was_acknowledged(tmp_path: Path) -> None:
    path, acknowledged, seen = tmp_path / "journal.db", 0, 0
    with child("writer", path) as writer:
        writer.tell("go")
        pid = int(writer.hear()[1])
        assert writer.hear()[0] == "run"
        for _ in range(60):
            for _ in range(20):
                assert writer.hear() == ["ack", str(acknowledged)]
                acknowledged += 1
            report = verify(path)
            assert report.findings == ()
            assert report.steps >= max(acknowledged, seen)
            seen = report.steps
        os.kill(pid, signal.SIGKILL)
    assert seen > acknowledged, "it wrote on while it was read"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    with journal_at(tmp_path / "journal.db") as journal:
        tell(journal, 6)
        journal.settle()
        for seq in range(6, 10):
            journal.append(*Story().told(seq))
        yield journal


def while_read(monkeypatch: pytest.MonkeyPatch, *meanwhile: Callable[[bytes], bytes]) -> None:
    """Let something happen after a redo log was read, and perhaps another text be read; once each."""
    events, read = list(meanwhile), redo.read

    def reading(path: Path) -> bytes:
        text = read(path)
        return events.pop(0)(text) if events else text

    monkeypatch.setattr(redo, "read", reading)


def test_what_is_settled_between_the_log_and_the_database_is_seen_once(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settled(text: bytes) -> bytes:
        journal.settle()
        return text

    while_read(monkeypatch, settled)
    assert steps_of(journal.path, 1) == [Story().told(seq)[0][0] for seq in range(10)]


def test_what_is_appended_after_the_log_was_read_is_not_seen_in_part(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settled_and_appended(text: bytes) -> bytes:
        journal.append(*Story().told(10))
        journal.settle()
        journal.append(*Story().told(11))
        return text

    while_read(monkeypatch, settled_and_appended)
    report = verify(journal.path)
    assert (report.steps, report.findings) == (11, ())
    assert verify(journal.path).steps == 12


def test_a_log_that_was_emptied_and_begun_anew_while_it_was_read_is_read_again(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part that is read is of the log as it was, the second of what was written over it."""

    def mixed(text: bytes) -> bytes:
        journal.settle()
        for seq in range(10, 16):
            journal.append(*Story().told(seq))
        new = redo.path_of(journal.path).read_bytes()
        return text[: len(text) // 2] + new[len(text) // 2 :]

    while_read(monkeypatch, mixed)
    assert steps_of(journal.path, 1) == [Story().told(seq)[0][0] for seq in range(16)]


def test_a_log_that_is_never_read_whole_is_said_to_be_damaged_in_the_end(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_read(monkeypatch, *(lambda text, n=n: text[text.index(b"\n") + 1 :] + b"%d" % n for n in range(20)))
    with pytest.raises(JournalCorrupt, match="does not belong to the database"):
        verify(journal.path)


def test_a_link_leads_to_the_redo_log_too(journal: SqliteJournal, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(journal.path)
    assert len(steps_of(link, 1)) == 10


def test_reading_changes_nothing(journal: SqliteJournal) -> None:
    text = redo.read(journal.path)
    said(journal.path)
    assert redo.read(journal.path) == text
    journal.append(*Story().told(10))
    journal.settle()
