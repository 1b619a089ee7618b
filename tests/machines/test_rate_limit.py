"""How often the executor may speak: messages a minute, back-off, and the address's action budget."""

from __future__ import annotations

import pytest

from machines.errors import InvalidSetting
from machines.executor import CoreSettings
from machines.intent import Admission, Canceled, Priority
from machines.rate_limit import AddressBudget, MessageRate
from tests.machines.builders import Desk, cancel, order


def test_default_is_the_venues_limit() -> None:
    assert MessageRate().limit == 2_000


def test_messages_up_to_the_limit_pass_and_no_more() -> None:
    rate = MessageRate(3)
    for now in (0, 10, 20):
        assert rate.allows(now)
        rate.record(now)
    assert not rate.allows(20)


def test_window_slides_message_by_message() -> None:
    rate = MessageRate(2)
    rate.record(0)
    rate.record(1_000)
    assert [rate.allows(now) for now in (59_999, 60_000)] == [False, True]
    rate.record(60_000)
    assert [rate.allows(now) for now in (60_999, 61_000)] == [False, True]


def test_back_off_silences_until_it_is_over() -> None:
    rate = MessageRate()
    rate.back_off(now=100, ms=1_000)
    assert [rate.allows(now) for now in (100, 1_099, 1_100)] == [False, False, True]


def test_shorter_back_off_does_not_cut_a_longer_one() -> None:
    rate = MessageRate()
    rate.back_off(now=0, ms=5_000)
    rate.back_off(now=10, ms=1_000)
    assert [rate.allows(now) for now in (4_999, 5_000)] == [False, True]


def test_limit_of_one_is_the_least() -> None:
    rate = MessageRate(1)
    rate.record(0)
    assert not rate.allows(0)


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InvalidSetting, match=f"messages a minute must be at least 1, got {limit}"):
        MessageRate(limit)


def test_i2_rate_limiter_keeps_no_count_of_posts_in_flight() -> None:
    desk = Desk()
    for _ in range(3):
        desk.post(cancel())
    assert desk.core.posts.inflight is desk.core.inflight
    assert [name for name in (*MessageRate.__slots__, *AddressBudget.__slots__) if "flight" in name] == []
    desk.reconnect()
    assert desk.inflight() == 0
    # Three posts and the noop: the minute's messages are counted on, whatever became of the posts.
    assert len(desk.core._rate._sent) == 4


def test_i2_admission_and_ticks_read_the_one_count() -> None:
    desk = Desk(settings=CoreSettings(inflight_limit=2, high_watermark=1))
    first = desk.post(cancel())
    assert desk.admit(order()).admission is Admission.QUEUED_DEGRADED
    assert desk.tick() is None
    second = desk.post(cancel())
    assert desk.admit(order()).admission is Admission.INFLIGHT_FULL
    for post in (first, second):
        desk.reply(post, Canceled())
    assert desk.send().priority is Priority.NEW_ORDER


@pytest.mark.parametrize(
    ("sent", "back_off", "now", "wait"),
    [
        ([], 0, 500, 0),
        ([0], 0, 500, 0),
        ([0, 100], 0, 500, 59_500),
        ([0, 100], 0, 60_000, 0),
        ([0], 1_000, 500, 500),
        ([0, 100], 1_000, 500, 59_500),
        ([0, 100], 70_000, 500, 69_500),
    ],
)
def test_wait_is_until_both_window_and_back_off_let_a_message_pass(
    sent: list[int], back_off: int, now: int, wait: int
) -> None:
    rate = MessageRate(2)
    for at in sent:
        rate.record(at)
    rate.back_off(0, back_off)
    assert rate.wait_ms(now) == wait
    assert rate.allows(now) is (wait == 0)
    assert rate.allows(now + wait)


# -------------------------------------------------------------------------------------------------- address budget


def test_unknown_budget_holds_nothing_back() -> None:
    budget = AddressBudget()
    budget.spend(1_000_000, now=0)
    assert budget.allows_order(0)


def test_orders_pass_while_budget_is_left() -> None:
    budget = AddressBudget()
    budget.sync(used=95, cap=100)
    budget.spend(4, now=0)
    assert (budget.used, budget.cap, budget.allows_order(0)) == (99, 100, True)


def test_exhausted_budget_lets_one_action_pass_every_ten_seconds() -> None:
    budget = AddressBudget()
    budget.sync(used=95, cap=100)
    budget.spend(5, now=700)
    assert [budget.allows_order(now) for now in (700, 10_699, 10_700)] == [False, False, True]
    budget.spend(1, now=10_700)
    assert [budget.allows_order(now) for now in (10_701, 20_700)] == [False, True]


def test_address_that_is_exhausted_from_the_start_may_act_at_once() -> None:
    budget = AddressBudget()
    budget.sync(used=100, cap=100)
    assert budget.allows_order(0)


def test_venues_figures_replace_ours() -> None:
    budget = AddressBudget()
    budget.sync(used=100, cap=100)
    budget.spend(1, now=0)
    assert not budget.allows_order(1)
    budget.sync(used=101, cap=250)
    assert budget.allows_order(1)
