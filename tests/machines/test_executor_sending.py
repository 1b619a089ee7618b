"""The core: ticks, the hand-over of a post, and what holds sending back."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from machines import events as ev
from machines.batch import QueueLimits
from machines.errors import SignedNonceMismatch, StepOrderError
from machines.intent import ActionKind, Cancel, IntentState, Modify, NotExecuted, Priority, Request
from machines.nonce import WINDOW_FUTURE_MS
from machines.post import PostRequest, PostState
from machines.reply import Accepted, GatewayError
from machines.settings import CoreSettings
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    NOW,
    RESTING,
    Desk,
    cancel,
    cloid,
    fields,
    of_type,
    order,
    record,
    reduce_only,
    seqs,
)

SAMPLES: dict[type, ev.Event] = {
    type(event): event
    for event in (
        ev.Submit(order()),
        ev.StopTripped("x"),
        ev.StopReset("x"),
        ev.DrainStarted(),
        ev.Closed(),
        ev.Tick(),
        ev.TimePassed(),
        ev.PostWritten(2, NOW, 1),
        ev.SendRefused(2, "x"),
        ev.SendBroken(2, NOW, 1, "x"),
        ev.MessageWritten(),
        ev.ConnectStarted(),
        ev.ConnectionOpened(),
        ev.ConnectionLost("x"),
        ev.ReplyReceived(1, 2, Accepted(())),
        ev.ErrorReceived(1, "x", 2),
        ev.OrderSeen(cloid(1), record()),
        ev.OrderGone(cloid(1)),
        ev.FillSeen(cloid(1), 11, "1"),
        ev.LookedUp(2, 1, None),
        ev.LookUpFailed(2, 1),
        ev.Recovered((), (), same_key=True),
        ev.ServerTimeLearned(NOW),
        ev.MarketsLoaded(),
        ev.BudgetReported(1, 2),
    )
}
HAND_OVER = (ev.PostWritten, ev.SendRefused, ev.SendBroken)


def _state(post: PostRequest) -> PostState:
    return post.state


# ----------------------------------------------------------------------------------------------------------- a tick


def test_b1_one_tick_makes_one_post_with_one_nonce_and_one_slot() -> None:
    desk = Desk()
    for request in (order(), cancel(1), reduce_only(), Cancel(market="BTC", oid=4), order(tif="Alo")):
        desk.submit(request)
    last = desk.core.nonces.last
    posts = []
    for number in range(1, 6):
        post = desk.send()
        assert (post.nonce, desk.core.nonces.last, desk.inflight()) == (last + number, last + number, number)
        posts.append((post.kind, seqs(post.items)))
    assert posts == [
        (ActionKind.CANCEL_BY_CLOID, [2]),
        (ActionKind.CANCEL, [4]),
        (ActionKind.ORDER, [3]),
        (ActionKind.ORDER, [1]),
        (ActionKind.ORDER, [5]),
    ]
    assert desk.tick() is None


def test_b2_tick_itself_moves_no_counter_and_no_item() -> None:
    desk = Desk()
    item = desk.submit(order())
    post = desk.take()
    assert (desk.inflight(), len(desk.core.posts), desk.core.posts.items_in_flight) == (0, 0, 0)
    assert (item.state, item.attempts, post.slots_taken) == (IntentState.QUEUED, (), 0)
    assert not desk.idle()


def test_b2_tick_leaves_what_does_not_fit_in_its_queue() -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(batch=2)))
    for _ in range(5):
        desk.submit(order())
    assert [seqs(desk.send().items) for _ in range(3)] == [[1, 2], [3, 4], [5]]


def test_tick_without_anything_to_send_does_nothing() -> None:
    desk = Desk()
    assert desk.handle(ev.Tick()) == []
    assert desk.idle()


def test_n2_each_post_takes_the_servers_time_of_its_tick() -> None:
    desk = Desk()
    desk.submit(order())
    desk.handle(ev.ServerTimeLearned(NOW + 1_200))
    desk.clock.advance(400)
    assert desk.send().nonce == NOW + 1_600
    desk.submit(order())
    assert desk.send().nonce == NOW + 1_601


def test_b5_queues_are_served_by_priority_whatever_came_first() -> None:
    desk = Desk()
    for request in (order(), reduce_only(), cancel()):
        desk.submit(request)
    assert [desk.send().priority for _ in range(3)] == [Priority.CANCEL, Priority.REDUCE_ONLY, Priority.NEW_ORDER]


def test_b6_nothing_is_sent_at_the_limit() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=2, high_watermark=2))
    first, _ = desk.post(cancel()), desk.post(cancel())
    desk.submit(cancel())
    assert desk.tick() is None
    desk.answer(first, GatewayError("502"))
    desk.clock.advance(1_000)
    assert desk.tick() is not None


def test_b4_new_orders_wait_from_the_watermark_on() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=3, high_watermark=1))
    first = desk.post(order())
    desk.submit(order())
    assert desk.tick() is None
    desk.submit(reduce_only())
    assert desk.send().priority is Priority.REDUCE_ONLY
    desk.reply(first, RESTING)
    assert desk.tick() is None, "the reduce-only order still holds a slot"
    desk.reply(desk.posts[3], FILLED)
    assert desk.send().priority is Priority.NEW_ORDER


@pytest.mark.parametrize("connected", [False, True])
def test_nothing_is_sent_without_a_connection(connected: bool) -> None:
    desk = Desk()
    desk.submit(cancel())
    if not connected:
        desk.handle(ev.ConnectionLost("reset"))
    assert (desk.tick() is not None) is connected


@pytest.mark.parametrize(
    ("request_", "wanted"), [(order(), True), (cancel(), True), (reduce_only(), True), (None, False)]
)
def test_tick_is_wanted_while_something_waits(request_: Request | None, wanted: bool) -> None:
    desk = Desk()
    if request_ is not None:
        desk.submit(request_)
    assert desk.wants_tick() is wanted


def test_tick_is_wanted_until_the_key_is_proven() -> None:
    desk = Desk(ready=False)
    wanted = [desk.wants_tick()]
    desk.connect()
    wanted.append(desk.wants_tick())
    post = desk.send()
    wanted.append(desk.wants_tick())
    desk.reply(post)
    wanted.append(desk.wants_tick())
    assert wanted == [False, True, False, False]


# ------------------------------------------------------------------------------------------------------- in hand


def test_samples_hold_every_event() -> None:
    assert set(SAMPLES) == set(get_args(ev.Event))


@pytest.mark.parametrize("event", [event for event in SAMPLES.values() if not isinstance(event, HAND_OVER)])
def test_x6_while_a_post_is_in_hand_nothing_but_its_hand_over_is_taken(event: ev.Event) -> None:
    desk = Desk()
    item = desk.submit(order())
    post = desk.take()
    before = (fields(post), fields(item), desk.state(), desk.inflight(), desk.core.nonces.last)
    with pytest.raises(StepOrderError, match=f"{type(event).__name__} while post 2 is in hand"):
        desk.core.handle(event)
    assert (fields(post), fields(item), desk.state(), desk.inflight(), desk.core.nonces.last) == before
    desk.written(post)
    assert _state(post) is PostState.SENT


@pytest.mark.parametrize("event", [event for event in SAMPLES.values() if isinstance(event, HAND_OVER)])
@pytest.mark.parametrize("held", [False, True])
def test_hand_over_of_another_post_is_refused(event: ev.Event, held: bool) -> None:
    desk = Desk(last_post_id=10)
    if held:
        desk.submit(order())
        desk.take()
    with pytest.raises(StepOrderError, match="post 2 was reported as handed over, in hand is"):
        desk.core.handle(event)
    assert (desk.inflight(), len(desk.core.posts)) == (0, 0)


def test_b7_core_refuses_a_post_signed_with_another_nonce() -> None:
    desk = Desk()
    item = desk.submit(order())
    post = desk.take()
    before = fields(post)
    with pytest.raises(SignedNonceMismatch):
        desk.core.handle(ev.PostWritten(post.post_id, post.nonce + 1, 1))
    assert (fields(post), item.state, desk.inflight()) == (before, IntentState.QUEUED, 0)


def test_x6_nonce_is_allotted_at_the_tick_and_never_kept_for_later() -> None:
    desk = Desk()
    desk.submit(reduce_only())
    desk.clock.advance(300)
    first = desk.take()
    assert (first.nonce, first.signed_nonce) == (NOW + 300, None)
    desk.handle(ev.SendRefused(first.post_id, "socket not open"))
    desk.clock.advance(200)
    second = desk.send()
    assert (second.post_id, second.nonce) == (first.post_id + 1, NOW + 500)
    assert second.items == first.items


# ------------------------------------------------------------------------------------------------------- written


def test_p1_post_is_registered_and_counted_in_the_step_that_writes_it() -> None:
    desk = Desk()
    items = [desk.submit(order()), desk.submit(order())]
    post = desk.take()
    assert (_state(post), desk.inflight(), len(desk.core.posts)) == (PostState.QUEUED, 0, 0)
    assert desk.written(post) == []
    assert (_state(post), desk.inflight(), len(desk.core.posts)) == (PostState.SENT, 1, 1)
    assert [(item.state, item.attempts) for item in items] == [(IntentState.POSTED, (post.post_id,))] * 2
    assert desk.core.moved_posts == [post]
    assert desk.core.intents.moved == items


def test_b7_signed_nonce_is_the_registered_one() -> None:
    desk = Desk()
    post = desk.post(order())
    assert post.signed_nonce == post.nonce == desk.core.nonces.last


# ------------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("make", [cancel, reduce_only])
def test_p7_refused_hand_over_puts_cancels_and_reduce_only_back_at_the_head(make: Callable[[], Request]) -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(batch=2)))
    items = [desk.submit(make()) for _ in range(5)]
    refused = desk.take()
    effects = desk.handle(ev.SendRefused(refused.post_id, "socket not open"))
    assert effects == [ev.PostEnded(refused)]
    assert (_state(refused), [item.state for item in items]) == (PostState.UNSENT, [IntentState.QUEUED] * 5)
    assert [seqs(desk.send().items) for _ in range(3)] == [[1, 2], [3, 4], [5]]


def test_p7_refused_hand_over_ends_new_orders_as_not_executed() -> None:
    desk = Desk()
    items = [desk.submit(order()), desk.submit(order())]
    post = desk.take()
    effects = desk.handle(ev.SendRefused(post.post_id, "socket not open"))
    assert effects == [ev.PostEnded(post), *map(ev.IntentEnded, items)]
    assert [desk.outcome(item) for item in items] == [NotExecuted("not sent: socket not open")] * 2
    assert desk.tick() is None


@pytest.mark.parametrize("make", [cancel, reduce_only, order])
def test_p3_refused_hand_over_costs_no_slot_and_no_message(make: Callable[[], Request]) -> None:
    desk = Desk(settings=CoreSettings(messages_per_minute=2))
    desk.submit(make())
    post = desk.take()
    desk.handle(ev.SendRefused(post.post_id, "socket not open"))
    assert (desk.inflight(), post.slots_taken, post.slots_returned) == (0, 0, 0)
    desk.submit(cancel(55))
    assert desk.tick() is not None, "the noop was the only message so far"


# -------------------------------------------------------------------------------------------------------- broken


@pytest.mark.parametrize("make", [reduce_only, order])
def test_x1_broken_hand_over_is_ambiguous_and_not_blindly_sent_again(make: Callable[[], Request]) -> None:
    desk = Desk()
    item = desk.submit(make())
    post = desk.take()
    effects = desk.handle(ev.SendBroken(post.post_id, post.nonce, 1, "broken pipe"))
    reason = "the hand-over to the socket broke off: broken pipe"
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(item, reason)]
    assert (_state(post), post.ambiguous) == (PostState.DISCONNECTED, True)
    assert (item.state, desk.outcome(item)) == (IntentState.UNKNOWN, None)
    assert desk.fence().fence_of == post.post_id
    assert desk.tick() is None


def test_x1_cancel_whose_hand_over_broke_off_is_sent_again() -> None:
    desk = Desk()
    item = desk.submit(cancel())
    post = desk.take()
    assert desk.handle(ev.SendBroken(post.post_id, post.nonce, 1, "broken pipe")) == [ev.PostEnded(post)]
    assert (_state(post), post.ambiguous, item.lost) == (PostState.DISCONNECTED, True, True)
    assert desk.send().items == (item,)


def test_p3_broken_hand_over_gives_its_slot_to_quarantine() -> None:
    desk = Desk()
    desk.submit(order())
    post = desk.take()
    desk.handle(ev.SendBroken(post.post_id, post.nonce, 1, "broken pipe"))
    assert (desk.inflight(), desk.quarantined()) == (0, 1)
    assert (post.slots_taken, post.slots_returned, post.completions) == (1, 1, 1)
    assert len(desk.core.posts) == 0


# --------------------------------------------------------------------------------------------- no legal nonce left


def _one_nonce_left() -> Desk:
    """A desk whose noop took the last nonce inside the window; the next is legal 1 ms later."""
    return Desk(last_nonce=NOW + WINDOW_FUTURE_MS - 2)


def test_n1_without_a_legal_nonce_reduce_only_waits_again_and_new_orders_end() -> None:
    desk = _one_nonce_left()
    new, reducing = desk.submit(order()), desk.submit(reduce_only())
    effects = desk.handle(ev.Tick())
    (halted,) = of_type(effects, ev.Halted)
    assert "ahead of server time" in halted.reason
    assert of_type(effects, ev.Transmit) == []
    assert desk.outcome(new) == NotExecuted(f"halted: {halted.reason}")
    assert (reducing.state, desk.waiting(Priority.REDUCE_ONLY)) == (IntentState.QUEUED, 1)
    assert of_type(desk.handle(ev.Tick()), ev.Halted) == [], "the hard stop is tripped already"
    desk.clock.advance(5)
    assert desk.send().items == (reducing,)


def test_n1_without_a_legal_nonce_a_batch_of_new_orders_ends_once() -> None:
    desk = _one_nonce_left()
    items = [desk.submit(order()), desk.submit(order())]
    effects = desk.handle(ev.Tick())
    assert [effect.intent for effect in of_type(effects, ev.IntentEnded)] == items
    assert all(isinstance(desk.outcome(item), NotExecuted) for item in items)
    assert desk.idle()


def test_n1_without_a_legal_nonce_the_key_is_proven_later() -> None:
    desk = Desk(ready=False, last_nonce=NOW + WINDOW_FUTURE_MS - 1)
    desk.connect()
    assert of_type(desk.handle(ev.Tick()), ev.Transmit) == []
    assert desk.halted()
    desk.clock.advance(1)
    assert desk.send().kind is ActionKind.NOOP


# ------------------------------------------------------------------------------------------------- rate and budget


def test_posts_and_other_messages_count_toward_the_message_rate() -> None:
    desk = Desk(settings=CoreSettings(messages_per_minute=3))
    desk.handle(ev.MessageWritten())
    desk.post(cancel())
    desk.submit(cancel())
    assert desk.tick() is None
    desk.clock.advance(60_000)
    assert desk.tick() is not None


def test_exhausted_budget_holds_new_orders_back_and_nothing_else() -> None:
    desk = Desk()
    desk.handle(ev.BudgetReported(used=100, cap=100))
    desk.submit(order())
    assert desk.tick() is None, "the noop was an action, and 10 s must lie between two"
    desk.submit(cancel())
    desk.submit(reduce_only())
    assert [desk.send().priority for _ in range(2)] == [Priority.CANCEL, Priority.REDUCE_ONLY]
    desk.clock.advance(9_999)
    assert desk.tick() is None
    desk.clock.advance(1)
    assert desk.send().priority is Priority.NEW_ORDER


def test_budget_is_spent_by_items_and_a_noop_costs_one() -> None:
    desk = Desk()
    assert desk.core.budget.used == 1
    desk.post(order(), order(), order())
    assert desk.core.budget.used == 4


def test_modifies_travel_in_their_own_posts() -> None:
    desk = Desk()
    desk.submit(order())
    desk.submit(Modify(order=order(), oid=1))
    assert [desk.send().kind for _ in range(2)] == [ActionKind.ORDER, ActionKind.MODIFY]


# --------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.parametrize(
    ("request_", "expires"),
    [
        (order(), True),
        (reduce_only(), True),
        (Modify(order=order(), oid=1), True),
        (cancel(), False),
        (Cancel(market="BTC", oid=1), False),
    ],
)
def test_orders_and_modifies_expire_and_cancels_do_not(request_: Request, expires: bool) -> None:
    desk = Desk()
    desk.submit(request_)
    desk.handle(ev.ServerTimeLearned(NOW + 700))
    desk.clock.advance(50)
    assert desk.send().expires_ms == (NOW + 750 + 6_000 if expires else None), "by the server's time"


def test_noop_that_proves_the_key_does_not_expire() -> None:
    assert Desk().posts[1].expires_ms is None


def test_default_expiry_outlives_the_posts_timeout_by_a_second() -> None:
    settings = CoreSettings()
    assert (settings.post_timeout_ms, settings.expires_after_ms) == (5_000, 6_000)


@pytest.mark.parametrize(("life", "expires"), [(1, NOW + 1), (9_000, NOW + 9_000), (None, None)])
def test_expiry_is_configurable_and_can_be_switched_off(life: int | None, expires: int | None) -> None:
    desk = Desk(settings=CoreSettings(expires_after_ms=life))
    assert desk.post(order()).expires_ms == expires


# ------------------------------------------------------------------------------------------------- when to wake up


def test_core_names_the_time_at_which_it_has_something_to_do() -> None:
    desk = Desk()
    assert desk.wake_ms() is None
    desk.post(order())
    assert desk.wake_ms() == 5_000
    desk.pass_time(5_000)
    assert desk.wake_ms() == 6_000, "alarms are looked for every second"
    desk.answer(desk.fence(), DUPLICATE)
    assert desk.wake_ms() == 5_000, "a look-up is due"


def test_tick_is_wanted_for_a_fence_and_not_while_it_is_under_way() -> None:
    desk = Desk()
    desk.lose(order())
    assert desk.wants_tick()
    desk.fence()
    assert not desk.wants_tick()
