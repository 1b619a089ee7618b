"""Answers to info requests (protocol.md §3, §5, §7): `POST /info` and info posts give the same data.

A request is plain JSON with a `type`; a type or a field that the venue can't read is a `MalformedRequest`. Unknown
dexes, coins and users get the empty answer that the real venue gives: null, or an account without anything in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from adapters.venue.accounts import Account, Accounts, Clearinghouse, Position
from adapters.venue.actions import MalformedRequest
from adapters.venue.engine import Engine
from adapters.venue.markets import QUOTE, Market
from adapters.venue.orders import Order
from adapters.venue.trading import Trading
from adapters.venue.units import USD, USD_DECIMALS, format_units

_DEPTH: Final = 20
"""Levels on each side of an `l2Book` snapshot."""

_LIGHT: Final = frozenset(
    {"l2Book", "allMids", "clearinghouseState", "orderStatus", "spotClearinghouseState", "exchangeStatus"}
)


def weight(kind: str) -> int:
    """The HTTP weight of an info request: 2 for the light ones, 20 for the others (docs, rate limits)."""
    return 2 if kind in _LIGHT else 20


class InfoRequest(msgspec.Struct, rename="camel"):
    """Every field that an info request can have.

    Attributes:
        oid: An order id or a cloid.
        n_sig_figs: Aggregation of `l2Book`; not offered here.
    """

    type: str
    user: str | None = None
    dex: str | None = None
    coin: str | None = None
    oid: int | str | None = None
    n_sig_figs: int | None = None
    mantissa: int | None = None


_DECODER: Final = msgspec.json.Decoder(InfoRequest)


def decode_info(payload: bytes | msgspec.Raw) -> InfoRequest:
    """Read an info request.

    Raises:
        MalformedRequest: It is not of that shape.
    """
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(str(error)) from error


class InfoDesk:
    """Answers info requests from the present state of the venue.

    Args:
        accounts: Who there is.
        trading: Books and orders.
        engine: Knows the accounts' budgets.
        now_ms: The venue's time, unix ms.
        lookup_lag_ms: How long `orderStatus` does not know an order yet, asked each time.
    """

    def __init__(
        self,
        accounts: Accounts,
        trading: Trading,
        engine: Engine,
        now_ms: Callable[[], int],
        lookup_lag_ms: Callable[[], int],
    ) -> None:
        self._accounts: Final = accounts
        self._trading: Final = trading
        self._engine: Final = engine
        self._now_ms: Final = now_ms
        self._lookup_lag_ms: Final = lookup_lag_ms
        self._universe: Final = trading.universe
        self._nobody: Final = Account("0x" + "00" * 20, self._universe.dexs, self._universe.tokens, is_house=False)
        self._answers: Final[dict[str, Callable[[InfoRequest], Any]]] = {
            "meta": lambda request: self._universe.meta(request.dex or ""),
            "spotMeta": lambda _: self._universe.spot_meta(),
            "perpDexs": lambda _: self._universe.perp_dexs(),
            "metaAndAssetCtxs": self._meta_and_contexts,
            "allMids": lambda request: self.mids(request.dex or ""),
            "l2Book": self._l2_book,
            "openOrders": self._open_orders,
            "frontendOpenOrders": self._frontend_open_orders,
            "orderStatus": self._order_status,
            "userFills": lambda request: list(reversed(self._user(request).fills)),
            "clearinghouseState": self._clearinghouse_state,
            "spotClearinghouseState": self._spot_state,
            "userRateLimit": self._rate_limit,
            "exchangeStatus": lambda _: {"time": self._now_ms(), "specialStatuses": None},
        }

    def answer(self, request: InfoRequest) -> Any:
        """The answer, as data that msgspec writes in the venue's form.

        Raises:
            MalformedRequest: An unknown type, or a field that it needs is missing.
        """
        answer = self._answers.get(request.type)
        if answer is None:
            raise MalformedRequest(f"unknown info request type {request.type[:40]!r}")
        return answer(request)

    # --- markets --------------------------------------------------------------------------------------------

    def mids(self, dex: str) -> dict[str, str] | None:
        """Mid prices of a dex by coin; those of the core dex come with the spot pairs."""
        perps = self._universe.perps(dex)
        if perps is None:
            return None
        markets = perps if dex else (*perps, *self._universe.spot)
        return {market.coin: self._mid(market) for market in markets}

    def _mid(self, market: Market) -> str:
        book = self._trading.books[market.asset]
        bid, ask = book.best_bid(), book.best_ask()
        if bid is None or ask is None:
            return format_units(self._trading.marks[market.asset], market.px_decimals)
        return format_units((bid + ask) * 5, market.px_decimals + 1)

    def l2_book(self, market: Market) -> dict[str, Any]:
        """A snapshot of a book."""
        sides = self._trading.books[market.asset].depth(_DEPTH)
        return {
            "coin": market.coin,
            "time": self._now_ms(),
            "levels": [[_level(market, *level) for level in side] for side in sides],
        }

    def bbo(self, market: Market) -> dict[str, Any]:
        """The best level of each side of a book."""
        sides = self._trading.books[market.asset].depth(1)
        best = [_level(market, *side[0]) if side else None for side in sides]
        return {"coin": market.coin, "time": self._now_ms(), "bbo": best}

    def _l2_book(self, request: InfoRequest) -> dict[str, Any] | None:
        if request.n_sig_figs is not None or request.mantissa is not None:
            raise MalformedRequest("l2Book: the local venue does not aggregate levels; leave nSigFigs and mantissa out")
        market = self._universe.by_coin.get(_needed(request.coin, "coin", request))
        return None if market is None else self.l2_book(market)

    def _meta_and_contexts(self, request: InfoRequest) -> list[Any] | None:
        perps = self._universe.perps(request.dex or "")
        if perps is None:
            return None
        contexts = []
        for market in perps:
            money, lots = self._trading.volumes[market.asset]
            mark = format_units(self._trading.marks[market.asset], market.px_decimals)
            open_interest = sum(
                max(0, account.clearinghouses[market.dex].size(market))
                for account in self._accounts.by_address.values()
            )
            contexts.append(
                {
                    "funding": "0.0",
                    "openInterest": format_units(open_interest, market.sz_decimals),
                    "prevDayPx": format_units(market.start_px, market.px_decimals),
                    "dayNtlVlm": _usd(money),
                    "premium": None,
                    "oraclePx": mark,
                    "markPx": mark,
                    "midPx": self._mid(market),
                    "impactPxs": None,
                    "dayBaseVlm": format_units(lots, market.sz_decimals),
                }
            )
        return [self._universe.meta(request.dex or ""), contexts]

    # --- users ----------------------------------------------------------------------------------------------

    def _user(self, request: InfoRequest) -> Account:
        """The account asked about; API wallets have none (§7), which looks like an empty one."""
        return self._accounts.by_address.get(_needed(request.user, "user", request).lower(), self._nobody)

    def _orders_of(self, request: InfoRequest) -> list[Order]:
        """Open orders of a user in a dex (spot counts to the core dex), newest first."""
        dex = request.dex or ""
        orders = [order for order in self._user(request).open_orders.values() if order.market.dex == dex]
        orders.reverse()
        return orders

    def _open_orders(self, request: InfoRequest) -> list[dict[str, Any]]:
        return [order.basic(order.sz) for order in self._orders_of(request)]

    def _frontend_open_orders(self, request: InfoRequest) -> list[dict[str, Any]]:
        return [order.full() for order in self._orders_of(request)]

    def _order_status(self, request: InfoRequest) -> dict[str, Any]:
        key = request.oid
        if key is None:
            raise MalformedRequest("orderStatus needs oid: an order id or a cloid")
        address = _needed(request.user, "user", request).lower()
        order = self._trading.history.find(address, key.lower() if isinstance(key, str) else key)
        if order is None or self._now_ms() - order.timestamp < self._lookup_lag_ms():
            return {"status": "unknownOid"}
        return {
            "status": "order",
            "order": {"order": order.full(), "status": order.status, "statusTimestamp": order.status_time},
        }

    def _clearinghouse_state(self, request: InfoRequest) -> dict[str, Any] | None:
        clearinghouse = self._user(request).clearinghouses.get(request.dex or "")
        if clearinghouse is None:
            return None
        marks = self._trading.marks
        equity, used = clearinghouse.equity(marks), clearinghouse.margin_used(marks)
        positions = [position for position in clearinghouse.positions.values() if position.szi]
        maintenance = sum(
            abs(position.value(marks[position.market.asset])) // (2 * position.market.max_leverage)
            for position in positions
        )
        notional = sum(abs(position.value(marks[position.market.asset])) for position in positions)
        summary = {
            "accountValue": _usd(equity),
            "totalNtlPos": _usd(notional),
            "totalRawUsd": _usd(clearinghouse.balance - sum(position.cost for position in positions)),
            "totalMarginUsed": _usd(used),
        }
        return {
            "assetPositions": [
                {"type": "oneWay", "position": _position(position, clearinghouse, marks[position.market.asset])}
                for position in positions
            ],
            "marginSummary": summary,
            "crossMarginSummary": summary,
            "crossMaintenanceMarginUsed": _usd(maintenance),
            "withdrawable": _usd(max(0, equity - used - clearinghouse.reserved)),
            "time": self._now_ms(),
        }

    def _spot_state(self, request: InfoRequest) -> dict[str, Any]:
        decimals = {market.token: market.sz_decimals for market in self._universe.spot} | {QUOTE: USD_DECIMALS}
        return {
            "balances": [
                {
                    "coin": token,
                    "token": self._universe.tokens.index(token),
                    "total": format_units(balance.total, decimals[token]),
                    "hold": format_units(balance.hold, decimals[token]),
                }
                for token, balance in self._user(request).spot.items()
            ]
        }

    def _rate_limit(self, request: InfoRequest) -> dict[str, Any]:
        account = self._user(request)
        budget = self._engine.budget(account)
        cap = budget.cap(account.traded // USD)
        return {
            "cumVlm": _usd(account.traded),
            "nRequestsUsed": budget.used,
            "nRequestsCap": cap,
            "nRequestsSurplus": max(0, cap - budget.used),
        }


def _needed(value: str | None, name: str, request: InfoRequest) -> str:
    if value is None:
        raise MalformedRequest(f"{request.type} needs {name}")
    return value


def _usd(money: int) -> str:
    return format_units(money, USD_DECIMALS)


def _level(market: Market, px: int, size: int, orders: int) -> dict[str, Any]:
    return {"px": format_units(px, market.px_decimals), "sz": format_units(size, market.sz_decimals), "n": orders}


def _position(position: Position, clearinghouse: Clearinghouse, mark: int) -> dict[str, Any]:
    market = position.market
    value, size = position.value(mark), abs(position.szi)
    leverage, is_cross = clearinghouse.leverage(market)
    margin = abs(value) // leverage
    profit = value - position.cost
    # Entry price with four more decimals than a price has, rounded half up.
    per_lot = size * market.money_per_unit
    entry = (abs(position.cost) * 20_000 + per_lot) // (2 * per_lot)
    shown_leverage: dict[str, Any] = {"type": "cross" if is_cross else "isolated", "value": leverage}
    if not is_cross:
        shown_leverage["rawUsd"] = _usd(margin - value)
    return {
        "coin": market.coin,
        "szi": format_units(position.szi, market.sz_decimals),
        "leverage": shown_leverage,
        "entryPx": format_units(entry, market.px_decimals + 4),
        "positionValue": _usd(abs(value)),
        "unrealizedPnl": _usd(profit),
        "returnOnEquity": format_units(profit * 10**6 // margin if margin else 0, 6),
        "liquidationPx": None,
        "marginUsed": _usd(margin),
        "maxLeverage": market.max_leverage,
        "cumFunding": {"allTime": "0.0", "sinceOpen": "0.0", "sinceChange": "0.0"},
    }
