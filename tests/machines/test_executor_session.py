"""The core: proving the key, readiness, drift, losing the connection, shutting down, and recovery from it all."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import get_args

import pytest

from machines import events as ev
from machines.batch import QueueLimits
from machines.clock import ManualClock
from machines.errors import IllegalEvent
from machines.executor import CoreSettings, ExecutorCore
from machines.intent import (
    ActionKind,
    Admission,
    Canceled,
    IntentState,
    ItemResult,
    NotExecuted,
    Priority,
    Rejected,
    Request,
    Unknown,
)
from machines.nonce import Drift
from machines.post import POST, PostRequest, PostState
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.session import SessionState
from tests.machines.builders import FILLED, MARGIN, NOW, RESTING, Desk, cancel, cloid, of_type, order, reduce_only

SHUT_DOWN = NotExecuted("shut down before it was sent")


def _state(post: PostRequest) -> PostState:
    return post.state


def _connected() -> Desk:
    """A desk that knows clock and markets, but whose key is not proven."""
    desk = Desk(ready=False)
    desk.connect()
    desk.learn()
    return desk


# ----------------------------------------------------------------------------------------------------- the key


def test_key_is_proven_by_a_noop_before_anything_else_is_sent() -> None:
    desk = _connected()
    desk.submit(cancel())
    post = desk.send()
    assert (post.kind, post.priority, post.items) == (ActionKind.NOOP, None, ())
    assert desk.state() is SessionState.SYNCING
    assert desk.send().kind is ActionKind.CANCEL_BY_CLOID, "one noop at a time; cancels pass meanwhile"
    assert desk.reply(post) == [ev.PostEnded(post)]
    assert desk.state() is SessionState.READY
    assert desk.tick() is None


@pytest.mark.parametrize("missing", ["clock", "markets", "key"])
def test_session_is_ready_once_the_last_of_clock_markets_and_key_is_known(missing: str) -> None:
    steps: dict[str, Callable[[Desk], object]] = {
        "clock": lambda desk: desk.handle(ev.ServerTimeLearned(NOW)),
        "markets": lambda desk: desk.handle(ev.MarketsLoaded()),
        "key": lambda desk: desk.prove_key(),
    }
    desk = Desk(ready=False)
    desk.connect()
    for name, step in steps.items():
        if name != missing:
            step(desk)
    assert (desk.state(), desk.core.new_orders_pass) == (SessionState.SYNCING, False)
    steps[missing](desk)
    assert (desk.state(), desk.core.new_orders_pass) == (SessionState.READY, True)


def test_refused_key_is_reported_and_no_new_order_passes() -> None:
    desk = _connected()
    post = desk.send()
    reason = "User or API Wallet 0x12 does not exist."
    assert desk.answer(post, Refused(reason)) == [ev.PostEnded(post), ev.KeyRefused(reason)]
    assert (_state(post), desk.state()) == (PostState.FAILED, SessionState.SYNCING)
    assert desk.tick() is None, "the key is not tried again"
    assert desk.admit(order()).admission is Admission.NOT_READY
    desk.submit(cancel())
    assert desk.tick() is not None


def _noop_timed_out(desk: Desk) -> None:
    desk.send()
    desk.pass_time(5_000)


def _noop_unclear(desk: Desk) -> None:
    desk.answer(desk.send(), Refused("Invalid nonce: duplicate nonce 7"))


def _noop_unreadable(desk: Desk) -> None:
    desk.answer(desk.send(), Unreadable("not an object"))


def _noop_with_results(desk: Desk) -> None:
    desk.reply(desk.send(), RESTING)


def _noop_turned_away(desk: Desk) -> None:
    desk.answer(desk.send(), GatewayError("429 Too Many Requests"))


def _noop_named_by_an_error(desk: Desk) -> None:
    desk.handle(ev.ErrorReceived(1, "too many pending post requests id=1", desk.send().post_id))


def _noop_not_sent(desk: Desk) -> None:
    desk.handle(ev.SendRefused(desk.take().post_id, "socket not open"))


def _noop_broken(desk: Desk) -> None:
    post = desk.take()
    desk.handle(ev.SendBroken(post.post_id, post.nonce, 1, "broken pipe"))


def _noop_disconnected(desk: Desk) -> None:
    desk.send()
    desk.reconnect()


@pytest.mark.parametrize(
    "lose",
    [
        _noop_timed_out,
        _noop_unclear,
        _noop_unreadable,
        _noop_with_results,
        _noop_turned_away,
        _noop_named_by_an_error,
        _noop_not_sent,
        _noop_broken,
        _noop_disconnected,
    ],
)
def test_d3_lost_noop_is_repeated_with_a_nonce_of_its_own(lose: Callable[[Desk], None]) -> None:
    desk = _connected()
    lose(desk)
    assert (desk.state(), desk.inflight()) == (SessionState.SYNCING, 0)
    desk.clock.advance(1_000)
    again = desk.send()
    (first, _) = desk.posts.values()
    assert (again.kind, again.post_id) == (ActionKind.NOOP, 2)
    assert again.nonce > first.nonce
    desk.reply(again)
    assert desk.state() is SessionState.READY


def test_late_answer_of_a_lost_noop_proves_nothing() -> None:
    desk = _connected()
    post = desk.send()
    desk.pass_time(5_000)
    assert desk.reply(post) == [ev.StrayReply(1, post.post_id)]
    assert desk.state() is SessionState.SYNCING


def test_key_is_proven_once_for_all_connections_of_a_run() -> None:
    desk = Desk()
    desk.reconnect()
    assert (desk.state(), desk.tick()) == (SessionState.READY, None)


def test_noop_is_no_rejection_and_no_success() -> None:
    desk = Desk(ready=False, settings=CoreSettings(rejections_to_halt=1))
    desk.connect()
    desk.answer(desk.send(), Refused("Must deposit before performing actions. User: 0x12"))
    assert not desk.halted()


# ---------------------------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize("offset", [5_001, -5_001])
def test_n5_drift_over_5_s_stops_new_orders(offset: int) -> None:
    desk = Desk()
    waiting = desk.submit(order())
    effects = desk.handle(ev.ServerTimeLearned(NOW + offset))
    halted = ev.Halted(f"the clock is {offset} ms off the server's")
    assert effects == [ev.DriftSeen(Drift.ERROR, offset), halted, ev.IntentEnded(waiting)]
    assert desk.outcome(waiting) == NotExecuted(f"halted: {halted.reason}")
    assert desk.admit(order()).admission is Admission.HALTED
    assert (desk.state(), desk.core.new_orders_pass) == (SessionState.READY, False)


def test_n5_operators_reset_alone_does_not_let_new_orders_pass() -> None:
    desk = Desk()
    desk.handle(ev.ServerTimeLearned(NOW + 5_001))
    desk.handle(ev.StopReset("trust me"))
    assert desk.admit(order()).admission is Admission.NOT_READY
    desk.handle(ev.ServerTimeLearned(NOW + 100))
    assert desk.admit(order()).admission is Admission.QUEUED


@pytest.mark.parametrize("offset", [2_001, 5_000, -2_001])
def test_n5_drift_over_2_s_is_reported_only(offset: int) -> None:
    desk = Desk()
    assert desk.handle(ev.ServerTimeLearned(NOW + offset)) == [ev.DriftSeen(Drift.WARN, offset)]
    assert desk.core.new_orders_pass


def test_n5_drift_within_2_s_is_not_reported() -> None:
    assert Desk().handle(ev.ServerTimeLearned(NOW + 2_000)) == []


def test_n5_connection_whose_clock_is_off_does_not_become_ready() -> None:
    desk = Desk()
    desk.handle(ev.ConnectionLost("reset"))
    desk.connect()
    desk.handle(ev.ServerTimeLearned(NOW + 6_000))
    assert desk.state() is SessionState.SYNCING
    desk.handle(ev.ServerTimeLearned(NOW + 10))
    assert desk.state() is SessionState.READY


# ----------------------------------------------------------------------------------------------------- disconnect


def test_d1_disconnect_gives_each_slot_back_once() -> None:
    desk = Desk()
    posts = [desk.post(order()) for _ in range(3)]
    assert desk.inflight() == 3
    desk.handle(ev.ConnectionLost("reset"))
    assert desk.inflight() == 0
    assert [(_state(post), post.slots_returned) for post in posts] == [(PostState.DISCONNECTED, 1)] * 3


def test_d2_disconnect_names_each_open_post_once_and_tells_every_owner() -> None:
    desk = Desk()
    posts = [desk.post(order(), order()), desk.post(cancel()), desk.post(reduce_only())]
    items = [item for post in posts for item in post.items]
    effects = desk.handle(ev.ConnectionLost("reset"))
    assert [effect.post for effect in of_type(effects, ev.PostEnded)] == posts
    assert [effect.intent for effect in of_type(effects, ev.IntentEnded)] == items
    assert [desk.outcome(item) for item in items] == [Unknown("the connection was lost: reset")] * 4
    assert desk.all_told()


def test_p5_disconnect_leaves_waiting_items_in_their_queues() -> None:
    desk = Desk()
    posted = desk.post(order())
    waiting = [desk.submit(cancel()), desk.submit(reduce_only()), desk.submit(order())]
    effects = desk.handle(ev.ConnectionLost("reset"))
    assert effects == [ev.PostEnded(posted), *map(ev.IntentEnded, posted.items)]
    assert [item.state for item in waiting] == [IntentState.QUEUED] * 3
    assert desk.inflight() == 0


def test_d3_after_a_reconnect_waiting_work_flows_again() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=2, high_watermark=2))
    desk.submit(order())
    for number in range(2):
        desk.submit(cancel(number))
        desk.send()
    for request in (reduce_only(), cancel()):
        desk.submit(request)
    assert desk.tick() is None, "all slots are taken"
    desk.reconnect()
    sent = [desk.send(), desk.send()]
    assert [post.priority for post in sent] == [Priority.CANCEL, Priority.REDUCE_ONLY]
    desk.reply(sent[1], FILLED)
    assert desk.send().priority is Priority.NEW_ORDER


def test_new_orders_wait_until_the_new_connection_is_ready() -> None:
    desk = Desk()
    waiting = desk.submit(order())
    desk.handle(ev.ConnectionLost("reset"))
    desk.connect()
    assert desk.tick() is None, "the clock of this connection is not synced yet"
    desk.learn()
    assert desk.send().items == (waiting,)


def test_failed_attempt_to_connect_loses_nothing() -> None:
    desk = Desk()
    desk.handle(ev.ConnectionLost("reset"))
    desk.handle(ev.ConnectStarted())
    waiting = desk.submit(cancel())
    assert desk.handle(ev.ConnectionLost("refused")) == []
    desk.connect()
    assert desk.core.session.epoch == 2
    assert desk.send().items == (waiting,)


@pytest.mark.parametrize("event", [ev.ConnectStarted(), ev.ConnectionOpened(), ev.Closed(), ev.StopReset("x")])
def test_event_that_session_or_hard_stop_do_not_allow_is_refused(event: ev.Event) -> None:
    desk = Desk()
    desk.post(order())
    desk.submit(order())
    with pytest.raises(IllegalEvent):
        desk.handle(event)
    assert (desk.state(), desk.inflight(), desk.waiting(Priority.NEW_ORDER)) == (SessionState.READY, 1, 1)


# -------------------------------------------------------------------------------------------------- shutting down


def test_drain_ends_new_orders_and_still_sends_cancels_and_reduce_only() -> None:
    desk = Desk()
    new, reducing, canceling = desk.submit(order()), desk.submit(reduce_only()), desk.submit(cancel())
    assert desk.handle(ev.DrainStarted()) == [ev.IntentEnded(new)]
    assert desk.outcome(new) == SHUT_DOWN
    assert [desk.send().items for _ in range(2)] == [(canceling,), (reducing,)]
    assert desk.handle(ev.Tick()) == []


def test_d2_close_ends_what_is_still_open_and_tells_every_owner() -> None:
    desk = Desk()
    post = desk.post(order())
    desk.handle(ev.DrainStarted())
    effects = desk.handle(ev.Closed())
    assert effects == [ev.PostEnded(post), *map(ev.IntentEnded, post.items)]
    assert desk.outcome(post.items[0]) == Unknown("shut down before the reply came")
    assert (desk.state(), desk.inflight(), desk.core.idle) == (SessionState.CLOSED, 0, True)
    assert desk.all_told()


def test_close_ends_what_still_waits() -> None:
    desk = Desk()
    waiting = [desk.submit(cancel()), desk.submit(reduce_only())]
    desk.handle(ev.DrainStarted())
    desk.handle(ev.Closed())
    assert [desk.outcome(item) for item in waiting] == [SHUT_DOWN] * 2
    assert desk.all_told()


def test_connection_lost_while_draining_closes() -> None:
    desk = Desk()
    post = desk.post(order())
    waiting = desk.submit(cancel())
    desk.handle(ev.DrainStarted())
    desk.handle(ev.ConnectionLost("reset"))
    assert desk.outcome(post.items[0]) == Unknown("the connection was lost: reset")
    assert desk.outcome(waiting) == SHUT_DOWN
    assert desk.state() is SessionState.CLOSED


@pytest.mark.parametrize("attempting", [False, True])
def test_drain_without_a_connection_closes_at_once(attempting: bool) -> None:
    desk = Desk()
    desk.handle(ev.ConnectionLost("reset"))
    waiting = [desk.submit(cancel()), desk.submit(reduce_only())]
    if attempting:
        desk.handle(ev.ConnectStarted())
    desk.handle(ev.DrainStarted())
    assert desk.state() is SessionState.CLOSED
    assert [desk.outcome(item) for item in waiting] == [SHUT_DOWN] * 2
    assert desk.core.idle


# ------------------------------------------------------------------------------------------------- the whole life


def test_a_whole_life_uses_every_event_and_leaves_nothing_behind() -> None:
    desk = Desk(ready=False)
    script: list[ev.Event] = [
        ev.ConnectStarted(),
        ev.ConnectionOpened(),
        ev.ServerTimeLearned(NOW + 3),
        ev.MarketsLoaded(),
        ev.Tick(),
        ev.PostWritten(1, NOW + 4, 1),
        ev.ReplyReceived(1, 1, Accepted(())),
        ev.MessageWritten(),
        ev.BudgetReported(used=1, cap=10_000),
        ev.Submit(order(cloid=cloid(1))),
        ev.Tick(),
        ev.PostWritten(2, NOW + 5, 1),
        ev.ReplyReceived(1, 2, Accepted((RESTING,))),
        ev.OrderClosed(cloid(1)),
        ev.Submit(order()),
        ev.Tick(),
        ev.SendRefused(3, "socket not open"),
        ev.Submit(reduce_only()),
        ev.Tick(),
        ev.SendBroken(4, NOW + 7, 1, "broken pipe"),
        ev.ConnectionLost("broken pipe"),
        ev.ConnectStarted(),
        ev.ConnectionOpened(),
        ev.ServerTimeLearned(NOW + 3),
        ev.StopTripped("operator"),
        ev.StopReset("operator"),
        ev.Submit(cancel()),
        ev.Tick(),
        ev.PostWritten(5, NOW + 8, 2),
        ev.ErrorReceived(2, "too many pending post requests id=5", 5),
        ev.TimePassed(),
        ev.DrainStarted(),
        ev.Closed(),
    ]
    for event in script:
        desk.handle(event)
    assert {type(event) for event in script} == set(get_args(ev.Event))
    assert {type(effect) for effect in desk.effects} == {
        ev.Admitted,
        ev.Transmit,
        ev.PostEnded,
        ev.IntentEnded,
        ev.Halted,
    }
    outcomes = [type(desk.outcome(item)) for item in desk.intents.values()]
    assert outcomes[1:] == [NotExecuted, Unknown, NotExecuted]
    assert desk.outcome(desk.intents[1]) == RESTING
    assert (desk.state(), desk.inflight(), desk.core.idle, desk.all_told()) == (SessionState.CLOSED, 0, True, True)


def test_core_begins_with_nothing() -> None:
    core = ExecutorCore(ManualClock(), run_id=1)
    assert (core.nonces.last, core.accepted, core.ended, core.idle) == (0, 0, 0, True)
    assert (core.session.state, core.hard_stop.tripped) == (SessionState.DISCONNECTED, False)


def test_snapshot_names_what_the_last_step_moved() -> None:
    desk = Desk()
    first, second = desk.post(order()), desk.post(order())
    desk.reply(first, RESTING)
    snapshot = desk.core.snapshot()
    assert (snapshot.posts, snapshot.intents) == ([first], list(first.items))
    assert (snapshot.inflight, snapshot.open_posts, snapshot.items_in_flight) == (1, 1, 1)
    assert (snapshot.accepted, snapshot.ended, snapshot.session) == (2, 1, SessionState.READY)
    assert desk.core.snapshot(posts=[second], intents=[]).posts == [second]
    desk.handle(ev.TimePassed())
    assert (desk.core.snapshot().posts, desk.core.snapshot().intents) == ([], [])


# ----------------------------------------------------------------------------------- any failures, then recovery


FAULTY = CoreSettings(
    inflight_limit=4, high_watermark=3, queues=QueueLimits(cancel=12, reduce_only=12, new_order=12, batch=3)
)
REPLIES: tuple[PostReply, ...] = (
    GatewayError("429 Too Many Requests"),
    GatewayError("502 Bad Gateway"),
    Refused("Invalid nonce: duplicate nonce 7"),
    Refused(MARGIN),
    Unreadable("not an object"),
    Accepted((Rejected(MARGIN),)),
)


def _good_results(post: PostRequest) -> tuple[ItemResult, ...]:
    return tuple(Canceled() if post.priority is Priority.CANCEL else FILLED for _ in post.items)


class _World:
    """A venue and a network that misbehave, then heal; driven by a seeded generator."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.desk = Desk(settings=FAULTY)

    def open_posts(self) -> list[PostRequest]:
        return [post for post in self.desk.posts.values() if post.state is PostState.SENT]

    def misbehave(self) -> None:
        desk = self.desk
        choice = self.random.choices(
            ("submit", "tick", "answer", "time", "lose", "stray", "reset"), (30, 30, 16, 6, 2, 4, 1)
        )[0]
        match choice:
            case "submit":
                number = self.random.randrange(30)
                requests: list[Request] = [order(), order(tif="Alo"), reduce_only(), cancel(number)]
                desk.admit(self.random.choice(requests))
            case "tick":
                self.hand_over(self.random.choices(("written", "refused", "broken"), (8, 1, 1))[0])
            case "answer" if self.open_posts():
                post = self.random.choice(self.open_posts())
                desk.answer(post, self.random.choice([*REPLIES, Accepted(_good_results(post))]))
            case "time":
                desk.pass_time(self.random.choice([10, 700, 5_000]))
            case "lose":
                desk.reconnect()
            case "stray":
                number = self.random.randrange(1, len(desk.posts) + 3)
                desk.handle(ev.ReplyReceived(self.random.randrange(3), number, self.random.choice(REPLIES)))
            case "reset" if desk.halted():
                desk.handle(ev.StopReset("test"))

    def hand_over(self, how: str) -> None:
        desk = self.desk
        post = desk.tick()
        if post is None:
            return
        match how:
            case "written":
                desk.written(post)
            case "refused":
                desk.handle(ev.SendRefused(post.post_id, "socket not open"))
            case "broken":
                desk.handle(ev.SendBroken(post.post_id, post.nonce, desk.core.session.epoch, "broken pipe"))

    def heal(self) -> None:
        desk = self.desk
        if desk.halted():
            desk.handle(ev.StopReset("healed"))
        desk.reconnect()
        for _ in range(100):
            desk.clock.advance(1_000)
            self.hand_over("written")
            for post in self.open_posts():
                desk.answer(post, Accepted(_good_results(post)))


@pytest.mark.parametrize("seed", range(12))
def test_d3_after_any_failures_inflight_returns_to_0_and_work_flows_again(seed: int) -> None:
    world = _World(seed)
    for _ in range(250):
        world.misbehave()
    world.heal()
    desk = world.desk
    assert (desk.inflight(), desk.core.idle, desk.all_told()) == (0, True, True)
    assert desk.post(order()).kind is ActionKind.ORDER
    assert desk.post(cancel()).kind is ActionKind.CANCEL_BY_CLOID


def test_d3_those_failures_reach_every_ending_of_posts_and_intents() -> None:
    posts, intents = set(), set()
    for seed in range(12):
        world = _World(seed)
        for _ in range(250):
            world.misbehave()
        posts |= {post.state for post in world.desk.posts.values()}
        intents |= {item.state for item in world.desk.intents.values()}
    assert posts >= POST.final
    assert intents == set(IntentState) - {IntentState.ACCEPTED, IntentState.RESTING}


@pytest.mark.parametrize("reason", ["Too many cumulative requests sent (9 > 8)", "Invalid nonce: nonce too high 3 > 2"])
def test_refusal_that_does_not_concern_the_key_is_no_verdict_on_it(reason: str) -> None:
    desk = Desk(ready=False)
    desk.connect()
    desk.learn()
    assert of_type(desk.answer(desk.send(), Refused(reason)), ev.KeyRefused) == []
    assert desk.tick() is None
    desk.clock.advance(1_000)
    desk.answer(desk.send(), Accepted(()))
    assert desk.state() is SessionState.READY
