"""The core after a restart: what an earlier run left is quarantined, settled, and never sent again by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.errors import IllegalEvent
from machines.intent import (
    Admission,
    Canceled,
    Filled,
    IntentState,
    Modify,
    NotExecuted,
    Rejected,
    Request,
)
from machines.post import PostRequest, PostState
from machines.session import SessionState
from machines.settings import CoreSettings
from machines.settlement import EXPIRY_MARGIN_MS, OrderRecord, SettlementState
from tests.machines.builders import (
    DUPLICATE,
    MISSING,
    NOW,
    RESTING,
    Desk,
    cancel,
    cloid,
    earlier,
    order,
    record,
    reduce_only,
    unanswered,
)
from tests.machines.settling import FENCE_WON, NO_RECORD, ORDERS, known, only, state_of

EXPIRY = NOW + 1_000


def _restarted(*posts: PostRequest, same_key: bool = True, settings: CoreSettings | None = None) -> Desk:
    """A desk that took over some posts of an earlier run, is connected, and has proven its key."""
    desk = Desk(ready=False, settings=settings, last_post_id=20, last_seq=20)
    desk.recover(*posts, same_key=same_key)
    desk.connect()
    desk.learn()
    desk.prove_key()
    return desk


def _answered(*requests: Request) -> PostRequest:
    """An unsettled post of an earlier run that the venue holds no more: it was answered, but unclearly."""
    post = unanswered(7, *requests)
    post.state, post.answered = PostState.DISCONNECTED, True
    return post


# ------------------------------------------------------------------------------------------------------ taking over


def test_x3_recovered_posts_are_quarantined_again_and_their_items_are_unknown() -> None:
    desk = Desk(ready=False, last_post_id=20, last_seq=20)
    first, second = unanswered(7, order(), order()), unanswered(8, reduce_only(), first_seq=3)
    desk.recover(first, second)
    assert (desk.inflight(), desk.quarantined()) == (0, 2)
    assert (first.state, second.state) == (PostState.DISCONNECTED, PostState.DISCONNECTED)
    assert [state_of(item) for item in (*first.items, *second.items)] == [IntentState.UNKNOWN] * 3
    assert desk.core.intents.accepted == 3
    assert not desk.idle()


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x3_post_that_the_venue_holds_no_more_is_settled_without_a_quarantine(make: Callable[[], Request]) -> None:
    post = _answered(make())
    desk = _restarted(post)
    assert desk.quarantined() == 0
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(only(post)), Filled)


def test_x3_quarantine_of_recovered_posts_ends_with_its_time() -> None:
    desk = _restarted(unanswered(7, order()), settings=CoreSettings(quarantine_ms=10_000))
    desk.pass_time(9_999)
    assert desk.quarantined() == 1
    desk.pass_time(1)
    assert desk.quarantined() == 0


def test_x3_limit_below_the_earlier_runs_is_refused() -> None:
    desk = Desk(ready=False, settings=CoreSettings(inflight_limit=1, high_watermark=1))
    with pytest.raises(IllegalEvent):
        desk.core.handle(ev.Recovered((unanswered(7), unanswered(8)), (), same_key=True))


def test_recovered_fence_is_quarantined_and_settles_nothing_itself() -> None:
    desk = _restarted(unanswered(7, order()), unanswered(8, fence_of=7))
    assert desk.quarantined() == 2
    assert list(desk.core.settler.attempts) == [7]
    desk.reply(desk.fence())
    assert desk.idle()


def test_numbers_continue_above_those_of_the_earlier_run() -> None:
    desk = _restarted(unanswered(7, order()))
    post = desk.fence()
    assert post.post_id == 22, "21 proved the key"
    desk.reply(post)
    assert desk.submit(order()).seq == 21


def test_cloids_of_the_earlier_run_are_in_use() -> None:
    desk = _restarted(unanswered(7, order(cloid=cloid(1))))
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(record())
    assert desk.admit(order(cloid=cloid(1))).admission is Admission.CLOID_IN_USE


# -------------------------------------------------------------------------------------------------------- settling


def test_x2_with_the_same_key_a_recovered_post_is_fenced() -> None:
    post = unanswered(7, order(), expires_ms=EXPIRY)
    desk = _restarted(post)
    fence = desk.fence()
    assert (fence.fence_of, fence.nonce) == (7, post.nonce)
    assert fence.nonce < desk.posts[21].nonce, "older than what the new run has issued"


def test_x2_with_another_key_a_recovered_post_waits_for_its_expiry() -> None:
    post = unanswered(7, order(), expires_ms=EXPIRY)
    desk = _restarted(post, same_key=False)
    assert (desk.tick(), desk.look_ups(1_000 + EXPIRY_MARGIN_MS)) == (None, [])
    assert known(desk, post) is SettlementState.UNKNOWN
    assert desk.core.session.earlier_settled is False
    desk.clock.advance(1)
    desk.find_nothing()
    assert desk.outcome(only(post)) == NO_RECORD


@ORDERS
def test_x2_recovered_order_that_never_ran_is_not_sent_again(make: Callable[[], Request]) -> None:
    post = unanswered(7, make())
    desk = _restarted(post)
    desk.reply(desk.fence())
    assert desk.outcome(only(post)) == FENCE_WON
    assert (desk.tick(), desk.idle()) == (None, True)


@ORDERS
def test_x2_recovered_order_without_a_record_is_not_sent_again(make: Callable[[], Request]) -> None:
    post = unanswered(7, make())
    desk = _restarted(post)
    desk.answer(desk.fence(), DUPLICATE)
    desk.find_nothing()
    assert desk.outcome(only(post)) == NO_RECORD
    assert (desk.tick(), desk.idle()) == (None, True)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (record(), RESTING),
        (record("filled", traded="1"), Filled(11, "1", None)),
        (record("canceled"), Canceled()),
        (record("perpMarginRejected"), Rejected("order status: perpMarginRejected")),
    ],
)
def test_x2_recovered_order_is_settled_to_the_truth(found: OrderRecord, outcome: object) -> None:
    post = unanswered(7, order())
    desk = _restarted(post)
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(found)
    assert (desk.outcome(only(post)), desk.told[1]) == (outcome, 1)


def test_x2_recovered_modify_is_looked_up_by_its_new_cloid() -> None:
    post = unanswered(7, Modify(order=order(cloid=cloid(2)), cloid=cloid(1)))
    desk = _restarted(post)
    desk.answer(desk.fence(), DUPLICATE)
    assert [asked.key for asked in desk.look_ups()] == [cloid(2)]


def test_x7_order_stream_settles_a_recovered_order() -> None:
    post = unanswered(7, order(cloid=cloid(1)))
    desk = Desk(ready=False, last_post_id=20, last_seq=20)
    desk.recover(post)
    desk.connect()
    desk.learn()
    desk.prove_key()
    assert desk.state() is SessionState.SYNCING
    desk.handle(ev.OrderSeen(cloid(1), record()))
    assert (desk.outcome(only(post)), desk.state()) == (RESTING, SessionState.READY)
    assert desk.tick() is None


# ------------------------------------------------------------------------------------------------ what was not sent


def test_intents_that_were_never_sent_end_and_their_owner_hears() -> None:
    desk = Desk(ready=False, last_seq=20)
    waiting = earlier(order(), reduce_only(), cancel(), state=IntentState.QUEUED)
    effects = desk.recover(never_sent=waiting)
    assert effects == [ev.IntentEnded(item) for item in waiting]
    assert [desk.outcome(item) for item in waiting] == [NotExecuted("never sent before the restart")] * 3
    assert (desk.idle(), desk.all_told()) == (True, True)
    assert set(desk.core.scheduler.outstanding.values()) == {0}


def test_x2_cancels_that_an_earlier_run_lost_are_sent_again() -> None:
    desk = Desk(ready=False, last_post_id=20, last_seq=20)
    lost = earlier(cancel(1), cancel(2), state=IntentState.QUEUED, attempts=(7,), lost=True)
    assert desk.recover(lost_cancels=lost) == []
    desk.connect()
    desk.learn()
    desk.prove_key()
    post = desk.send()
    assert post.items == lost
    desk.reply(post, Canceled(), MISSING)
    first, second = lost
    assert desk.outcome(first) == Canceled()
    assert state_of(second) is IntentState.UNKNOWN, "its first attempt may have done it"
    desk.look_up(record("canceled"))
    assert desk.outcome(second) == Canceled()


# -------------------------------------------------------------------------------------------------------- readiness


def test_readiness_waits_for_what_an_earlier_run_left_and_for_nothing_else() -> None:
    first, second = unanswered(7, order()), unanswered(8, order(), first_seq=2)
    desk = _restarted(first, second)
    assert (desk.state(), desk.admit(order()).admission) == (SessionState.SYNCING, Admission.NOT_READY)
    desk.reply(desk.fence())
    assert desk.state() is SessionState.SYNCING
    desk.reply(desk.fence())
    assert (desk.state(), desk.admit(order()).admission) == (SessionState.READY, Admission.QUEUED)


def test_readiness_comes_with_the_last_look_up() -> None:
    desk = _restarted(unanswered(7, order()))
    desk.answer(desk.fence(), DUPLICATE)
    desk.find_nothing()
    assert desk.state() is SessionState.READY


def test_readiness_is_not_lost_by_an_unknown_order_of_this_run() -> None:
    desk = Desk()
    desk.lose(order())
    desk.reconnect()
    assert desk.state() is SessionState.READY


def test_cancels_and_reduce_only_orders_pass_while_the_past_is_settled() -> None:
    desk = _restarted(unanswered(7, order()))
    assert desk.admit(cancel()).admission is Admission.QUEUED
    assert desk.admit(reduce_only()).admission is Admission.QUEUED


def test_fences_of_the_past_wait_for_a_connection_and_follow_the_proof_of_the_key() -> None:
    desk = Desk(ready=False, last_post_id=20, last_seq=20)
    desk.recover(unanswered(7, order()))
    assert desk.tick() is None
    desk.connect()
    assert desk.send().fence_of is None
    desk.fence()
