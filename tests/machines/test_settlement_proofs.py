"""Settlement, rule by rule (settlement.md): 9 to 18 and 20, from the look-ups to the way back into the queue.

The name of a test says which rule it is of; its scenario is the one that goes wrong without the rule. Rules 13 and 15
are also the journal's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from machines import events as ev
from machines.batch import QueueLimits
from machines.intent import (
    Admission,
    Canceled,
    Filled,
    IntentState,
    Modify,
    Priority,
    Rejected,
    Request,
    Resting,
)
from machines.post import PostRequest
from machines.reply import Accepted, PostReply, Unreadable
from machines.settings import CoreSettings
from machines.settlement import EXPIRY_MARGIN_MS, LOOK_UP_EVERY_MS, OrderRecord, SettlementState
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    MARGIN,
    NOW,
    RESTING,
    Desk,
    cancel,
    cloid,
    order,
    record,
    reduce_only,
    seqs,
    unanswered,
)
from tests.machines.settling import (
    FENCE_WON,
    GATE,
    MEANWHILE,
    NO_RECORD,
    known,
    only,
    resting,
    state_of,
)

# -------------------------------------------------------------------------------------------------- 9: the look-ups


def test_x2_rule_09_nothing_is_looked_up_before_the_nonce_is_spent() -> None:
    desk = Desk()
    desk.lose(order())
    assert desk.look_ups(2_000) == []
    fence = desk.fence()
    assert desk.look_ups(2_000) == []
    desk.answer(fence, DUPLICATE)
    (asked,) = desk.look_ups()
    assert asked == ev.LookUp(post_id=2, seq=1, key=desk.intents[1].cloid or "")


@pytest.mark.parametrize(
    ("found", "outcome", "state"),
    [
        (record("open"), RESTING, IntentState.RESTING),
        (record("triggered"), RESTING, IntentState.RESTING),
        (record("open", traded="0.4"), RESTING, IntentState.RESTING),
        (record("filled", traded="1"), Filled(11, "1", None), IntentState.FILLED),
        (record("canceled", traded="0.4"), Filled(11, "0.4", None), IntentState.FILLED),
        (record("canceled"), Canceled(), IntentState.CANCELED),
        (record("marginCanceled"), Canceled(), IntentState.CANCELED),
        (record("rejected"), Rejected("order status: rejected"), IntentState.REJECTED),
        (record("perpMarginRejected"), Rejected("order status: perpMarginRejected"), IntentState.REJECTED),
    ],
)
def test_x2_rule_09_record_decides_at_once(found: OrderRecord, outcome: object, state: IntentState) -> None:
    desk = Desk()
    post = desk.spend(order())
    desk.look_up(found)
    assert (desk.outcome(only(post)), state_of(only(post))) == (outcome, state)
    assert known(desk, post) is SettlementState.EXECUTED
    assert desk.core.idle


def test_x2_rule_09_unknown_counts_only_three_times_in_a_row_and_spread_over_the_lag() -> None:
    desk = Desk()
    post = desk.spend(order())
    for _ in range(2):
        assert desk.look_up(None) == []
        assert desk.look_ups(LOOK_UP_EVERY_MS - 1) == [], "not asked too often"
        desk.clock.advance(1)
        assert state_of(only(post)) is IntentState.UNKNOWN
    (ended,) = desk.look_up(None)
    assert (ended, desk.outcome(only(post))) == (ev.IntentEnded(only(post)), NO_RECORD)
    assert known(desk, post) is SettlementState.NEVER_EXECUTED


@pytest.mark.parametrize("absences", [1, 2])
def test_x2_rule_09_record_that_lagged_behind_is_believed(absences: int) -> None:
    desk = Desk()
    post = desk.spend(reduce_only())
    for _ in range(absences):
        desk.look_up(None, LOOK_UP_EVERY_MS)
    desk.look_up(record("filled", traded="1"), LOOK_UP_EVERY_MS)
    assert isinstance(desk.outcome(only(post)), Filled)
    assert desk.tick() is None


def test_x2_rule_09_failed_look_up_counts_for_nothing_and_is_repeated() -> None:
    desk = Desk()
    post = desk.spend(order())
    for _ in range(5):
        (asked,) = desk.look_ups(LOOK_UP_EVERY_MS)
        assert desk.handle(ev.LookUpFailed(asked.post_id, asked.seq)) == []
    assert state_of(only(post)) is IntentState.UNKNOWN
    desk.clock.advance(LOOK_UP_EVERY_MS)
    desk.find_nothing()
    assert desk.outcome(only(post)) == NO_RECORD


def test_x2_rule_09_batch_that_left_some_records_ran_and_the_others_are_refused_for_themselves() -> None:
    desk = Desk()
    post = desk.spend(order(), order())
    first, second = desk.look_ups()
    desk.found(first, record("filled", traded="1"))
    assert isinstance(desk.outcome(post.items[0]), Filled)
    assert known(desk, post) is SettlementState.LOOKING_UP
    desk.found(second, None)
    for _ in range(2):
        desk.look_up(None, LOOK_UP_EVERY_MS)
    assert desk.outcome(post.items[1]) == NO_RECORD
    assert known(desk, post) is SettlementState.EXECUTED


# ----------------------------------------------------------------------------------------- 10: late replies, one fate


@MEANWHILE
@pytest.mark.parametrize("result", [RESTING, FILLED, Rejected(MARGIN)])
def test_x2_rule_10_late_reply_decides_while_the_attempt_is_open(
    result: Resting | Filled | Rejected, meanwhile: Callable[[Desk], None]
) -> None:
    desk = Desk()
    post = desk.lose(order())
    meanwhile(desk)
    assert desk.reply(post, result) == [ev.IntentEnded(only(post))]
    assert (desk.outcome(only(post)), only(post).settled_by) == (result, "its own late reply")
    assert known(desk, post) is SettlementState.EXECUTED
    assert desk.tick() is None


def test_x2_rule_10_look_ups_and_fences_still_under_way_decide_nothing_any_more() -> None:
    desk = Desk()
    post = desk.spend(order())
    (asked,) = desk.look_ups()
    desk.reply(post, RESTING)
    assert desk.found(asked, record("filled", traded="1")) == []
    assert desk.handle(ev.LookUpFailed(asked.post_id, asked.seq)) == []
    assert desk.look_ups(LOOK_UP_EVERY_MS) == []
    assert desk.outcome(only(post)) == RESTING


def test_x2_rule_10_late_reply_after_settlement_changes_no_outcome_and_a_contradiction_is_an_alarm() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.reply(desk.fence())
    effects = desk.reply(post, RESTING)
    assert effects == [ev.Contradiction(only(post), FENCE_WON, RESTING, "the post's late reply")]
    assert desk.outcome(only(post)) == FENCE_WON


@pytest.mark.parametrize("later", [Accepted((Rejected(MARGIN),)), GATE, DUPLICATE, Unreadable("x")])
def test_x2_rule_10_late_reply_after_settlement_that_agrees_is_no_alarm(later: PostReply) -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.reply(desk.fence())
    assert desk.answer(post, later) == []
    assert desk.outcome(only(post)) == FENCE_WON


def test_x2_rule_10_late_reply_of_an_attempt_that_never_ran_is_not_held_against_the_one_that_did() -> None:
    desk = Desk()
    first = desk.lose(reduce_only())
    desk.answer(desk.fence(), DUPLICATE)
    desk.find_nothing()
    desk.reply(desk.send(), FILLED)
    assert desk.reply(first, Rejected(MARGIN)) == [], "refused without a record: it never ran, as was found"
    assert desk.outcome(only(first)) == FILLED


def test_x2_rule_10_late_reply_that_a_resent_order_ran_before_is_an_alarm() -> None:
    desk = Desk()
    first = desk.lose(reduce_only())
    desk.reply(desk.fence())
    desk.reply(desk.send(), FILLED)
    (alarm,) = desk.reply(first, FILLED)
    assert isinstance(alarm, ev.Contradiction)
    assert (alarm.intent, alarm.later) == (only(first), FILLED)


def test_x2_rule_10_order_that_the_stream_has_ended_is_not_reopened_by_its_posts_timeout() -> None:
    desk = Desk()
    post = desk.post(order(), order())
    first, second = post.items
    desk.handle(ev.OrderSeen(first.cloid or "", record("filled", traded="1")))
    effects = desk.pass_time(5_000)
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(second, "no reply within 5000 ms")]
    assert isinstance(desk.outcome(first), Filled)


# ------------------------------------------------------------------------------------ 11: expiry instead of the fence


def _with_another_key(*requests: Request, expires_ms: int | None = NOW + 1_000) -> tuple[Desk, PostRequest]:
    desk = Desk(ready=False, last_post_id=7, last_seq=len(requests))
    post = unanswered(7, *requests, expires_ms=expires_ms)
    desk.recover(post, same_key=False)
    desk.connect()
    desk.learn()
    desk.prove_key()
    return desk, post


def test_x2_rule_11_without_its_key_a_post_is_not_fenced_but_outlived_with_a_margin() -> None:
    desk, post = _with_another_key(order())
    assert desk.tick() is None
    assert desk.look_ups(1_000 + EXPIRY_MARGIN_MS) == []
    assert known(desk, post) is SettlementState.UNKNOWN
    (asked,) = desk.look_ups(1)
    assert desk.tick() is None
    desk.found(asked, record("filled", traded="1"))
    assert isinstance(desk.outcome(only(post)), Filled)


def test_x2_rule_11_it_is_the_venues_clock_that_counts() -> None:
    desk, post = _with_another_key(order())
    desk.handle(ev.ServerTimeLearned(NOW - 60_000))
    assert desk.look_ups(60_000 + EXPIRY_MARGIN_MS) == []
    assert known(desk, post) is SettlementState.UNKNOWN
    assert len(desk.look_ups(1_001)) == 1


def test_x2_rule_11_step_of_the_local_unix_clock_lets_nothing_expire() -> None:
    desk, post = _with_another_key(order())
    desk.clock.step_unix(3_600_000)
    assert desk.look_ups(1_000 + EXPIRY_MARGIN_MS) == []
    assert known(desk, post) is SettlementState.UNKNOWN
    assert len(desk.look_ups(1)) == 1


def test_x2_rule_11_nothing_expires_before_the_venues_time_was_heard() -> None:
    desk = Desk(ready=False, last_post_id=7, last_seq=1)
    desk.recover(unanswered(7, order(), expires_ms=NOW + 1_000), same_key=False)
    desk.connect()
    assert desk.look_ups(3_600_000) == []
    desk.handle(ev.ServerTimeLearned(NOW + 12_000))
    assert len(desk.look_ups()) == 1


def test_x2_rule_11_expiry_is_set_by_the_venues_time_whatever_the_local_unix_clock_does() -> None:
    desk = Desk()
    desk.clock.step_unix(3_600_000)
    assert desk.post(order()).expires_ms == NOW + 6_000


def test_x2_rule_11_post_without_expiry_is_never_declared_dead_by_time() -> None:
    desk, post = _with_another_key(order(), expires_ms=None)
    assert desk.look_ups(3_600_000) == []
    assert state_of(only(post)) is IntentState.UNKNOWN


def test_x2_rule_11_expiry_does_not_stand_in_for_a_fence_that_can_be_sent() -> None:
    desk = Desk()
    post = desk.lose(order())
    assert desk.look_ups(60_000) == []
    assert known(desk, post) is SettlementState.UNKNOWN
    desk.fence()


# --------------------------------------------------------------------------------------- 12: several open attempts


def test_x2_rule_12_proof_about_one_attempt_says_nothing_of_another() -> None:
    desk = Desk()
    first = desk.lose(reduce_only())
    won = desk.fence()
    desk.pass_time(5_000)
    desk.answer(desk.fence(), DUPLICATE)
    desk.find_nothing()
    second = desk.send()
    desk.pass_time(5_000)
    item = only(first)
    assert second.items == (item,)
    assert (known(desk, first), known(desk, second)) == (SettlementState.NEVER_EXECUTED, SettlementState.UNKNOWN)
    desk.reply(won)
    desk.answer(first, GATE)
    assert (state_of(item), desk.outcome(item)) == (IntentState.UNKNOWN, None)
    fence = desk.fence()
    assert (fence.fence_of, fence.nonce) == (second.post_id, second.nonce)
    desk.answer(fence, DUPLICATE)
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(item), Filled)


# ------------------------------------------------------------------------------------------------------- 13: cloids


def _filled(desk: Desk) -> None:
    desk.reply(desk.post(order(cloid=cloid(1))), FILLED)


def _fenced_off(desk: Desk) -> None:
    desk.lose(order(cloid=cloid(1)))
    desk.reply(desk.fence())


@pytest.mark.parametrize("so_far", [_filled, resting, _fenced_off])
@pytest.mark.parametrize(
    "again", [order(cloid=cloid(1)), reduce_only(cloid=cloid(1)), Modify(order=order(cloid=cloid(1)), oid=5)]
)
def test_x2_rule_13_cloid_of_another_order_is_refused_because_a_look_up_would_find_that_ones_record(
    so_far: Callable[[Desk], None], again: Request
) -> None:
    desk = Desk()
    so_far(desk)
    assert desk.admit(again).admission is Admission.CLOID_IN_USE


def test_x2_rule_13_modify_gives_its_new_order_a_new_cloid() -> None:
    desk = Desk()
    assert desk.admit(Modify(order=order(cloid=cloid(1)), cloid=cloid(1))).admission is Admission.CLOID_IN_USE
    made = desk.submit(Modify(order=order(), cloid=cloid(1)))
    assert made.cloid not in (None, cloid(1))


def test_x2_rule_13_resends_keep_their_cloid() -> None:
    desk = Desk()
    post = desk.lose(reduce_only())
    given = only(post).cloid
    desk.reply(desk.fence())
    again = desk.send()
    assert [item.cloid for item in again.items] == [given]


# -------------------------------------------------------------------------------------------- 14: ids and connections


def test_x2_rule_14_post_ids_continue_across_reconnects_and_restarts() -> None:
    desk = Desk(last_post_id=40)
    ids = [desk.post(order()).post_id]
    desk.reconnect()
    ids.append(desk.fence().post_id)
    assert ids == [42, 43]
    assert desk.posts.keys() == {41, 42, 43}


@pytest.mark.parametrize("epoch", [0, 2])
def test_x2_rule_14_late_reply_counts_only_for_the_connection_that_carried_its_post(epoch: int) -> None:
    desk = Desk()
    post = desk.post(order())
    desk.reconnect()
    stray = desk.handle(ev.ReplyReceived(epoch, post.post_id, Accepted((FILLED,))))
    assert stray == [ev.StrayReply(epoch, post.post_id)]
    assert (state_of(only(post)), desk.quarantined()) == (IntentState.UNKNOWN, 1)


def test_x2_rule_14_reply_counts_for_no_post_of_an_earlier_run() -> None:
    desk = Desk(ready=False, last_post_id=7, last_seq=1)
    post = unanswered(7, order())
    desk.recover(post)
    desk.connect()
    assert desk.handle(ev.ReplyReceived(1, 7, Accepted((FILLED,)))) == [ev.StrayReply(1, 7)]
    assert state_of(only(post)) is IntentState.UNKNOWN


# --------------------------------------------------------------------------------------------- 15, 16: quarantine


def test_x2_rule_15_settlement_does_not_end_the_quarantine() -> None:
    desk = Desk()
    desk.lose(order())
    desk.reply(desk.fence())
    assert (desk.core.idle, desk.quarantined()) == (True, 1)


def test_x2_rule_15_late_reply_ends_the_quarantine_of_that_very_post_alone() -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.fence()
    desk.pass_time(5_000)
    assert desk.quarantined() == 2
    desk.reply(fence)
    assert desk.quarantined() == 1
    desk.reply(post, FILLED)
    assert desk.quarantined() == 0


def test_x2_rule_15_restart_quarantines_every_unanswered_post_again_fences_included() -> None:
    settings = CoreSettings(inflight_limit=3, high_watermark=3)
    desk = Desk(ready=False, settings=settings, last_post_id=8, last_seq=1)
    desk.recover(unanswered(7, order()), unanswered(8, fence_of=7))
    assert desk.quarantined() == 2
    desk.connect()
    desk.learn()
    desk.prove_key()
    desk.fence()
    desk.submit(cancel())
    assert desk.tick() is None, "the venue may hold 7 and 8, and holds the fence"


def test_x2_rule_16_quarantine_lasts_as_long_as_the_venue_may_remember() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=1, high_watermark=1, quarantine_ms=10_000))
    desk.lose(cancel())
    desk.pass_time(9_999)
    assert desk.tick() is None
    desk.pass_time(1)
    assert desk.quarantined() == 0
    assert desk.tick() is not None


# ------------------------------------------------------------------------------------------------- 17: their places


@pytest.mark.parametrize("back", list(permutations(range(3))))
def test_x2_rule_17_reduce_only_orders_return_to_their_places_in_whatever_order_they_are_proven_dead(
    back: tuple[int, ...],
) -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(batch=2)))
    for _ in range(7):
        desk.submit(reduce_only())
    posts = [desk.send() for _ in range(3)]
    desk.pass_time(5_000)
    fences = {fence.fence_of: fence for fence in (desk.fence() for _ in range(3))}
    for number in back:
        desk.reply(fences[posts[number].post_id])
    assert [seqs(desk.send().items) for _ in range(4)] == [[1, 2], [3, 4], [5, 6], [7]]


@pytest.mark.parametrize("back", list(permutations(range(3))))
def test_x2_rule_17_cancels_return_to_their_places_in_whatever_order_their_posts_end(back: tuple[int, ...]) -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(batch=2)))
    for number in range(7):
        desk.submit(cancel(number))
    posts = [desk.send() for _ in range(3)]
    for number in back:
        desk.answer(posts[number], DUPLICATE)
    assert [seqs(desk.send().items) for _ in range(4)] == [[1, 2], [3, 4], [5, 6], [7]]


# ----------------------------------------------------------------------------------------- 18: admission and watermark


@pytest.mark.parametrize("make", [cancel, reduce_only])
def test_x2_rule_18_unknown_items_count_so_that_their_return_finds_room(make: Callable[[], Request]) -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(cancel=2, reduce_only=2)))
    desk.lose(make(), make())
    assert desk.admit(make()).admission is Admission.QUEUE_FULL
    if make is reduce_only:
        desk.handle(ev.StopReset("the test goes on"))
        desk.reply(desk.fence())
    assert sum(map(desk.waiting, Priority)) == 2
    desk.pass_time(10_000)
    post = desk.send()
    desk.reply(post, *(Canceled() if make is cancel else FILLED for _ in post.items))
    assert desk.admit(make()).admission is Admission.QUEUED


def test_x2_rule_18_watermark_counts_quarantined_slots() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=4, high_watermark=2))
    for _ in range(2):
        desk.lose(cancel())
        desk.reply(desk.send(), Canceled())
    assert (desk.inflight(), desk.quarantined()) == (0, 2)
    assert desk.admit(order()).admission is Admission.QUEUED_DEGRADED
    assert desk.tick() is None
    desk.submit(reduce_only())
    assert desk.send().priority is Priority.REDUCE_ONLY


def test_x2_rule_18_fences_of_new_orders_wait_at_the_watermark_and_those_of_reduce_only_pass() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=4, high_watermark=2))
    new = desk.post(order())
    reducing = desk.post(reduce_only())
    desk.pass_time(5_000)
    assert desk.fence().fence_of == reducing.post_id, "although the new order is older"
    assert desk.tick() is None
    desk.submit(reduce_only())
    assert desk.send().priority is Priority.REDUCE_ONLY, "a slot was left for it"
    desk.pass_time(10_000)
    desk.pass_time(10_000)
    assert desk.fence().fence_of == new.post_id, "the slots are free, and it is the oldest"


def test_x2_rule_18_nothing_not_even_a_fence_is_sent_at_the_limit() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=2, high_watermark=2))
    desk.post(reduce_only())
    desk.post(reduce_only())
    desk.pass_time(5_000)
    assert (desk.quarantined(), desk.tick()) == (2, None)
    desk.pass_time(10_000)
    desk.fence()


# -------------------------------------------------------------------------------------------- 20: no blind resend


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x2_rule_20_no_order_goes_out_again_before_its_attempt_is_proven_dead(make: Callable[[], Request]) -> None:
    desk = Desk()
    post = desk.lose(make())
    for _ in range(3):
        fence = desk.fence()
        assert fence.items == ()
        desk.pass_time(5_000)
    desk.reconnect()
    desk.answer(desk.fence(), DUPLICATE)
    for _ in range(2):
        assert desk.tick() is None
        desk.look_up(None, LOOK_UP_EVERY_MS)
    assert (state_of(only(post)), desk.tick()) == (IntentState.UNKNOWN, None)
    desk.look_up(None, LOOK_UP_EVERY_MS)
    again = desk.tick()
    if make is reduce_only:
        assert again is not None
        assert again.items == post.items
    else:
        assert again is None
        assert desk.outcome(only(post)) == NO_RECORD


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x2_rule_20_disconnected_order_is_not_sent_again_either(make: Callable[[], Request]) -> None:
    desk = Desk()
    post = desk.post(make())
    desk.reconnect()
    fence = desk.fence()
    assert (fence.fence_of, desk.tick()) == (post.post_id, None)
