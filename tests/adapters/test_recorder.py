"""What is recorded of each step, and what a restart makes of it: a real core, and a real journal on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from adapters.journal import JournalMisused, PostRow, Recovered, SqliteJournal, Step, verify
from adapters.recorder import Recorder, facts_of, numbered, post_row, recovered_event, restored
from machines import events as ev
from machines.clock import ManualClock
from machines.errors import IllegalEvent
from machines.executor import ExecutorCore
from machines.intent import Cancel, Canceled, Intent, Modify, NotExecuted, Order, Priority, Request, Trigger
from machines.post import QUARANTINE_MS, PostRequest, PostState
from machines.reply import Accepted, GatewayError
from machines.settings import CoreSettings
from machines.table import StateMachine
from tests.adapters.journal.builders import OTHER_SIGNER, SIGNER, crash_copy, open_journal, steps_of
from tests.adapters.live import divergences
from tests.machines.builders import (
    FILLED,
    MISSING,
    NOW,
    RESTING,
    RUN_ID,
    Desk,
    cancel,
    cloid,
    order,
    record,
    reduce_only,
)

TRIGGER: Final = Trigger(price="390", is_market=True, kind="sl")


class RecordedDesk(Desk):
    """A desk whose every step is recorded before its effects are seen, as the driver does it."""

    def __init__(self, path: Path) -> None:
        """Begin the first run of the journal at `path`."""
        self.path = path
        self.journal = open_journal(path)
        super().__init__(ready=False)
        self.recorder = Recorder(self.core, self.journal, self.clock)
        self.recorder.begin(RUN_ID, self.journal.recovered)
        self.connect()
        self.learn()
        self.prove_key()

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        """Give the core an event, record the step, and check every invariant."""
        with self.recorder.watching():
            effects = super().handle(event)
        self.recorder.record(event, effects)
        self.recorder.commit()
        return effects

    @property
    def steps(self) -> list[Step]:
        """What the journal holds of the run."""
        return steps_of(self.path, 1)

    def crash(self, signer: str = SIGNER) -> tuple[ev.Recovered, SqliteJournal]:
        """What a new run on a copy of the journal as it is now takes up, and that journal."""
        journal = open_journal(crash_copy(self.path, self.path.with_name("copy.journal")), signer=signer)
        return restored(journal.recovered, signer), journal


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[RecordedDesk]:
    """A desk, ready; in the end its journal agrees with itself, and its run replays."""
    desk = RecordedDesk(tmp_path / "executor.journal")
    yield desk
    desk.journal.close(clean=True)
    assert verify(desk.path).findings == ()
    assert divergences(desk.steps) == []


# ----------------------------------------------------------------------------------------- what a restart takes up


def in_hand(desk: RecordedDesk, *requests: Request) -> PostRequest:
    """A post that was prepared; whether it left is not known."""
    for request in requests:
        desk.submit(request)
    return desk.take()


def sent_again(desk: RecordedDesk) -> PostRequest:
    """A reduce-only order whose first post was proven dead, and that is under way in its second."""
    desk.lose(reduce_only(cloid=cloid(1)))
    desk.answer(desk.fence(), Accepted(()))
    return desk.send()


def proven_dead(desk: RecordedDesk) -> PostRequest:
    """A reduce-only order whose post was proven dead, and that waits to be sent again."""
    desk.lose(reduce_only(cloid=cloid(1)))
    desk.answer(fence := desk.fence(), Accepted(()))
    return fence


def waiting_cancel(desk: RecordedDesk) -> PostRequest:
    """A cancel that found no order, whose order is not settled."""
    first = desk.lose(order(cloid=cloid(1)))
    desk.reply(desk.post(cancel(1)), MISSING)
    return first


def settled(desk: RecordedDesk) -> PostRequest:
    """An order that was found; its post is in quarantine."""
    first = desk.spend(order(cloid=cloid(1)))
    desk.look_up(record())
    return first


def lost_cancel(desk: RecordedDesk) -> PostRequest:
    """A cancel whose post timed out: it waits to be sent again."""
    return desk.lose(cancel(1))


Story = Callable[[RecordedDesk], object]
Left = tuple[list[tuple[bool, list[str]]], list[str], list[str]]
"""Posts (unanswered or not) with the cloids of their items; what was never sent; lost cancels."""
ONE, TWO = cloid(1), cloid(2)
STORIES: Final[dict[str, tuple[Story, Left]]] = {
    "nothing": (lambda _: None, ([], [], [])),
    "waits": (lambda desk: desk.submit(order(cloid=ONE)), ([], [ONE], [])),
    "in hand": (lambda desk: in_hand(desk, order(cloid=ONE), order(cloid=TWO)), ([(True, [ONE, TWO])], [], [])),
    "sent": (lambda desk: desk.post(order(cloid=ONE)), ([(True, [ONE])], [], [])),
    "answered": (lambda desk: desk.reply(desk.post(order(cloid=ONE)), RESTING), ([], [], [])),
    "answered unclear": (
        lambda desk: desk.answer(desk.post(order(cloid=ONE)), GatewayError("502")),
        ([(False, [ONE])], [], []),
    ),
    "timed out": (lambda desk: desk.lose(order(cloid=ONE)), ([(True, [ONE])], [], [])),
    "one item told by the stream": (
        lambda desk: [desk.post(order(cloid=ONE), order(cloid=TWO)), desk.handle(ev.OrderSeen(ONE, record()))],
        ([(True, [TWO])], [], []),
    ),
    "fenced": (lambda desk: [desk.lose(order(cloid=ONE)), desk.fence()], ([(True, [ONE]), (True, [])], [], [])),
    "looking up": (lambda desk: desk.spend(order(cloid=ONE)), ([(True, [ONE])], [], [])),
    "settled, in quarantine": (settled, ([(True, [])], [], [])),
    "settled, quarantine over": (lambda desk: [settled(desk), desk.pass_time(QUARANTINE_MS)], ([], [], [])),
    "proven dead, waits": (proven_dead, ([(True, [])], [ONE], [])),
    "proven dead, sent again": (sent_again, ([(True, []), (True, [ONE])], [], [])),
    "cancel waits": (lambda desk: desk.submit(cancel(1)), ([], [ONE], [])),
    "cancel in hand": (lambda desk: in_hand(desk, cancel(1)), ([(True, [])], [], [ONE])),
    "cancel sent": (lambda desk: desk.post(cancel(1)), ([(True, [])], [], [ONE])),
    "cancel lost": (lost_cancel, ([(True, [])], [], [ONE])),
    "cancel waits for its order": (waiting_cancel, ([(True, [ONE])], [], [ONE])),
    "cancel done": (lambda desk: desk.reply(desk.post(cancel(1)), Canceled()), ([], [], [])),
    "refused before any byte": (
        lambda desk: desk.handle(ev.SendRefused(in_hand(desk, reduce_only(cloid=ONE)).post_id, "closed")),
        ([], [ONE], []),
    ),
    "broken off": (
        lambda desk: desk.handle(
            ev.SendBroken((post := in_hand(desk, order(cloid=ONE))).post_id, post.nonce, 1, "reset")
        ),
        ([(True, [ONE])], [], []),
    ),
}


def named(items: tuple[Intent, ...]) -> list[str]:
    """The cloids of intents."""
    return [str(item.cloid) for item in items]


@pytest.mark.parametrize("story", STORIES)
def test_what_a_restart_takes_up(desk: RecordedDesk, story: str) -> None:
    tell, left = STORIES[story]
    tell(desk)
    taken, journal = desk.crash()
    posts = [(post.state is PostState.SENT, named(post.items)) for post in taken.posts]
    assert (posts, named(taken.never_sent), named(taken.lost_cancels)) == left
    assert taken.same_key
    assert all(item.attempts[-1:] == (post.post_id,) for post in taken.posts for item in post.items)
    assert (journal.recovered.last_post_id, journal.recovered.last_nonce, journal.recovered.last_intent_seq) == (
        desk.core.posts.last_id,
        desk.core.nonces.last,
        desk.core.intents.last_seq,
    )
    # A core takes it up, and in the end each intent has its outcome.
    later = Desk(
        ready=False,
        last_nonce=journal.recovered.last_nonce,
        last_post_id=journal.recovered.last_post_id,
        last_seq=journal.recovered.last_intent_seq,
    )
    later.handle(taken)
    later.handle(ev.DrainStarted())
    counted = len(taken.never_sent) + len(taken.lost_cancels) + sum(len(post.items) for post in taken.posts)
    assert len(later.intents) == counted
    assert all(later.outcome(item) == NotExecuted("never sent before the restart") for item in taken.never_sent)
    journal.close(clean=False)
    if desk.core.posts.in_hand is not None:
        desk.written(desk.core.posts.in_hand)


def test_another_signer_is_seen(desk: RecordedDesk) -> None:
    desk.lose(order(cloid=ONE))
    taken, journal = desk.crash(OTHER_SIGNER)
    assert not taken.same_key
    assert journal.recovered.last_nonce == 0, "nonces belong to a signer"
    journal.close(clean=False)


@pytest.mark.parametrize(
    "request_",
    [
        order(cloid=ONE, size=Decimal("1.50"), price=Decimal("400.1"), tif="Alo"),
        order(cloid=ONE, trigger=TRIGGER, reduce_only=True),
        order(cloid=ONE, flatten=True, reduce_only=True),
        Modify(oid=7, order=order(cloid=ONE)),
        Modify(cloid=TWO, order=reduce_only(cloid=ONE, trigger=TRIGGER)),
        Cancel(market="xyz:TSLA", oid=7),
        cancel(1),
    ],
)
def test_every_kind_of_request_comes_back_as_it_was(desk: RecordedDesk, request_: Request) -> None:
    submitted = desk.submit(request_)
    taken, journal = desk.crash()
    (item,) = taken.never_sent
    journal.close(clean=False)
    for name in ("seq", "cloid", "priority", "kind", "alo", "market"):
        assert getattr(item, name) == getattr(submitted, name)
    assert as_text(item.request) == as_text(submitted.request)
    (row,) = journal.recovered.intents
    untyped = {name: value for name, value in row.request.items() if name != "type"}  # as older versions wrote it
    (older,) = restored(replace(journal.recovered, intents=(replace(row, request=untyped),)), SIGNER).never_sent
    assert older.request == item.request


def as_text(request: Request) -> Request:
    """A request with its numbers as the journal writes them."""
    if isinstance(request, Order):
        return replace(request, size=str(request.size), price=str(request.price))
    return request


@pytest.mark.parametrize("story", ["waits", "in hand", "fenced", "answered unclear", "proven dead, sent again"])
def test_what_was_taken_up_is_recorded_whole(desk: RecordedDesk, story: str) -> None:
    """A replay of the second run knows nothing of the first but this."""
    STORIES[story][0](desk)
    taken, journal = desk.crash()
    facts = msgspec.json.decode(msgspec.json.encode(facts_of(taken)))
    again = recovered_event(facts)
    assert facts_of(again) == facts_of(taken)
    core = ExecutorCore(desk.clock, run_id=RUN_ID, last_post_id=100, last_seq=100)
    core.handle(taken)  # moves posts and intents
    moved = msgspec.json.decode(msgspec.json.encode(facts_of(taken)))
    assert [post.state for post in recovered_event(moved).posts] == [post.state for post in again.posts]
    journal.close(clean=False)
    if desk.core.posts.in_hand is not None:
        desk.written(desk.core.posts.in_hand)


# -------------------------------------------------------------------------------------------- what a step looks like


def test_the_first_step_says_what_the_run_began_with(desk: RecordedDesk) -> None:
    began = desk.steps[0]
    assert (began.seq, began.event, began.moves, began.effects) == (0, "Began", (), ())
    assert msgspec.convert(began.facts["settings"], CoreSettings) == CoreSettings()
    assert began.facts | {"settings": 0} == {
        "settings": 0,
        "run_id": f"{RUN_ID:016x}",
        "last_nonce": 0,
        "last_post_id": 0,
        "last_seq": 0,
    }


def test_a_post_in_the_record_from_its_tick_to_its_end(desk: RecordedDesk) -> None:
    item = desk.submit(order(cloid=ONE))
    post = desk.send()
    desk.reply(post, FILLED)
    submitted, ticked, written, answered = desk.steps[-4:]
    assert submitted.effects == ({"type": "Admitted", "admission": "queued", "intent": {"intent": item.seq}},)
    assert submitted.facts["request"]["cloid"] == ONE
    (transmit,) = ticked.effects
    assert transmit == {
        "type": "Transmit",
        "post": {"post": post.post_id},
        "nonce": post.nonce,
        "kind": "order",
        "priority": "new_order",
        "items": [{"intent": item.seq}],
        "expires_ms": post.expires_ms,
        "fence_of": None,
    }
    assert (written.event, written.cause, ticked.cause) == ("PostWritten", ticked.seq, None)
    moves = [move for move in answered.moves if move.machine in ("post", "intent")]
    assert [(move.machine, move.key, move.source, move.target) for move in moves] == [
        ("post", post.post_id, "sent", "acked"),
        ("intent", item.seq, "posted", "filled"),
    ]
    assert [effect["type"] for effect in answered.effects] == ["PostEnded", "IntentEnded"]
    outcome = {"type": "Filled", "oid": 12, "size": "1", "average_price": "400"}
    assert answered.effects[1]["outcome"] == desk.journal.outcome_of(ONE) == outcome


def test_a_settled_post_stays_settled_in_its_row(desk: RecordedDesk) -> None:
    """Its attempt is closed; but its row is written again when its quarantine ends."""
    post = settled(desk)
    in_quarantine = row_of(desk, post)
    desk.pass_time(QUARANTINE_MS)
    over = row_of(desk, post)
    assert (in_quarantine.settlement, in_quarantine.quarantine_over, in_quarantine.open) == ("executed", False, True)
    assert (over.settlement, over.quarantine_over, over.open) == ("executed", True, False)
    assert desk.recorder._attempts == {}, "nothing is kept of what is over"


def row_of(desk: RecordedDesk, post: PostRequest) -> PostRow:
    """A post's row."""
    desk.journal.settle()
    (body,) = desk.journal._db.execute("SELECT body FROM posts WHERE post_id = ?", (post.post_id,)).fetchone()
    return msgspec.json.decode(body, type=PostRow)


def test_what_another_core_does_meanwhile_is_not_recorded(desk: RecordedDesk) -> None:
    """The machines are shared; they are watched during a step only, also if it ends with an error."""
    before = list(StateMachine.observers)
    with pytest.raises(IllegalEvent), desk.recorder.watching():
        desk.core.handle(ev.StopReset("it is armed"))
    assert StateMachine.observers == before
    Desk().post(order())
    desk.submit(order(cloid=ONE))
    assert [move.machine for move in desk.steps[-1].moves] == ["intent"]


def test_a_second_outcome_is_refused_by_the_journal(desk: RecordedDesk, tmp_path: Path) -> None:
    """The last line of defence, should the machines ever give one."""
    other = RecordedDesk(tmp_path / "other.journal")
    item = other.submit(order(cloid=ONE))
    other.reply(other.send(), RESTING)
    item.outcome = FILLED
    other.core.intents.moved = [item]
    other.recorder.record(ev.TimePassed(), ())
    with pytest.raises(JournalMisused, match="an outcome is final"):
        other.recorder.commit()
    assert other.journal.outcome_of(ONE) == to_builtins(RESTING)
    assert post_row(other.posts[2], None).settlement is None
    other.journal.close(clean=False)


# ---------------------------------------------------------------------------- a run that went on unrecorded


def unrecorded(desk: RecordedDesk, expires_ms: int | None) -> tuple[ev.Recovered, Recovered]:
    """What a restart takes up if steps are missing from the journal, and what the journal said."""
    _, journal = desk.crash()
    left = numbered(replace(journal.recovered, unrecorded=True), NOW + 10_000)
    journal.close(clean=False)
    return restored(left, SIGNER, expires_ms), left


def test_of_a_run_that_went_on_unrecorded_all_but_new_orders_may_be_out(desk: RecordedDesk) -> None:
    posted = desk.lose(reduce_only(cloid=cloid(1)))
    for request in (order(), reduce_only(cloid=cloid(2)), cancel(9)):
        desk.submit(request)
    left, numbers = unrecorded(desk, NOW + 20_000)
    first, second = left.posts
    assert (first.post_id, [item.cloid for item in first.items]) == (posted.post_id, [cloid(1)])
    assert (
        (second.post_id, second.nonce)
        == (numbers.last_post_id, numbers.last_nonce)
        == (posted.post_id + 1, NOW + 10_000)
    )
    assert [(item.cloid, item.attempts) for item in second.items] == [(cloid(2), (second.post_id,))]
    assert [post.expires_ms for post in left.posts] == [NOW + 20_000] * 2
    assert not left.same_key, "fences prove nothing"
    assert [item.priority for item in left.never_sent] == [Priority.NEW_ORDER]
    assert [(item.cloid, item.lost) for item in left.lost_cancels] == [(cloid(9), True)]


def test_what_may_be_out_is_believed_dead_only_after_it_has_expired(desk: RecordedDesk) -> None:
    desk.submit(reduce_only(cloid=cloid(2)))
    left, numbers = unrecorded(desk, NOW + 20_000)
    clock = ManualClock(NOW + 10_000, 10_000)
    core = ExecutorCore(
        clock,
        run_id=2,
        last_nonce=numbers.last_nonce,
        last_post_id=numbers.last_post_id,
        last_seq=numbers.last_intent_seq,
    )
    core.handle(left)
    for event in (ev.ConnectStarted(), ev.ConnectionOpened(), ev.ServerTimeLearned(clock.now_ms())):
        core.handle(event)
    assert [*core.handle(ev.TimePassed())] == []
    clock.advance(20_001)
    (asked,) = core.handle(ev.TimePassed())
    assert isinstance(asked, ev.LookUp)
    assert asked.key == cloid(2)


def test_without_an_expiry_what_may_be_out_stays_unknown(desk: RecordedDesk) -> None:
    desk.submit(reduce_only(cloid=cloid(2)))
    left, _ = unrecorded(desk, None)
    assert [post.expires_ms for post in left.posts] == [None]


def test_a_run_with_nothing_but_new_orders_left_nothing_out(desk: RecordedDesk) -> None:
    desk.submit(order())
    left, _ = unrecorded(desk, NOW)
    assert (left.posts, len(left.never_sent), left.lost_cancels) == ((), 1, ())
