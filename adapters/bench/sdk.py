"""The official SDK as its users use it: synchronous, over HTTP on a connection that is kept, signing with coincurve.

It has one post under way at a time, whatever is asked of it: its calls return only when they are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from eth_account import Account
from hyperliquid.exchange import Exchange

from adapters.bench.errors import RunFailed

_IOC = {"limit": {"tif": "Ioc"}}


class Sdk:
    """An `Exchange` of the SDK."""

    def __init__(self, url: str, key: bytes) -> None:
        """Load the markets, as `Exchange` does."""
        self._exchange = Exchange(Account.from_key(key), url)

    async def close(self) -> None:
        """Drop the connection."""
        self._exchange.session.close()

    async def place(self, count: int) -> Sequence[int]:
        """Place orders that trade at once: one with `order`, more with `bulk_orders`; their oids."""
        await asyncio.sleep(0)  # the calls below hold up the loop; whoever ends the run has to have a turn
        if count == 1:
            return _oids(self._exchange.order("BTC", True, 0.01, 50_000.0, _IOC))
        return _oids(self._exchange.bulk_orders([_request() for _ in range(count)]))

    async def cancel(self, oids: Sequence[int]) -> None:
        """Cancel orders with `bulk_cancel`."""
        answer = self._exchange.bulk_cancel([{"coin": "BTC", "oid": oid} for oid in oids])
        if answer["response"]["data"]["statuses"] != ["success"] * len(oids):
            raise RunFailed(f"the venue did not cancel: {answer}")


def _request() -> dict[str, Any]:
    return {
        "coin": "BTC",
        "is_buy": True,
        "sz": 0.01,
        "limit_px": 50_000.0,
        "order_type": _IOC,
        "reduce_only": False,
    }


def _oids(answer: Any) -> list[int]:
    try:
        return [status["filled"]["oid"] for status in answer["response"]["data"]["statuses"]]
    except (KeyError, TypeError):
        raise RunFailed(f"the SDK was not answered as expected: {answer}") from None
