"""What was appended is what is read."""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.journal import (
    Changes,
    Durability,
    JournalMisused,
    Move,
    Retention,
    SqliteJournal,
    Step,
    redo,
    verify,
)
from tests.adapters.journal.builders import (
    FEW_EXAMPLES,
    STEPS_PER_ORDER,
    Story,
    cloid_of,
    intent_row,
    journal_at,
    open_journal,
    post_row,
    step,
    steps_of,
    tell,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)
moves = st.builds(Move, st.text(), st.integers(0, 2**63 - 1), st.text(), st.text(), st.text())
steps = st.builds(
    Step,
    unix_ms=st.integers(0, 2**53),
    monotonic_ms=st.integers(0, 2**53),
    event=st.text(),
    facts=json_objects,
    moves=st.lists(moves, max_size=3).map(tuple),
    effects=st.lists(json_objects, max_size=3).map(tuple),
    cause=st.none() | st.integers(0, 2**40),
)


@settings(max_examples=FEW_EXAMPLES)
@given(st.lists(steps, max_size=4), json_objects, json_objects)
def test_what_is_read_is_byte_for_byte_what_was_appended(
    given_steps: list[Step], request: dict[str, Any], outcome: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        with journal_at(path) as journal:
            for seq, each in enumerate(given_steps):
                row = intent_row(seq + 1, "filled", outcome, request=request)
                assert journal.append([each], Changes((row,))) == seq
                assert journal.outcome_of(cloid_of(seq + 1)) == outcome
            assert msgspec.json.encode(steps_of(path, 1)) == numbered(given_steps), "in the redo log"
        assert msgspec.json.encode(steps_of(path, 1)) == numbered(given_steps), "in the database"


def numbered(given_steps: list[Step]) -> bytes:
    return msgspec.json.encode([msgspec.structs.replace(each, seq=seq) for seq, each in enumerate(given_steps)])


@settings(max_examples=FEW_EXAMPLES)
@given(json_objects, st.text(), st.none() | st.integers(0, 2**53), st.lists(st.integers(1, 2**40), max_size=4))
def test_open_rows_come_back_as_they_were(
    request: dict[str, Any], state: str, expires: int | None, items: list[int]
) -> None:
    intent = intent_row(1, request=request, attempts=tuple(items), cloid=None)
    post = post_row(9, f"not {state}", items=tuple(items), expires_after=expires, settlement=state or None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        with journal_at(path) as journal:
            journal.append([step()], Changes((intent,), (post,)))
        with journal_at(path) as journal:
            assert journal.recovered.intents == (intent,)
            assert [found.row for found in journal.recovered.posts] == [post]


@pytest.mark.parametrize(("durability", "level"), [("normal", 1), ("full", 2)])
def test_durability_is_what_sqlite_is_told(tmp_path: Path, durability: Durability, level: int) -> None:
    with journal_at(tmp_path / "journal.db", durability=durability) as journal:
        tell(journal, 6)
        assert journal._db.execute("PRAGMA synchronous").fetchone() == (level,)
        assert journal._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert len(steps_of(tmp_path / "journal.db", 1)) == 6


def test_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal:
        tell(journal, 3)
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys([f"journal.db{suffix}" for suffix in ("", "-redo", "-wal", "-shm", "-lock")], 0o600)


def test_an_outcome_can_be_asked_for_in_later_runs(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 2 * STEPS_PER_ORDER + 1)
    for _ in range(2):
        with journal_at(path) as journal:
            filled = journal.outcome_of(cloid_of(2))
            assert filled is not None
            assert filled["oid"] == 40_002
            assert journal.outcome_of(cloid_of(3)) is None, "it is still open"
            assert journal.outcome_of(cloid_of(4)) is None, "nobody knows it"


def test_the_outcome_of_an_order_is_not_that_of_its_cancel(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal:
        order = intent_row(1, "resting", {"type": "Resting", "oid": 7})
        cancel = intent_row(2, "canceled", {"type": "Canceled"}, kind="cancelByCloid", cloid=cloid_of(1))
        journal.append([step()], Changes((order, cancel)))
        for _ in range(2):
            assert journal.outcome_of(cloid_of(1)) == {"type": "Resting", "oid": 7}
            journal.settle()


@pytest.mark.parametrize("settled_after", [(), (0,), (1,), (0, 1), (0, 2), (0, 1, 2)])
def test_of_two_intents_about_one_order_the_newer_one_tells_wherever_it_stands(
    tmp_path: Path, settled_after: tuple[int, ...]
) -> None:
    modified = {"type": "Resting", "oid": 8}
    rows = [
        intent_row(1),
        intent_row(2, "resting", modified, kind="batchModify", cloid=cloid_of(1)),
        intent_row(1, "filled", {"type": "Filled", "oid": 7}),
    ]
    with journal_at(tmp_path / "journal.db") as journal:
        for number, row in enumerate(rows):
            journal.append([step()], Changes((row,)))
            if number in settled_after:
                journal.settle()
            assert journal.outcome_of(cloid_of(1)) == (modified if number else None)


# ------------------------------------------------------------------------------------------------- when it is settled


@contextmanager
def statements_of(journal: SqliteJournal) -> Iterator[list[str]]:
    """What the database is told meanwhile."""
    told: list[str] = []
    journal._db.set_trace_callback(told.append)
    try:
        yield told
    finally:
        journal._db.set_trace_callback(None)


def test_an_append_asks_nothing_of_the_database_and_settling_tells_it_the_last_state_of_each_row(
    tmp_path: Path,
) -> None:
    with journal_at(tmp_path / "journal.db") as journal:
        with statements_of(journal) as told:
            tell(journal, 4 * STEPS_PER_ORDER)
        assert told == []
        with statements_of(journal) as told:
            journal.settle()
        kinds = Counter(" ".join(statement.split()[:3]) for statement in told)
        steps = 4 * STEPS_PER_ORDER
        rows = {"INSERT INTO steps": steps, "INSERT INTO intents": 4, "INSERT INTO posts": 4}
        assert kinds == {"BEGIN IMMEDIATE": 1, **rows, "COMMIT": 1}
        with statements_of(journal) as told:
            journal.settle()
        assert told == [], "there is nothing left to settle"


def test_what_is_not_settled_stays_little(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        story, longest = Story(), 0
        for seq in range(4_500):
            journal.append(*story.told(seq))
            longest = max(longest, len(redo.read(path)) if seq % 100 == 0 else 0)
        assert 1_000_000 < longest < 3_000_000
        assert len(redo.read(path)) < longest / 2
    assert redo.read(path) == b""
    assert verify(path).steps == 4_500


@pytest.mark.parametrize(("durability", "syncs"), [("normal", 0), ("full", STEPS_PER_ORDER)])
def test_with_full_durability_each_append_is_on_the_disk_when_it_returns(
    tmp_path: Path, durability: Durability, syncs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths, sync = [], os.fdatasync

    def noted(file: int) -> None:
        lengths.append(os.fstat(file).st_size)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", noted)
    path = tmp_path / "journal.db"
    with journal_at(path, durability=durability) as journal:
        tell(journal, STEPS_PER_ORDER)
        ends = [at + 1 for at, byte in enumerate(redo.read(path)) if byte == ord("\n")]
    assert lengths == ends[:syncs]


# ---------------------------------------------------------------------------- what must not be recorded is refused

ENDED = intent_row(1, "filled", {"type": "Filled", "oid": 1})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Changes((intent_row(1, "rejected", {"type": "Rejected", "reason": "Tick"}),)), "an outcome is final"),
        (Changes((intent_row(1),)), "an outcome is final"),
        (Changes((intent_row(1, "filled", ENDED.outcome, cloid=cloid_of(2)),)), "belongs to one intent"),
        (Changes((), (post_row(1, nonce=5),)), "belongs to one post"),
        (Changes((intent_row(2, request={"price": object()}),)), "Encoding objects of type object"),
        (Changes((intent_row(2, request={"price": "\ud800"}),)), "surrogates not allowed"),
        (Changes((intent_row(3, cloid=cloid_of(4)),)), "belongs to one intent"),
        (Changes((), (post_row(3, nonce=5),)), "belongs to one post"),
        (Changes((intent_row(2), intent_row(2, "filled", ENDED.outcome))), "two rows of one intent"),
        (Changes((), (post_row(2), post_row(2, nonce=5))), "two rows of one post"),
        (Changes((intent_row(2**63),)), "too large"),
        (Changes((), (post_row(2**63),)), "too large"),
        (Changes((), (post_row(4, nonce=2**63),)), "too large"),
    ],
)
@pytest.mark.parametrize("settled", [False, True])
def test_what_contradicts_the_journal_is_refused(tmp_path: Path, wrong: Changes, message: str, settled: bool) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        journal.append([step()], Changes((ENDED, intent_row(3)), (post_row(1), post_row(3))))
        if settled:
            journal.settle()
        journal.append([step("same again")], Changes((ENDED,), (post_row(1, "acked", answered=True),)))
        if settled:
            journal.settle()
        before = redo.read(path)
        with pytest.raises(JournalMisused, match=message):
            journal.append([step("wrong")], wrong)
        with pytest.raises(JournalMisused, match=r"nothing more is recorded since: .*" + message):
            journal.append([step("right")], Changes())
        with pytest.raises(JournalMisused, match="nothing more is recorded"):
            journal.maintain()
        with pytest.raises(JournalMisused, match="nothing more is recorded"):
            journal.settle()
        assert redo.read(path) == before
        assert journal.outcome_of(cloid_of(1)) == ENDED.outcome, "it can still be read"
    assert [each.event for each in steps_of(path, 1)] == ["Tick", "same again"]


def test_steps_of_a_group_are_numbered_in_order_and_written_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        assert journal.append([step("first")], Changes()) == 0
        assert journal.append([step("second"), step("third")], Changes((ENDED,), (post_row(1),))) == 2
        with pytest.raises(JournalMisused):
            journal.append([step("fourth"), step("fifth")], Changes((), (post_row(1, nonce=5),)))
    assert [(each.seq, each.event) for each in steps_of(path, 1)] == [(0, "first"), (1, "second"), (2, "third")]
    assert verify(path).findings == ()


def test_nothing_of_a_step_that_was_refused_can_be_read(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal:
        journal.append([step()], Changes((), (post_row(1),)))
        with pytest.raises(JournalMisused):
            journal.append([step()], Changes((ENDED,), (post_row(1, nonce=5),)))
        assert journal.outcome_of(cloid_of(1)) is None


@pytest.mark.parametrize(
    "changes", [Changes((intent_row(1),)), Changes((), (post_row(1),))], ids=["an intent", "a post"]
)
def test_numbers_of_earlier_runs_are_not_used_again(tmp_path: Path, changes: Changes) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, STEPS_PER_ORDER)
    with journal_at(path) as journal, pytest.raises(JournalMisused, match="number new ones from 2"):
        journal.append([step()], changes)


@pytest.mark.parametrize("settled", [False, True])
def test_what_has_ended_may_be_written_again_and_a_number_that_was_passed_over_may_be_used(
    tmp_path: Path, settled: bool
) -> None:
    path = tmp_path / "journal.db"
    late = [Changes((ENDED,), (post_row(1, "acked", answered=True),)), Changes((intent_row(3),), (post_row(3),))]
    with journal_at(path) as journal:
        for changes in (*late[:1], Changes((intent_row(5),), (post_row(5),)), *late):
            journal.append([step()], changes)
            if settled:
                journal.settle()
    report = verify(path)
    assert (report.intents, report.open_intents, report.posts, report.open_posts) == (3, 2, 3, 2)


def test_rows_without_a_step_are_refused(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal, pytest.raises(JournalMisused, match="without a step"):
        journal.append([], Changes((ENDED,)))


def test_another_thread_is_refused(tmp_path: Path) -> None:
    with journal_at(tmp_path / "journal.db") as journal, ThreadPoolExecutor(1) as pool:
        refused = pool.submit(journal.append, [step()], Changes()).exception()
        assert isinstance(refused, JournalMisused)
        assert "another thread" in str(refused)


def test_a_step_that_was_interrupted_is_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the redo log, and the journal does not know: its number must not be used again."""
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 3)
        monkeypatch.setattr(journal._pending, "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.append(*Story().told(3))
        with pytest.raises(
            JournalMisused, match=r"nothing more is recorded since: .* interrupted \(KeyboardInterrupt\)"
        ):
            journal.append(*Story().told(3))
    with journal_at(path) as journal:
        assert (journal.recovered.clean, journal.recovered.unrecorded) == (False, True)
    assert steps_of(path, 1) == [Story().told(seq)[0][0] for seq in range(4)]
    assert verify(path).findings == ()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.db")
    story = Story.after(journal.recovered)
    journal.close(clean=True)
    with pytest.raises(JournalMisused, match="closed"):
        journal.append(*story.told(0))
    with pytest.raises(JournalMisused, match="closed"):
        journal.outcome_of(cloid_of(1))


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"days": 0}, {"bytes": -1}])
def test_a_retention_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(JournalMisused, match=f"{next(iter(wrong))} must be at least 1"):
        Retention(**wrong)
