"""What happens to orders: placement, matching, settlement, triggers, cancels.

An order is checked, matched against the book at the makers' prices, and then rests, waits or ends. Every change goes
to three places: the accounts (positions, balances, what open orders hold back), the feed (what streams send), and the
truth record. The venue's own market makers are ordinary accounts whose orders are neither recorded nor streamed.

Choices where protocol.md leaves the matter open:

* Self-trade: the resting order is canceled (`selfTradeCanceled`) and the incoming one goes on.
* A cloid that an open order has is refused, without a record, so that look-ups go on finding the open order.
* An order that trades in part and then rests is answered `resting`; one that trades in part and can't rest, `filled`
  with what it traded, and its record ends as `canceled` with the rest as `sz`.
* A reduce-only order never trades more than the position, and is canceled (`reduceOnlyCanceled`) once there is none
  left to reduce. A waiting one is checked when it is triggered.
* An order that waits for its trigger is answered `resting`, with the oid by which it can be canceled: the official
  SDK's own stop-order example reads that. The bare strings of §2 are never answered.
* A triggered market order takes what is within 10 % of the mark price; a triggered order keeps its oid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from adapters.venue import rejections
from adapters.venue.accounts import Account, Fill
from adapters.venue.book import Book
from adapters.venue.limits import Limits
from adapters.venue.markets import QUOTE, Market, Universe
from adapters.venue.orders import Order, OrderHistory
from adapters.venue.rejections import Rejection
from adapters.venue.triggers import TriggerQueue
from adapters.venue.truth import EndRecord, FillRecord, TruthLog
from adapters.venue.units import USD, format_units

_MIN_VALUE: Final = 10 * USD
_MAX_OPEN_ORDERS: Final = 5000
_USD_PER_EXTRA_OPEN_ORDER: Final = 5_000_000 * USD
_FIRST_OID: Final = 1_000_000
_ENDED_ORDERS_KEPT: Final = 500_000

SCHEDULED_CANCELS_PER_DAY: Final = 10
_DAY_MS: Final = 86_400_000


class Placement(NamedTuple):
    """What became of an order at its placement.

    Attributes:
        kind: `filled` means that it traded and does not rest; see the module on orders traded in part.
        lots: What it traded.
        value: Sum of lots x price of what it traded, in steps.
        rejection: Set for `rejected`.
    """

    kind: Literal["resting", "waiting", "filled", "rejected"]
    lots: int = 0
    value: int = 0
    rejection: Rejection | None = None


class OrderUpdate(NamedTuple):
    """A change of an order, as it was then."""

    order: Order
    status: str
    sz: int
    time: int


class Feed:
    """What streams have to send: collected here, taken by whoever sends."""

    __slots__ = ("fills", "updates")

    def __init__(self) -> None:
        self.updates: list[OrderUpdate] = []
        self.fills: list[tuple[Account, Fill]] = []

    def drain(self) -> tuple[list[OrderUpdate], list[tuple[Account, Fill]]]:
        """Everything collected since the last time."""
        drained = self.updates, self.fills
        self.updates, self.fills = [], []
        return drained


class Trading:
    """Books, marks, open orders and their rules.

    Attributes:
        books: By asset id.
        marks: Mark prices in price steps, by asset id.
        volumes: (Money units, lots) traded since the venue opened, by asset id.
        history: Orders for look-ups.
        feed: What streams have to send.
    """

    def __init__(self, universe: Universe, truth: TruthLog, limits: Limits, now_ms: Callable[[], int]) -> None:
        self.universe: Final = universe
        self.books: Final = {market.asset: Book() for market in universe.markets}
        self.marks: Final = {market.asset: market.start_px for market in universe.markets}
        self.volumes: Final = {market.asset: (0, 0) for market in universe.markets}
        self.history: Final = OrderHistory(_ENDED_ORDERS_KEPT)
        self.feed: Final = Feed()
        self._waiting: Final = {market.asset: TriggerQueue() for market in universe.markets}
        self._truth: Final = truth
        self._limits: Final = limits
        self._now_ms: Final = now_ms
        self._scheduled: Final[dict[str, Account]] = {}
        self._last_oid = _FIRST_OID
        self._last_tid = 0

    # --- placement ------------------------------------------------------------------------------------------

    def place(self, order: Order, *, on_tick: bool = True) -> Placement:
        """Place an order that passed pre-validation; it gets its oid and its record here."""
        self._last_oid += 1
        order.oid = self._last_oid
        order.timestamp = order.status_time = self._now_ms()
        if not order.account.is_house:
            self.history.add(order)
        rejection = self._refusal(order) if on_tick else rejections.TICK
        if rejection is not None:
            placement = Placement("rejected", rejection=rejection)
        elif order.trigger is not None:
            self._waiting[order.market.asset].add(order, order.trigger)
            self._open(order)
            placement = Placement("waiting")
        else:
            placement = self._execute(order)
        if placement.rejection is not None:
            self._set_ended(order, placement.rejection.status)
        return placement

    def _refusal(self, order: Order) -> Rejection | None:
        """Checks at the placement alone; those that also hold for a triggered order are in `_execute`."""
        account, market = order.account, order.market
        if not account.is_house and order.tif != "Ioc":
            open_orders = len(account.open_orders)
            extra = account.traded // _USD_PER_EXTRA_OPEN_ORDER
            if open_orders >= min(self._limits.open_orders + extra, max(_MAX_OPEN_ORDERS, self._limits.open_orders)):
                return rejections.TOO_MANY_OPEN
            if open_orders >= self._limits.open_orders and (order.reduce_only or order.trigger is not None):
                return rejections.TOO_MANY_OPEN
        if order.px * order.sz * market.money_per_unit < _MIN_VALUE and not self._closes_position(order):
            return rejections.MIN_VALUE
        trigger = order.trigger
        if trigger is not None and trigger.holds(order.is_buy, self.marks[market.asset]):
            return rejections.BAD_TRIGGER
        return None

    def _closes_position(self, order: Order) -> bool:
        """Whether a reduce-only order closes all of a position: that may be worth less than the minimum."""
        market = order.market
        if not order.reduce_only or market.is_spot:
            return False
        reducible = order.account.clearinghouses[market.dex].reducible(market, is_buy=order.is_buy)
        return 0 < reducible <= order.sz

    def _execute(self, order: Order) -> Placement:
        """Match a live order and let it rest or end; a rejection is for the caller to record."""
        account, market = order.account, order.market
        reducible = 0
        if not market.is_spot:
            reducible = account.clearinghouses[market.dex].reducible(market, is_buy=order.is_buy)
        if order.reduce_only and not reducible:
            return Placement("rejected", rejection=rejections.REDUCE_ONLY)
        opening = 0 if order.reduce_only else max(0, order.sz - reducible)
        rate = self._rate(order)
        if not account.is_house and not self._affordable(order, opening, rate):
            rejection = rejections.SPOT_BALANCE if market.is_spot else rejections.MARGIN
            return Placement("rejected", rejection=rejection)
        book = self.books[market.asset]
        if order.tif == "Alo" and book.counterpart(is_buy=order.is_buy, px=order.px) is not None:
            return Placement("rejected", rejection=rejections.bad_alo(self._bbo(market)))
        lots, value = self._match(order)
        if not order.sz:
            self._set_ended(order, "filled")
        elif order.tif == "Ioc":
            if not lots:
                by_trigger = order.trigger is not None and order.trigger.is_market
                rejection = rejections.NO_LIQUIDITY if by_trigger else rejections.IOC_CANCEL
                return Placement("rejected", rejection=rejection)
            self._end(order, "canceled")
        elif order.reduce_only and not self._reducible(order):
            self._end(order, "reduceOnlyCanceled")
        else:
            book.add(order)
            account.reserve(order, min(opening, order.sz), rate)
            self._open(order)
            return Placement("resting", lots, value)
        return Placement("filled", lots, value)

    def _rate(self, order: Order) -> int:
        """Money that one lot of an order needs, rounded up: margin for perps, the whole price for spot."""
        market = order.market
        price = order.px if order.is_buy else max(order.px, self.marks[market.asset])
        if market.is_spot:
            return order.px * market.money_per_unit
        leverage, _ = order.account.clearinghouses[market.dex].leverage(market)
        return -(-price * market.money_per_unit // leverage)

    def _affordable(self, order: Order, lots: int, rate: int) -> bool:
        account, market = order.account, order.market
        if not market.is_spot:
            return not lots or lots * rate <= account.clearinghouses[market.dex].free(self.marks)
        balance = account.spot[QUOTE if order.is_buy else market.token]
        return lots * (rate if order.is_buy else 1) <= balance.total - balance.hold

    def _bbo(self, market: Market) -> str:
        book = self.books[market.asset]
        sides = (book.best_bid(), book.best_ask())
        # The text is the venue's number form without the ".0" of whole prices.
        bid, ask = ("0" if px is None else format_units(px, market.px_decimals).removesuffix(".0") for px in sides)
        return f"{bid}@{ask}"

    # --- matching and settlement ----------------------------------------------------------------------------

    def _match(self, taker: Order) -> tuple[int, int]:
        """Trade an order against the book; returns (lots traded, sum of lots x price)."""
        book = self.books[taker.market.asset]
        traded = value = 0
        while taker.sz:
            maker = book.counterpart(is_buy=taker.is_buy, px=taker.px)
            if maker is None:
                break
            if maker.account is taker.account:
                self._end(maker, "selfTradeCanceled")
                continue
            lots = min(taker.sz, maker.sz)
            if taker.reduce_only:
                lots = min(lots, self._reducible(taker))
                if not lots:
                    break
            if maker.reduce_only:
                lots = min(lots, self._reducible(maker))
                if not lots:
                    self._end(maker, "reduceOnlyCanceled")
                    continue
            if maker.reserved_lots and self._is_overdrawn(maker):
                self._end(maker, "marginCanceled")
                continue
            self._trade(maker, taker, lots)
            traded += lots
            value += lots * maker.px
        return traded, value

    def _reducible(self, order: Order) -> int:
        market = order.market
        return order.account.clearinghouses[market.dex].reducible(market, is_buy=order.is_buy)

    def _is_overdrawn(self, maker: Order) -> bool:
        """Whether what a resting order holds back is no longer covered by its account."""
        market, account = maker.market, maker.account
        return not (market.is_spot or account.is_house) and account.clearinghouses[market.dex].free(self.marks) < 0

    def _trade(self, maker: Order, taker: Order, lots: int) -> None:
        self._last_tid += 1
        px, market = maker.px, maker.market
        money, volume = self.volumes[market.asset]
        self.volumes[market.asset] = money + lots * px * market.money_per_unit, volume + lots
        self.books[market.asset].shrink(maker, lots)
        taker.sz -= lots
        maker.account.release(maker)
        self._settle(taker, lots, px, crossed=True)
        self._settle(maker, lots, px, crossed=False)
        if not maker.sz:
            self._set_ended(maker, "filled")
        self._drop_idle_reduce_only(taker)
        self._drop_idle_reduce_only(maker)

    def _settle(self, order: Order, lots: int, px: int, *, crossed: bool) -> None:
        """Move the money and the lots of one side of a trade, and tell of it."""
        account, market = order.account, order.market
        value = lots * px * market.money_per_unit
        account.traded += value
        sign = 1 if order.is_buy else -1
        if market.is_spot:
            start, realized = account.spot[market.token].total, 0
            account.spot[QUOTE].total -= sign * value
            account.spot[market.token].total += sign * lots
        else:
            clearinghouse = account.clearinghouses[market.dex]
            start = clearinghouse.size(market)
            realized = clearinghouse.trade(market, is_buy=order.is_buy, lots=lots, px=px)
        if account.is_house:
            return
        now = self._now_ms()
        side = "B" if order.is_buy else "A"
        px_text, sz_text = format_units(px, market.px_decimals), format_units(lots, market.sz_decimals)
        fill = Fill(
            coin=market.coin,
            px=px_text,
            sz=sz_text,
            side=side,
            time=now,
            start_position=format_units(start, market.sz_decimals),
            dir=_direction(market, start, start + sign * lots, sign),
            closed_pnl=format_units(realized, 8),
            hash=f"0x{self._last_tid:064x}",
            oid=order.oid,
            crossed=crossed,
            tid=self._last_tid,
            fee="0.0",
            fee_token=QUOTE,
            cloid=order.cloid,
        )
        account.fills.append(fill)
        self.feed.fills.append((account, fill))
        self._truth.append(
            FillRecord(
                seq=self._truth.next_seq(),
                time=now,
                user=account.address,
                oid=order.oid,
                cloid=order.cloid,
                coin=market.coin,
                side=side,
                px=px_text,
                sz=sz_text,
                left=format_units(order.sz, market.sz_decimals),
                tid=self._last_tid,
                crossed=crossed,
            )
        )

    def _drop_idle_reduce_only(self, traded: Order) -> None:
        """Cancel the account's resting reduce-only orders that a trade has left with nothing to reduce."""
        account, market = traded.account, traded.market
        if market.is_spot or not account.open_reduce_only:
            return
        for order in list(account.open_reduce_only.values()):
            if order.market is market and order.trigger is None and not self._reducible(order):
                self._end(order, "reduceOnlyCanceled")

    # --- changes of an order --------------------------------------------------------------------------------

    def _open(self, order: Order) -> None:
        """Note that an order rests or waits."""
        order.account.add_open(order)
        self._tell(order, "open")

    def _end(self, order: Order, status: str) -> None:
        """End an order that has something left, by anything but a trade."""
        if order.is_live and order.oid in order.account.open_orders:
            self.books[order.market.asset].remove(order)
        self._set_ended(order, status)
        if not order.account.is_house:
            self._truth.append(
                EndRecord(
                    seq=self._truth.next_seq(),
                    time=order.status_time,
                    user=order.account.address,
                    oid=order.oid,
                    cloid=order.cloid,
                    status=status,
                )
            )

    def _set_ended(self, order: Order, status: str) -> None:
        order.status, order.status_time = status, self._now_ms()
        order.account.release(order)
        order.account.remove_open(order)
        if not order.account.is_house:
            self.history.end(order)
        self._tell(order, status)

    def _tell(self, order: Order, status: str) -> None:
        if not order.account.is_house:
            self.feed.updates.append(OrderUpdate(order, status, order.sz, self._now_ms()))

    def cancel(self, order: Order, status: str = "canceled") -> None:
        """End an open order."""
        self._end(order, status)

    # --- mark prices and timers -----------------------------------------------------------------------------

    def set_mark(self, market: Market, px: int) -> None:
        """Move the mark price of a market; triggers the orders that waited for it."""
        self.marks[market.asset] = px
        while (order := self._waiting[market.asset].pop_due(px)) is not None:
            self._fire(order, px)

    def _fire(self, order: Order, mark: int) -> None:
        order.account.remove_open(order)
        order.is_live = True
        self._tell(order, "triggered")
        if order.trigger is not None and order.trigger.is_market:
            order.tif = "Ioc"
            order.px = mark * 11 // 10 if order.is_buy else mark * 9 // 10
        placement = self._execute(order)
        if placement.rejection is not None:
            self._end(order, placement.rejection.status)

    def schedule_cancel(self, account: Account, time_ms: int | None) -> None:
        """Arm an account's dead man's switch for a time, or disarm it."""
        account.cancel_at = time_ms
        if time_ms is None:
            self._scheduled.pop(account.address, None)
        else:
            self._scheduled[account.address] = account

    def strike_scheduled(self) -> None:
        """Cancel everything of the accounts whose dead man's switch is due."""
        if not self._scheduled:
            return
        now = self._now_ms()
        due = [account for account in self._scheduled.values() if account.cancel_at is not None]
        for account in due:
            if account.cancel_at is not None and account.cancel_at <= now:
                self.schedule_cancel(account, None)
                account.cancels_struck = (now // _DAY_MS, self.struck_today(account) + 1)
                for order in list(account.open_orders.values()):
                    self._end(order, "scheduledCancel")

    def struck_today(self, account: Account) -> int:
        """How often an account's switch struck since 00:00 UTC."""
        day, count = account.cancels_struck
        return count if day == self._now_ms() // _DAY_MS else 0


def _direction(market: Market, start: int, end: int, sign: int) -> str:
    """What a fill did to a position, in the venue's words."""
    if market.is_spot:
        return "Buy" if sign > 0 else "Sell"
    if start * end < 0:
        return "Long > Short" if start > 0 else "Short > Long"
    if start * sign >= 0:
        return "Open Long" if sign > 0 else "Open Short"
    return "Close Short" if sign > 0 else "Close Long"
