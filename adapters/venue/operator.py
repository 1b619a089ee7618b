"""`/local/…`: what the operator of a local venue can ask and change while it runs.

* `POST /local/account` `{"address", "usdc"?, "agents"?, "leader"?}` opens an account or adds USDC to it, approves API
  wallets for it, and makes it the vault or sub-account of `leader`.
* `GET` and `POST /local/faults`: the fault settings; a POST replaces them all.
* `POST /local/price` `{"coin", "price"}` puts the mark price of a market, and the market makers' quotes with it.
* `GET /local/truth?from=SEQ` answers the truth records from number SEQ on, up to 10 000, as a JSON array.
* `GET /local/state?user=ADDRESS`: positions, USDC, open orders, and the use that every client address makes.

A request that makes no sense is answered with status 400 and `{"error": …}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from adapters.venue.config import InvalidVenueConfig
from adapters.venue.core import VenueCore
from adapters.venue.faults import InvalidFaults, parse_faults
from adapters.venue.streams import Streams
from adapters.venue.truth import TruthForgotten

_Handler = Callable[[web.Request], Awaitable[Any]]


class _AccountRequest(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    usdc: str | int = 0
    agents: list[str] = []
    leader: str | None = None


class _PriceRequest(msgspec.Struct, forbid_unknown_fields=True):
    coin: str
    price: str


_encode: Final = msgspec.json.Encoder().encode


def operator_routes(core: VenueCore, streams: Streams) -> list[web.RouteDef]:
    """The routes of `/local/`."""

    async def account(request: web.Request) -> Any:
        wanted = msgspec.json.decode(await request.read(), type=_AccountRequest)
        opened = core.fund(wanted.address, str(wanted.usdc))
        for agent in wanted.agents:
            core.approve_agent(agent, opened.address)
        if wanted.leader is not None:
            core.register_vault(opened.address, wanted.leader)
        return {"address": opened.address}

    async def faults(_: web.Request) -> Any:
        return core.faults.settings

    async def set_faults(request: web.Request) -> Any:
        core.faults.settings = parse_faults(await request.read())
        return core.faults.settings

    async def price(request: web.Request) -> Any:
        wanted = msgspec.json.decode(await request.read(), type=_PriceRequest)
        core.set_price(wanted.coin, wanted.price)
        streams.publish()
        return {"coin": wanted.coin, "price": wanted.price}

    async def truth(request: web.Request) -> Any:
        start = request.query.get("from", "0")
        if not (start.isascii() and start.isdigit() and len(start) < 20):
            raise InvalidVenueConfig(f"from must be a sequence number, not {start[:40]!r}")
        return core.truth.since(int(start))

    async def state(request: web.Request) -> Any:
        return core.state(request.query.get("user", ""))

    return [
        web.post("/local/account", _answering(account)),
        web.get("/local/faults", _answering(faults)),
        web.post("/local/faults", _answering(set_faults)),
        web.post("/local/price", _answering(price)),
        web.get("/local/truth", _answering(truth)),
        web.get("/local/state", _answering(state)),
    ]


def _answering(handler: _Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer with JSON what a handler returns, and with status 400 what it finds wrong."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body, status = await handler(request), 200
        except (InvalidVenueConfig, InvalidFaults, TruthForgotten, msgspec.MsgspecError, UnicodeDecodeError) as error:
            body, status = {"error": str(error)}, 400
        return web.Response(body=_encode(body), status=status, content_type="application/json")

    return answer
