"""The core: proving the key, readiness, drift, losing the connection, shutting down, and recovery from it all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.errors import IllegalEvent
from machines.intent import (
    ActionKind,
    Admission,
    IntentState,
    NotExecuted,
    Priority,
)
from machines.nonce import Drift
from machines.post import PostRequest, PostState
from machines.reply import Accepted, GatewayError, Refused, Unreadable
from machines.session import SessionState
from machines.settings import CoreSettings
from tests.machines.builders import FILLED, NOW, RESTING, Desk, cancel, of_type, order, reduce_only

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
    assert desk.quarantined() == 1
    assert desk.reply(post) == []
    assert (desk.state(), desk.quarantined()) == (SessionState.SYNCING, 0)


def test_key_is_proven_once_for_all_connections_of_a_run() -> None:
    desk = Desk()
    desk.reconnect()
    assert (desk.state(), desk.tick()) == (SessionState.READY, None)


def test_noop_is_no_rejection_and_no_success() -> None:
    desk = Desk(ready=False, settings=CoreSettings(rejections_to_halt=1))
    desk.connect()
    desk.answer(desk.send(), Refused("Must deposit before performing actions. User: 0x12"))
    assert not desk.halted()


@pytest.mark.parametrize("reason", ["Too many cumulative requests sent (9 > 8)", "Invalid nonce: nonce too high 3 > 2"])
def test_refusal_that_does_not_concern_the_key_is_no_verdict_on_it(reason: str) -> None:
    desk = _connected()
    assert of_type(desk.answer(desk.send(), Refused(reason)), ev.KeyRefused) == []
    assert desk.tick() is None
    desk.clock.advance(1_000)
    desk.answer(desk.send(), Accepted(()))
    assert desk.state() is SessionState.READY


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


def test_d1_disconnect_gives_each_slot_to_quarantine_once() -> None:
    desk = Desk()
    posts = [desk.post(order()) for _ in range(3)]
    assert (desk.inflight(), desk.quarantined()) == (3, 0)
    desk.handle(ev.ConnectionLost("reset"))
    assert (desk.inflight(), desk.quarantined()) == (0, 3)
    assert [(_state(post), post.slots_returned) for post in posts] == [(PostState.DISCONNECTED, 1)] * 3


def test_d2_disconnect_names_each_open_post_once_and_tells_every_owner() -> None:
    desk = Desk()
    posts = [desk.post(order(), order()), desk.post(cancel()), desk.post(reduce_only())]
    orders = [item for post in posts for item in post.items if item.priority is not Priority.CANCEL]
    effects = desk.handle(ev.ConnectionLost("reset"))
    assert [effect.post for effect in of_type(effects, ev.PostEnded)] == posts
    reason = "the connection was lost: reset"
    assert of_type(effects, ev.IntentUnknown) == [ev.IntentUnknown(item, reason) for item in orders]
    assert len(effects) == 6
    assert [item.state for item in orders] == [IntentState.UNKNOWN] * 3
    assert desk.waiting(Priority.CANCEL) == 1, "a cancel is sent again"


def test_p5_disconnect_leaves_waiting_items_in_their_queues() -> None:
    desk = Desk()
    posted = desk.post(order())
    waiting = [desk.submit(cancel()), desk.submit(reduce_only()), desk.submit(order())]
    effects = desk.handle(ev.ConnectionLost("reset"))
    (item,) = posted.items
    assert effects == [ev.PostEnded(posted), ev.IntentUnknown(item, "the connection was lost: reset")]
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
    assert desk.tick() is None, "all slots are quarantined"
    desk.pass_time(10_000)
    sent = [desk.send(), desk.send()]
    assert [(post.priority, len(post.items)) for post in sent] == [(Priority.CANCEL, 3), (Priority.REDUCE_ONLY, 1)]
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
