"""The book against a model that sorts all orders by price and arrival at every question."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.venue.accounts import Account
from adapters.venue.book import Book
from adapters.venue.markets import Universe
from adapters.venue.orders import Order

MARKET = Universe().by_coin["BTC"]
OWNER = Account("0x" + "11" * 20, ("",), ("USDC",), is_house=False)


def make(oid: int, *, is_buy: bool, px: int, sz: int) -> Order:
    order = Order(
        account=OWNER,
        market=MARKET,
        is_buy=is_buy,
        px=px,
        sz=sz,
        tif="Gtc",
        reduce_only=False,
        cloid=None,
        trigger=None,
    )
    order.oid = oid
    return order


class NaiveBook:
    """All resting orders in order of arrival; every question is answered by looking at all of them."""

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []

    def queue(self, *, is_buy: bool) -> list[dict[str, Any]]:
        """One side, what trades first first; Python's sort keeps the order of arrival."""
        side = [order for order in self.orders if order["is_buy"] == is_buy]
        return sorted(side, key=lambda order: -order["px"] if is_buy else order["px"])

    def counterpart(self, *, is_buy: bool, px: int) -> dict[str, Any] | None:
        for order in self.queue(is_buy=not is_buy):
            if order["px"] <= px if is_buy else order["px"] >= px:
                return order
        return None

    def depth(self, *, is_buy: bool) -> list[tuple[int, int, int]]:
        levels: dict[int, list[int]] = {}
        for order in self.queue(is_buy=is_buy):
            levels.setdefault(order["px"], []).append(order["sz"])
        return [(px, sum(sizes), len(sizes)) for px, sizes in levels.items()]


def trade(book: Book, naive: NaiveBook, order: Order) -> int:
    """Trade an incoming order in both books, comparing every step; returns what it traded."""
    traded = 0
    while order.sz:
        maker = book.counterpart(is_buy=order.is_buy, px=order.px)
        expected = naive.counterpart(is_buy=order.is_buy, px=order.px)
        assert (maker and maker.oid) == (expected and expected["oid"])
        if maker is None or expected is None:
            break
        lots = min(order.sz, maker.sz)
        book.shrink(maker, lots)
        order.sz -= lots
        traded += lots
        expected["sz"] -= lots
        if not expected["sz"]:
            naive.orders.remove(expected)
    return traded


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.booleans(), st.integers(90, 110), st.integers(1, 20)),
        st.tuples(st.just("cancel"), st.integers(0, 60)),
    ),
    max_size=80,
)


@given(STEPS)
def test_price_time_priority_and_conservation_of_quantity(steps: list[tuple[Any, ...]]) -> None:
    book, naive = Book(), NaiveBook()
    resting: dict[int, Order] = {}
    ordered = canceled = traded = 0
    for number, step in enumerate(steps):
        if step[0] == "order":
            _, is_buy, px, sz = step
            order = make(number, is_buy=is_buy, px=px, sz=sz)
            ordered += sz
            traded += 2 * trade(book, naive, order)
            if order.sz:
                book.add(order)
                resting[number] = order
                naive.orders.append({"oid": number, "is_buy": is_buy, "px": px, "sz": order.sz})
        else:
            open_orders = [order for order in resting.values() if order.sz]
            if open_orders:
                order = open_orders[step[1] % len(open_orders)]
                canceled += order.sz
                book.remove(order)
                del resting[order.oid]
                naive.orders = [one for one in naive.orders if one["oid"] != order.oid]
        bids, asks = book.depth(1000)
        assert bids == naive.depth(is_buy=True)
        assert asks == naive.depth(is_buy=False)
        assert book.best_bid() == (bids[0][0] if bids else None)
        assert book.best_ask() == (asks[0][0] if asks else None)
        assert not (bids and asks and bids[0][0] >= asks[0][0])
        left = sum(size for _, size, _ in bids + asks)
        assert ordered == traded + canceled + left


def test_every_change_counts_the_version_up() -> None:
    book = Book()
    order = make(1, is_buy=True, px=100, sz=5)
    book.add(order)
    book.shrink(order, 1)
    book.remove(order)
    assert book.version == 3


def test_depth_shows_the_best_levels_only() -> None:
    book = Book()
    for number in range(5):
        book.add(make(number, is_buy=True, px=100 - number, sz=1))
        book.add(make(10 + number, is_buy=False, px=101 + number, sz=1))
    assert book.depth(2) == ([(100, 1, 1), (99, 1, 1)], [(101, 1, 1), (102, 1, 1)])
