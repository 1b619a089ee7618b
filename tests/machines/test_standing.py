"""Posts without intents: the switch is set, put off, and left to strike. The key is in test_executor_session."""

from __future__ import annotations

import pytest

from machines import events as ev
from machines.errors import InvalidSetting
from machines.intent import ActionKind, Canceled
from machines.post import PostRequest
from machines.reply import Refused
from machines.settings import CoreSettings
from tests.machines.builders import RESTING, Desk, cancel, order

AHEAD_MS = 20_000


def _desk() -> Desk:
    return Desk(settings=CoreSettings(schedule_cancel_ms=AHEAD_MS))


def _due(desk: Desk) -> bool:
    return desk.core.wants_tick


def _sent(desk: Desk) -> PostRequest:
    post = desk.send()
    assert (post.kind, post.priority, post.items) == (ActionKind.SCHEDULE_CANCEL, None, ())
    return post


def test_there_is_no_switch_by_default() -> None:
    desk = Desk()
    assert not _due(desk)
    assert desk.tick() is None


def test_switch_is_set_once_ready_and_renewed_at_half_of_its_time() -> None:
    desk = _desk()
    desk.reply(_sent(desk))
    assert desk.tick() is None
    assert desk.core.next_wake_ms is not None
    wake = desk.core.next_wake_ms
    desk.clock.advance(AHEAD_MS // 2 - 1)
    assert desk.tick() is None
    desk.clock.advance(1)
    assert wake == desk.clock.monotonic_ms()
    desk.handle(ev.TimePassed())
    assert _due(desk)
    desk.reply(_sent(desk))


def test_switch_goes_before_what_waits_and_one_at_a_time() -> None:
    desk = _desk()
    waiting = desk.submit(order())
    post = _sent(desk)
    assert desk.send().items == (waiting,)
    desk.clock.advance(AHEAD_MS)
    assert desk.tick() is None, "the first one is still under way"
    desk.reply(post)
    _sent(desk)


def test_switch_that_is_due_and_can_not_be_sent_wakes_nobody() -> None:
    desk = _desk()
    desk.reply(_sent(desk))
    desk.clock.advance(AHEAD_MS // 2)
    desk.handle(ev.TimePassed())
    assert _due(desk)
    assert desk.core.next_wake_ms is None, "time that passes does not help it; a shell would never come to rest"


def test_switch_that_may_not_have_arrived_is_sent_again_at_once() -> None:
    desk = _desk()
    first = _sent(desk)
    desk.pass_time(5_000)
    again = _sent(desk)
    assert (first.ambiguous, again.nonce > first.nonce) == (True, True)


def test_switch_strikes_when_the_executor_is_halted_or_not_ready() -> None:
    desk = _desk()
    desk.reply(_sent(desk))
    desk.clock.advance(AHEAD_MS)
    desk.handle(ev.StopTripped("operator"))
    assert desk.tick() is None
    desk.submit(cancel())
    canceling = desk.send()
    assert canceling.kind is ActionKind.CANCEL_BY_CLOID
    desk.reply(canceling, Canceled())
    desk.handle(ev.StopReset("operator"))
    desk.handle(ev.ConnectionLost("reset"))
    assert not _due(desk)


def test_switch_that_the_venue_refuses_is_an_alarm_and_is_tried_again_when_due() -> None:
    desk = _desk()
    post = _sent(desk)
    reason = "Cannot set scheduled cancel time until enough volume traded."
    assert desk.answer(post, Refused(reason)) == [ev.PostEnded(post), ev.SwitchRefused(reason)]
    assert desk.tick() is None
    desk.clock.advance(AHEAD_MS // 2)
    _sent(desk)


def test_switch_waits_while_no_slot_is_free() -> None:
    desk = Desk(settings=CoreSettings(schedule_cancel_ms=AHEAD_MS, inflight_limit=1, high_watermark=1))
    desk.reply(_sent(desk))
    post = desk.post(order())
    desk.clock.advance(AHEAD_MS // 2)
    assert not _due(desk)
    desk.reply(post, RESTING)
    _sent(desk)


def test_switch_must_leave_time_to_renew_it() -> None:
    with pytest.raises(InvalidSetting, match="schedule_cancel_ms must be at least 20000 or None, got 19999"):
        CoreSettings(schedule_cancel_ms=19_999)
