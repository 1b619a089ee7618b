"""The core: draining, closing, and what is left to the next run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.intent import IntentState, NotExecuted, Request
from machines.session import SessionState
from tests.machines.builders import DUPLICATE, MISSING, Desk, cancel, cloid, of_type, order, record, reduce_only

SHUT_DOWN = NotExecuted("shut down before it was sent")
UNSETTLED = "shut down before its fate was known"


def test_drain_ends_new_orders_and_still_sends_cancels_and_reduce_only() -> None:
    desk = Desk()
    new, reducing, canceling = desk.submit(order()), desk.submit(reduce_only()), desk.submit(cancel())
    assert desk.handle(ev.DrainStarted()) == [ev.IntentEnded(new)]
    assert desk.outcome(new) == SHUT_DOWN
    assert [desk.send().items for _ in range(2)] == [(canceling,), (reducing,)]
    assert desk.handle(ev.Tick()) == []


@pytest.mark.parametrize("make", [order, reduce_only])
def test_d2_close_tells_every_owner_of_an_open_post_that_its_fate_is_left_to_the_next_run(
    make: Callable[[], Request],
) -> None:
    desk = Desk()
    post = desk.post(make())
    (item,) = post.items
    desk.handle(ev.DrainStarted())
    effects = desk.handle(ev.Closed())
    assert effects == [
        ev.PostEnded(post),
        ev.IntentUnknown(item, "shut down before the reply came"),
        ev.IntentUnsettled(item, UNSETTLED),
    ]
    assert (item.state, desk.outcome(item)) == (IntentState.UNKNOWN, None), "neither rejected nor not executed"
    assert (desk.state(), desk.inflight()) == (SessionState.CLOSED, 0)


def test_x2_close_leaves_unsettled_what_settlement_has_not_found_out() -> None:
    desk = Desk()
    fenced = desk.post(order())
    looked_up = desk.post(order(), order())
    desk.answer(looked_up, DUPLICATE)
    first, _ = desk.look_ups()
    desk.found(first, record())
    desk.pass_time(5_000)
    desk.handle(ev.DrainStarted())
    left = (looked_up.items[1], *fenced.items)
    assert desk.handle(ev.Closed()) == [ev.IntentUnsettled(item, UNSETTLED) for item in left]
    assert [item.state for item in left] == [IntentState.UNKNOWN] * 2
    assert not desk.idle()


def test_x2_close_ends_no_cancel_that_may_have_run_as_not_executed() -> None:
    desk = Desk()
    (lost,) = desk.lose(cancel(1)).items
    never_sent = desk.submit(cancel(2))
    desk.handle(ev.DrainStarted())
    effects = desk.handle(ev.Closed())
    assert effects == [ev.IntentEnded(never_sent), ev.IntentUnsettled(lost, UNSETTLED)]
    assert (lost.state, desk.outcome(lost), desk.outcome(never_sent)) == (IntentState.QUEUED, None, SHUT_DOWN)


@pytest.mark.parametrize("end", [ev.Closed(), ev.ConnectionLost("reset")])
def test_x2_close_ends_no_cancel_under_way_as_not_executed(end: ev.Event) -> None:
    desk = Desk()
    (item,) = desk.post(cancel(1)).items
    desk.handle(ev.DrainStarted())
    effects = desk.handle(end)
    assert effects[1:] == [ev.IntentUnsettled(item, UNSETTLED)]
    assert desk.outcome(item) is None


def test_x2_close_ends_waiting_cancels_unless_they_may_have_run() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    desk.answer(desk.post(cancel(1)), DUPLICATE)
    first = desk.send()
    desk.reply(first, MISSING)
    second = desk.post(cancel(1))
    desk.reply(second, MISSING)
    desk.handle(ev.DrainStarted())
    effects = desk.handle(ev.Closed())
    (maybe,), (never,) = first.items, second.items
    assert of_type(effects, ev.IntentEnded) == [ev.IntentEnded(never)]
    assert desk.outcome(never) == SHUT_DOWN
    unsettled = [effect.intent for effect in of_type(effects, ev.IntentUnsettled)]
    assert unsettled == [maybe, *target.items]
    assert maybe.state is IntentState.WAITING


def test_x2_settlement_goes_on_while_draining() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.handle(ev.DrainStarted())
    assert not desk.idle()
    desk.reply(desk.fence())
    assert isinstance(desk.outcome(post.items[0]), NotExecuted)
    assert desk.idle()
    assert desk.handle(ev.Closed()) == []


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
    effects = desk.handle(ev.ConnectionLost("reset"))
    (item,) = post.items
    assert ev.IntentUnknown(item, "the connection was lost: reset") in effects
    assert effects[-1] == ev.IntentUnsettled(item, UNSETTLED)
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
    assert desk.idle()
