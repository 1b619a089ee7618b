"""Settlement, rule by rule (settlement.md): 19, cancels, which need no fence and have traps of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.batch import QueueLimits
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    Filled,
    IntentState,
    Modify,
    NotExecuted,
    Rejected,
    Request,
)
from machines.post import PostRequest
from machines.reply import GatewayError
from machines.settings import CoreSettings
from machines.settlement import LOOK_UP_EVERY_MS, OrderRecord
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    MARGIN,
    MISSING,
    RESTING,
    Desk,
    cancel,
    cloid,
    order,
    record,
    reduce_only,
)
from tests.machines.settling import (
    FENCE_WON,
    GATE,
    NO_RECORD,
    only,
    resting,
    state_of,
)

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
    assert (state_of(item), item.lost) == (IntentState.QUEUED, True)
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
    resting(desk)
    post = desk.post(request_)
    desk.reply(post, MISSING)
    assert desk.outcome(only(post)) == MISSING


def _unsettled_and_missing(make: Callable[..., Request] = order) -> tuple[Desk, PostRequest, PostRequest]:
    """An order is posted, its cancel overtakes it, and the venue says that it has no such order."""
    desk = Desk()
    target = desk.post(make(cloid=cloid(1)))
    canceling = desk.post(cancel(1))
    assert desk.reply(canceling, MISSING) == [ev.PostEnded(canceling)]
    assert (state_of(only(canceling)), desk.outcome(only(canceling))) == (IntentState.WAITING, None)
    assert not desk.core.idle
    return desk, target, canceling


def test_x2_rule_19_cancel_that_overtook_its_order_waits_and_is_sent_again_if_the_order_rests() -> None:
    desk, target, canceling = _unsettled_and_missing()
    assert desk.tick() is None
    desk.reply(target, RESTING)
    again = desk.send()
    assert again.items == canceling.items
    desk.reply(again, Canceled())
    assert desk.outcome(only(canceling)) == Canceled()
    assert desk.core.intents.resting_cloids() == []


@pytest.mark.parametrize(("result", "how"), [(FILLED, "filled"), (Rejected(MARGIN), "rejected")])
def test_x2_rule_19_waiting_cancel_ends_when_its_order_is_over(result: Filled | Rejected, how: str) -> None:
    desk, target, canceling = _unsettled_and_missing()
    effects = desk.reply(target, result)
    assert effects == [ev.PostEnded(target), ev.IntentEnded(only(target)), ev.IntentEnded(only(canceling))]
    reason = f"Order was never placed, already canceled, or filled; the order ended {how}"
    assert desk.outcome(only(canceling)) == Rejected(reason)
    assert desk.core.idle


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x2_rule_19_waiting_cancel_waits_through_the_settlement_of_its_order(make: Callable[..., Request]) -> None:
    desk, target, canceling = _unsettled_and_missing(make)
    desk.pass_time(5_000)
    desk.answer(desk.fence(), DUPLICATE)
    assert state_of(only(canceling)) is IntentState.WAITING
    desk.look_up(record("open"))
    assert (desk.outcome(only(target)), state_of(only(canceling))) == (RESTING, IntentState.QUEUED)
    desk.reply(desk.send(), Canceled())
    assert desk.outcome(only(canceling)) == Canceled()


def test_x2_rule_19_every_cancel_that_waits_for_an_order_is_woken() -> None:
    desk, target, first = _unsettled_and_missing()
    second = desk.post(cancel(1))
    desk.reply(second, MISSING)
    desk.reply(target, RESTING)
    assert desk.send().items == (only(first), only(second))


def test_x2_rule_19_order_that_came_to_rest_after_its_cancel_was_sent_is_cancelled_again() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    canceling = desk.post(cancel(1))
    desk.reply(target, RESTING)
    desk.reply(canceling, MISSING)
    assert state_of(only(canceling)) is IntentState.QUEUED
    again = desk.send()
    desk.reply(again, MISSING)
    assert desk.outcome(only(canceling)) == MISSING, "this time it was known to rest"


def test_x2_rule_19_order_that_was_over_before_its_cancels_answer_ends_the_cancel() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    canceling = desk.post(cancel(1))
    desk.reply(target, FILLED)
    desk.reply(canceling, MISSING)
    assert desk.outcome(only(canceling)) == MISSING


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
    assert desk.outcome(only(target)) == FENCE_WON
    assert isinstance(desk.outcome(only(canceling)), Rejected)
    assert (desk.tick(), desk.core.idle) == (None, True)


def test_x2_rule_19_reduce_only_order_with_a_cancel_is_not_sent_again_when_the_gate_refused_it() -> None:
    desk = Desk()
    target = desk.post(reduce_only(cloid=cloid(1)), reduce_only(cloid=cloid(2)))
    canceling = desk.post(cancel(1))
    desk.answer(target, GATE)
    first, second = target.items
    assert desk.outcome(first) == NotExecuted(f"refused by the venue's gate: {GATE.reason}")
    assert state_of(second) is IntentState.QUEUED
    desk.reply(canceling, MISSING)
    assert desk.outcome(only(canceling)) == MISSING
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
    resting(desk)
    desk.lose(cancel(1))
    again = desk.send()
    effects = desk.reply(again, result)
    assert effects == [ev.PostEnded(again), ev.IntentUnknown(only(again), result.reason)]
    assert state_of(only(again)) is IntentState.UNKNOWN
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
    assert (desk.outcome(only(post)), only(post).settled_by) == (outcome, "the venue's record")
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
    assert desk.outcome(only(post)) == Canceled()


@pytest.mark.parametrize("found", [None, record("open")], ids=["unknown", "on the book"])
def test_x2_rule_19_lost_cancel_that_left_no_mark_on_any_order_had_no_effect(found: OrderRecord | None) -> None:
    desk, post = _lost_then()
    for number in range(3):
        assert state_of(only(post)) is IntentState.UNKNOWN
        desk.look_up(found, LOOK_UP_EVERY_MS if number else 0)
    assert desk.outcome(only(post)) == NO_RECORD


def test_x2_rule_19_cancel_that_was_lost_before_waits_for_its_order_all_the_same() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    desk.clock.advance(4_000)
    canceling = desk.post(cancel(1))
    desk.answer(canceling, DUPLICATE)
    again = desk.send()
    desk.reply(again, MISSING)
    assert state_of(only(again)) is IntentState.WAITING
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
    assert desk.outcome(only(again)) == Canceled(), "the first cancel took what was left of it off the book"


def test_x2_rule_19_refusal_of_another_kind_does_not_deny_a_lost_cancel_either() -> None:
    desk, post = _lost_then(Rejected("User or API Wallet 0x12 does not exist."))
    desk.look_up(record("canceled"))
    assert desk.outcome(only(post)) == Canceled()


REFUSED = Rejected("Too many cumulative requests sent.")


def test_x2_rule_19_lost_cancel_that_was_refused_is_sent_again_while_its_order_rests() -> None:
    """An earlier attempt of it may still be on its way, so that "not executed" would be a guess."""
    desk, post = _lost_then(REFUSED)
    for number in range(3):
        desk.look_up(record("open"), LOOK_UP_EVERY_MS if number else 0)
    assert state_of(only(post)) is IntentState.QUEUED
    again = desk.send()
    desk.reply(again, Canceled())
    assert desk.outcome(only(again)) == Canceled()
    assert desk.core.idle


def test_x2_rule_19_lost_cancel_that_was_refused_ends_when_there_is_no_order() -> None:
    desk, post = _lost_then(REFUSED)
    for number in range(3):
        desk.look_up(None, LOOK_UP_EVERY_MS if number else 0)
    assert desk.outcome(only(post)) == NO_RECORD


def test_x2_rule_19_lost_cancel_that_was_refused_waits_for_the_fate_of_its_order() -> None:
    desk = Desk()
    target = desk.post(order(cloid=cloid(1)))
    desk.answer(desk.post(cancel(1)), DUPLICATE)
    again = desk.send()
    desk.reply(again, REFUSED)
    assert state_of(only(again)) is IntentState.WAITING
    desk.reply(target, RESTING)
    assert desk.send().items == again.items


def test_x2_rule_19_repeated_answer_does_not_decide_a_cancel_that_is_looked_up() -> None:
    desk, post = _lost_then()
    assert desk.reply(post, MISSING) == [ev.StrayReply(1, post.post_id)]
    assert state_of(only(post)) is IntentState.UNKNOWN


def test_x2_rule_19_late_answer_of_a_lost_cancel_decides_nothing() -> None:
    desk = Desk()
    resting(desk)
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
    assert desk.outcome(only(target)) == Canceled()
