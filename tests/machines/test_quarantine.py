"""The core and quarantine: what the venue may still hold is counted, until it answers or has forgotten (finding X3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.intent import Admission, Canceled, Priority
from machines.post import PostRequest
from machines.reply import Accepted, PostReply, Refused, Unreadable
from machines.settings import CoreSettings
from tests.machines.builders import (
    DUPLICATE,
    MARGIN,
    RESTING,
    Desk,
    cancel,
    order,
    record,
    reduce_only,
    unanswered,
)
from tests.machines.settling import GATE

NARROW = CoreSettings(inflight_limit=3, high_watermark=2)


def _occupied(desk: Desk) -> tuple[int, int]:
    return (desk.inflight(), desk.quarantined())


def _timed_out(desk: Desk) -> PostRequest:
    return desk.lose(cancel())


def _disconnected(desk: Desk) -> PostRequest:
    post = desk.post(cancel())
    desk.reconnect()
    return post


def _broken(desk: Desk) -> PostRequest:
    desk.submit(cancel())
    post = desk.take()
    desk.handle(ev.SendBroken(post.post_id, post.nonce, desk.core.session.epoch, "broken pipe"))
    return post


LOST = pytest.mark.parametrize("lose", [_timed_out, _disconnected, _broken])


@LOST
def test_x3_slot_of_an_unanswered_post_stays_occupied(lose: Callable[[Desk], PostRequest]) -> None:
    desk = Desk()
    lose(desk)
    assert _occupied(desk) == (0, 1)


@pytest.mark.parametrize("reply", [Accepted((RESTING,)), Refused(MARGIN), GATE, DUPLICATE, Unreadable("x")])
def test_x3_answered_post_is_not_quarantined_whatever_the_answer(reply: PostReply) -> None:
    desk = Desk()
    desk.answer(desk.post(order()), reply)
    assert _occupied(desk) == (0, 0)


def test_x3_unsent_post_is_not_quarantined() -> None:
    desk = Desk()
    desk.submit(cancel())
    desk.handle(ev.SendRefused(desk.take().post_id, "socket not open"))
    assert _occupied(desk) == (0, 0)


@LOST
def test_x3_quarantine_ends_with_the_late_reply_of_that_very_post(lose: Callable[[Desk], PostRequest]) -> None:
    desk = Desk()
    lost, other = lose(desk), desk.lose(order())
    assert _occupied(desk) == (0, 2)
    desk.reply(lost, Canceled())
    assert _occupied(desk) == (0, 1)
    desk.reply(other, RESTING)
    assert _occupied(desk) == (0, 0)


@LOST
def test_x3_quarantine_ends_with_its_time(lose: Callable[[Desk], PostRequest]) -> None:
    desk = Desk(settings=CoreSettings(quarantine_ms=4_000))
    lose(desk)
    desk.pass_time(3_999)
    assert _occupied(desk) == (0, 1)
    desk.pass_time(1)
    assert _occupied(desk) == (0, 0)


def test_x3_late_reply_after_the_quarantine_is_stray_for_a_settled_post() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.reply(desk.fence())
    desk.pass_time(10_000)
    assert desk.reply(post, RESTING) == [ev.StrayReply(1, post.post_id)]
    assert _occupied(desk) == (0, 0)


def test_x3_late_reply_after_the_quarantine_still_settles_an_unknown_post() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.pass_time(10_000)
    assert _occupied(desk) == (0, 0)
    desk.reply(post, RESTING)
    assert desk.outcome(post.items[0]) == RESTING
    assert _occupied(desk) == (0, 0)


def test_x3_sent_and_quarantined_together_keep_the_limit() -> None:
    desk = Desk(settings=NARROW)
    for _ in range(2):
        desk.post(reduce_only())
    desk.pass_time(5_000)
    desk.post(cancel())
    assert _occupied(desk) == (1, 2)
    desk.submit(cancel())
    assert desk.tick() is None
    desk.pass_time(10_000)
    assert desk.send().priority is Priority.CANCEL


def test_x3_admission_and_watermark_see_quarantined_slots() -> None:
    desk = Desk(settings=NARROW)
    answers = []
    for _ in range(3):
        post = desk.post(reduce_only())
        answers.append(desk.admit(order(market="BTC")).admission)
        desk.handle(ev.OrderSeen(post.items[0].cloid or "", record()))
    desk.pass_time(5_000)
    assert _occupied(desk) == (0, 3)
    answers.append(desk.admit(order()).admission)
    assert answers == [Admission.QUEUED, Admission.QUEUED_DEGRADED, Admission.INFLIGHT_FULL, Admission.INFLIGHT_FULL]


def test_x3_fences_are_quarantined_too() -> None:
    desk = Desk()
    desk.lose(order())
    fence = desk.fence()
    desk.pass_time(5_000)
    assert _occupied(desk) == (0, 2)
    desk.reply(fence)
    assert _occupied(desk) == (0, 1)


def test_x3_late_answer_of_a_fence_that_proves_nothing_frees_its_slot() -> None:
    desk = Desk()
    desk.lose(order())
    fence = desk.fence()
    desk.pass_time(5_000)
    assert desk.answer(fence, Unreadable("x")) == []
    assert _occupied(desk) == (0, 1)
    assert desk.fence().fence_of == fence.fence_of


def test_x3_restart_quarantines_again() -> None:
    desk = Desk(ready=False, settings=NARROW, last_post_id=9, last_seq=9)
    desk.recover(unanswered(7, order()), unanswered(8, reduce_only(), first_seq=2), unanswered(9, fence_of=7))
    assert _occupied(desk) == (0, 3)
    desk.connect()
    assert desk.tick() is None, "not even the noop that proves the key"
    desk.pass_time(10_000)
    assert desk.tick() is not None


def test_x3_a_set_full_of_quarantined_slots_drains_by_time_alone() -> None:
    desk = Desk(settings=NARROW)
    for _ in range(3):
        desk.submit(reduce_only())
        desk.send()
    desk.handle(ev.ConnectionLost("reset"))
    desk.connect()
    desk.learn()
    assert (_occupied(desk), desk.tick()) == ((0, 3), None)
    assert desk.wake_ms() is not None
    desk.pass_time(10_000)
    assert desk.fence().fence_of is not None
