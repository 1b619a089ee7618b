"""The core while it settles: how often it asks, how many questions at once, and the alarm when it takes too long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.intent import Admission, Cancel, IntentState, Priority, Request
from machines.post import PostRequest
from machines.settings import CoreSettings
from machines.settlement import LOOK_UP_EVERY_MS
from machines.settler import LOOK_UPS_AT_ONCE
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    MISSING,
    RESTING,
    Desk,
    cancel,
    cloid,
    of_type,
    order,
    record,
    reduce_only,
)
from tests.machines.settling import fence_timed_out, only, state_of

ALARM_MS = 60_000


def _spent(desk: Desk, count: int) -> PostRequest:
    """A batch of orders whose nonce is spent."""
    post = desk.post(*(order() for _ in range(count)))
    desk.answer(post, DUPLICATE)
    return post


# ------------------------------------------------------------------------------------------------------ the look-ups


def test_each_item_of_a_batch_is_looked_up_by_its_own_cloid() -> None:
    desk = Desk()
    post = _spent(desk, 3)
    assert [(asked.seq, asked.key) for asked in desk.look_ups()] == [(item.seq, item.cloid) for item in post.items]


def test_look_up_is_asked_once_until_it_is_answered() -> None:
    desk = Desk()
    _spent(desk, 1)
    assert len(desk.look_ups()) == 1
    assert desk.look_ups(10 * LOOK_UP_EVERY_MS) == []


@pytest.mark.parametrize("fails", [True, False])
def test_look_up_is_repeated_after_a_pause_whether_it_failed_or_found_nothing(fails: bool) -> None:
    desk = Desk()
    _spent(desk, 1)
    (asked,) = desk.look_ups()
    desk.clock.advance(300)
    desk.handle(ev.LookUpFailed(asked.post_id, asked.seq) if fails else ev.LookedUp(asked.post_id, asked.seq, None))
    assert desk.look_ups(LOOK_UP_EVERY_MS - 1) == []
    assert desk.look_ups(1) == [asked]


def test_only_so_many_look_ups_are_under_way_at_a_time() -> None:
    desk = Desk()
    _spent(desk, LOOK_UPS_AT_ONCE + 3)
    asked = desk.look_ups()
    assert len(asked) == LOOK_UPS_AT_ONCE
    assert desk.look_ups(60_000) == []
    desk.found(asked[0], record())
    desk.handle(ev.LookUpFailed(asked[1].post_id, asked[1].seq))
    assert [look_up.seq for look_up in desk.look_ups()] == [LOOK_UPS_AT_ONCE + 1, LOOK_UPS_AT_ONCE + 2]


def test_answer_that_comes_after_the_item_was_settled_makes_room_for_others() -> None:
    desk = Desk()
    post = _spent(desk, LOOK_UPS_AT_ONCE + 1)
    asked = desk.look_ups()
    desk.handle(ev.OrderSeen(post.items[0].cloid or "", record(oid=50)))
    assert desk.look_ups() == [], "the question is still under way"
    assert desk.found(asked[0], record(oid=50)) == []
    assert [look_up.seq for look_up in desk.look_ups()] == [LOOK_UPS_AT_ONCE + 1]


def test_item_that_is_settled_before_its_look_up_is_due_is_not_looked_up() -> None:
    desk = Desk()
    post = _spent(desk, 2)
    first, second = post.items
    desk.handle(ev.OrderSeen(first.cloid or "", record()))
    assert [asked.seq for asked in desk.look_ups()] == [second.seq]


def test_core_wakes_for_the_next_look_up_and_at_least_every_second_while_something_is_open() -> None:
    desk = Desk(settings=CoreSettings(quarantine_ms=0))
    _spent(desk, 1)
    assert desk.wake_ms() == 0
    (asked,) = desk.look_ups()
    assert desk.wake_ms() == 1_000
    desk.clock.advance(200)
    desk.found(asked, None)
    assert desk.wake_ms() == 1_200
    desk.pass_time(400)
    assert desk.wake_ms() == 200 + LOOK_UP_EVERY_MS
    desk.look_up(record(), LOOK_UP_EVERY_MS)
    assert desk.wake_ms() is None


def test_core_does_not_wake_for_look_ups_that_are_too_many() -> None:
    desk = Desk()
    _spent(desk, LOOK_UPS_AT_ONCE + 1)
    desk.look_ups()
    assert desk.wake_ms() == 1_000


# ---------------------------------------------------------------------------------------------------------- the alarm


def _fencing(desk: Desk) -> PostRequest:
    return desk.lose(order())


def _looking_up(desk: Desk) -> PostRequest:
    return _spent(desk, 1)


@pytest.mark.parametrize("begin", [_fencing, _looking_up])
def test_x2_item_that_is_unknown_for_too_long_is_an_alarm_once(begin: Callable[[Desk], PostRequest]) -> None:
    desk = Desk()
    post = begin(desk)
    assert of_type(desk.pass_time(ALARM_MS - 1), ev.SettlementOverdue) == []
    assert of_type(desk.pass_time(1), ev.SettlementOverdue) == [ev.SettlementOverdue(post.items)]
    assert of_type(desk.pass_time(ALARM_MS), ev.SettlementOverdue) == []
    assert state_of(only(post)) is IntentState.UNKNOWN


def test_x2_time_to_the_alarm_is_configurable() -> None:
    desk = Desk(settings=CoreSettings(settlement_alarm_ms=1_500))
    desk.lose(order())
    assert of_type(desk.pass_time(1_499), ev.SettlementOverdue) == []
    assert len(of_type(desk.pass_time(1), ev.SettlementOverdue)) == 1


def _overdue(*requests: Request) -> tuple[Desk, PostRequest]:
    desk = Desk()
    post = desk.lose(*requests)
    desk.pass_time(ALARM_MS)
    return desk, post


def _admission(desk: Desk, request: Request) -> Admission:
    return desk.admit(request).admission


def test_x2_overdue_item_blocks_new_orders_in_its_market_until_its_fate_is_known() -> None:
    desk, _ = _overdue(order())
    assert _admission(desk, order()) is Admission.MARKET_BLOCKED
    assert _admission(desk, order(market="BTC")) is Admission.QUEUED
    desk.reply(desk.fence())
    assert _admission(desk, order()) is Admission.QUEUED


def test_x2_overdue_item_goes_on_being_settled() -> None:
    desk, post = _overdue(order())
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(record())
    assert desk.outcome(only(post)) == RESTING
    assert _admission(desk, order()) is Admission.QUEUED


def test_x2_market_is_blocked_until_the_last_of_its_overdue_items_is_settled() -> None:
    desk, _ = _overdue(order(), order(), order(market="BTC"))
    desk.answer(desk.fence(), DUPLICATE)
    first, second, third = desk.look_ups()
    desk.found(first, record())
    assert [_admission(desk, order(market=name)) for name in ("xyz:TSLA", "BTC")] == [Admission.MARKET_BLOCKED] * 2
    desk.found(third, record(oid=13))
    assert _admission(desk, order(market="BTC")) is Admission.QUEUED
    assert _admission(desk, order()) is Admission.MARKET_BLOCKED
    desk.found(second, record(oid=12))
    assert _admission(desk, order()) is Admission.QUEUED


@pytest.mark.parametrize("how", ["fence", "late reply", "stream"])
def test_x2_market_is_free_again_however_the_item_was_settled(how: str) -> None:
    desk, post = _overdue(order(cloid=cloid(1)))
    match how:
        case "fence":
            desk.reply(desk.fence())
        case "late reply":
            desk.fence()
            fence_of = desk.posts[3]
            desk.pass_time(5_000)
            desk.reply(fence_of)
        case _:
            desk.handle(ev.OrderSeen(cloid(1), record()))
    assert desk.outcome(only(post)) is not None
    assert _admission(desk, order()) is Admission.QUEUED


def test_x2_only_what_is_still_unknown_of_a_batch_is_in_the_alarm() -> None:
    desk = Desk()
    post = _spent(desk, 2)
    first, second = post.items
    desk.handle(ev.OrderSeen(first.cloid or "", record()))
    (alarm,) = of_type(desk.pass_time(ALARM_MS), ev.SettlementOverdue)
    assert alarm.intents == (second,)


def test_x2_overdue_item_does_not_hold_back_cancels_and_reduce_only_orders() -> None:
    desk, _ = _overdue(order())
    desk.fence()
    desk.submit(reduce_only())
    desk.submit(cancel())
    assert [desk.send().priority for _ in range(2)] == [Priority.CANCEL, Priority.REDUCE_ONLY]


def test_x2_cancel_whose_fate_is_unknown_for_too_long_is_an_alarm_too() -> None:
    desk = Desk()
    desk.lose(Cancel(market="BTC", oid=7))
    post = desk.send()
    desk.reply(post, MISSING)
    assert of_type(desk.pass_time(ALARM_MS), ev.SettlementOverdue) == [ev.SettlementOverdue(post.items)]
    assert _admission(desk, order(market="BTC")) is Admission.MARKET_BLOCKED


# ------------------------------------------------------------------------------------------------- in between others


def test_b5_fences_follow_cancels_and_come_before_orders() -> None:
    desk = Desk()
    lost = desk.lose(order())
    for request in (order(), reduce_only(), cancel()):
        desk.submit(request)
    sent = [desk.send() for _ in range(4)]
    assert [post.priority for post in sent] == [Priority.CANCEL, None, Priority.REDUCE_ONLY, Priority.NEW_ORDER]
    assert sent[1].fence_of == lost.post_id


def test_fences_go_out_oldest_first_one_a_tick() -> None:
    desk = Desk()
    posts = [desk.post(order()) for _ in range(3)]
    desk.pass_time(5_000)
    assert [desk.fence().fence_of for _ in range(3)] == [post.post_id for post in posts]
    assert desk.tick() is None


def test_d3_venue_that_answers_again_settles_everything_and_frees_every_slot() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=3, high_watermark=2))
    posts = [desk.post(reduce_only()) for _ in range(3)]
    desk.pass_time(5_000)
    assert desk.tick() is None
    desk.pass_time(10_000)
    for _ in range(2):
        fence_timed_out(desk)
    desk.pass_time(10_000)
    for _ in posts:
        desk.reply(desk.fence())
    again = desk.send()
    assert again.items == tuple(only(post) for post in posts), "in their order, in one post"
    desk.reply(again, FILLED, FILLED, FILLED)
    desk.pass_time(10_000)
    assert (desk.idle(), desk.core.inflight.occupied, desk.all_told()) == (True, 0, True)
