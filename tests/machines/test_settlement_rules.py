"""Settlement, rule by rule: each rule of settlement.md that concerns the machines, with its counterexample.

The name of a test says which rule it is of; its scenario is the one that goes wrong without the rule. Rules 1, 2 and 15
are also the journal's, and rule 13 is also the owner's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest

from machines import events as ev
from machines.batch import QueueLimits
from machines.errors import StepOrderError
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    Filled,
    Intent,
    IntentState,
    Modify,
    NotExecuted,
    Priority,
    Rejected,
    Request,
    Resting,
)
from machines.post import PostRequest, PostState
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.settings import CoreSettings
from machines.settlement import EXPIRY_MARGIN_MS, LOOK_UP_EVERY_MS, OrderRecord, SettlementState
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    MARGIN,
    MISSING,
    NOW,
    RESTING,
    TOO_LOW,
    Desk,
    cancel,
    cloid,
    of_type,
    order,
    record,
    reduce_only,
    seqs,
    unanswered,
)

FENCE_WON = NotExecuted("its fence won: it never ran and never can")
NO_RECORD = NotExecuted("its nonce is spent and it left no record")
GATE = GatewayError("429 Too Many Requests")
SPENT = pytest.mark.parametrize("spent", [DUPLICATE, TOO_LOW], ids=["duplicate", "too low"])
ORDERS = pytest.mark.parametrize("make", [order, reduce_only])


def _item(post: PostRequest) -> Intent:
    (item,) = post.items
    return item


def _state(item: Intent) -> IntentState:
    return item.state


def _known(desk: Desk, post: PostRequest) -> SettlementState:
    return desk.attempts[post.post_id].state


# ------------------------------------------------------------------------------- 1: ambiguous, although it never left


@ORDERS
def test_x2_rule_01_post_without_an_ending_is_settled_after_a_restart_though_it_may_never_have_left(
    make: Callable[[], Request],
) -> None:
    desk = Desk(ready=False, last_post_id=7, last_seq=4)
    post = unanswered(7, make())
    desk.recover(post)
    desk.connect()
    desk.learn()
    desk.prove_key()
    assert _state(_item(post)) is IntentState.UNKNOWN
    fence = desk.fence()
    assert (fence.nonce, fence.fence_of) == (post.nonce, 7)
    desk.reply(fence)
    assert desk.outcome(_item(post)) == FENCE_WON


def test_x2_rule_01_nothing_happens_between_the_record_of_a_post_and_its_writing() -> None:
    desk = Desk()
    desk.submit(order())
    effects = desk.handle(ev.Tick())
    assert isinstance(effects[-1], ev.Transmit), "what the shell does next is to journal and to write it"
    with pytest.raises(StepOrderError):
        desk.core.handle(ev.TimePassed())


# ---------------------------------------------------------------------------------- 2: the verdict, then its effects


def test_x2_rule_02_verdict_and_closing_are_one_step_and_come_before_the_owner_hears() -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.fence()
    effects = desk.reply(fence)
    assert effects == [ev.PostEnded(fence), ev.IntentEnded(_item(post))]
    core = desk.core
    assert [attempt.post for attempt in core.settler.moved] == [post]
    assert (core.intents.moved, core.settler.attempts) == ([_item(post)], {})


def test_x2_rule_02_verdict_that_an_order_never_ran_is_a_step_before_it_is_sent_again() -> None:
    desk = Desk()
    post = desk.lose(reduce_only())
    effects = desk.reply(desk.fence())
    assert of_type(effects, ev.Transmit) == []
    assert (_state(_item(post)), _item(post).settled_by) == (IntentState.QUEUED, FENCE_WON.reason)
    assert _known(desk, post) is SettlementState.NEVER_EXECUTED
    assert desk.send().items == post.items


# ----------------------------------------------------------------------------------------------------- 3: the fence


def test_x2_rule_03_fence_is_a_noop_with_the_same_nonce_and_without_expiry() -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.take()
    assert (fence.kind, fence.items, fence.priority) == (ActionKind.NOOP, (), None)
    assert (fence.nonce, fence.fence_of, fence.expires_ms) == (post.nonce, post.post_id, None)
    assert desk.core.nonces.last == post.nonce, "it takes no nonce of its own"


def test_x2_rule_03_fence_is_a_post_like_any_other() -> None:
    desk = Desk(settings=CoreSettings(messages_per_minute=4))
    desk.lose(order())
    used = desk.core.budget.used
    fence = desk.fence()
    assert (fence.state, fence.slots_taken, desk.inflight(), desk.core.budget.used) == (PostState.SENT, 1, 1, used + 1)
    desk.pass_time(5_000)
    assert (fence.state, desk.inflight(), desk.quarantined()) == (PostState.TIMED_OUT, 0, 2)
    desk.fence()
    desk.submit(cancel())
    assert desk.tick() is None, "four messages were sent: noop, order, two fences"


def _fence_timed_out(desk: Desk) -> None:
    desk.fence()
    desk.pass_time(5_000)


def _fence_disconnected(desk: Desk) -> None:
    desk.fence()
    desk.reconnect()


def _fence_not_sent(desk: Desk) -> None:
    desk.handle(ev.SendRefused(desk.take().post_id, "socket not open"))


def _fence_broken(desk: Desk) -> None:
    fence = desk.take()
    desk.handle(ev.SendBroken(fence.post_id, fence.nonce, 1, "broken pipe"))


def _fence_answered(reply: PostReply) -> Callable[[Desk], None]:
    def lose(desk: Desk) -> None:
        desk.answer(desk.fence(), reply)

    return lose


def _fence_named_by_an_error(desk: Desk) -> None:
    fence = desk.fence()
    desk.handle(ev.ErrorReceived(1, f"too many pending post requests id={fence.post_id}", fence.post_id))


LOST_FENCES = [
    _fence_timed_out,
    _fence_disconnected,
    _fence_not_sent,
    _fence_broken,
    _fence_named_by_an_error,
    _fence_answered(GATE),
    _fence_answered(GatewayError("502 Bad Gateway")),
    _fence_answered(Unreadable("not an object")),
    _fence_answered(Refused("User or API Wallet 0x12 does not exist.")),
    _fence_answered(Accepted((RESTING,))),
]


@pytest.mark.parametrize("lose", LOST_FENCES)
def test_x2_rule_03_fence_that_proves_nothing_is_repeated_under_a_new_id_and_never_fenced_itself(
    lose: Callable[[Desk], None],
) -> None:
    desk = Desk()
    post = desk.lose(order())
    lose(desk)
    assert (_state(_item(post)), _known(desk, post)) == (IntentState.UNKNOWN, SettlementState.UNKNOWN)
    desk.clock.advance(1_000)
    again = desk.fence()
    assert (again.post_id, again.nonce, again.fence_of) == (4, post.nonce, post.post_id)
    assert desk.tick() is None
    desk.reply(again)
    assert desk.outcome(_item(post)) == FENCE_WON
    assert desk.core.idle


@pytest.mark.parametrize("reply", [GATE, Refused("Must deposit before performing actions.")])
def test_x2_rule_03_refused_fence_is_not_repeated_at_once(reply: PostReply) -> None:
    desk = Desk()
    desk.lose(order())
    desk.answer(desk.fence(), reply)
    desk.clock.advance(999)
    assert desk.tick() is None
    desk.clock.advance(1)
    desk.fence()


def test_x2_rule_03_one_fence_at_a_time_for_an_attempt() -> None:
    desk = Desk()
    desk.lose(order())
    desk.fence()
    assert (desk.tick(), desk.core.wants_tick) == (None, False)


# ------------------------------------------------------------------------------------------------- 4: the fence won


def test_x2_rule_04_order_whose_fence_won_never_ran() -> None:
    desk = Desk()
    post = desk.lose(order(), order())
    desk.reply(desk.fence())
    assert [desk.outcome(item) for item in post.items] == [FENCE_WON] * 2
    assert [item.settled_by for item in post.items] == [FENCE_WON.reason] * 2
    assert _known(desk, post) is SettlementState.NEVER_EXECUTED
    assert desk.core.idle


def test_x2_rule_04_reduce_only_order_whose_fence_won_is_sent_again() -> None:
    desk = Desk()
    post = desk.lose(reduce_only())
    desk.reply(desk.fence())
    again = desk.send()
    assert again.items == post.items
    assert again.nonce > post.nonce
    desk.reply(again, FILLED)
    assert desk.outcome(_item(post)) == FILLED
    assert _item(post).attempts == (post.post_id, again.post_id)


def _nothing_new(_: Desk) -> None:
    pass


def _another_fence(desk: Desk) -> None:
    desk.fence()


def _spent_as_another_fence_says(desk: Desk) -> None:
    desk.answer(desk.fence(), DUPLICATE)


@pytest.mark.parametrize("meanwhile", [_nothing_new, _another_fence, _spent_as_another_fence_says])
def test_x2_rule_04_late_answer_that_an_earlier_fence_won_decides_too(meanwhile: Callable[[Desk], None]) -> None:
    desk = Desk()
    post = desk.lose(order())
    first = desk.fence()
    desk.pass_time(5_000)
    meanwhile(desk)
    effects = desk.reply(first)
    assert effects == [ev.IntentEnded(_item(post))]
    assert desk.outcome(_item(post)) == FENCE_WON


def test_x2_rule_04_answer_of_a_fence_whose_attempt_is_settled_changes_nothing() -> None:
    desk = Desk()
    desk.lose(order())
    first = desk.fence()
    desk.pass_time(5_000)
    second = desk.fence()
    desk.reply(first)
    assert desk.answer(second, DUPLICATE) == [ev.PostEnded(second)]
    assert desk.core.idle


# -------------------------------------------------------------------------------------------- 5 to 7: spent, no more


@SPENT
def test_x2_rule_05_06_fence_with_a_spent_nonce_decides_nothing(spent: PostReply) -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.fence()
    assert desk.answer(fence, spent) == [ev.PostEnded(fence)]
    assert (_state(_item(post)), desk.outcome(_item(post))) == (IntentState.UNKNOWN, None)
    assert _known(desk, post) is SettlementState.LOOKING_UP
    assert desk.tick() is None, "spent is spent: no further fence"


@SPENT
def test_x2_rule_05_order_whose_nonce_an_earlier_fence_spent_never_ran(spent: PostReply) -> None:
    desk = Desk()
    post = desk.lose(order())
    _fence_timed_out(desk)  # it won, and its answer was lost
    desk.answer(desk.fence(), spent)
    desk.find_nothing()
    assert desk.outcome(_item(post)) == NO_RECORD


@SPENT
@ORDERS
def test_x2_rule_06_order_that_ran_before_its_nonce_was_spent_is_not_sent_again(
    make: Callable[[], Request], spent: PostReply
) -> None:
    desk = Desk()
    post = desk.lose(make())
    desk.answer(desk.fence(), spent)
    assert desk.tick() is None
    desk.look_up(record("filled", traded="1", oid=12))
    assert desk.outcome(_item(post)) == Filled(12, "1", None)
    assert _item(post).settled_by == "the venue's record"
    assert (desk.tick(), desk.core.idle) == (None, True)


@SPENT
@ORDERS
def test_x2_rule_07_order_delivered_twice_is_not_rejected_by_the_answer_to_the_second(
    make: Callable[[], Request], spent: Refused
) -> None:
    desk = Desk()
    post = desk.post(make())
    effects = desk.answer(post, spent)
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(_item(post), spent.reason)]
    assert (_state(_item(post)), _known(desk, post)) == (IntentState.UNKNOWN, SettlementState.LOOKING_UP)
    assert desk.tick() is None, "the nonce is known to be spent: no fence"
    desk.look_up(record("open"))
    assert desk.outcome(_item(post)) == RESTING


@SPENT
@pytest.mark.parametrize("meanwhile", [_nothing_new, _another_fence, _spent_as_another_fence_says])
def test_x2_rule_07_late_answer_to_a_second_delivery_only_spends_the_nonce(
    meanwhile: Callable[[Desk], None], spent: PostReply
) -> None:
    desk = Desk()
    post = desk.lose(order())
    meanwhile(desk)
    assert desk.answer(post, spent) == []
    assert (_state(_item(post)), _known(desk, post)) == (IntentState.UNKNOWN, SettlementState.LOOKING_UP)
    assert desk.tick() is None
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(_item(post)), Filled)


def test_x2_rule_07_fence_that_is_lost_after_the_nonce_is_spent_is_not_repeated() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.fence()
    desk.answer(post, DUPLICATE)
    desk.pass_time(5_000)
    assert _known(desk, post) is SettlementState.LOOKING_UP
    assert desk.tick() is None


# ------------------------------------------------------------------------------------------- 8: what proves a refusal


@pytest.mark.parametrize("text", ["502 Bad Gateway", "504 Gateway Timeout", "internal error", ""])
@ORDERS
def test_x2_rule_08_error_that_proves_no_refusal_is_ambiguous(make: Callable[[], Request], text: str) -> None:
    desk = Desk()
    post = desk.post(make())
    effects = desk.answer(post, GatewayError(text))
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(_item(post), text)]
    desk.clock.advance(1_000)
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(_item(post)), Filled), "it ran behind the gateway"


@pytest.mark.parametrize("text", ["429 Too Many Requests", "too many pending post requests id=2"])
@pytest.mark.parametrize("meanwhile", [_nothing_new, _another_fence, _spent_as_another_fence_says])
def test_x2_rule_08_proven_refusal_that_comes_late_settles(meanwhile: Callable[[Desk], None], text: str) -> None:
    desk = Desk()
    post = desk.lose(order())
    meanwhile(desk)
    assert desk.answer(post, GatewayError(text)) == [ev.IntentEnded(_item(post))]
    assert desk.outcome(_item(post)) == NotExecuted(f"refused by the venue's gate, late: {text}")
    assert _known(desk, post) is SettlementState.NEVER_EXECUTED


def test_x2_rule_08_late_error_that_proves_nothing_changes_nothing() -> None:
    desk = Desk()
    post = desk.lose(order())
    assert desk.answer(post, GatewayError("502 Bad Gateway")) == []
    assert (_state(_item(post)), _known(desk, post)) == (IntentState.UNKNOWN, SettlementState.UNKNOWN)
    desk.fence()


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
    assert (desk.outcome(_item(post)), _state(_item(post))) == (outcome, state)
    assert _known(desk, post) is SettlementState.EXECUTED
    assert desk.core.idle


def test_x2_rule_09_unknown_counts_only_three_times_in_a_row_and_spread_over_the_lag() -> None:
    desk = Desk()
    post = desk.spend(order())
    for _ in range(2):
        assert desk.look_up(None) == []
        assert desk.look_ups(LOOK_UP_EVERY_MS - 1) == [], "not asked too often"
        desk.clock.advance(1)
        assert _state(_item(post)) is IntentState.UNKNOWN
    (ended,) = desk.look_up(None)
    assert (ended, desk.outcome(_item(post))) == (ev.IntentEnded(_item(post)), NO_RECORD)
    assert _known(desk, post) is SettlementState.NEVER_EXECUTED


@pytest.mark.parametrize("absences", [1, 2])
def test_x2_rule_09_record_that_lagged_behind_is_believed(absences: int) -> None:
    desk = Desk()
    post = desk.spend(reduce_only())
    for _ in range(absences):
        desk.look_up(None, LOOK_UP_EVERY_MS)
    desk.look_up(record("filled", traded="1"), LOOK_UP_EVERY_MS)
    assert isinstance(desk.outcome(_item(post)), Filled)
    assert desk.tick() is None


def test_x2_rule_09_failed_look_up_counts_for_nothing_and_is_repeated() -> None:
    desk = Desk()
    post = desk.spend(order())
    for _ in range(5):
        (asked,) = desk.look_ups(LOOK_UP_EVERY_MS)
        assert desk.handle(ev.LookUpFailed(asked.post_id, asked.seq)) == []
    assert _state(_item(post)) is IntentState.UNKNOWN
    desk.clock.advance(LOOK_UP_EVERY_MS)
    desk.find_nothing()
    assert desk.outcome(_item(post)) == NO_RECORD


def test_x2_rule_09_batch_that_left_some_records_ran_and_the_others_are_refused_for_themselves() -> None:
    desk = Desk()
    post = desk.spend(order(), order())
    first, second = desk.look_ups()
    desk.found(first, record("filled", traded="1"))
    assert isinstance(desk.outcome(post.items[0]), Filled)
    assert _known(desk, post) is SettlementState.LOOKING_UP
    desk.found(second, None)
    for _ in range(2):
        desk.look_up(None, LOOK_UP_EVERY_MS)
    assert desk.outcome(post.items[1]) == NO_RECORD
    assert _known(desk, post) is SettlementState.EXECUTED


# ----------------------------------------------------------------------------------------- 10: late replies, one fate


@pytest.mark.parametrize("meanwhile", [_nothing_new, _another_fence, _spent_as_another_fence_says])
@pytest.mark.parametrize("result", [RESTING, FILLED, Rejected(MARGIN)])
def test_x2_rule_10_late_reply_decides_while_the_attempt_is_open(
    result: Resting | Filled | Rejected, meanwhile: Callable[[Desk], None]
) -> None:
    desk = Desk()
    post = desk.lose(order())
    meanwhile(desk)
    assert desk.reply(post, result) == [ev.IntentEnded(_item(post))]
    assert (desk.outcome(_item(post)), _item(post).settled_by) == (result, "its own late reply")
    assert _known(desk, post) is SettlementState.EXECUTED
    assert desk.tick() is None


def test_x2_rule_10_look_ups_and_fences_still_under_way_decide_nothing_any_more() -> None:
    desk = Desk()
    post = desk.spend(order())
    (asked,) = desk.look_ups()
    desk.reply(post, RESTING)
    assert desk.found(asked, record("filled", traded="1")) == []
    assert desk.handle(ev.LookUpFailed(asked.post_id, asked.seq)) == []
    assert desk.look_ups(LOOK_UP_EVERY_MS) == []
    assert desk.outcome(_item(post)) == RESTING


def test_x2_rule_10_late_reply_after_settlement_changes_no_outcome_and_a_contradiction_is_an_alarm() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.reply(desk.fence())
    effects = desk.reply(post, RESTING)
    assert effects == [ev.Contradiction(_item(post), FENCE_WON, RESTING, "the post's late reply")]
    assert desk.outcome(_item(post)) == FENCE_WON


@pytest.mark.parametrize("later", [Accepted((Rejected(MARGIN),)), GATE, DUPLICATE, Unreadable("x")])
def test_x2_rule_10_late_reply_after_settlement_that_agrees_is_no_alarm(later: PostReply) -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.reply(desk.fence())
    assert desk.answer(post, later) == []
    assert desk.outcome(_item(post)) == FENCE_WON


def test_x2_rule_10_late_reply_of_an_attempt_that_never_ran_is_not_held_against_the_one_that_did() -> None:
    desk = Desk()
    first = desk.lose(reduce_only())
    desk.answer(desk.fence(), DUPLICATE)
    desk.find_nothing()
    desk.reply(desk.send(), FILLED)
    assert desk.reply(first, Rejected(MARGIN)) == [], "refused without a record: it never ran, as was found"
    assert desk.outcome(_item(first)) == FILLED


def test_x2_rule_10_late_reply_that_a_resent_order_ran_before_is_an_alarm() -> None:
    desk = Desk()
    first = desk.lose(reduce_only())
    desk.reply(desk.fence())
    desk.reply(desk.send(), FILLED)
    (alarm,) = desk.reply(first, FILLED)
    assert isinstance(alarm, ev.Contradiction)
    assert (alarm.intent, alarm.later) == (_item(first), FILLED)


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
    assert _known(desk, post) is SettlementState.UNKNOWN
    (asked,) = desk.look_ups(1)
    assert desk.tick() is None
    desk.found(asked, record("filled", traded="1"))
    assert isinstance(desk.outcome(_item(post)), Filled)


def test_x2_rule_11_it_is_the_venues_clock_that_counts() -> None:
    desk, post = _with_another_key(order())
    desk.clock.step_unix(60_000)
    desk.handle(ev.ServerTimeLearned(NOW))
    assert desk.look_ups(EXPIRY_MARGIN_MS) == []
    assert _known(desk, post) is SettlementState.UNKNOWN
    assert len(desk.look_ups(1_001)) == 1


def test_x2_rule_11_post_without_expiry_is_never_declared_dead_by_time() -> None:
    desk, post = _with_another_key(order(), expires_ms=None)
    assert desk.look_ups(3_600_000) == []
    assert _state(_item(post)) is IntentState.UNKNOWN


def test_x2_rule_11_expiry_does_not_stand_in_for_a_fence_that_can_be_sent() -> None:
    desk = Desk()
    post = desk.lose(order())
    assert desk.look_ups(60_000) == []
    assert _known(desk, post) is SettlementState.UNKNOWN
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
    item = _item(first)
    assert second.items == (item,)
    assert (_known(desk, first), _known(desk, second)) == (SettlementState.NEVER_EXECUTED, SettlementState.UNKNOWN)
    desk.reply(won)
    desk.answer(first, GATE)
    assert (_state(item), desk.outcome(item)) == (IntentState.UNKNOWN, None)
    fence = desk.fence()
    assert (fence.fence_of, fence.nonce) == (second.post_id, second.nonce)
    desk.answer(fence, DUPLICATE)
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(item), Filled)


# ------------------------------------------------------------------------------------------------------- 13: cloids


def _filled(desk: Desk) -> None:
    desk.reply(desk.post(order(cloid=cloid(1))), FILLED)


def _resting(desk: Desk) -> None:
    desk.reply(desk.post(order(cloid=cloid(1))), RESTING)


def _fenced_off(desk: Desk) -> None:
    desk.lose(order(cloid=cloid(1)))
    desk.reply(desk.fence())


@pytest.mark.parametrize("so_far", [_filled, _resting, _fenced_off])
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
    given = _item(post).cloid
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
    assert (_state(_item(post)), desk.quarantined()) == (IntentState.UNKNOWN, 1)


def test_x2_rule_14_reply_counts_for_no_post_of_an_earlier_run() -> None:
    desk = Desk(ready=False, last_post_id=7, last_seq=1)
    post = unanswered(7, order())
    desk.recover(post)
    desk.connect()
    assert desk.handle(ev.ReplyReceived(1, 7, Accepted((FILLED,)))) == [ev.StrayReply(1, 7)]
    assert _state(_item(post)) is IntentState.UNKNOWN


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


# ------------------------------------------------------------------------------------------------------ 19: cancels


@pytest.mark.parametrize("ending", ["timed out", "disconnected", "broken", "spent", "unknown text"])
def test_x2_rule_19_ambiguous_cancel_is_sent_again_and_not_fenced(ending: str) -> None:
    desk = Desk()
    item = desk.submit(cancel())
    post = desk.take()
    if ending == "broken":
        desk.handle(ev.SendBroken(post.post_id, post.nonce, 1, "broken pipe"))
    else:
        desk.written(post)
    match ending:
        case "timed out":
            desk.pass_time(5_000)
        case "disconnected":
            desk.reconnect()
        case "spent":
            desk.answer(post, DUPLICATE)
        case "unknown text":
            desk.answer(post, GatewayError("502 Bad Gateway"))
    assert (_state(item), item.lost) == (IntentState.QUEUED, True)
    desk.clock.advance(1_000)
    again = desk.send()
    assert (again.items, again.kind, again.fence_of) == ((item,), ActionKind.CANCEL_BY_CLOID, None)
    assert again.nonce > post.nonce
    desk.reply(again, Canceled())
    assert desk.outcome(item) == Canceled()
    assert desk.core.idle


@pytest.mark.parametrize(
    "request_", [cancel(1), Cancel(market="xyz:TSLA", oid=11), cancel(77)], ids=["resting", "by oid", "foreign"]
)
def test_x2_rule_19_missing_order_ends_a_cancel_whose_order_was_settled_when_it_was_sent(request_: Cancel) -> None:
    desk = Desk()
    _resting(desk)
    post = desk.post(request_)
    desk.reply(post, MISSING)
    assert desk.outcome(_item(post)) == MISSING


def _unsettled_and_missing(make: Callable[..., Request] = order) -> tuple[Desk, PostRequest, PostRequest]:
    """An order is posted, its cancel overtakes it, and the venue says that it has no such order."""
    desk = Desk()
    target = desk.post(make(cloid=cloid(1)))
    canceling = desk.post(cancel(1))
    assert desk.reply(canceling, MISSING) == [ev.PostEnded(canceling)]
    assert (_state(_item(canceling)), desk.outcome(_item(canceling))) == (IntentState.WAITING, None)
    assert not desk.core.idle
    return desk, target, canceling


def test_x2_rule_19_cancel_that_overtook_its_order_waits_and_is_sent_again_if_the_order_rests() -> None:
    desk, target, canceling = _unsettled_and_missing()
    assert desk.tick() is None
    desk.reply(target, RESTING)
    again = desk.send()
    assert again.items == canceling.items
    desk.reply(again, Canceled())
    assert desk.outcome(_item(canceling)) == Canceled()
    assert desk.core.intents.resting_cloids() == []


@pytest.mark.parametrize(("result", "how"), [(FILLED, "filled"), (Rejected(MARGIN), "rejected")])
def test_x2_rule_19_waiting_cancel_ends_when_its_order_is_over(result: Filled | Rejected, how: str) -> None:
    desk, target, canceling = _unsettled_and_missing()
    effects = desk.reply(target, result)
    assert effects == [ev.PostEnded(target), ev.IntentEnded(_item(target)), ev.IntentEnded(_item(canceling))]
    reason = f"Order was never placed, already canceled, or filled; the order ended {how}"
    assert desk.outcome(_item(canceling)) == Rejected(reason)
    assert desk.core.idle


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x2_rule_19_waiting_cancel_waits_through_the_settlement_of_its_order(make: Callable[..., Request]) -> None:
    desk, target, canceling = _unsettled_and_missing(make)
    desk.pass_time(5_000)
    desk.answer(desk.fence(), DUPLICATE)
    assert _state(_item(canceling)) is IntentState.WAITING
    desk.look_up(record("open"))
    assert (desk.outcome(_item(target)), _state(_item(canceling))) == (RESTING, IntentState.QUEUED)
    desk.reply(desk.send(), Canceled())
    assert desk.outcome(_item(canceling)) == Canceled()


def test_x2_rule_19_every_cancel_that_waits_for_an_order_is_woken() -> None:
    desk, target, first = _unsettled_and_missing()
    second = desk.post(cancel(1))
    desk.reply(second, MISSING)
    desk.reply(target, RESTING)
    assert desk.send().items == (_item(first), _item(second))


def test_x2_rule_19_order_that_came_to_rest_after_its_cancel_was_sent_is_cancelled_again() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    canceling = desk.post(cancel(1))
    desk.reply(target, RESTING)
    desk.reply(canceling, MISSING)
    assert _state(_item(canceling)) is IntentState.QUEUED
    again = desk.send()
    desk.reply(again, MISSING)
    assert desk.outcome(_item(canceling)) == MISSING, "this time it was known to rest"


def test_x2_rule_19_order_that_was_over_before_its_cancels_answer_ends_the_cancel() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    canceling = desk.post(cancel(1))
    desk.reply(target, FILLED)
    desk.reply(canceling, MISSING)
    assert desk.outcome(_item(canceling)) == MISSING


def test_x2_rule_19_modify_that_its_cancel_overtook_is_waited_for_too() -> None:
    desk = Desk()
    target = desk.post(Modify(order=order(cloid=cloid(2)), cloid=cloid(1)))
    canceling = desk.post(cancel(2))
    desk.reply(canceling, MISSING)
    desk.reply(target, RESTING)
    assert desk.send().items == canceling.items


def test_x2_rule_19_reduce_only_order_with_a_cancel_is_not_sent_again_when_its_fence_won() -> None:
    desk, target, canceling = _unsettled_and_missing(reduce_only)
    desk.pass_time(5_000)
    desk.reply(desk.fence())
    assert desk.outcome(_item(target)) == FENCE_WON
    assert isinstance(desk.outcome(_item(canceling)), Rejected)
    assert (desk.tick(), desk.core.idle) == (None, True)


def test_x2_rule_19_reduce_only_order_with_a_cancel_is_not_sent_again_when_the_gate_refused_it() -> None:
    desk = Desk()
    target = desk.post(reduce_only(cloid=cloid(1)), reduce_only(cloid=cloid(2)))
    canceling = desk.post(cancel(1))
    desk.answer(target, GATE)
    first, second = target.items
    assert desk.outcome(first) == NotExecuted(f"refused by the venue's gate: {GATE.reason}")
    assert _state(second) is IntentState.QUEUED
    desk.reply(canceling, MISSING)
    assert desk.outcome(_item(canceling)) == MISSING
    desk.clock.advance(1_000)
    assert desk.send().items == (second,)


def test_x2_rule_19_refused_submit_of_a_cancel_does_not_count_as_a_cancel() -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(cancel=1)))
    desk.submit(cancel(5))
    post = desk.submit(reduce_only(cloid=cloid(1)))
    desk.send()
    desk.send()
    assert desk.admit(cancel(1)).admission is Admission.QUEUE_FULL
    assert not post.cancel_wanted


def _lost_then(result: Rejected = MISSING) -> tuple[Desk, PostRequest]:
    """The cancel of a resting order is lost; sent again, it is refused. Did the first one do it?"""
    desk = Desk()
    _resting(desk)
    desk.lose(cancel(1))
    again = desk.send()
    effects = desk.reply(again, result)
    assert effects == [ev.PostEnded(again), ev.IntentUnknown(_item(again), result.reason)]
    assert _state(_item(again)) is IntentState.UNKNOWN
    assert desk.tick() is None, "cancels are not fenced"
    return desk, again


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (record("canceled"), Canceled()),
        (record("canceled", traded="0.4"), Canceled()),
        (record("filled", traded="1"), Rejected("the order was not canceled, its status is filled")),
        (record("rejected"), Rejected("the order was not canceled, its status is rejected")),
    ],
)
def test_x2_rule_19_record_tells_whether_a_lost_cancel_did_it(found: OrderRecord, outcome: object) -> None:
    desk, post = _lost_then()
    (asked,) = desk.look_ups()
    assert asked.key == cloid(1)
    desk.found(asked, found)
    assert (desk.outcome(_item(post)), _item(post).settled_by) == (outcome, "the venue's record")
    assert desk.core.idle


def test_x2_rule_19_lost_cancel_by_oid_is_looked_up_by_its_oid() -> None:
    desk = Desk()
    desk.lose(Cancel(market="BTC", oid=17))
    desk.reply(desk.send(), MISSING)
    (asked,) = desk.look_ups()
    assert asked.key == 17


def test_x2_rule_19_record_that_lags_behind_does_not_deny_a_lost_cancel() -> None:
    desk, post = _lost_then()
    for _ in range(2):
        assert desk.look_up(record("open"), LOOK_UP_EVERY_MS) == []
    desk.look_up(record("canceled"), LOOK_UP_EVERY_MS)
    assert desk.outcome(_item(post)) == Canceled()


@pytest.mark.parametrize("found", [None, record("open")], ids=["unknown", "on the book"])
def test_x2_rule_19_lost_cancel_that_left_no_mark_on_any_order_had_no_effect(found: OrderRecord | None) -> None:
    desk, post = _lost_then()
    for number in range(3):
        assert _state(_item(post)) is IntentState.UNKNOWN
        desk.look_up(found, LOOK_UP_EVERY_MS if number else 0)
    assert desk.outcome(_item(post)) == NO_RECORD


def test_x2_rule_19_cancel_that_was_lost_before_waits_for_its_order_all_the_same() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    desk.clock.advance(4_000)
    canceling = desk.post(cancel(1))
    desk.answer(canceling, DUPLICATE)
    again = desk.send()
    desk.reply(again, MISSING)
    assert _state(_item(again)) is IntentState.WAITING
    desk.reply(target, RESTING)
    assert desk.send().items == canceling.items


@pytest.mark.parametrize("ended", [FILLED, Rejected(MARGIN)])
def test_x2_rule_19_waiting_cancel_that_was_lost_before_is_sent_again_to_find_out(ended: Filled | Rejected) -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    desk.answer(desk.post(cancel(1)), DUPLICATE)
    desk.reply(desk.send(), MISSING)
    desk.reply(target, ended)
    again = desk.send()
    desk.reply(again, MISSING)
    desk.look_up(record("canceled", traded="0.4"))
    assert desk.outcome(_item(again)) == Canceled(), "the first cancel took what was left of it off the book"


def test_x2_rule_19_refusal_of_another_kind_does_not_deny_a_lost_cancel_either() -> None:
    desk, post = _lost_then(Rejected("User or API Wallet 0x12 does not exist."))
    desk.look_up(record("canceled"))
    assert desk.outcome(_item(post)) == Canceled()


def test_x2_rule_19_repeated_answer_does_not_decide_a_cancel_that_is_looked_up() -> None:
    desk, post = _lost_then()
    assert desk.reply(post, MISSING) == [ev.StrayReply(1, post.post_id)]
    assert _state(_item(post)) is IntentState.UNKNOWN


def test_x2_rule_19_late_answer_of_a_lost_cancel_decides_nothing() -> None:
    desk = Desk()
    _resting(desk)
    lost = desk.lose(cancel(1))
    assert desk.reply(lost, MISSING) == []
    assert desk.send().items == lost.items


def test_x2_rule_19_order_that_was_cancelled_before_its_own_fate_was_known_is_settled_to_canceled() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    desk.reply(desk.post(cancel(1)), Canceled())
    desk.pass_time(5_000)
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(record("canceled"))
    assert desk.outcome(_item(target)) == Canceled()


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
    assert (_state(_item(post)), desk.tick()) == (IntentState.UNKNOWN, None)
    desk.look_up(None, LOOK_UP_EVERY_MS)
    again = desk.tick()
    if make is reduce_only:
        assert again is not None
        assert again.items == post.items
    else:
        assert again is None
        assert desk.outcome(_item(post)) == NO_RECORD


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x2_rule_20_disconnected_order_is_not_sent_again_either(make: Callable[[], Request]) -> None:
    desk = Desk()
    post = desk.post(make())
    desk.reconnect()
    fence = desk.fence()
    assert (fence.fence_of, desk.tick()) == (post.post_id, None)
