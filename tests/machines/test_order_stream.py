"""The core: an order's fate comes from its post's reply and from the order stream; the first one counts (X7)."""

from __future__ import annotations

import pytest

from machines import events as ev
from machines.intent import (
    Canceled,
    Filled,
    Intent,
    IntentState,
    ItemResult,
    Modify,
    NotExecuted,
    Rejected,
    Resting,
)
from machines.post import PostRequest, PostState
from machines.settlement import LOOK_UP_EVERY_MS, OrderRecord, SettlementState
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    IOC_MISSED,
    MARGIN,
    MISSING,
    RESTING,
    Desk,
    cancel,
    cloid,
    fields,
    of_type,
    order,
    record,
    reduce_only,
)
from tests.machines.settling import FENCE_WON, GATE, known, only, resting, state_of

ONE = cloid(1)
REJECTED = Rejected("order status: perpMarginRejected")
TOLD = [
    (record(), RESTING, IntentState.RESTING),
    (record("filled", traded="1"), Filled(11, "1", None), IntentState.FILLED),
    (record("canceled"), Canceled(), IntentState.CANCELED),
    (record("canceled", traded="0.2"), Filled(11, "0.2", None), IntentState.FILLED),
    (record("perpMarginRejected"), REJECTED, IntentState.REJECTED),
]
"""What the stream may say, and what it means."""
ALL_TOLD = pytest.mark.parametrize(("told", "outcome", "state"), TOLD, ids=lambda value: getattr(value, "status", ""))


def _sent(desk: Desk) -> PostRequest:
    return desk.post(order(cloid=ONE))


def _seen(desk: Desk, told: OrderRecord) -> list[ev.Effect]:
    return desk.handle(ev.OrderSeen(ONE, told))


def _outcome(item: Intent) -> object:
    return item.outcome


# ------------------------------------------------------------------------------------------------- the stream first


@ALL_TOLD
def test_x7_stream_ends_an_order_whose_reply_has_not_come(
    told: OrderRecord, outcome: ItemResult, state: IntentState
) -> None:
    desk = Desk()
    post = _sent(desk)
    assert _seen(desk, told) == [ev.IntentEnded(only(post))]
    assert (_outcome(only(post)), state_of(only(post))) == (outcome, state)
    assert only(post).settled_by == "the order stream"
    assert (post.state, desk.inflight()) == (PostState.SENT, 1), "its slot is the post's, not the order's"


def test_x7_trade_of_an_unknown_order_shows_that_it_ran_and_its_record_is_looked_up_without_a_fence() -> None:
    desk = Desk()
    post = _sent(desk)
    desk.pass_time(5_000)
    item = only(post)
    assert desk.handle(ev.FillSeen(item.cloid or "", 11, "1")) == []
    assert desk.handle(ev.FillSeen(item.cloid or "", 11, "1")) == [], "a second trade adds nothing"
    assert desk.tick() is None, "no fence"
    assert desk.handle(ev.TimePassed()) == [ev.LookUp(post.post_id, item.seq, item.cloid or "")]
    desk.handle(ev.LookedUp(post.post_id, item.seq, record("filled", traded="1")))
    assert desk.outcome(item) == Filled(11, "1", None)


def test_x7_trade_of_an_order_whose_reply_has_not_come_waits_for_the_reply() -> None:
    desk = Desk()
    post = _sent(desk)
    assert desk.handle(ev.FillSeen(only(post).cloid or "", 11, "1")) == []
    assert desk.handle(ev.FillSeen(cloid(99), 11, "1")) == [], "of an order of somebody else"
    assert state_of(only(post)) is IntentState.POSTED


@pytest.mark.parametrize(("reply", "alarm"), [(FILLED, True), (RESTING, False), (Rejected(MARGIN), True)])
def test_x7_trade_that_contradicts_the_outcome_is_an_alarm(reply: ItemResult, alarm: bool) -> None:
    desk = Desk()
    post = _sent(desk)
    desk.reply(post, reply)
    effects = desk.handle(ev.FillSeen(only(post).cloid or "", 11, "1"))
    later = Filled(11, "1", None)
    assert effects == ([ev.Contradiction(only(post), reply, later, "the stream of trades")] if alarm else [])
    assert desk.outcome(only(post)) == reply


@pytest.mark.parametrize(
    ("told", "reply"),
    [
        (record(), RESTING),
        (record(), Filled(11, "1", "400")),
        (record("filled", traded="1"), Filled(11, "1", "400")),
        (record("filled", traded="1"), RESTING),
        (record("canceled"), RESTING),
        (record("iocCancelRejected"), Rejected(IOC_MISSED)),
        (record("open"), Resting(None)),
    ],
)
def test_x7_reply_that_agrees_with_the_stream_ends_the_post_and_nothing_else(
    told: OrderRecord, reply: ItemResult
) -> None:
    desk = Desk()
    post = _sent(desk)
    _seen(desk, told)
    before = fields(only(post))
    assert desk.reply(post, reply) == [ev.PostEnded(post)]
    assert fields(only(post)) == before
    assert (post.state, desk.inflight(), desk.all_told()) == (PostState.ACKED, 0, True)


@pytest.mark.parametrize(
    ("told", "first", "reply"),
    [
        (record(), RESTING, Rejected(MARGIN)),
        (record("filled", traded="1"), Filled(11, "1", None), Rejected(MARGIN)),
        (record("perpMarginRejected"), REJECTED, FILLED),
        (record(), RESTING, Resting(99)),
    ],
)
def test_x7_reply_that_contradicts_the_stream_is_an_alarm_and_changes_no_outcome(
    told: OrderRecord, first: ItemResult, reply: ItemResult
) -> None:
    desk = Desk()
    post = _sent(desk)
    _seen(desk, told)
    effects = desk.reply(post, reply)
    assert effects == [ev.PostEnded(post), ev.Contradiction(only(post), first, reply, "the post's reply")]
    assert desk.outcome(only(post)) == first


def test_x7_stream_and_reply_share_the_items_of_a_batch() -> None:
    desk = Desk()
    post = desk.post(order(), order(cloid=ONE), order())
    _seen(desk, record())
    assert desk.core.posts.items_in_flight == 2
    results = (FILLED, RESTING, Rejected(MARGIN))
    effects = desk.reply(post, *results)
    assert [effect.intent for effect in of_type(effects, ev.IntentEnded)] == [post.items[0], post.items[2]]
    assert [desk.outcome(item) for item in post.items] == list(results)


@ALL_TOLD
def test_x7_timeout_does_not_reopen_what_the_stream_has_ended(
    told: OrderRecord, outcome: ItemResult, state: IntentState
) -> None:
    desk = Desk()
    post = _sent(desk)
    _seen(desk, told)
    assert desk.pass_time(5_000) == [ev.PostEnded(post)]
    assert (_outcome(only(post)), state_of(only(post))) == (outcome, state)
    assert (desk.core.settler.attempts, desk.tick()) == ({}, None)
    assert desk.reply(post, RESTING if state is not IntentState.REJECTED else Rejected(MARGIN)) == []


@pytest.mark.parametrize("lose", ["connection", "gate", "unclear"])
def test_x7_no_other_ending_of_the_post_reopens_it_either(lose: str) -> None:
    desk = Desk()
    post = desk.post(reduce_only(cloid=ONE))
    _seen(desk, record("filled", traded="1"))
    match lose:
        case "connection":
            effects = desk.handle(ev.ConnectionLost("reset"))
        case "gate":
            effects = desk.answer(post, GATE)
        case _:
            effects = desk.answer(post, DUPLICATE)
    assert isinstance(desk.outcome(only(post)), Filled)
    assert len(of_type(effects, ev.Contradiction)) == (lose == "gate"), "what never ran can't have traded"
    assert (desk.core.settler.attempts, desk.idle()) == ({}, True)


def test_x7_late_refusal_at_the_gate_of_an_order_that_the_stream_showed_is_an_alarm() -> None:
    desk = Desk()
    post = desk.lose(order(cloid=ONE))
    _seen(desk, record())
    later = Rejected(GATE.reason)
    assert desk.answer(post, GATE) == [ev.Contradiction(only(post), RESTING, later, "the post's late reply")]


# ------------------------------------------------------------------------------------------ the stream, in settlement


def _nothing(_: Desk) -> None:
    pass


def _fencing(desk: Desk) -> None:
    desk.fence()


def _looking_up(desk: Desk) -> None:
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_ups()


@pytest.mark.parametrize("meanwhile", [_nothing, _fencing, _looking_up])
@ALL_TOLD
def test_x7_stream_settles_an_unknown_order(
    told: OrderRecord, outcome: ItemResult, state: IntentState, meanwhile: object
) -> None:
    desk = Desk()
    post = desk.lose(order(cloid=ONE))
    assert callable(meanwhile)
    meanwhile(desk)
    assert _seen(desk, told) == [ev.IntentEnded(only(post))]
    assert (_outcome(only(post)), state_of(only(post))) == (outcome, state)
    assert known(desk, post) is SettlementState.EXECUTED
    assert (desk.tick(), desk.look_ups(LOOK_UP_EVERY_MS)) == (None, [])


def test_x7_stream_settles_one_order_of_an_unknown_batch_and_the_rest_goes_on() -> None:
    desk = Desk()
    post = desk.lose(order(cloid=ONE), order())
    _seen(desk, record())
    assert known(desk, post) is SettlementState.UNKNOWN
    desk.answer(desk.fence(), DUPLICATE)
    (asked,) = desk.look_ups()
    assert asked.seq == 2
    desk.found(asked, record("filled", traded="1", oid=12))
    assert known(desk, post) is SettlementState.EXECUTED


def test_x7_fence_that_is_answered_after_the_stream_settled_the_order_changes_nothing() -> None:
    desk = Desk()
    desk.lose(order(cloid=ONE))
    fence = desk.fence()
    _seen(desk, record())
    assert desk.answer(fence, DUPLICATE) == [ev.PostEnded(fence)]
    assert desk.idle()


# -------------------------------------------------------------------------------------------------- the reply first


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (RESTING, record()),
        (RESTING, record("filled", traded="1")),
        (RESTING, record("canceled")),
        (Resting(None), record("triggered", oid=40)),
        (FILLED, record("filled", traded="1", oid=12)),
        (Rejected(MARGIN), record("perpMarginRejected")),
    ],
)
def test_x7_stream_that_agrees_with_the_reply_changes_no_outcome(reply: ItemResult, told: OrderRecord) -> None:
    desk = Desk()
    post = _sent(desk)
    desk.reply(post, reply)
    before = fields(only(post))
    assert _seen(desk, told) == []
    assert fields(only(post)) == before


@pytest.mark.parametrize(
    ("reply", "told", "later"),
    [
        (RESTING, record("perpMarginRejected"), REJECTED),
        (RESTING, record(oid=99), Resting(99)),
        (FILLED, record("filled", traded="1", oid=99), Filled(99, "1", None)),
        (Rejected(MARGIN), record(), RESTING),
    ],
)
def test_x7_stream_that_contradicts_the_reply_is_an_alarm_and_changes_no_outcome(
    reply: ItemResult, told: OrderRecord, later: ItemResult
) -> None:
    desk = Desk()
    post = _sent(desk)
    desk.reply(post, reply)
    assert _seen(desk, told) == [ev.Contradiction(only(post), reply, later, "the order stream")]
    assert desk.outcome(only(post)) == reply


def test_x7_stream_that_contradicts_a_settlement_is_an_alarm_and_changes_no_outcome() -> None:
    desk = Desk()
    post = desk.lose(order(cloid=ONE))
    desk.reply(desk.fence())
    assert _seen(desk, record()) == [ev.Contradiction(only(post), FENCE_WON, RESTING, "the order stream")]
    assert desk.outcome(only(post)) == FENCE_WON


def test_x7_stream_that_shows_an_order_that_is_to_be_sent_again_is_an_alarm() -> None:
    desk = Desk()
    post = desk.lose(reduce_only(cloid=ONE))
    desk.reply(desk.fence())
    (alarm,) = _seen(desk, record())
    assert alarm == ev.Contradiction(only(post), NotExecuted("proven never to have run"), RESTING, "the order stream")
    assert state_of(only(post)) is IntentState.QUEUED


def test_x7_late_refusal_of_an_order_that_is_to_be_sent_again_is_none_and_leaves_it_in_the_register() -> None:
    desk = Desk()
    post = desk.lose(reduce_only(cloid=ONE))
    desk.reply(desk.fence())
    assert _seen(desk, record("perpMarginRejected")) == []
    assert desk.core.intents.order(ONE) is only(post)
    desk.submit(cancel(1))
    assert desk.outcome(only(post)) == NotExecuted("canceled before it was sent")


# ---------------------------------------------------------------------------------------------------- off the book


def test_x7_orders_of_others_are_none_of_our_business() -> None:
    desk = Desk()
    assert desk.handle(ev.OrderSeen(cloid(77), record())) == []
    assert desk.handle(ev.OrderGone(cloid(77))) == []


@pytest.mark.parametrize("told", [record("filled", traded="1"), record("canceled"), record("marginCanceled")])
def test_resting_order_that_leaves_the_book_is_known_to_have_left(told: OrderRecord) -> None:
    desk = Desk()
    resting(desk)
    assert desk.core.intents.resting_cloids() == [ONE]
    _seen(desk, told)
    assert desk.core.intents.resting_cloids() == []
    _seen(desk, told)
    assert of_type(desk.effects, ev.Contradiction) == []


def test_resting_order_that_is_gone_is_known_to_have_left() -> None:
    desk = Desk()
    resting(desk)
    assert desk.handle(ev.OrderGone(ONE)) == []
    assert desk.core.intents.resting_cloids() == []
    assert desk.handle(ev.OrderGone(ONE)) == []


def test_order_under_way_is_not_gone_because_it_is_not_among_the_open_ones() -> None:
    desk = Desk()
    post = _sent(desk)
    desk.handle(ev.OrderGone(ONE))
    assert desk.core.intents.order(ONE) is only(post)
    desk.pass_time(5_000)
    desk.handle(ev.OrderGone(ONE))
    assert state_of(only(post)) is IntentState.UNKNOWN


def test_x2_rule_19_stream_that_ends_an_order_wakes_the_cancels_that_wait_for_it() -> None:
    desk = Desk()
    _sent(desk)
    canceling = desk.post(cancel(1))
    desk.reply(canceling, MISSING)
    _seen(desk, record())
    assert desk.send().items == canceling.items


def test_x7_stream_settles_the_new_order_of_a_modify() -> None:
    desk = Desk()
    post = desk.lose(Modify(order=order(cloid=ONE), cloid=cloid(9)))
    _seen(desk, record())
    assert desk.outcome(only(post)) == RESTING
