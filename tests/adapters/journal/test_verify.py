"""A journal that was changed in any one place does not agree with itself any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.journal import Changes, JournalCorrupt, JournalUnwritable, Move, verify
from tests.adapters.journal.builders import (
    STEPS_PER_ORDER,
    intent_row,
    journal_at,
    post_row,
    step,
    tell,
)

STEPS = 4 * STEPS_PER_ORDER + 1
BODY = "UPDATE {} SET body = json_set(body, '$.{}', {}) WHERE {}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two ended runs; the second has a post that was settled by a fence."""
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, STEPS)
    with journal_at(path) as journal:
        post, fence = (
            post_row(20, "timed_out", settlement="fencing"),
            post_row(21, nonce=post_row(20).nonce, fence_of=20),
        )
        journal.append(
            [step("TimePassed", Move("post", 20, "time_out", "sent", "timed_out"))],
            Changes((), (post_row(20, "timed_out"),)),
        )
        journal.append(
            [step("Tick", Move("settlement", 20, "fence", "unknown", "fencing"), cause=0)],
            Changes((), (post, fence)),
        )
    return path


def test_a_journal_as_it_was_written_agrees(path: Path) -> None:
    report = verify(path)
    assert report.findings == ()
    assert report.disagreements == 0
    assert (report.runs, report.steps) == (2, STEPS + 2)
    assert (report.intents, report.open_intents, report.posts, report.open_posts) == (5, 1, 7, 3)


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        # any field of a step, whatever it means
        (BODY.format("steps", "unix_ms", "1", "id = {2}"), "step 1/2 is not what was written"),
        (BODY.format("steps", "monotonic_ms", "1", "id = {2}"), "step 1/2 is not what was written"),
        (BODY.format("steps", "event", "'Tick'", "id = {2}"), "step 1/2 is not what was written"),
        (BODY.format("steps", "facts.order", "9", "id = {2}"), "step 1/2 is not what was written"),
        (BODY.format("steps", "effects", "json('[]')", "id = {2}"), "step 1/2 is not what was written"),
        (BODY.format("steps", "moves", "json('[]')", "id = {2}"), "step 1/2 is not what was written"),
        (BODY.format("steps", "cause", "null", "id = {2}"), "step 1/2 is not what was written"),
        # and what each of them means
        (BODY.format("steps", "seq", "3", "id = {2}"), "step 1/2 says that it is step 3"),
        (BODY.format("steps", "cause", "2", "id = {2}"), "step 1/2 names step 2 as its cause"),
        (BODY.format("steps", "cause", "-1", "id = {2}"), "step 1/2 names step -1 as its cause"),
        (
            BODY.format("steps", "moves[0].source", "'queued'", "id = {2}"),
            "moves post 1 from queued, step 1 left it sent",
        ),
        (
            BODY.format("steps", "moves[0].target", "'failed'", "id = {2}"),
            "post 1 is acked, but step 1/2 left it failed",
        ),
        (
            BODY.format("steps", "moves[1].key", "77", "id = {2}"),
            "step 1/2 moved intent 77, which is not in the journal",
        ),
        (BODY.format("steps", "facts.signature", "'0x'", "id = {2}"), "step 1/2 holds a signature"),
        # places of steps
        ("DELETE FROM steps WHERE id = {4}", "run 1: step 4 should come next, 5 does"),
        ("DELETE FROM steps WHERE id = {12}", "run 1 ended after 13 steps, there are 12"),
        ("UPDATE steps SET id = id + 1 WHERE id = {12}", "run 1: step 12 should come next, 13 does"),
        ("UPDATE steps SET crc = crc + 1 WHERE id = {5}", "step 1/5 is not what was written"),
        ("UPDATE steps SET id = 5 WHERE id = {12}", "1 steps belong to no run"),
        ("DELETE FROM runs WHERE run = 1", "13 steps belong to no run"),
        ("UPDATE runs SET steps = 14 WHERE run = 1", "run 1 ended after 14 steps, there are 13"),
        # rows
        (BODY.format("intents", "state", "'rejected'", "seq = 2"), "intent 2 is rejected, but step 1/5 left it filled"),
        (BODY.format("intents", "outcome", "null", "seq = 2"), "intent 2 is filed under another"),
        (BODY.format("intents", "cloid", "'0x1'", "seq = 2"), "intent 2 is filed under another"),
        (BODY.format("intents", "seq", "3", "seq = 2"), "intent 2 is filed under another"),
        ("DELETE FROM intents WHERE seq = 2", "moved intent 2, which is not in the journal"),
        (BODY.format("posts", "state", "'failed'", "post_id = 3"), "post 3 is failed, but step 1/8 left it acked"),
        (BODY.format("posts", "answered", "json('false')", "post_id = 3"), "post 3 is filed under another"),
        (BODY.format("posts", "nonce", "4", "post_id = 3"), "post 3 is filed under another"),
        (
            BODY.format("posts", "settlement", "'executed'", "post_id = 20"),
            "settlement 20 is executed, but step 2/1 left",
        ),
        (BODY.format("posts", "fence_of", "3", "post_id = 21"), "post 21 fences post 3 with another nonce"),
    ],
)
def test_one_change_anywhere_is_found(path: Path, statement: str, finding: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    for seq in range(STEPS):
        statement = statement.replace(f"{{{seq}}}", str((1 << 40) + seq))
    assert db.execute(statement).rowcount == 1
    db.close()
    report = verify(path)
    assert any(finding in found for found in report.findings), report.findings
    assert report.disagreements >= len(report.findings) > 0


def test_what_a_later_run_took_over_needs_no_move(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 2)
    with journal_at(path) as journal:
        journal.append([step("Recovered")], Changes((intent_row(1, "not_executed", {"type": "NotExecuted"}),)))
    assert verify(path).findings == ()


def test_a_journal_in_use_can_be_verified(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 5)
        report = verify(path)
        assert (report.steps, report.findings) == (5, ())
        journal.append([step()], Changes())


def test_findings_are_counted_all_and_told_in_part(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE intents SET body = json_set(body, '$.state', 'odd', '$.cloid', null)")
    for number in range(100, 300):
        row = "INSERT INTO intents SELECT ?, run, step, open, cloid, body FROM intents WHERE seq = 1"
        db.execute(row, (number,))
    db.close()
    report = verify(path)
    assert report.disagreements > 200
    assert len(report.findings) == 100


def no_file(path: Path) -> None:
    path.unlink()


def garbled_step(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE steps SET body = '{' WHERE id % 7 = 0")
    db.close()


def lost_index(path: Path) -> None:
    """An index that does not hold what its table does: found by the full check alone."""
    db = sqlite3.connect(path, isolation_level=None)
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'intents_by_cloid'").fetchone()
    db.execute("UPDATE runs SET pid = 0")
    db.close()
    data = bytearray(path.read_bytes())
    start = (page - 1) * 4096
    at = data.index(b"0x", start)
    data[at + 2 : at + 4] = b"zz"
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "error"), [(no_file, JournalUnwritable), (garbled_step, JournalCorrupt), (lost_index, JournalCorrupt)]
)
def test_what_can_not_be_read_is_no_finding_but_an_error(
    path: Path, damage: Callable[[Path], None], error: type[Exception]
) -> None:
    damage(path)
    with pytest.raises(error):
        verify(path)
