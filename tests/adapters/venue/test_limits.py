"""Limits per client address and budgets per account (protocol.md §3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.venue.limits import AddressBudget, Client, Limits, MinuteWindow


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 3)), max_size=60))
def test_never_more_than_the_limit_in_any_minute_and_never_less_than_fits(
    limit: int, steps: list[tuple[int, int]]
) -> None:
    window, now = MinuteWindow(limit), 0
    admitted: list[tuple[int, int]] = []
    for wait, weight in steps:
        now += wait
        spent = sum(cost for at, cost in admitted if at > now - 60_000)
        fits = spent + weight <= limit
        assert window.admit(now, weight) == fits
        if fits:
            admitted.append((now, weight))


def test_inflight_posts_are_counted_to_the_limit_and_given_back() -> None:
    client = Client("127.0.0.1", Limits(inflight_posts=2))
    assert [client.begin_post() for _ in range(3)] == [True, True, False]
    client.end_posts(1)
    assert client.begin_post()
    assert (client.inflight, client.max_inflight, client.refused_posts) == (2, 2, 1)


def test_connections_are_limited_at_a_time_and_per_minute() -> None:
    client = Client("127.0.0.1", Limits(connections=1, connections_per_minute=2))
    assert client.connect(0)
    assert not client.connect(1)
    client.connections -= 1
    assert client.connect(2)
    client.connections -= 1
    assert not client.connect(3)
    assert client.connect(60_001)


def test_an_eleventh_user_is_refused_but_a_known_one_is_not() -> None:
    client = Client("127.0.0.1", Limits(users=2))
    assert client.subscribe("a") is None
    assert client.subscribe("b") is None
    assert client.subscribe("c") == "Cannot track more than 2 total users."
    assert client.subscribe("a") is None
    assert client.subscribe(None) is None
    client.unsubscribe("a")
    assert client.subscribe("c") is not None
    client.unsubscribe("a")
    assert client.subscribe("c") is None


def test_subscriptions_are_limited() -> None:
    client = Client("127.0.0.1", Limits(subscriptions=1))
    assert client.subscribe(None) is None
    assert client.subscribe(None) is not None
    client.unsubscribe(None)
    assert client.subscribe(None) is None


def charge(budget: AddressBudget, items: int, *, traded: int = 0, cancel: bool = False, now: int = 0) -> bool:
    return budget.charge(items, traded_usdc=traded, is_cancel=cancel, now_ms=now)


def test_a_batch_counts_its_items_and_trading_adds_to_the_budget() -> None:
    budget = AddressBudget(10)
    assert charge(budget, 10)
    assert budget.used == 10
    assert charge(budget, 1, now=0)  # used up: one action per 10 s
    assert not charge(budget, 1, now=9_999)
    assert charge(budget, 1, now=10_000)
    assert charge(budget, 3, traded=5, now=10_001)
    assert budget.used == 15


def test_cancels_reach_further() -> None:
    budget = AddressBudget(10)
    assert charge(budget, 20, cancel=True)
    assert charge(budget, 1, cancel=True, now=0)
    assert not charge(budget, 1, cancel=True, now=1)


def test_cancels_of_a_large_budget_reach_100_000_further() -> None:
    budget = AddressBudget(1_000_000)
    assert charge(budget, 1_100_000, cancel=True)
    assert charge(budget, 1, cancel=True, now=0)
    assert not charge(budget, 1, cancel=True, now=1)
