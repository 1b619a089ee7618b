"""The floor: the least that a Python client has to do for an order, written by hand.

It signs, writes a frame, finds the reply by its id and reads what became of each order. It keeps no record, knows no
state machine, counts nothing, and loses track of everything when the connection drops. What the executor costs beyond
this is the price of not doing so.

It signs with the executor's own `Signer`: a kept libsecp256k1 key is the fastest signature there is in Python, and the
floor is to be as fast as it can be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from adapters.bench.errors import RunFailed
from adapters.hyperliquid.signing import Signer


class _Placed(msgspec.Struct):
    oid: int


class _Status(msgspec.Struct):
    filled: _Placed | None = None
    resting: _Placed | None = None
    error: str = ""


class _Statuses(msgspec.Struct):
    statuses: list[_Status | str] = []


class _Answer(msgspec.Struct):
    data: _Statuses = msgspec.field(default_factory=_Statuses)


class _Payload(msgspec.Struct):
    response: _Answer | str


class _Response(msgspec.Struct):
    payload: _Payload


class _Data(msgspec.Struct):
    id: int
    response: _Response


class _Reply(msgspec.Struct):
    data: _Data


_read_reply = msgspec.json.Decoder(_Reply).decode
_write_json = msgspec.json.Encoder().encode


class Floor:
    """A connection with its open posts."""

    def __init__(self, connection: ClientConnection, signer: Signer) -> None:
        """Use `open` instead."""
        self._connection = connection
        self._signer = signer
        self._open: dict[int, asyncio.Future[list[_Status | str]]] = {}
        self._nonce = time.time_ns() // 1_000_000
        self._post_id = 0
        self._cloid = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, signer: Signer) -> Self:
        """Connect."""
        return cls(await connect(url, compression=None, proxy=None, ping_interval=None, max_queue=4_096), signer)

    async def close(self) -> None:
        """Hang up."""
        self._reading.cancel()
        await self._connection.close()

    async def place(self, count: int) -> Sequence[int]:
        """Place orders that trade at once, in one post; their oids."""
        orders = [self._order() for _ in range(count)]
        return [_oid_of(status) for status in await self._post({"type": "order", "orders": orders, "grouping": "na"})]

    async def cancel(self, oids: Sequence[int]) -> None:
        """Cancel orders, in one post."""
        statuses = await self._post({"type": "cancel", "cancels": [{"a": 0, "o": oid} for oid in oids]})
        if statuses != ["success"] * len(oids):
            raise RunFailed(f"the venue did not cancel: {statuses[:3]}")

    def _order(self) -> dict[str, Any]:
        self._cloid += 1
        return {
            "a": 0,
            "b": True,
            "p": "50000",
            "s": "0.01",
            "r": False,
            "t": {"limit": {"tif": "Ioc"}},
            "c": f"0x{self._cloid:032x}",
        }

    async def _post(self, action: dict[str, Any]) -> list[_Status | str]:
        """Sign and send an action; what became of each item."""
        self._post_id += 1
        self._nonce += 1
        signature = self._signer.sign(action, self._nonce, network="local")
        payload = {"action": action, "nonce": self._nonce, "signature": signature}
        frame = {"method": "post", "id": self._post_id, "request": {"type": "action", "payload": payload}}
        answered: asyncio.Future[list[_Status | str]] = asyncio.get_running_loop().create_future()
        self._open[self._post_id] = answered
        await self._connection.send(_write_json(frame), text=True)
        return await answered

    async def _read(self) -> None:
        async for frame in self._connection:
            try:
                data = _read_reply(frame).data
            except msgspec.DecodeError:
                continue  # the greeting: it answers nothing
            answered, answer = self._open.pop(data.id), data.response.payload.response
            if isinstance(answer, str):
                answered.set_exception(RunFailed(f"the venue refused a post: {answer}"))
            else:
                answered.set_result(answer.data.statuses)


def _oid_of(status: _Status | str) -> int:
    if isinstance(status, str):
        raise RunFailed(f"the venue answered an order with {status!r}")
    placed = status.filled or status.resting
    if placed is None:
        raise RunFailed(f"the venue did not take an order: {status.error}")
    return placed.oid
