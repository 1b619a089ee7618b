"""The core: what a submit is answered, the cloids, cancels that never leave, flattening."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from machines import events as ev
from machines.batch import QueueLimits
from machines.errors import InvalidSetting
from machines.intent import (
    ActionKind,
    Admission,
    Cancel,
    Canceled,
    IntentState,
    ItemResult,
    Modify,
    NotExecuted,
    Order,
    Priority,
    Rejected,
    Request,
    Trigger,
)
from machines.reply import GatewayError
from machines.settings import CoreSettings
from tests.machines.builders import (
    FILLED,
    MARGIN,
    MISSING,
    NOW,
    RESTING,
    RUN_ID,
    Desk,
    cancel,
    cloid,
    of_type,
    order,
    reduce_only,
    seqs,
)

LOADED = CoreSettings(inflight_limit=3, high_watermark=2)
TIGHT = CoreSettings(queues=QueueLimits(cancel=1, reduce_only=1, new_order=1))


def _loaded(count: int) -> Desk:
    """A desk with `count` of 3 slots taken; the watermark is 2."""
    desk = Desk(settings=LOADED)
    for _ in range(count):
        desk.post(cancel())
    return desk


def _tight() -> Desk:
    """A desk whose three queues are full, with one item each."""
    desk = Desk(settings=TIGHT)
    for request in (cancel(), reduce_only(), order()):
        desk.submit(request)
    return desk


def _halted() -> Desk:
    desk = Desk()
    desk.handle(ev.StopTripped("operator"))
    return desk


def _syncing() -> Desk:
    desk = Desk(ready=False)
    desk.connect()
    return desk


def _lost() -> Desk:
    desk = Desk()
    desk.handle(ev.ConnectionLost("reset"))
    return desk


def _draining() -> Desk:
    desk = Desk()
    desk.handle(ev.DrainStarted())
    return desk


def _closed() -> Desk:
    desk = _draining()
    desk.handle(ev.Closed())
    return desk


def _drifting() -> Desk:
    desk = Desk()
    desk.handle(ev.ServerTimeLearned(NOW + 5_001))
    desk.handle(ev.StopReset("the operator overrules"))
    return desk


def _cloid_open() -> Desk:
    desk = Desk()
    desk.submit(order(cloid=cloid(1)))
    return desk


def _flattening() -> Desk:
    desk = Desk()
    desk.submit(FLATTEN)
    return desk


def _blocked() -> Desk:
    """A desk with an order in `xyz:TSLA` that has been unknown for too long."""
    desk = Desk()
    desk.lose(order())
    desk.pass_time(60_000)
    return desk


FLATTEN = reduce_only(flatten=True)
NEVER_CONNECTED: Callable[[], Desk] = lambda: Desk(ready=False)  # noqa: E731 a name for the table below

ANSWERS = [
    (Desk, order(), Admission.QUEUED),
    (Desk, reduce_only(), Admission.QUEUED),
    (Desk, cancel(), Admission.QUEUED),
    (lambda: _loaded(1), order(), Admission.QUEUED),
    (lambda: _loaded(2), order(), Admission.QUEUED_DEGRADED),
    (lambda: _loaded(2), reduce_only(), Admission.QUEUED),
    (lambda: _loaded(2), cancel(), Admission.QUEUED),
    (lambda: _loaded(3), order(), Admission.INFLIGHT_FULL),
    (lambda: _loaded(3), reduce_only(), Admission.QUEUED_DEGRADED),
    (lambda: _loaded(3), cancel(), Admission.QUEUED_DEGRADED),
    (_tight, order(), Admission.QUEUE_FULL),
    (_tight, reduce_only(), Admission.QUEUE_FULL),
    (_tight, cancel(), Admission.QUEUE_FULL),
    (_halted, order(), Admission.HALTED),
    (_halted, reduce_only(), Admission.QUEUED),
    (_halted, cancel(), Admission.QUEUED),
    (NEVER_CONNECTED, order(), Admission.NOT_READY),
    (NEVER_CONNECTED, reduce_only(), Admission.NOT_READY),
    (NEVER_CONNECTED, cancel(), Admission.NOT_READY),
    (_syncing, order(), Admission.NOT_READY),
    (_syncing, reduce_only(), Admission.QUEUED),
    (_syncing, cancel(), Admission.QUEUED),
    (_lost, order(), Admission.NOT_READY),
    (_lost, reduce_only(), Admission.QUEUED_DEGRADED),
    (_lost, cancel(), Admission.QUEUED_DEGRADED),
    (_draining, order(), Admission.NOT_READY),
    (_draining, reduce_only(), Admission.NOT_READY),
    (_draining, cancel(), Admission.NOT_READY),
    (_closed, cancel(), Admission.NOT_READY),
    (_drifting, order(), Admission.NOT_READY),
    (_drifting, reduce_only(), Admission.QUEUED),
    (_cloid_open, order(cloid=cloid(1)), Admission.CLOID_IN_USE),
    (_cloid_open, reduce_only(cloid=cloid(1)), Admission.CLOID_IN_USE),
    (_flattening, FLATTEN, Admission.ALREADY_FLATTENING),
    (_blocked, order(), Admission.MARKET_BLOCKED),
    (_blocked, Modify(order=order(), oid=7), Admission.MARKET_BLOCKED),
    (_blocked, order(market="BTC"), Admission.QUEUED),
    (_blocked, reduce_only(), Admission.QUEUED),
    (_blocked, cancel(), Admission.QUEUED),
]


@pytest.mark.parametrize(("make", "request_", "answer"), ANSWERS)
def test_b4_submit_is_answered_by_what_stands_in_its_way(
    make: Callable[[], Desk], request_: Request, answer: Admission
) -> None:
    desk = make()
    accepted, waiting = desk.core.intents.accepted, sum(map(desk.waiting, Priority))
    admitted = desk.admit(request_)
    assert admitted.admission is answer
    assert (admitted.intent is None) is (not answer.accepted and answer is not Admission.ALREADY_FLATTENING)
    assert desk.core.intents.accepted == accepted + answer.accepted
    if not desk.halted():
        assert sum(map(desk.waiting, Priority)) == waiting + answer.accepted


def test_b4_every_answer_is_given_somewhere() -> None:
    assert {answer for _, _, answer in ANSWERS} == set(Admission)


def test_b4_refused_submit_uses_up_no_sequence_number_and_no_cloid() -> None:
    desk = _halted()
    refused = order(cloid=cloid(5))
    assert desk.admit(refused).admission is Admission.HALTED
    desk.handle(ev.StopReset("test"))
    assert desk.submit(refused).seq == 1


def test_b3_full_reduce_only_queue_trips_the_hard_stop() -> None:
    desk = _tight()
    waiting = desk.intents[3]
    effects = desk.handle(ev.Submit(reduce_only()))
    assert of_type(effects, ev.Halted) == [ev.Halted("the reduce-only queue is full")]
    assert desk.outcome(waiting) == NotExecuted("halted: the reduce-only queue is full")
    assert (desk.halted(), desk.told[3]) == (True, 1)


@pytest.mark.parametrize("make", [NEVER_CONNECTED, _cloid_open, _draining])
def test_reduce_only_order_refused_for_another_reason_does_not_halt(make: Callable[[], Desk]) -> None:
    desk = make()
    assert not desk.admit(reduce_only(cloid=cloid(1))).admission.accepted
    assert not desk.halted()


@pytest.mark.parametrize("request_", [cancel(), order()])
def test_b3_other_full_queues_do_not_halt(request_: Request) -> None:
    desk = _tight()
    desk.admit(request_)
    assert not desk.halted()


def test_b3_limits_reach_the_queues_from_the_settings() -> None:
    queues = Desk(settings=TIGHT).core.snapshot().queues
    assert [view.limit for view in queues.values()] == [1, 1, 1]


def test_halt_after_no_rejection_at_all_makes_no_sense() -> None:
    with pytest.raises(InvalidSetting, match="rejections_to_halt must be at least 1, got 0"):
        CoreSettings(rejections_to_halt=0)


def test_alarm_before_anything_is_unknown_makes_no_sense() -> None:
    with pytest.raises(InvalidSetting, match="settlement_alarm_ms must be at least 1, got 0"):
        CoreSettings(settlement_alarm_ms=0)


@pytest.mark.parametrize("life", [0, -1])
def test_order_that_expires_before_it_is_sent_makes_no_sense(life: int) -> None:
    with pytest.raises(InvalidSetting, match=f"expires_after_ms must be at least 1 or None, got {life}"):
        CoreSettings(expires_after_ms=life)


def test_settings_reach_the_parts_that_they_are_about() -> None:
    settings = CoreSettings(
        inflight_limit=9,
        high_watermark=7,
        post_timeout_ms=3_100,
        quarantine_ms=8_000,
        settlement_alarm_ms=1_234,
    )
    core = Desk(settings=settings).core
    assert (core.inflight.limit, core.inflight.high_watermark) == (9, 7)
    assert (core.posts.timeout_ms, core.posts.quarantine_ms, core.settler.alarm_ms) == (3_100, 8_000, 1_234)


# ------------------------------------------------------------------------------------------ what becomes of a request


@pytest.mark.parametrize(
    ("request_", "priority", "kind", "alo"),
    [
        (order(), Priority.NEW_ORDER, ActionKind.ORDER, False),
        (order(tif="Alo"), Priority.NEW_ORDER, ActionKind.ORDER, True),
        (
            order(tif="Alo", trigger=Trigger(price="390", is_market=True, kind="sl")),
            Priority.NEW_ORDER,
            ActionKind.ORDER,
            False,
        ),
        (reduce_only(), Priority.REDUCE_ONLY, ActionKind.ORDER, False),
        (reduce_only(tif="Alo"), Priority.REDUCE_ONLY, ActionKind.ORDER, True),
        (cancel(), Priority.CANCEL, ActionKind.CANCEL_BY_CLOID, False),
        (Cancel(market="xyz:TSLA", oid=7), Priority.CANCEL, ActionKind.CANCEL, False),
        (Modify(order=order(), oid=7), Priority.NEW_ORDER, ActionKind.MODIFY, False),
        (Modify(order=reduce_only(tif="Alo"), cloid=cloid(7)), Priority.REDUCE_ONLY, ActionKind.MODIFY, True),
    ],
)
def test_request_gets_its_queue_and_action(request_: Request, priority: Priority, kind: ActionKind, alo: bool) -> None:
    made = Desk().submit(request_)
    assert (made.priority, made.kind, made.alo, made.state) == (priority, kind, alo, IntentState.QUEUED)


def test_cloids_are_allotted_from_run_and_sequence_number() -> None:
    desk = Desk()
    desk.submit(cancel())
    second, third = desk.submit(order()), desk.submit(Modify(order=order(), oid=7))
    assert second.cloid == f"0x{RUN_ID:016x}{2:016x}"
    assert third.cloid == f"0x{RUN_ID:016x}{3:016x}"
    assert isinstance(second.request, Order)
    assert second.request == order(cloid=second.cloid)
    assert third.request == Modify(order=order(cloid=third.cloid), oid=7)


def test_given_cloid_is_kept() -> None:
    made = Desk().submit(order(cloid=cloid(5)))
    assert (made.cloid, made.request) == (cloid(5), order(cloid=cloid(5)))


# --------------------------------------------------------------------------------------------------- cloids in use


def _posted(desk: Desk) -> None:
    desk.post(order(cloid=cloid(1)))


def _resting(desk: Desk) -> None:
    desk.reply(desk.post(order(cloid=cloid(1))), RESTING)


def _unknown(desk: Desk) -> None:
    _posted(desk)
    desk.pass_time(5_000)


def _filled(desk: Desk) -> None:
    desk.reply(desk.post(order(cloid=cloid(1))), FILLED)


def _rejected(desk: Desk) -> None:
    desk.reply(desk.post(order(cloid=cloid(1))), Rejected(MARGIN))


def _never_ran(desk: Desk) -> None:
    desk.answer(desk.post(order(cloid=cloid(1))), GatewayError("429"))


def _canceled(desk: Desk) -> None:
    _resting(desk)
    desk.reply(desk.post(cancel(1)), Canceled())


def _cancel_rejected(desk: Desk) -> None:
    _resting(desk)
    desk.reply(desk.post(cancel(1)), MISSING)


def _gone_at_venue(desk: Desk) -> None:
    _resting(desk)
    desk.handle(ev.OrderGone(cloid(1)))


def _queued(desk: Desk) -> None:
    desk.submit(order(cloid=cloid(1)))


def _canceled_here(desk: Desk) -> None:
    _queued(desk)
    desk.submit(cancel(1))


def _not_sent(desk: Desk) -> None:
    _queued(desk)
    desk.handle(ev.SendRefused(desk.take().post_id, "socket not open"))


@pytest.mark.parametrize("so_far", [_queued, _posted, _resting, _unknown, _cancel_rejected])
def test_cloid_of_an_order_that_may_be_open_is_refused(so_far: Callable[[Desk], None]) -> None:
    desk = Desk()
    so_far(desk)
    assert desk.admit(order(cloid=cloid(1))).admission is Admission.CLOID_IN_USE


@pytest.mark.parametrize(
    "so_far", [_filled, _rejected, _never_ran, _canceled, _gone_at_venue, _canceled_here, _not_sent]
)
def test_cloid_of_an_order_that_is_over_stays_its_own(so_far: Callable[[Desk], None]) -> None:
    desk = Desk()
    so_far(desk)
    assert desk.core.intents.order(cloid(1)) is None
    assert desk.admit(order(cloid=cloid(1))).admission is Admission.CLOID_IN_USE


@pytest.mark.parametrize("request_", [cancel(1), Cancel(market="BTC", oid=11)])
def test_cancels_share_the_cloid_of_their_order(request_: Request) -> None:
    desk = Desk()
    _resting(desk)
    assert [desk.admit(request_).admission for _ in range(2)] == [Admission.QUEUED] * 2


def test_modify_holds_the_cloid_of_its_new_order() -> None:
    desk = Desk()
    desk.submit(Modify(order=order(cloid=cloid(2)), cloid=cloid(1)))
    assert desk.admit(Modify(order=order(cloid=cloid(2)), cloid=cloid(1))).admission is Admission.CLOID_IN_USE


def test_cancel_by_oid_leaves_cloids_alone() -> None:
    desk = Desk()
    _resting(desk)
    desk.reply(desk.post(Cancel(market="xyz:TSLA", oid=11)), Canceled())
    assert desk.core.intents.resting_cloids() == [cloid(1)]


def test_resting_cloids_are_those_of_orders_known_to_be_on_the_book() -> None:
    desk = Desk()
    results: list[ItemResult] = [RESTING, RESTING, FILLED, Rejected(MARGIN)]
    for number, result in enumerate(results):
        desk.reply(desk.post(order(cloid=cloid(number))), result)
    desk.post(order(cloid=cloid(7)))
    desk.submit(order(cloid=cloid(8)))
    assert desk.core.intents.resting_cloids() == [cloid(0), cloid(1)]
    desk.handle(ev.OrderGone(cloid(0)))
    assert desk.core.intents.resting_cloids() == [cloid(1)]


# --------------------------------------------------------------------------------- cancels of orders that wait here


@pytest.mark.parametrize("request_", [order(cloid=cloid(1)), reduce_only(cloid=cloid(1))])
def test_cancel_of_a_queued_order_drops_it_here(request_: Request) -> None:
    desk = Desk()
    target = desk.submit(request_)
    effects = desk.handle(ev.Submit(cancel(1)))
    canceling = desk.intents[2]
    assert effects == [
        ev.Admitted(Admission.QUEUED, canceling),
        ev.IntentEnded(target),
        ev.IntentEnded(canceling),
    ]
    assert desk.outcome(target) == NotExecuted("canceled before it was sent")
    assert desk.outcome(canceling) == Canceled()
    assert desk.tick() is None
    assert set(desk.core.scheduler.outstanding.values()) == {0}
    assert desk.core.intents.order(cloid(1)) is None


def test_cancel_of_a_queued_modify_drops_it_here() -> None:
    desk = Desk()
    target = desk.submit(Modify(order=order(cloid=cloid(2)), cloid=cloid(1)))
    desk.submit(cancel(2))
    assert desk.outcome(target) == NotExecuted("canceled before it was sent")
    assert desk.tick() is None


@pytest.mark.parametrize("so_far", [_posted, _resting, _unknown])
def test_cancel_of_an_order_that_left_is_sent(so_far: Callable[[Desk], None]) -> None:
    desk = Desk()
    so_far(desk)
    assert desk.post(cancel(1)).kind is ActionKind.CANCEL_BY_CLOID


def test_cancel_of_a_foreign_order_is_sent() -> None:
    assert Desk().post(cancel()).kind is ActionKind.CANCEL_BY_CLOID


def test_cancel_of_a_queued_order_needs_no_room_in_its_queue() -> None:
    desk = _tight()
    target = desk.intents[3]
    assert desk.admit(Cancel(market="xyz:TSLA", cloid=target.cloid)).admission is Admission.QUEUED
    assert desk.outcome(target) == NotExecuted("canceled before it was sent")


# ------------------------------------------------------------------------------------------------------- flattening


def test_x9_second_flatten_of_a_market_is_answered_with_the_first() -> None:
    desk = Desk()
    first = desk.submit(FLATTEN)
    for moment in (lambda: None, desk.send):
        moment()
        assert desk.admit(FLATTEN) == ev.Admitted(Admission.ALREADY_FLATTENING, first)
    assert (desk.core.intents.accepted, desk.tick()) == (1, None)


def test_x9_markets_are_flattened_independently() -> None:
    desk = Desk()
    desk.submit(FLATTEN)
    desk.submit(replace(FLATTEN, market="BTC"))
    assert len(desk.send().items) == 2


def test_x9_plain_orders_do_not_stand_in_the_way_of_a_flatten() -> None:
    desk = Desk()
    desk.submit(reduce_only())
    assert desk.admit(FLATTEN).admission is Admission.QUEUED
    assert desk.admit(reduce_only()).admission is Admission.QUEUED


@pytest.mark.parametrize("end", ["filled", "rejected", "refused", "canceled here"])
def test_x9_flatten_that_is_over_can_be_asked_for_again(end: str) -> None:
    desk = Desk()
    target = desk.submit(FLATTEN)
    if end == "canceled here":
        desk.submit(Cancel(market=FLATTEN.market, cloid=target.cloid))
    else:
        desk.reply(desk.send(), FILLED if end == "filled" else Rejected(MARGIN))
    assert desk.admit(FLATTEN).admission is Admission.QUEUED


def test_x9_flatten_that_came_back_to_its_queue_is_still_under_way() -> None:
    desk = Desk()
    first = desk.submit(FLATTEN)
    desk.answer(desk.send(), GatewayError("429"))
    assert desk.admit(FLATTEN) == ev.Admitted(Admission.ALREADY_FLATTENING, first)


def test_x9_full_queue_does_not_remember_a_flatten_that_it_refused() -> None:
    desk = Desk(settings=TIGHT)
    desk.submit(reduce_only())
    assert [desk.admit(FLATTEN).admission for _ in range(2)] == [Admission.QUEUE_FULL] * 2


def test_b5_flatten_passes_while_halted_and_degraded_ahead_of_new_orders() -> None:
    desk = _loaded(1)
    desk.submit(order())
    desk.submit(FLATTEN)
    assert desk.send().priority is Priority.REDUCE_ONLY
    desk.handle(ev.StopTripped("operator"))
    desk.submit(replace(FLATTEN, market="BTC"))
    assert desk.send().priority is Priority.REDUCE_ONLY


def test_b5_flattening_order_is_reduce_only_whatever_it_says() -> None:
    desk = Desk()
    item = desk.submit(order(flatten=True))
    assert item.priority is Priority.REDUCE_ONLY
    assert isinstance(item.request, Order)
    assert item.request.reduce_only


def test_modify_does_not_overtake_the_order_that_it_replaces() -> None:
    desk = Desk()
    desk.submit(order(cloid=cloid(1)))
    modify = desk.submit(Modify(cloid=cloid(1), order=reduce_only()))
    assert modify.priority is Priority.NEW_ORDER
    assert [seqs(desk.send().items) for _ in range(2)] == [[1], [2]]
    assert desk.submit(Modify(cloid=cloid(1), order=reduce_only())).priority is Priority.REDUCE_ONLY
