"""The core: replies, error frames, timeouts, and what they do to posts, to items and to the hard stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.batch import QueueLimits
from machines.intent import (
    Canceled,
    IntentState,
    ItemResult,
    NotExecuted,
    Priority,
    Rejected,
    Request,
)
from machines.post import PostRequest, PostState
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.settings import CoreSettings
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    IOC_MISSED,
    MARGIN,
    MISSING,
    RESTING,
    TOO_LOW,
    Desk,
    cancel,
    cloid,
    fields,
    of_type,
    order,
    reduce_only,
    seqs,
)

GATE = "too many pending post requests id=2"
TOO_OFTEN = "Cannot send more than 2000 messages per minute."
UNCLEAR = [
    DUPLICATE,
    TOO_LOW,
    GatewayError("502 Bad Gateway"),
    Unreadable("not an object"),
    Accepted(()),
    Accepted((RESTING, RESTING)),
    Accepted((RESTING, RESTING, Canceled())),
]
"""Replies to a post of three orders or cancels that prove nothing."""


def _state(post: PostRequest) -> PostState:
    return post.state


# --------------------------------------------------------------------------------------------------------- results


def test_x4_one_bad_item_does_not_hide_the_good_ones() -> None:
    desk = Desk()
    post = desk.post(order(), order(), order())
    results = (RESTING, Rejected(MARGIN), FILLED)
    effects = desk.reply(post, *results)
    assert effects == [ev.PostEnded(post), *map(ev.IntentEnded, post.items)]
    assert [desk.outcome(item) for item in post.items] == list(results)
    assert [item.state for item in post.items] == [IntentState.RESTING, IntentState.REJECTED, IntentState.FILLED]
    assert (_state(post), desk.inflight()) == (PostState.ACKED, 0)


@pytest.mark.parametrize(
    ("reply", "state"),
    [(Accepted((Rejected(MARGIN),)), PostState.ACKED), (Refused(MARGIN), PostState.FAILED)],
)
def test_x4_one_error_for_the_batch_is_every_items(reply: PostReply, state: PostState) -> None:
    desk = Desk()
    post = desk.post(order(), order(), order())
    desk.answer(post, reply)
    assert [desk.outcome(item) for item in post.items] == [Rejected(MARGIN)] * 3
    assert _state(post) is state


def test_cancels_end_as_the_venue_says() -> None:
    desk = Desk()
    post = desk.post(cancel(1), cancel(2))
    desk.reply(post, Canceled(), MISSING)
    assert [desk.outcome(item) for item in post.items] == [Canceled(), MISSING]


@pytest.mark.parametrize("reply", UNCLEAR)
@pytest.mark.parametrize("make", [order, reduce_only])
def test_x1_reply_that_proves_nothing_leaves_every_order_unknown(make: Callable[[], Request], reply: PostReply) -> None:
    desk = Desk()
    post = desk.post(make(), make(), make())
    effects = desk.answer(post, reply)
    unknown = of_type(effects, ev.IntentUnknown)
    assert effects == [ev.PostEnded(post), *unknown]
    assert [effect.intent for effect in unknown] == list(post.items)
    assert [(item.state, desk.outcome(item)) for item in post.items] == [(IntentState.UNKNOWN, None)] * 3
    assert (_state(post), post.ambiguous, desk.inflight(), desk.quarantined()) == (PostState.FAILED, True, 0, 0)
    desk.clock.advance(1_000)
    again = desk.tick()
    assert again is None or (again.items, again.fence_of) == ((), post.post_id), "settlement has begun"


@pytest.mark.parametrize("reply", UNCLEAR)
def test_x1_reply_that_proves_nothing_makes_cancels_go_out_again(reply: PostReply) -> None:
    desk = Desk()
    post = desk.post(cancel(1), cancel(2), cancel(3))
    assert desk.answer(post, reply) == [ev.PostEnded(post)]
    assert (_state(post), post.ambiguous, desk.inflight()) == (PostState.FAILED, True, 0)
    desk.clock.advance(1_000)
    again = desk.send()
    assert (again.items, again.fence_of) == (post.items, None)
    desk.reply(again, Canceled(), Canceled(), Canceled())
    assert [desk.outcome(item) for item in post.items] == [Canceled()] * 3


# ------------------------------------------------------------------------------------------------ proof of no effect


@pytest.mark.parametrize("make", [cancel, reduce_only])
def test_p7_cancels_and_reduce_only_turned_away_at_the_gate_return_to_their_places(
    make: Callable[[], Request],
) -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(batch=2)))
    for _ in range(6):
        desk.submit(make())
    first, second = desk.send(), desk.send()
    desk.answer(second, GatewayError("429 Too Many Requests"))
    effects = desk.answer(first, GatewayError(GATE))
    assert effects == [ev.PostEnded(first)]
    assert desk.core.intents.moved == list(first.items)
    assert (_state(first), first.ambiguous) == (PostState.FAILED, False)
    desk.clock.advance(1_000)
    assert [seqs(desk.send().items) for _ in range(3)] == [[1, 2], [3, 4], [5, 6]]
    assert [desk.intents[seq].attempts for seq in (1, 3, 5)] == [(2, 4), (3, 5), (6,)]


def test_p7_returned_items_make_room_only_when_they_end() -> None:
    desk = Desk(settings=CoreSettings(queues=QueueLimits(cancel=2, batch=2)))
    post = desk.post(cancel(1), cancel(2))
    assert not desk.admit(cancel(3)).admission.accepted
    desk.answer(post, GatewayError("429"))
    assert not desk.admit(cancel(3)).admission.accepted
    desk.clock.advance(1_000)
    desk.reply(desk.send(), Canceled(), Canceled())
    assert desk.admit(cancel(3)).admission.accepted


def test_p7_reduce_only_order_that_its_owner_cancels_does_not_return() -> None:
    desk = Desk()
    post = desk.post(reduce_only(cloid=cloid(1)), reduce_only(cloid=cloid(2)))
    desk.submit(cancel(1))
    desk.answer(post, GatewayError("429"))
    assert desk.outcome(post.items[0]) == NotExecuted("refused by the venue's gate: 429")
    assert desk.outcome(post.items[1]) is None
    desk.clock.advance(1_000)
    assert [seqs(desk.send().items) for _ in range(2)] == [[3], [2]]


def test_p7_new_orders_turned_away_at_the_gate_end_as_not_executed() -> None:
    desk = Desk()
    post = desk.post(order(), order())
    effects = desk.answer(post, GatewayError(GATE))
    assert effects == [ev.PostEnded(post), *map(ev.IntentEnded, post.items)]
    refused = NotExecuted(f"refused by the venue's gate: {GATE}")
    assert [desk.outcome(item) for item in post.items] == [refused] * 2
    assert desk.core.idle


@pytest.mark.parametrize("reason", ["429 Too Many Requests", "502 Bad Gateway"])
def test_error_of_the_gate_makes_the_executor_pause(reason: str) -> None:
    desk = Desk()
    desk.answer(desk.post(order()), GatewayError(reason))
    desk.submit(cancel())
    desk.clock.advance(999)
    assert desk.tick() is None
    desk.clock.advance(1)
    assert desk.tick() is not None


# ------------------------------------------------------------------------------------- late, repeated, foreign, unknown


def _answered(desk: Desk, post: PostRequest) -> None:
    desk.reply(post, RESTING)


def _failed(desk: Desk, post: PostRequest) -> None:
    desk.answer(post, Refused(MARGIN))


def _timed_out(desk: Desk, _: PostRequest) -> None:
    desk.pass_time(5_000)


def _disconnected(desk: Desk, _: PostRequest) -> None:
    desk.handle(ev.ConnectionLost("reset"))


LATE = pytest.mark.parametrize(
    "reply", [Accepted((FILLED,)), Refused(MARGIN), GatewayError("429"), Unreadable("x"), DUPLICATE]
)


@pytest.mark.parametrize("ending", [_answered, _failed])
@LATE
def test_p2_repeated_reply_changes_nothing(ending: Callable[[Desk, PostRequest], None], reply: PostReply) -> None:
    desk = Desk()
    post = desk.post(order())
    ending(desk, post)
    (item,) = post.items
    before = (fields(post), fields(item), desk.inflight(), desk.state())
    for event in (ev.ReplyReceived(1, post.post_id, reply), ev.ErrorReceived(1, GATE, post.post_id)):
        assert desk.handle(event) == [ev.StrayReply(1, post.post_id)]
        assert (fields(post), fields(item), desk.inflight(), desk.state()) == before


@pytest.mark.parametrize("ending", [_timed_out, _disconnected])
@LATE
def test_p2_late_reply_frees_the_quarantined_slot_and_ends_its_post_no_second_time(
    ending: Callable[[Desk, PostRequest], None], reply: PostReply
) -> None:
    desk = Desk()
    post = desk.post(order())
    ending(desk, post)
    before = fields(post)
    assert (desk.inflight(), desk.quarantined()) == (0, 1)
    effects = desk.answer(post, reply)
    assert of_type(effects, ev.PostEnded) + of_type(effects, ev.StrayReply) == []
    assert fields(post) == before | {"answered": True, "quarantined_until_ms": None}
    assert (desk.inflight(), desk.quarantined()) == (0, 0)


@pytest.mark.parametrize("ending", [_timed_out, _disconnected])
@LATE
def test_p2_repeated_late_reply_changes_nothing(ending: Callable[[Desk, PostRequest], None], reply: PostReply) -> None:
    desk = Desk()
    post = desk.post(order())
    ending(desk, post)
    desk.reply(post, RESTING)
    (item,) = post.items
    before = (fields(post), fields(item), desk.core.inflight.occupied, desk.state())
    for event in (ev.ReplyReceived(1, post.post_id, reply), ev.ErrorReceived(1, GATE, post.post_id)):
        assert desk.handle(event) == [ev.StrayReply(1, post.post_id)]
        assert (fields(post), fields(item), desk.core.inflight.occupied, desk.state()) == before


@pytest.mark.parametrize("epoch", [0, 2])
def test_p2_reply_of_another_connection_changes_nothing(epoch: int) -> None:
    desk = Desk()
    post = desk.post(order())
    assert desk.handle(ev.ReplyReceived(epoch, post.post_id, Accepted((FILLED,)))) == [
        ev.StrayReply(epoch, post.post_id)
    ]
    assert (_state(post), desk.inflight()) == (PostState.SENT, 1)


def test_p4_reply_that_names_a_nonce_ends_no_post() -> None:
    desk = Desk()
    post = desk.post(order())
    assert desk.handle(ev.ReplyReceived(1, post.nonce, Accepted((FILLED,)))) == [ev.StrayReply(1, post.nonce)]
    assert _state(post) is PostState.SENT


def test_p4_replies_in_any_order_end_the_posts_that_they_name() -> None:
    desk = Desk()
    first, second, third = (desk.post(order()) for _ in range(3))
    desk.reply(third, FILLED)
    desk.reply(first, Rejected(MARGIN))
    assert [_state(post) for post in (first, second, third)] == [PostState.ACKED, PostState.SENT, PostState.ACKED]
    assert [desk.outcome(post.items[0]) for post in (first, second, third)] == [Rejected(MARGIN), None, FILLED]


# ---------------------------------------------------------------------------------------------------- error frames


def test_x5_error_that_names_a_post_ends_that_post_only() -> None:
    desk = Desk()
    first, second = desk.post(order()), desk.post(order())
    effects = desk.handle(ev.ErrorReceived(1, GATE, first.post_id))
    assert effects == [ev.PostEnded(first), *map(ev.IntentEnded, first.items)]
    assert [_state(post) for post in (first, second)] == [PostState.FAILED, PostState.SENT]
    assert desk.outcome(first.items[0]) == NotExecuted(f"refused by the venue's gate: {GATE}")
    assert desk.inflight() == 1


def test_x5_error_that_names_a_post_but_proves_nothing_leaves_it_unknown() -> None:
    desk = Desk()
    post = desk.post(order())
    effects = desk.handle(ev.ErrorReceived(1, "internal error id=2", post.post_id))
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(post.items[0], "internal error id=2")]
    assert desk.outcome(post.items[0]) is None


@pytest.mark.parametrize("epoch", [0, 2])
def test_x5_error_of_another_connection_ends_no_post(epoch: int) -> None:
    desk = Desk()
    post = desk.post(order())
    assert desk.handle(ev.ErrorReceived(epoch, GATE, post.post_id)) == [ev.StrayReply(epoch, post.post_id)]
    assert _state(post) is PostState.SENT


@pytest.mark.parametrize(
    ("message", "pauses"),
    [
        (TOO_OFTEN, True),
        ("Error parsing JSON into valid websocket request: {}", False),
        ("Cannot track more than 10 total users.", False),
        ("too many pending post requests", False),
    ],
)
def test_x5_error_that_names_no_post_ends_none(message: str, pauses: bool) -> None:
    desk = Desk()
    post = desk.post(order())
    assert desk.handle(ev.ErrorReceived(1, message, None)) == []
    assert (_state(post), desk.inflight()) == (PostState.SENT, 1)
    desk.submit(cancel())
    assert (desk.tick() is None) is pauses
    if pauses:
        desk.clock.advance(1_000)
        assert desk.tick() is not None


# -------------------------------------------------------------------------------------------------------- timeouts


def test_p6_post_times_out_on_time_and_its_items_are_unknown() -> None:
    desk = Desk(settings=CoreSettings(post_timeout_ms=3_000))
    post = desk.post(order(), order())
    assert desk.pass_time(2_999) == []
    effects = desk.pass_time(1)
    reason = "no reply within 3000 ms"
    assert effects == [ev.PostEnded(post), *(ev.IntentUnknown(item, reason) for item in post.items)]
    assert [item.state for item in post.items] == [IntentState.UNKNOWN] * 2
    assert (_state(post), desk.inflight(), desk.quarantined()) == (PostState.TIMED_OUT, 0, 1)


def test_p6_stuck_post_delays_no_later_timeout() -> None:
    desk = Desk()
    posts = []
    for _ in range(4):
        posts.append(desk.post(order()))
        desk.clock.advance(100)
    desk.reply(posts[1], RESTING)
    desk.pass_time(4_600)
    assert desk.core.posts.next_deadline_ms == 5_200
    desk.pass_time(200)
    assert [_state(post) for post in posts] == [
        PostState.TIMED_OUT,
        PostState.ACKED,
        PostState.TIMED_OUT,
        PostState.SENT,
    ]


def test_p6_clock_steps_of_unix_time_move_no_deadline() -> None:
    desk = Desk()
    post = desk.post(order())
    desk.clock.step_unix(3_600_000)
    desk.handle(ev.TimePassed())
    assert _state(post) is PostState.SENT


@pytest.mark.parametrize("make", [order, reduce_only])
def test_x1_timed_out_order_is_unknown_and_not_blindly_sent_again(make: Callable[[], Request]) -> None:
    desk = Desk()
    post = desk.lose(make())
    (item,) = post.items
    assert (item.state, desk.outcome(item)) == (IntentState.UNKNOWN, None)
    desk.reconnect()
    fence = desk.send()
    assert (fence.items, fence.fence_of) == ((), post.post_id)
    assert desk.tick() is None
    assert item.attempts == (post.post_id,)


def test_x1_timed_out_cancel_is_sent_again_and_never_called_rejected_for_it() -> None:
    desk = Desk()
    post = desk.lose(cancel())
    (item,) = post.items
    assert (item.state, desk.outcome(item)) == (IntentState.QUEUED, None)
    desk.reconnect()
    assert desk.send().items == (item,)


# --------------------------------------------------------------------------------------- rejections and the hard stop


def _reject(desk: Desk, *results: ItemResult) -> None:
    desk.reply(desk.post(*(order() for _ in results)), *results)


def test_serious_rejections_in_a_row_trip_the_hard_stop() -> None:
    desk = Desk(settings=CoreSettings(rejections_to_halt=3))
    for _ in range(2):
        _reject(desk, Rejected(MARGIN), Rejected(MARGIN))
    assert not desk.halted(), "posts are counted, not items"
    post = desk.post(order(), order())
    waiting = desk.submit(order())
    effects = desk.reply(post, Rejected("first"), Rejected(IOC_MISSED))
    reason = "3 posts rejected in a row, the last one: first"
    assert of_type(effects, ev.Halted) == [ev.Halted(reason)]
    assert desk.outcome(waiting) == NotExecuted(f"halted: {reason}")


def test_refused_actions_count_as_rejections() -> None:
    desk = Desk(settings=CoreSettings(rejections_to_halt=2))
    for _ in range(2):
        desk.answer(desk.post(order()), Refused("User or API Wallet 0x12 does not exist."))
    assert desk.halted()


@pytest.mark.parametrize("good", [RESTING, FILLED])
def test_one_good_item_begins_the_count_anew(good: ItemResult) -> None:
    desk = Desk(settings=CoreSettings(rejections_to_halt=2))
    _reject(desk, Rejected(MARGIN))
    _reject(desk, Rejected(MARGIN), good)
    _reject(desk, Rejected(MARGIN))
    assert not desk.halted()
    _reject(desk, Rejected(MARGIN))
    assert desk.halted()


def test_x8_benign_rejections_do_not_count() -> None:
    desk = Desk(settings=CoreSettings(rejections_to_halt=1))
    for reason in (
        IOC_MISSED,
        "Post only order would have immediately matched, bbo was 400@401. asset=5",
        "Order must have minimum value of $10. asset=5",
        "Reduce only order would increase position. asset=5",
    ):
        _reject(desk, Rejected(reason), Rejected(reason))
    assert not desk.halted()


def test_x8_benign_rejections_do_not_interrupt_a_row_of_serious_ones() -> None:
    desk = Desk(settings=CoreSettings(rejections_to_halt=2))
    for reason in (MARGIN, IOC_MISSED, MARGIN):
        _reject(desk, Rejected(reason))
    assert desk.halted()


def test_operators_reset_begins_the_count_anew() -> None:
    desk = Desk(settings=CoreSettings(rejections_to_halt=2))
    for _ in range(2):
        _reject(desk, Rejected(MARGIN))
    desk.handle(ev.StopReset("margin added"))
    _reject(desk, Rejected(MARGIN))
    assert not desk.halted()


def test_default_is_five_in_a_row() -> None:
    desk = Desk()
    halted = []
    for _ in range(5):
        _reject(desk, Rejected(MARGIN))
        halted.append(desk.halted())
    assert halted == [False, False, False, False, True]


def test_b5_while_halted_cancels_and_reduce_only_go_on() -> None:
    desk = Desk()
    new, reducing, canceling = desk.submit(order()), desk.submit(reduce_only()), desk.submit(cancel())
    effects = desk.handle(ev.StopTripped("operator"))
    assert effects == [ev.Halted("operator"), ev.IntentEnded(new)]
    assert desk.outcome(new) == NotExecuted("halted: operator")
    assert [desk.send().items for _ in range(2)] == [(canceling,), (reducing,)]
    assert desk.waiting(Priority.NEW_ORDER) == 0


def test_second_trip_is_not_reported_again() -> None:
    desk = Desk()
    desk.handle(ev.StopTripped("first"))
    assert desk.handle(ev.StopTripped("second")) == []
    assert desk.core.hard_stop.reason == "first"
