"""The memory of orders past: bounded, and the latest of a cloid wins."""

from __future__ import annotations

from adapters.venue.orders import Order, OrderHistory
from tests.adapters.venue.support import cloid
from tests.adapters.venue.test_book import OWNER, make


def ended(history: OrderHistory, oid: int, name: str | None = None) -> Order:
    order = make(oid, is_buy=True, px=100, sz=1)
    order.cloid = name
    history.add(order)
    history.end(order)
    return order


def test_orders_are_found_by_oid_and_by_cloid_by_their_owner_alone() -> None:
    history = OrderHistory(10)
    order = ended(history, 1, cloid(1))
    assert history.find(OWNER.address, 1) is history.find(OWNER.address, cloid(1)) is order
    assert history.find("0x" + "22" * 20, 1) is None
    assert history.find("0x" + "22" * 20, cloid(1)) is None
    assert history.find(OWNER.address, 2) is None


def test_what_ended_longest_ago_is_forgotten_and_open_orders_are_not() -> None:
    history = OrderHistory(2)
    still_open = make(1, is_buy=True, px=100, sz=1)
    history.add(still_open)
    for oid in range(2, 6):
        ended(history, oid, cloid(oid))
    assert [oid for oid in range(1, 6) if history.find(OWNER.address, oid) is not None] == [1, 4, 5]
    assert history.find(OWNER.address, cloid(3)) is None
    assert history.find(OWNER.address, cloid(4)) is not None


def test_forgetting_an_order_does_not_hide_a_later_one_with_its_cloid() -> None:
    history = OrderHistory(1)
    ended(history, 1, cloid(1))
    later = ended(history, 2, cloid(1))
    assert history.find(OWNER.address, 1) is None
    assert history.find(OWNER.address, cloid(1)) is later
