"""Questions to the venue over HTTP: `POST /info` (protocol.md §1, §5, §7).

Each method asks one question and returns a typed answer, or raises one of two errors: `VenueUnreachable` means that
there is no answer and asking again may help; `VenueAnswerUnreadable` means that there is one that this client does
not understand. Neither says anything about orders (settlement.md, rule 9). Questions about an account take its
address, never the API wallet's (protocol.md §7).
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from adapters.hyperliquid.markets import MalformedMarkets, Markets, dex_offsets
from adapters.hyperliquid.records import OrderRecord, OrderUpdate, Position, require_plain

DEFAULT_TIMEOUT_S: Final = 10.0
"""From connecting to the last byte; the longest answers, those about markets, take well under a second."""

_EXCERPT_LENGTH: Final = 200
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500

T = TypeVar("T")


class VenueError(Exception):
    """Base of the errors of this module; the message names the URL and the question."""


class VenueUnreachable(VenueError):
    """No answer: network trouble, a timeout, or a gateway that answers 429 or 5xx in the venue's place."""


class VenueAnswerUnreadable(VenueError):
    """An answer that is not what protocol.md describes."""


class _Position(msgspec.Struct):
    position: Position


class _ClearinghouseState(msgspec.Struct):
    positions: list[_Position] = msgspec.field(name="assetPositions")


class _ExchangeStatus(msgspec.Struct):
    time: int


class _OrderStatus(msgspec.Struct):
    status: str
    order: OrderUpdate | None = None


class _RateLimit(msgspec.Struct):
    used: int = msgspec.field(name="nRequestsUsed")
    cap: int = msgspec.field(name="nRequestsCap")


class InfoClient:
    """Asks the venue at `base_url`; the session stays the caller's, who closes it.

    Args:
        base_url: Such as `https://api.hyperliquid.xyz`, without `/info`.
        session: Connections are pooled in it.
        timeout_s: Limit of each call, in seconds.
    """

    def __init__(self, base_url: str, session: aiohttp.ClientSession, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._url = base_url.rstrip("/") + "/info"
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def meta(self, dex: str = "") -> dict[str, Any]:
        """The perpetuals of a dex as the venue describes them; `Markets.from_info` reads it."""
        return await self._ask({"type": "meta", "dex": dex}, dict[str, Any])

    async def spot_meta(self) -> dict[str, Any]:
        """The spot pairs and tokens as the venue describes them."""
        return await self._ask({"type": "spotMeta"}, dict[str, Any])

    async def perp_dexs(self) -> list[Any]:
        """The dexes in the order that asset ids depend on; null stands for the venue's own and for removed ones."""
        return await self._ask({"type": "perpDexs"}, list[Any])

    async def load_markets(self) -> Markets:
        """All markets of all dexes."""
        spot_meta, perp_dexs = await asyncio.gather(self.spot_meta(), self.perp_dexs())
        try:
            dexes = tuple(dex_offsets(perp_dexs))
            metas = await asyncio.gather(*map(self.meta, dexes))
            return Markets.from_info(dict(zip(dexes, metas, strict=True)), spot_meta, perp_dexs)
        except MalformedMarkets as error:
            raise VenueAnswerUnreadable(f"{self._url} describes its markets in an unknown form: {error}") from error

    async def clearinghouse_state(self, user: str, dex: str = "") -> tuple[Position, ...]:
        """The open positions of an account in one dex."""
        state = await self._ask({"type": "clearinghouseState", "user": user, "dex": dex}, _ClearinghouseState)
        return tuple(entry.position for entry in state.positions)

    async def all_mids(self, dex: str = "") -> dict[str, Decimal]:
        """The middle between best bid and best ask in USD, by coin."""
        request = {"type": "allMids", "dex": dex}
        mids = await self._ask(request, dict[str, Decimal])
        for coin, mid in mids.items():
            try:
                require_plain(coin, mid)
            except ValueError as error:
                raise self._unreadable(request, error) from error
        return mids

    async def exchange_time_ms(self) -> int:
        """The venue's clock, unix ms."""
        return (await self._ask({"type": "exchangeStatus"}, _ExchangeStatus)).time

    async def open_orders(self, user: str, dex: str = "") -> tuple[OrderRecord, ...]:
        """The open orders of an account in one dex, those waiting for a trigger included."""
        return await self._ask({"type": "frontendOpenOrders", "user": user, "dex": dex}, tuple[OrderRecord, ...])

    async def order_status(self, user: str, oid_or_cloid: int | str) -> OrderUpdate | None:
        """The venue's record of one order, or None if it says `unknownOid`.

        None is no proof that the order never ran (protocol.md §5).
        """
        request = {"type": "orderStatus", "user": user, "oid": oid_or_cloid}
        answer = await self._ask(request, _OrderStatus)
        if answer.status == "unknownOid":
            return None
        if answer.status != "order" or answer.order is None:
            raise self._unreadable(request, f"status {answer.status!r} without an order")
        return answer.order

    async def user_rate_limit(self, user: str) -> tuple[int, int]:
        """The address's action budget: how much is used, and of how much (protocol.md §3)."""
        limit = await self._ask({"type": "userRateLimit", "user": user}, _RateLimit)
        return limit.used, limit.cap

    async def _ask(self, request: dict[str, Any], form: type[T]) -> T:
        """One question and its answer in the expected form.

        Raises:
            VenueUnreachable: There is no answer.
            VenueAnswerUnreadable: It has another form.
        """
        try:
            async with self._session.post(self._url, json=request, timeout=self._timeout) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            fault = f"no answer within {self._timeout.total} s" if isinstance(error, TimeoutError) else repr(error)
            raise VenueUnreachable(
                f"{self._url}, asked for {request['type']}: {fault}; check the address, the network and, for the "
                "local venue, that it runs"
            ) from error
        if status != 200:
            excerpt = body[:_EXCERPT_LENGTH].decode(errors="replace")
            if status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS:
                raise VenueUnreachable(
                    f"{self._url}, asked for {request['type']}: HTTP {status} {excerpt!r}; try again later"
                )
            raise self._unreadable(request, f"HTTP {status} {excerpt!r}")
        try:
            return msgspec.json.decode(body, type=form)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(request, error) from error

    def _unreadable(self, request: dict[str, Any], fault: object) -> VenueAnswerUnreadable:
        return VenueAnswerUnreadable(
            f"{self._url}, asked for {request['type']}: {fault}; check that the address is a Hyperliquid venue's"
        )
