"""Accounts: USDC, positions, spot balances, and who may sign for whom.

Every perp dex has a clearinghouse of its own (protocol.md §7: `clearinghouseState` of a builder dex needs `dex`);
an account is funded in each of them and in its spot wallet. Trading is free of fees and nothing is liquidated, so
that USDC is conserved: over all accounts, balances plus unrealized profit never change by trading. All money is in
`USD` units, all sizes in lots.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from adapters.venue.markets import QUOTE, Market
from adapters.venue.orders import Order

_FILLS_KEPT: Final = 2000
"""As many as the venue's `userFills` returns."""

DEFAULT_LEVERAGE: Final = 20
"""Leverage of a market whose leverage nobody set; the market's highest where that is lower."""


class Fill(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """One side of a trade, in the venue's form (protocol.md §8); numbers are decimal text."""

    coin: str
    px: str
    sz: str
    side: str
    time: int
    start_position: str
    dir: str
    closed_pnl: str
    hash: str
    oid: int
    crossed: bool
    tid: int
    fee: str
    fee_token: str
    cloid: str | None = None


class Position:
    """A position in one perp market.

    Attributes:
        szi: Signed size in lots.
        cost: What it cost, in money units, with the sign of `szi`; entry price x size.
    """

    __slots__ = ("cost", "market", "szi")

    def __init__(self, market: Market) -> None:
        self.market: Final = market
        self.szi = 0
        self.cost = 0

    def trade(self, *, is_buy: bool, lots: int, px: int) -> int:
        """Take a fill in; returns the profit that it realized, in money units."""
        sign = 1 if is_buy else -1
        value = lots * px * self.market.money_per_unit
        if self.szi * sign >= 0:
            self.szi += sign * lots
            self.cost += sign * value
            return 0
        closed = min(lots, abs(self.szi))
        # The division may leave a fraction of a unit of cost with what remains open; nothing is lost.
        cost_out = self.cost * closed // abs(self.szi)
        proceeds = closed * px * self.market.money_per_unit
        self.szi += sign * lots
        self.cost += sign * (value - proceeds) - cost_out
        return -sign * proceeds - cost_out

    def value(self, mark: int) -> int:
        """Signed worth at a mark price, in money units."""
        return self.szi * mark * self.market.money_per_unit


class Clearinghouse:
    """One account in one perp dex.

    Attributes:
        balance: USDC deposited plus profit realized, in money units.
        positions: By asset id; a flat position stays as an entry of size 0.
        reserved: Margin held back for open orders, in money units.
    """

    __slots__ = ("_leverage", "balance", "positions", "reserved")

    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.positions: Final[dict[int, Position]] = {}
        self.reserved = 0
        self._leverage: Final[dict[int, tuple[int, bool]]] = {}

    def leverage(self, market: Market) -> tuple[int, bool]:
        """The leverage in a market, and whether it is cross."""
        return self._leverage.get(market.asset) or (min(DEFAULT_LEVERAGE, market.max_leverage), True)

    def set_leverage(self, market: Market, leverage: int, *, is_cross: bool) -> None:
        """Set the leverage of a market."""
        self._leverage[market.asset] = (leverage, is_cross)

    def size(self, market: Market) -> int:
        """Signed position in lots."""
        position = self.positions.get(market.asset)
        return 0 if position is None else position.szi

    def reducible(self, market: Market, *, is_buy: bool) -> int:
        """How many lots an order of this side can trade before it would open or turn a position."""
        szi = self.size(market)
        return max(0, -szi if is_buy else szi)

    def trade(self, market: Market, *, is_buy: bool, lots: int, px: int) -> int:
        """Take a fill in; returns the profit that it realized, in money units."""
        position = self.positions.get(market.asset)
        if position is None:
            position = self.positions[market.asset] = Position(market)
        realized = position.trade(is_buy=is_buy, lots=lots, px=px)
        self.balance += realized
        return realized

    def equity(self, marks: Mapping[int, int]) -> int:
        """Account value: balance plus unrealized profit at the mark prices (by asset id, in price steps)."""
        unrealized = (position.value(marks[asset]) - position.cost for asset, position in self.positions.items())
        return self.balance + sum(unrealized)

    def margin_used(self, marks: Mapping[int, int]) -> int:
        """Margin of all positions at the mark prices."""
        return sum(
            abs(position.value(marks[asset])) // self.leverage(position.market)[0]
            for asset, position in self.positions.items()
        )

    def free(self, marks: Mapping[int, int]) -> int:
        """What is left for new orders."""
        return self.equity(marks) - self.margin_used(marks) - self.reserved


class Balance:
    """A spot balance: `total`, of which `hold` belongs to open orders; USDC in money units, other tokens in lots."""

    __slots__ = ("hold", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.hold = 0


class Account:
    """A user, a sub-account or a vault.

    Attributes:
        address: Lower-case with `0x`.
        leader: The address that may act for this one through `vaultAddress`; None if it is nobody's vault.
        is_house: Whether it belongs to the venue's own market makers, whose orders are not recorded.
        open_orders: Resting and waiting orders by oid, oldest first.
        open_reduce_only: Those of them that are reduce-only.
        open_cloids: The open order of each cloid.
        fills: The latest trades, oldest first.
        traded: Volume so far, in money units.
        cancel_at: When `scheduleCancel` strikes, unix ms.
        cancels_struck: The day (since 1970) and how often it struck on it.
    """

    __slots__ = (
        "address",
        "cancel_at",
        "cancels_struck",
        "clearinghouses",
        "fills",
        "funded",
        "is_house",
        "leader",
        "open_cloids",
        "open_orders",
        "open_reduce_only",
        "spot",
        "traded",
    )

    def __init__(self, address: str, dexs: Iterable[str], tokens: Iterable[str], *, is_house: bool) -> None:
        self.address: Final = address
        self.is_house: Final = is_house
        self.clearinghouses: Final = {dex: Clearinghouse(0) for dex in dexs}
        self.spot: Final = {token: Balance(0) for token in tokens}
        self.leader: str | None = None
        self.funded = False
        self.open_orders: Final[dict[int, Order]] = {}
        self.open_reduce_only: Final[dict[int, Order]] = {}
        self.open_cloids: Final[dict[str, Order]] = {}
        self.fills: Final[deque[Fill]] = deque(maxlen=_FILLS_KEPT)
        self.traded = 0
        self.cancel_at: int | None = None
        self.cancels_struck = (0, 0)

    def deposit(self, money: int) -> None:
        """Add `money` to every clearinghouse and to the spot wallet."""
        for clearinghouse in self.clearinghouses.values():
            clearinghouse.balance += money
        self.spot[QUOTE].total += money
        self.funded = self.funded or money > 0

    def add_open(self, order: Order) -> None:
        """Note that an order of this account rests or waits."""
        self.open_orders[order.oid] = order
        if order.reduce_only:
            self.open_reduce_only[order.oid] = order
        if order.cloid is not None:
            self.open_cloids[order.cloid] = order

    def remove_open(self, order: Order) -> None:
        """Note that an order no longer rests or waits, if it did."""
        if self.open_orders.pop(order.oid, None) is not None:
            self.open_reduce_only.pop(order.oid, None)
            if order.cloid is not None:
                self.open_cloids.pop(order.cloid, None)

    def reserve(self, order: Order, lots: int, rate: int) -> None:
        """Hold back what `lots` of an order need: `rate` money units per lot, or the tokens that it sells."""
        order.reserved_lots, order.reserved_rate = lots, rate
        self._hold(order, lots)

    def release(self, order: Order) -> None:
        """Give back what an order holds for more lots than it still has (all of it when it has none or ended)."""
        kept = min(order.reserved_lots, order.sz) if order.status == "open" else 0
        if kept != order.reserved_lots:
            self._hold(order, kept - order.reserved_lots)
            order.reserved_lots = kept

    def _hold(self, order: Order, lots: int) -> None:
        market = order.market
        if not market.is_spot:
            self.clearinghouses[market.dex].reserved += lots * order.reserved_rate
        elif order.is_buy:
            self.spot[QUOTE].hold += lots * order.reserved_rate
        else:
            self.spot[market.token].hold += lots


class Accounts:
    """All accounts and their API wallets."""

    def __init__(self, dexs: Iterable[str], tokens: Iterable[str]) -> None:
        self._dexs: Final = tuple(dexs)
        self._tokens: Final = tuple(tokens)
        self.by_address: Final[dict[str, Account]] = {}
        self._principals: Final[dict[str, str]] = {}

    def open(self, address: str, money: int = 0, *, is_house: bool = False) -> Account:
        """The account at `address`, made if there is none, with `money` more in every wallet."""
        account = self.by_address.get(address)
        if account is None:
            account = Account(address, self._dexs, self._tokens, is_house=is_house)
            self.by_address[address] = account
        account.deposit(money)
        return account

    def approve(self, agent: str, principal: str) -> None:
        """Let the API wallet `agent` sign for `principal`."""
        self._principals[agent] = principal

    def principal(self, signer: str) -> Account | None:
        """The account that a signer acts for: the principal of an API wallet, or the signer's own."""
        return self.by_address.get(self._principals.get(signer, signer))

    def vault(self, address: str, leader: Account) -> Account | None:
        """The vault or sub-account at `address` if `leader` may act for it."""
        vault = self.by_address.get(address)
        return vault if vault is not None and vault.leader == leader.address else None
