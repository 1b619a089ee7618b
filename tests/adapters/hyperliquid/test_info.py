"""The info client against a small HTTP server on loopback that answers as protocol.md describes, or badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.hyperliquid.info import InfoClient, VenueAnswerUnreadable, VenueError, VenueUnreachable
from adapters.hyperliquid.records import OrderRecord, OrderUpdate, Position
from tests.adapters.hyperliquid.samples import METAS, PERP_DEXS, SPOT_META, markets

USER = "0x" + "1" * 40
CLOID = "0x0123456789abcdef0123456789abcdef"
ORDER: dict[str, Any] = {
    "coin": "BTC",
    "side": "B",
    "limitPx": "29792.0",
    "sz": "4.0",
    "oid": 91490942,
    "timestamp": 1681247412573,
    "origSz": "5.0",
    "cloid": CLOID,
    "isTrigger": False,
    "children": [],
}
RECORD = OrderRecord(
    coin="BTC",
    side_letter="B",
    price=Decimal(29792),
    size=Decimal(4),
    original_size=Decimal(5),
    oid=91490942,
    cloid=CLOID,
    placed_ms=1681247412573,
)


class InfoServer:
    """Answers `POST /info` from a table of request → answer, and keeps what it was asked.

    Attributes:
        base_url: Where it listens.
        asked: The requests, in the order in which they came.
        answer: Called with each request; what it returns is sent as JSON, a `web.Response` as it is.
        break_after: When set, every answer is this beginning of a longer one, and the end of the connection.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Any] = lambda _: web.Response(status=404)
        self.break_after: bytes | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        question = await request.json()
        self.asked.append(question)
        if self.break_after is not None and request.transport is not None:
            begun = web.StreamResponse(headers={"Content-Length": "100"})
            await begun.prepare(request)
            await begun.write(self.break_after)
            request.transport.close()
            return begun
        answer = self.answer(question)
        if isinstance(answer, Awaitable):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@pytest.fixture
async def server() -> AsyncIterator[InfoServer]:
    info = InfoServer()
    application = web.Application()
    application.router.add_post("/info", info.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    info.base_url = f"http://{host}:{port}"
    yield info
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def client(server: InfoServer, session: aiohttp.ClientSession) -> InfoClient:
    return InfoClient(server.base_url + "/", session)  # a slash at the end is no other address


# --- what is asked, and how the answer is read --------------------------------------------------------------------


def describe(question: dict[str, Any]) -> Any:
    """The venue's markets, as it describes them."""
    kind = question["type"]
    return METAS[question["dex"]] if kind == "meta" else {"spotMeta": SPOT_META, "perpDexs": PERP_DEXS}[kind]


async def test_load_markets_of_all_dexes(server: InfoServer, client: InfoClient) -> None:
    server.answer = describe
    loaded = await client.load_markets()
    assert list(loaded) == list(markets())
    assert loaded.get("abc:GOLD").asset == 140_001  # null and empty dexes before it count
    assert [question["dex"] for question in server.asked if question["type"] == "meta"] == ["", "xyz", "empty", "abc"]


async def test_descriptions(server: InfoServer, client: InfoClient) -> None:
    server.answer = describe
    assert await client.meta() == METAS[""]
    assert await client.meta("xyz") == METAS["xyz"]
    assert await client.spot_meta() == SPOT_META
    assert await client.perp_dexs() == PERP_DEXS


async def test_clearinghouse_state(server: InfoServer, client: InfoClient) -> None:
    server.answer = lambda _: {
        "assetPositions": [
            {"position": {"coin": "xyz:TSLA", "szi": "-2.5", "entryPx": "401.2", "leverage": {}}, "type": "oneWay"},
            {"position": {"coin": "xyz:XYZ100", "szi": "0.0", "entryPx": None}, "type": "oneWay"},
        ],
        "withdrawable": "1.0",
    }
    assert await client.clearinghouse_state(USER, "xyz") == (
        Position(coin="xyz:TSLA", size=Decimal("-2.5"), entry_price=Decimal("401.2")),
        Position(coin="xyz:XYZ100", size=Decimal(0), entry_price=None),
    )
    assert server.asked == [{"type": "clearinghouseState", "user": USER, "dex": "xyz"}]


async def test_all_mids(server: InfoServer, client: InfoClient) -> None:
    server.answer = lambda _: {"BTC": "29792.5", "@107": "40.1"}
    assert await client.all_mids() == {"BTC": Decimal("29792.5"), "@107": Decimal("40.1")}
    assert server.asked == [{"type": "allMids", "dex": ""}]


async def test_exchange_time(server: InfoServer, client: InfoClient) -> None:
    server.answer = lambda _: {"time": 1_700_000_000_123, "specialStatuses": None}
    assert await client.exchange_time_ms() == 1_700_000_000_123
    assert server.asked == [{"type": "exchangeStatus"}]


async def test_open_orders(server: InfoServer, client: InfoClient) -> None:
    bare = {name: value for name, value in ORDER.items() if name not in ("cloid", "origSz")} | {"side": "A"}
    server.answer = lambda _: [ORDER, bare]
    full, short = await client.open_orders(USER)
    assert full == RECORD
    assert (full.side, short.side, short.cloid) == ("buy", "sell", None)
    assert server.asked == [{"type": "frontendOpenOrders", "user": USER, "dex": ""}]


@pytest.mark.parametrize("target", [91490942, CLOID])
async def test_order_status(server: InfoServer, client: InfoClient, target: int | str) -> None:
    server.answer = lambda _: {
        "status": "order",
        "order": {"order": ORDER, "status": "filled", "statusTimestamp": 1681247412999},
    }
    assert await client.order_status(USER, target) == OrderUpdate(
        order=RECORD, status="filled", status_ms=1681247412999
    )
    assert server.asked == [{"type": "orderStatus", "user": USER, "oid": target}]


async def test_order_status_of_an_unknown_order(server: InfoServer, client: InfoClient) -> None:
    server.answer = lambda _: {"status": "unknownOid"}
    assert await client.order_status(USER, CLOID) is None


async def test_user_rate_limit(server: InfoServer, client: InfoClient) -> None:
    server.answer = lambda _: {"cumVlm": "437.92", "nRequestsUsed": 2890, "nRequestsCap": 10436, "nRequestsSurplus": 0}
    assert await client.user_rate_limit(USER) == (2890, 10436)
    assert server.asked == [{"type": "userRateLimit", "user": USER}]


# --- bad answers --------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[InfoClient], Awaitable[Any]]] = {
    "meta": lambda client: client.meta(),
    "spotMeta": lambda client: client.spot_meta(),
    "perpDexs": lambda client: client.perp_dexs(),
    "spotMeta|perpDexs": lambda client: client.load_markets(),
    "clearinghouseState": lambda client: client.clearinghouse_state(USER),
    "allMids": lambda client: client.all_mids(),
    "exchangeStatus": lambda client: client.exchange_time_ms(),
    "frontendOpenOrders": lambda client: client.open_orders(USER),
    "orderStatus": lambda client: client.order_status(USER, 1),
    "userRateLimit": lambda client: client.user_rate_limit(USER),
}
every_call = pytest.mark.parametrize(("kind", "call"), CALLS.items(), ids=CALLS)


@every_call
@pytest.mark.parametrize("answer", ["", "null", "5", '"text"', '{"time":"x"}', '[{"a', "[" * 100_000, "<html>", "\xff"])
async def test_an_answer_in_another_form(
    server: InfoServer, client: InfoClient, kind: str, call: Callable[[InfoClient], Awaitable[Any]], answer: str
) -> None:
    if kind in ("meta", "spotMeta") and answer == '{"time":"x"}':
        assert await call_with(server, client, call, answer) == {"time": "x"}  # read by Markets.from_info
        return
    with pytest.raises(VenueAnswerUnreadable, match=f"{server.base_url}/info, asked for ({kind})") as refused:
        await call_with(server, client, call, answer)
    assert len(str(refused.value)) < 500


async def call_with(
    server: InfoServer, client: InfoClient, call: Callable[[InfoClient], Awaitable[Any]], answer: str
) -> Any:
    server.answer = lambda _: web.Response(body=answer.encode("latin-1"), content_type="application/json")
    return await call(client)


@every_call
@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_gateways_answer_is_no_answer(
    server: InfoServer, client: InfoClient, kind: str, call: Callable[[InfoClient], Awaitable[Any]], status: int
) -> None:
    server.answer = lambda _: web.Response(status=status, text="upstream\n" + "x" * 10_000)
    with pytest.raises(VenueUnreachable, match=f"asked for ({kind}): HTTP {status} .*upstream") as refused:
        await call(client)
    assert len(str(refused.value)) < 500


async def test_a_refused_question_is_no_trouble_of_the_network(server: InfoServer, client: InfoClient) -> None:
    server.answer = lambda _: web.Response(status=422, text="Failed to deserialize the JSON body")
    with pytest.raises(VenueAnswerUnreadable, match="HTTP 422 'Failed to deserialize"):
        await client.open_orders("not an address")


async def test_nobody_listens(server: InfoServer, session: aiohttp.ClientSession) -> None:
    unused = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = unused.sockets[0].getsockname()[1]
    unused.close()
    await unused.wait_closed()
    with pytest.raises(VenueUnreachable, match=f"http://127.0.0.1:{port}/info, asked for exchangeStatus.*check"):
        await InfoClient(f"http://127.0.0.1:{port}", session).exchange_time_ms()


@pytest.mark.parametrize("base_url", ["", "no url", "http://", "ftp://127.0.0.1"])
async def test_an_address_that_is_none(session: aiohttp.ClientSession, base_url: str) -> None:
    with pytest.raises(VenueUnreachable, match="check the address"):
        await InfoClient(base_url, session).exchange_time_ms()


@every_call
async def test_every_call_has_a_timeout(
    server: InfoServer, session: aiohttp.ClientSession, kind: str, call: Callable[[InfoClient], Awaitable[Any]]
) -> None:
    server.answer = lambda _: asyncio.sleep(60)
    with pytest.raises(VenueUnreachable, match=rf"asked for ({kind}): no answer within 0\.05 s"):
        await call(InfoClient(server.base_url, session, timeout_s=0.05))


async def test_a_connection_that_breaks_inside_the_answer(server: InfoServer, client: InfoClient) -> None:
    server.break_after = b'{"time": 17'
    with pytest.raises(VenueUnreachable, match="asked for exchangeStatus: ClientPayloadError"):
        await client.exchange_time_ms()


# --- content that can't be right ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "answer", "named"),
    [
        ("allMids", {"BTC": "NaN"}, "BTC is NaN"),
        ("allMids", {"BTC": "1e99999"}, "BTC is 1E"),
        ("allMids", {"BTC": None}, "Decimal|decimal|str"),
        ("frontendOpenOrders", [ORDER | {"limitPx": "Infinity"}], "limitPx is Infinity"),
        ("frontendOpenOrders", [ORDER | {"side": "C"}], "side"),
        ("frontendOpenOrders", [ORDER | {"oid": "5"}], "oid"),
        ("clearinghouseState", {"assetPositions": [{"position": {"coin": "BTC", "szi": "sNaN"}}]}, "szi is sNaN"),
        ("orderStatus", {"status": "order"}, "status 'order' without an order"),
        ("orderStatus", {"status": "surprise"}, "status 'surprise'"),
        ("exchangeStatus", {"time": "5"}, "time"),
        ("userRateLimit", {"nRequestsUsed": 1}, "nRequestsCap"),
    ],
)
async def test_wrong_content(server: InfoServer, client: InfoClient, call: str, answer: Any, named: str) -> None:
    server.answer = lambda _: answer
    with pytest.raises(VenueAnswerUnreadable, match=named):
        await CALLS[call](client)


@pytest.mark.parametrize(
    ("broken", "answer"),
    [
        ({"type": "meta", "dex": "xyz"}, {"universe": [{"name": "xyz:A"}]}),
        ({"type": "spotMeta"}, {"universe": []}),
        ({"type": "perpDexs"}, [{"name": 5}]),
    ],
)
async def test_markets_in_another_form(
    server: InfoServer, client: InfoClient, broken: dict[str, Any], answer: Any
) -> None:
    server.answer = lambda question: answer if question == broken else describe(question)
    with pytest.raises(VenueAnswerUnreadable, match=f"{server.base_url}/info describes its markets") as refused:
        await client.load_markets()
    assert isinstance(refused.value, VenueError)
