"""What a run takes over from the ones before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.journal import Changes, Journal, OpenPost
from adapters.journal.snapshot import open_to_read
from machines.clock import ManualClock
from tests.adapters.journal.builders import (
    OTHER_SIGNER,
    SIGNER,
    STARTED,
    cloid_of,
    crash_copy,
    end_all,
    intent_row,
    journal_at,
    open_journal,
    post_row,
    step,
    tell,
)


def test_the_first_run_takes_over_nothing(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal:
        left = journal.recovered
        assert (left.run, left.last_signer, left.clean, left.torn_frames) == (1, None, True, 0)
        assert (left.last_nonce, left.last_post_id, left.last_intent_seq) == (0, 0, 0)
        assert (left.intents, left.posts) == ((), ())


OPEN: list[dict[str, Any]] = [
    {"state": "queued"},  # in the journal, perhaps never written (rule 1)
    {"state": "sent"},
    {"state": "timed_out", "settlement": "fencing"},
    {"state": "disconnected", "settlement": "looking_up", "answered": True},
    {"state": "acked", "settlement": "unknown", "answered": True},  # its reply proved nothing
    {"state": "timed_out", "settlement": "executed"},  # settled, and still in quarantine (rule 15)
    {"state": "timed_out", "settlement": "looking_up", "quarantine_over": True},
    {"state": "timed_out", "kind": "noop", "fence_of": 3},
]
OVER: list[dict[str, Any]] = [
    {"state": "unsent"},
    {"state": "acked", "answered": True},
    {"state": "failed", "answered": True},
    {"state": "timed_out", "settlement": "never_executed", "answered": True},
    {"state": "timed_out", "settlement": "executed", "quarantine_over": True},
    {"state": "timed_out", "kind": "noop", "fence_of": 3, "quarantine_over": True},
]


@pytest.mark.parametrize(
    ("facts", "is_open"), [*((facts, True) for facts in OPEN), *((facts, False) for facts in OVER)]
)
def test_a_post_is_taken_over_until_it_is_settled_and_out_of_quarantine(
    tmp_path: Path, facts: dict[str, Any], is_open: bool
) -> None:
    path = tmp_path / "journal.db"
    row = post_row(5, **facts)
    with journal_at(path) as journal:
        journal.append([step()], Changes((), (row,)))
    with journal_at(path, signer=OTHER_SIGNER) as journal:
        assert journal.recovered.posts == ((OpenPost(row, 1, SIGNER),) if is_open else ())
        assert journal.recovered.last_post_id == 5


def test_what_one_restart_did_not_finish_the_next_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 2)
    for run in (2, 3):
        with journal_at(path) as journal:
            left = journal.recovered
            assert left.run == run
            assert [row.seq for row in left.intents] == [1]
            assert [post.row.post_id for post in left.posts] == [1]
    with journal_at(path) as journal:
        end_all(journal)
        assert journal.outcome_of(cloid_of(1)) is not None
    with journal_at(path) as journal:
        assert (journal.recovered.intents, journal.recovered.posts) == ((), ())


def test_the_last_nonce_is_the_signers_own_and_post_ids_are_everybodys(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        journal.append([step()], Changes((), (post_row(1, nonce=900), post_row(2, nonce=700, fence_of=None))))
    with journal_at(path, signer=OTHER_SIGNER) as journal:
        assert journal.recovered.last_nonce == 0
        assert journal.recovered.last_signer == SIGNER
        assert [(post.row.post_id, post.signer) for post in journal.recovered.posts] == [(1, SIGNER), (2, SIGNER)]
        journal.append([step()], Changes((), (post_row(3, nonce=50),)))
        journal.append([step()], Changes((), (replace(journal.recovered.posts[0].row, answered=True),)))
    for signer, nonce in ((SIGNER, 900), (OTHER_SIGNER, 50)):
        with journal_at(path, signer=signer) as journal:
            assert (journal.recovered.last_nonce, journal.recovered.last_post_id) == (nonce, 3)
            signers = [(post.row.post_id, post.signer) for post in journal.recovered.posts]
            assert signers == [(2, SIGNER), (3, OTHER_SIGNER)]


def ended(path: Path) -> list[tuple[int, int, int]]:
    db = open_to_read(path)
    found = db.execute("SELECT ended_unix_ms, clean, steps FROM runs ORDER BY run").fetchall()
    db.close()
    return found


def test_a_run_that_did_not_end_in_order_is_ended_at_its_last_step(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=STARTED)
    live, path = tmp_path / "live.db", tmp_path / "dead.db"
    with journal_at(live, clock=clock) as journal:
        tell(journal, 5)
        crash_copy(live, path)
    clock.advance(60_000)
    open_journal(path, clock=clock).close(clean=False)
    clock.advance(1_000)
    with journal_at(path, clock=clock) as journal:
        assert not journal.recovered.clean
    with journal_at(path, clock=clock) as journal:
        assert journal.recovered.clean
    later = STARTED + 60_000
    assert ended(path) == [(STARTED + 4 * 40, 0, 5), (later, 0, 0), (later + 1_000, 1, 0), (later + 1_000, 1, 0)]


def test_a_run_without_a_step_ended_when_it_began(tmp_path: Path) -> None:
    clock = ManualClock(now_ms=STARTED)
    live, path = tmp_path / "live.db", tmp_path / "dead.db"
    with journal_at(live, clock=clock):
        crash_copy(live, path)
    clock.advance(60_000)
    with journal_at(path, clock=clock) as journal:
        assert (journal.recovered.run, journal.recovered.clean) == (2, False)
    assert ended(path)[0] == (STARTED, 0, 0)


def test_an_executor_on_a_full_durability_journal_finds_the_same(tmp_path: Path) -> None:
    found = []
    for durability in ("normal", "full"):
        path = tmp_path / f"{durability}.db"
        journal: Journal = open_journal(path, durability=durability)
        tell(journal, 8)
        journal.append([step()], Changes((intent_row(9),)))
        journal.close(clean=True)
        with journal_at(path) as after:
            found.append(after.recovered)
    assert found[0] == found[1]
