"""What is kept, and that nothing which recovery needs is ever deleted."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from adapters.journal import Changes, IntentRow, Move, PostRow, Retention, SqliteJournal, verify
from adapters.journal.retention import SWEEP
from adapters.journal.snapshot import open_to_read
from machines.clock import ManualClock
from tests.adapters.journal.builders import (
    FEW_EXAMPLES,
    OTHER_SIGNER,
    SIGNER,
    STARTED,
    STEPS_PER_ORDER,
    Story,
    cloid_of,
    copied,
    crash_copy,
    intent_row,
    journal_at,
    open_journal,
    post_row,
    step,
    steps_of,
    tell,
)

DAY_MS = 86_400_000
FILLED = {"type": "Filled", "oid": 1, "size": "1", "average_price": "1"}


class Recovery(RuleBasedStateMachine):
    """A journal with a tight retention against a plain model of what must be found again, across crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.files = 0
        self.clock = ManualClock(now_ms=STARTED)
        self.retention = Retention()
        self.signer = SIGNER
        self.intents: dict[int, IntentRow] = {}
        self.posts: dict[int, tuple[PostRow, str]] = {}
        self.nonces = {SIGNER: 0, OTHER_SIGNER: 0}
        self.last_post_id = self.last_intent_seq = 0
        self.journal: SqliteJournal | None = None

    @initialize(runs=st.integers(1, 3), days=st.integers(1, 3), size=st.sampled_from([1, 40_000, 1 << 30]))
    def begin(self, runs: int, days: int, size: int) -> None:
        self.retention = Retention(runs=runs, days=days, bytes=size)
        self.journal = self.open(self.path)

    @property
    def path(self) -> Path:
        return Path(self.folder.name) / f"journal{self.files}.db"

    def open(self, path: Path) -> SqliteJournal:
        return open_journal(path, signer=self.signer, retention=self.retention, clock=self.clock)

    def append(self, *moves: Move, intents: tuple[IntentRow, ...] = (), posts: tuple[PostRow, ...] = ()) -> None:
        assert self.journal is not None
        self.journal.append([replace(step("Event", *moves), unix_ms=self.clock.now_ms())], Changes(intents, posts))
        self.intents |= {row.seq: row for row in intents}
        self.posts |= {row.post_id: (row, self.posts.get(row.post_id, (row, self.signer))[1]) for row in posts}

    # ------------------------------------------------------------------------------------------- what an executor does

    @rule(nonce_step=st.integers(1, 50))
    def send(self, nonce_step: int) -> None:
        self.last_intent_seq += 1
        self.last_post_id += 1
        self.nonces[self.signer] += nonce_step
        intent, post = self.last_intent_seq, self.last_post_id
        self.append(
            Move("intent", intent, "post", "queued", "posted"),
            Move("post", post, "send", "queued", "sent"),
            intents=(intent_row(intent, "posted"),),
            posts=(post_row(post, "sent", nonce=self.nonces[self.signer]),),
        )

    @precondition(lambda self: any(row.open for row in self.intents.values()))
    @rule(data=st.data())
    def end_intent(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from([row for row in self.intents.values() if row.open]))
        move = Move("intent", row.seq, "fill", row.state, "filled")
        self.append(move, intents=(replace(row, state="filled", outcome=FILLED),))

    @precondition(lambda self: any(row.open for row, _ in self.posts.values()))
    @rule(
        data=st.data(),
        fields=st.fixed_dictionaries(
            {
                "state": st.sampled_from(["acked", "failed", "timed_out", "disconnected"]),
                "answered": st.booleans(),
                "settlement": st.sampled_from([None, "fencing", "looking_up", "executed", "never_executed"]),
                "quarantine_over": st.booleans(),
            }
        ),
    )
    def move_post(self, data: st.DataObject, fields: dict[str, Any]) -> None:
        row = data.draw(st.sampled_from([row for row, _ in self.posts.values() if row.open]))
        self.append(Move("post", row.post_id, "end", row.state, fields["state"]), posts=(replace(row, **fields),))

    @rule()
    def end_everything(self) -> None:
        self.append(
            intents=tuple(replace(row, outcome=FILLED) for row in self.intents.values() if row.open),
            posts=tuple(replace(row, answered=True, settlement=None) for row, _ in self.posts.values() if row.open),
        )

    @rule(count=st.integers(1, 30))
    def do_what_changes_no_row(self, count: int) -> None:
        for _ in range(count):
            self.append()

    @rule()
    def maintain(self) -> None:
        assert self.journal is not None
        self.journal.maintain()
        self.assert_it_holds_what_is_open()

    @rule(ms=st.sampled_from([1_000, DAY_MS, 5 * DAY_MS]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule(crashed=st.booleans(), signer=st.sampled_from([SIGNER, SIGNER, OTHER_SIGNER]))
    def restart(self, crashed: bool, signer: str) -> None:
        assert self.journal is not None
        found = self.path
        if crashed:
            self.files += 1
            crash_copy(found, self.path)
        self.journal.close(clean=True)
        self.assert_it_holds_what_is_open()
        self.signer = signer
        self.journal = self.open(self.path)
        left = self.journal.recovered
        assert left.clean is not crashed
        assert left.last_nonce == self.nonces[signer]
        assert (left.last_post_id, left.last_intent_seq) == (self.last_post_id, self.last_intent_seq)
        assert left.intents == tuple(row for row in self.intents.values() if row.open)
        assert [(post.row, post.signer) for post in left.posts] == [
            (row, who) for row, who in self.posts.values() if row.open
        ]

    def assert_it_holds_what_is_open(self) -> None:
        report = verify(self.path)
        assert report.findings == ()
        assert report.open_intents == sum(row.open for row in self.intents.values())
        assert report.open_posts == sum(row.open for row, _ in self.posts.values())

    def teardown(self) -> None:
        if self.journal is not None:
            self.restart(crashed=True, signer=SIGNER)
            self.journal.close(clean=True)
        self.folder.cleanup()


TestRecovery = Recovery.TestCase
TestRecovery.settings = settings(max_examples=FEW_EXAMPLES, stateful_step_count=30)


def rows(path: Path, table: str) -> int:
    db = open_to_read(path)
    (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    db.close()
    assert isinstance(count, int)
    return count


def test_runs_that_are_too_many_go_with_their_finished_rows(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    for _ in range(4):
        with journal_at(path, retention=Retention(runs=2)) as journal:
            tell(journal, 7)
    with journal_at(path, retention=Retention(runs=2)) as journal:
        tell(journal, 1)
        journal.maintain()
        kept = [run for run in range(1, 6) if steps_of(path, run)]
        assert kept == [3, 4, 5]
        assert journal.outcome_of(cloid_of(5)) is None, "an order of the first two runs"
        assert journal.outcome_of(cloid_of(8)) is not None, "an order of the third"
        assert [row.seq for row in journal.recovered.intents] == [3, 6, 9, 12]
        assert rows(path, "intents") == 4 + 2 * 2 + 1, "open ones, finished ones of two runs, and a new one"


def test_runs_that_are_too_old_go(tmp_path: Path) -> None:
    path, clock = tmp_path / "journal.db", ManualClock(now_ms=STARTED)
    for _ in range(3):
        with journal_at(path, clock=clock, retention=Retention(days=7)) as journal:
            tell(journal, 3)
            clock.advance(3 * DAY_MS)
    clock.advance(3 * DAY_MS)
    with journal_at(path, clock=clock, retention=Retention(days=7)) as journal:
        journal.maintain()
        assert [run for run in range(1, 5) if steps_of(path, run)] == [2, 3]


def test_of_rows_that_are_gone_the_highest_numbers_are_known(tmp_path: Path) -> None:
    path, retention = tmp_path / "journal.db", Retention(runs=1)
    with journal_at(path, retention=retention) as journal:
        tell(journal, 2 * STEPS_PER_ORDER)
    for _ in range(3):
        with journal_at(path, signer=OTHER_SIGNER, retention=retention) as journal:
            journal.append([step()], Changes())
            journal.maintain()
    assert (rows(path, "intents"), rows(path, "posts")) == (0, 0)
    for signer, nonce in ((SIGNER, STARTED + 2), (OTHER_SIGNER, 0)):
        with journal_at(path, signer=signer) as journal:
            left = journal.recovered
            assert (left.last_nonce, left.last_post_id, left.last_intent_seq) == (nonce, 2, 2)


def test_rows_that_stay_do_not_hide_the_ones_behind_them(tmp_path: Path) -> None:
    path, many = tmp_path / "journal.db", SWEEP + 100
    with journal_at(path, retention=Retention(bytes=1)) as journal:
        waiting = tuple(intent_row(seq) for seq in range(1, many))
        journal.append([step()], Changes((*waiting, intent_row(many, "filled", FILLED))))
        journal.append([step()], Changes())
        for _ in range(3):
            journal.maintain()
        assert rows(path, "intents") == many - 1, "the last one is gone"
        journal.append([step()], Changes(tuple(replace(row, state="filled", outcome=FILLED) for row in waiting)))
        journal.append([step()], Changes())
        for _ in range(3):
            journal.maintain()
        assert rows(path, "intents") == 0, "and now the first ones are"


def test_a_journal_that_is_too_large_shrinks_a_bounded_piece_at_a_time(tmp_path: Path) -> None:
    path, size = tmp_path / "journal.db", 500_000
    with journal_at(path) as journal:
        story = Story()
        for seq in range(6 * SWEEP):
            journal.append(*story.told(seq))
    large = path.stat().st_size
    assert large > 3 * size
    with journal_at(path, retention=Retention(bytes=size)) as journal:
        counts = [rows(path, "steps")]
        while len(counts) == 1 or counts[-1] < counts[-2]:
            journal.maintain()
            counts.append(rows(path, "steps"))
        assert len(counts) > 3
        assert all(0 <= before - after <= SWEEP for before, after in pairwise(counts))
        for _ in range(100):
            journal.maintain()
        assert rows(path, "steps") > 100, "no more is deleted than must be"
    assert path.stat().st_size < size + 300 * 4096, "room is given back, but for some slack"
    assert verify(path).findings == ()


def test_a_run_that_is_too_large_itself_loses_its_oldest_steps(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with journal_at(path, retention=Retention(bytes=200_000)) as journal:
        story = Story()
        for seq in range(3_000):
            journal.append(*story.told(seq))
            if seq % 50 == 0:
                journal.maintain()
        kept = steps_of(path, 1)
        assert 50 < len(kept) < 1_000
        assert kept == [story.told(seq)[0][0] for seq in range(3_000 - len(kept), 3_000)]
        assert rows(path, "intents") < 1_000
    assert verify(path).findings == ()
    with journal_at(path) as journal:
        assert (journal.recovered.last_intent_seq, journal.recovered.last_post_id) == (1_000, 1_000)
        assert journal.recovered.last_nonce == STARTED + 1_000


def test_no_load_lets_a_journal_grow_too_large_whether_there_is_time_to_tidy_up_or_not(tmp_path: Path) -> None:
    path, size = tmp_path / "journal.db", 500_000
    with journal_at(path, retention=Retention(bytes=size)) as journal:
        story, largest = Story(), 0
        for seq in range(12 * SWEEP):
            journal.append(*story.told(seq))
            if seq % 20 == 0:
                journal.settle()
            if seq % 1_000 == 0:
                journal._checkpoints.copy(0)
                copied(journal)
                largest = max(largest, path.stat().st_size)
        assert size < largest < size + 300 * 4096
        kept = steps_of(path, 1)
        assert kept == [story.told(seq)[0][0] for seq in range(12 * SWEEP - len(kept), 12 * SWEEP)]
    assert verify(path).findings == ()
