"""Frames and HTTP forms on a real loopback socket (protocol.md §1, §2, §3, §8), and faults as a client meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import (
    ClientConnectionError,
    ClientSession,
    ClientWebSocketResponse,
    ClientWSTimeout,
    WSMsgType,
    WSServerHandshakeError,
)

from adapters.venue import Venue, VenueConfig
from adapters.venue.faults import Faults
from adapters.venue.limits import Limits
from adapters.venue.server import PortInUse
from adapters.venue.truth import ActionRecord
from tests.adapters.venue.support import BTC, NO_MAKERS, STILL, Trader, cloid, order, orders

LOCAL = "127.0.0.1"


class Wire:
    """A running venue, a funded trader, and a client's sockets."""

    def __init__(self, venue: Venue, session: ClientSession) -> None:
        self.venue = venue
        self.session = session
        self.sockets: list[ClientWebSocketResponse] = []
        self.trader = Trader(1, None)

    async def connect(self) -> ClientWebSocketResponse:
        socket = await self.session.ws_connect(self.venue.ws_url, compress=0, timeout=ClientWSTimeout(ws_close=1))
        self.sockets.append(socket)
        assert await socket.receive_str() == "Websocket connection established."
        return socket

    def action_post(self, post_id: int, action: dict[str, Any]) -> dict[str, Any]:
        payload = self.trader.payload(action, nonce=self.venue.core.now_ms() + post_id)
        return {"method": "post", "id": post_id, "request": {"type": "action", "payload": payload}}

    def actions(self) -> list[ActionRecord]:
        return [one for one in self.venue.core.truth.since(0) if isinstance(one, ActionRecord)]

    async def http(self, path: str, body: Any) -> tuple[int, str]:
        async with self.session.post(self.venue.url + path, json=body) as response:
            return response.status, await response.text()


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Wire]:
    config = VenueConfig(accounts={Trader(1).address: Decimal(1_000_000)}, **({"liquidity": NO_MAKERS} | settings))
    async with Venue(config) as venue, ClientSession() as session:
        wire = Wire(venue, session)
        try:
            yield wire
        finally:
            for socket in wire.sockets:
                await socket.close()


async def channel(socket: ClientWebSocketResponse, name: str) -> Any:
    """The data of the next frame of a channel."""
    async with asyncio.timeout(5):
        while True:
            frame = await socket.receive_json()
            if frame["channel"] == name:
                return frame.get("data")


async def until(condition: Callable[[], bool]) -> None:
    """The condition comes true within 5 s."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within 5 s")


async def silence(socket: ClientWebSocketResponse, seconds: float = 0.3) -> None:
    """Nothing arrives."""
    with pytest.raises(TimeoutError):
        await socket.receive(timeout=seconds)


def info_post(post_id: int, **request: Any) -> dict[str, Any]:
    return {"method": "post", "id": post_id, "request": {"type": "info", "payload": request}}


# --- frames ---------------------------------------------------------------------------------------------------


async def test_ping_is_answered_with_pong() -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_json({"method": "ping"})
        assert await socket.receive_str() == '{"channel":"pong"}'


async def test_an_action_post_is_answered_under_its_id() -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_json(wire.action_post(17, orders(order(cloid=cloid(1)))))
        reply = await channel(socket, "post")
        (status,) = reply["response"]["payload"]["response"]["data"]["statuses"]
        assert reply == {
            "id": 17,
            "response": {
                "type": "action",
                "payload": {
                    "status": "ok",
                    "response": {"type": "order", "data": {"statuses": [status]}},
                },
            },
        }
        assert status["resting"]["cloid"] == cloid(1)


async def test_a_refused_action_post_has_status_err() -> None:
    async with running() as wire:
        socket = await wire.connect()
        post = wire.action_post(1, {"type": "noop"})
        await socket.send_json(post)
        await socket.send_json(post | {"id": 2})
        first, second = await channel(socket, "post"), await channel(socket, "post")
        assert first["response"]["payload"] == {"status": "ok", "response": {"type": "default"}}
        nonce = post["request"]["payload"]["nonce"]
        assert second["response"] == {
            "type": "action",
            "payload": {"status": "err", "response": f"Invalid nonce: duplicate nonce {nonce}"},
        }


async def test_info_posts_carry_type_and_data() -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_json(info_post(5, type="perpDexs"))
        reply = await channel(socket, "post")
        assert reply["id"] == 5
        assert reply["response"]["type"] == "info"
        assert reply["response"]["payload"]["type"] == "perpDexs"
        core, empty, builder = reply["response"]["payload"]["data"]
        assert (core, empty["name"], builder["name"]) == (None, "void", "xyz")


async def test_a_post_that_can_not_be_read_gets_an_error_reply() -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_json(info_post(1, type="nonsense"))
        assert (await channel(socket, "post"))["response"]["type"] == "error"
        bad = wire.action_post(2, {"type": "usdSend"})
        await socket.send_json(bad)
        reply = await channel(socket, "post")
        assert reply["response"]["payload"].startswith("422 Unprocessable Entity")
        assert wire.actions() == []


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"method":"post"}',
        '{"method":"post","id":1}',
        '{"method":"subscribe"}',
        '{"method":"subscribe","subscription":{"type":1}}',
        '{"method":"fly"}',
    ],
)
async def test_frames_that_make_no_sense_are_echoed(frame: str) -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_str(frame)
        error = await channel(socket, "error")
        assert error == f"Error parsing JSON into valid websocket request: {frame}"


async def test_more_than_100_pipelined_posts_are_refused_by_id() -> None:
    async with running() as wire:
        socket = await wire.connect()
        for number in range(1, 151):
            await socket.send_json(info_post(number, type="exchangeStatus"))
        answered: set[int] = set()
        refused: set[int] = set()
        async with asyncio.timeout(5):
            while len(answered) + len(refused) < 150:
                frame = await socket.receive_json()
                if frame["channel"] == "post":
                    answered.add(frame["data"]["id"])
                else:
                    text, _, post_id = frame["data"].partition("id=")
                    assert text == "too many pending post requests "
                    refused.add(int(post_id))
        assert answered | refused == set(range(1, 151))
        client = wire.venue.core.client(LOCAL)
        assert client.max_inflight <= 100
        assert client.inflight == 0
        assert client.refused_posts == len(refused)


async def test_posts_held_back_count_over_all_connections_and_the_101st_is_refused() -> None:
    # With this seed, none of the delays ends while the posts are being sent.
    async with running(faults=Faults(reply_delay_ms=600_000), seed=1) as wire:
        sockets = [await wire.connect() for _ in range(2)]
        for number in range(100):
            await sockets[number % 2].send_json(info_post(number, type="exchangeStatus"))
        await sockets[0].send_json({"method": "ping"})
        await channel(sockets[0], "pong")
        await sockets[1].send_json({"method": "ping"})
        await channel(sockets[1], "pong")
        await sockets[0].send_json(info_post(100, type="exchangeStatus"))
        assert await channel(sockets[0], "error") == "too many pending post requests id=100"
        assert wire.venue.core.client(LOCAL).max_inflight == 100


async def test_messages_beyond_the_limit_are_dropped_without_an_id() -> None:
    async with running(limits=Limits(messages_per_minute=3)) as wire:
        socket = await wire.connect()
        for _ in range(4):
            await socket.send_json({"method": "ping"})
        assert await channel(socket, "error") == "Cannot send more than 3 messages per minute."


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    async with running(idle_close_ms=900) as wire:
        idle, busy = await wire.connect(), await wire.connect()
        closing = asyncio.create_task(idle.receive())
        for _ in range(15):
            await busy.send_json({"method": "ping"})
            await busy.receive_str()
            await asyncio.sleep(0.2)
        assert (await closing).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        assert not busy.closed


async def test_connections_are_limited() -> None:
    async with running(limits=Limits(connections=2)) as wire:
        first, _ = await wire.connect(), await wire.connect()
        with pytest.raises(WSServerHandshakeError) as refusal:
            await wire.connect()
        assert refusal.value.status == 429
        await first.close()
        await until(lambda: wire.venue.core.client(LOCAL).connections == 1)
        await wire.connect()


# --- subscriptions --------------------------------------------------------------------------------------------


def subscription(method: str = "subscribe", **wanted: Any) -> dict[str, Any]:
    return {"method": method, "subscription": wanted}


async def test_order_updates_and_fills_arrive_with_their_snapshot_rules() -> None:
    async with running(liquidity=STILL) as wire:
        await wire.http(
            "/exchange", wire.trader.payload(orders(order(px="101000", tif="Ioc")), nonce=wire.venue.core.now_ms())
        )
        socket = await wire.connect()
        user = wire.trader.address
        await socket.send_json(subscription(type="orderUpdates", user=user))
        confirmed = await channel(socket, "subscriptionResponse")
        assert confirmed == {"method": "subscribe", "subscription": {"type": "orderUpdates", "user": user}}
        await socket.send_json(subscription(type="userFills", user=user))
        snapshot = await channel(socket, "userFills")
        assert snapshot["isSnapshot"] is True
        assert len(snapshot["fills"]) == 1
        await socket.send_json(wire.action_post(1, orders(order(px="101000", cloid=cloid(1)), order(tif="Ioc"))))
        updates = await channel(socket, "orderUpdates")
        assert isinstance(updates, list)
        assert [(one["status"], one["order"].get("cloid")) for one in updates] == [
            ("filled", cloid(1)),
            ("iocCancelRejected", None),
        ]
        assert updates[0]["order"]["sz"] == "0.0"
        assert updates[0]["order"]["origSz"] == "0.001"
        later = await channel(socket, "userFills")
        assert "isSnapshot" not in later
        assert later["user"] == user
        assert later["fills"][0]["cloid"] == cloid(1)
        assert later["fills"][0]["tid"] > snapshot["fills"][0]["tid"]


async def test_market_data_begins_with_a_snapshot_and_follows_the_book() -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_json(subscription(type="bbo", coin="BTC"))
        assert (await channel(socket, "bbo"))["bbo"] == [None, None]
        await socket.send_json(subscription(type="l2Book", coin="BTC"))
        assert (await channel(socket, "l2Book"))["levels"] == [[], []]
        await socket.send_json(wire.action_post(1, orders(order(px="90000", sz="0.5"))))
        level = {"px": "90000.0", "sz": "0.5", "n": 1}
        async with asyncio.timeout(5):
            while (await channel(socket, "bbo"))["bbo"] != [level, None]:
                pass
            while (await channel(socket, "l2Book"))["levels"] != [[level], []]:
                pass
        await socket.send_json(subscription(type="allMids", dex="xyz"))
        mids = await channel(socket, "allMids")
        assert mids == {"mids": {"xyz:TSLA": "400.0", "xyz:NVDA": "180.0"}, "dex": "xyz"}


async def test_unsubscribing_ends_a_stream() -> None:
    async with running(liquidity=STILL) as wire:
        socket = await wire.connect()
        user = wire.trader.address
        await socket.send_json(subscription(type="orderUpdates", user=user))
        await channel(socket, "subscriptionResponse")
        await socket.send_json(subscription("unsubscribe", type="orderUpdates", user=user))
        assert (await channel(socket, "subscriptionResponse"))["method"] == "unsubscribe"
        await socket.send_json(wire.action_post(1, orders(order())))
        await channel(socket, "post")
        await silence(socket)
        assert wire.venue.core.client(LOCAL).subscriptions == 0


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "bbo", "coin": "NOPE"},
        {"type": "orderUpdates"},
        {"type": "trades", "coin": "BTC"},
        {"type": "allMids", "dex": "q"},
    ],
)
async def test_subscriptions_to_nothing_are_refused(wanted: dict[str, Any]) -> None:
    async with running() as wire:
        socket = await wire.connect()
        await socket.send_json(subscription(**wanted))
        assert (await channel(socket, "error")).startswith("Invalid subscription {")


async def test_doubled_subscriptions_and_an_eleventh_user_are_refused() -> None:
    async with running() as wire:
        socket = await wire.connect()
        for number in range(10):
            await socket.send_json(subscription(type="orderUpdates", user=f"0x{number:040x}"))
            await channel(socket, "subscriptionResponse")
        await socket.send_json(subscription(type="orderUpdates", user=f"0x{3:040x}"))
        assert (await channel(socket, "error")).startswith("Already subscribed: ")
        await socket.send_json(subscription(type="userFills", user=f"0x{10:040x}"))
        assert await channel(socket, "error") == "Cannot track more than 10 total users."
        await socket.send_json(subscription("unsubscribe", type="userFills", user=f"0x{10:040x}"))
        assert (await channel(socket, "error")).startswith("Already unsubscribed: ")
        await socket.close()
        await until(lambda: not wire.venue.core.client(LOCAL).subscriptions)


# --- HTTP -----------------------------------------------------------------------------------------------------


async def test_http_forms() -> None:
    async with running() as wire:
        status, body = await wire.http(
            "/exchange", wire.trader.payload({"type": "noop"}, nonce=wire.venue.core.now_ms())
        )
        assert (status, body) == (200, '{"status":"ok","response":{"type":"default"}}')
        assert (await wire.http("/info", {"type": "meta", "dex": "nope"})) == (200, "null")
        for path in ("/exchange", "/info"):
            status, body = await wire.http(path, {"type": "nonsense"})
            assert status == 422
            assert body.startswith("Failed to deserialize the JSON body into the target type")


async def test_http_weight_is_limited() -> None:
    async with running(limits=Limits(weight_per_minute=23)) as wire:
        assert (await wire.http("/info", {"type": "meta"}))[0] == 200
        assert (await wire.http("/info", {"type": "allMids"}))[0] == 200
        noop = {"type": "noop"}
        assert (await wire.http("/exchange", wire.trader.payload(noop, nonce=wire.venue.core.now_ms())))[0] == 200
        assert await wire.http("/exchange", wire.trader.payload(noop)) == (429, "null")
        assert await wire.http("/info", {"type": "allMids"}) == (429, "null")


async def test_the_operator_funds_accounts_moves_prices_and_reads_the_truth() -> None:
    async with running(liquidity=STILL) as wire:
        agent, sub = Trader(70), "0x" + "cd" * 20
        body = {"address": wire.trader.address, "usdc": "5", "agents": [agent.address]}
        assert (await wire.http("/local/account", body))[0] == 200
        body = {"address": sub, "usdc": "100", "leader": wire.trader.address}
        assert (await wire.http("/local/account", body))[0] == 200
        now = wire.venue.core.now_ms()
        payload = agent.payload(orders(order(px="101000", tif="Ioc")), nonce=now)
        assert '"filled"' in (await wire.http("/exchange", payload))[1]
        payload = agent.payload({"type": "noop"}, nonce=now + 1, vault=sub)
        assert '"default"' in (await wire.http("/exchange", payload))[1]
        assert (await wire.http("/local/price", {"coin": "BTC", "price": "90000"}))[0] == 200
        async with wire.session.get(f"{wire.venue.url}/local/state", params={"user": wire.trader.address}) as response:
            state = await response.json()
        assert state["positions"] == {"BTC": "0.001"}
        assert state["usdc"][""] == "1000005.0"
        assert state["clients"][LOCAL]["max_inflight"] == 0
        async with wire.session.get(f"{wire.venue.url}/local/truth", params={"from": "1"}) as response:
            records = await response.json()
        assert [record["kind"] for record in records] == ["fill", "action"]
        assert records[1]["user"] == sub


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/local/account", {"address": "0x1"}),
        ("/local/account", {"address": "0x" + "1" * 40, "usdc": "-1"}),
        ("/local/account", {"address": "0x" + "1" * 40, "leader": "0x" + "2" * 40}),
        ("/local/faults", {"drop_reply": 2}),
        ("/local/price", {"coin": "NOPE", "price": "1"}),
        ("/local/price", {"coin": "BTC", "price": "1.234567"}),
        ("/local/price", []),
    ],
)
async def test_the_operator_is_told_what_makes_no_sense(path: str, body: Any) -> None:
    async with running() as wire:
        status, text = await wire.http(path, body)
        assert status == 400
        assert '"error"' in text


async def test_bad_questions_of_the_operator() -> None:
    async with running() as wire:
        for question in ("truth?from=x", "truth?from=-1", "state", "state?user=0x" + "9" * 40):
            async with wire.session.get(f"{wire.venue.url}/local/{question}") as response:
                assert response.status == 400


async def test_a_port_in_use_is_named() -> None:
    async with running() as wire:
        port = int(wire.venue.url.rpartition(":")[2])
        with pytest.raises(PortInUse, match=str(port)):
            await Venue(VenueConfig(port=port)).start()


# --- faults ---------------------------------------------------------------------------------------------------


async def test_refusals_and_errors_are_error_replies_and_tell_nothing_of_processing() -> None:
    async with running() as wire:
        socket = await wire.connect()
        for number, (faults, text, processed) in enumerate(
            [
                ({"refuse": 1}, "429 Too Many Requests", False),
                ({"error_unprocessed": 1}, "502 Bad Gateway", False),
                ({"error_processed": 1}, "502 Bad Gateway", True),
            ]
        ):
            assert (await wire.http("/local/faults", faults))[0] == 200
            before = len(wire.actions())
            await socket.send_json(wire.action_post(number, orders(order())))
            reply = await channel(socket, "post")
            assert reply == {"id": number, "response": {"type": "error", "payload": text}}
            assert len(wire.actions()) - before == processed
            status, _ = await wire.http(
                "/exchange", wire.trader.payload({"type": "noop"}, nonce=wire.venue.core.now_ms() - 1000 - number)
            )
            assert status == int(text[:3])


async def test_a_lost_reply_frees_the_slot_and_the_post_was_processed() -> None:
    async with running(faults=Faults(drop_reply=1.0)) as wire:
        socket = await wire.connect()
        await socket.send_json(wire.action_post(1, orders(order())))
        await silence(socket)
        assert len(wire.actions()) == 1
        assert wire.venue.core.client(LOCAL).inflight == 0
        with pytest.raises(ClientConnectionError):
            await wire.http("/info", {"type": "meta"})


async def test_a_doubled_reply_arrives_twice_and_garbage_is_no_json() -> None:
    async with running(faults=Faults(duplicate_reply=1.0, garbage=1.0)) as wire:
        socket = await wire.connect()
        await socket.send_json(info_post(1, type="exchangeStatus"))
        first, second = await socket.receive_str(), await socket.receive_str()
        assert first == second
        with pytest.raises(ValueError, match="Expecting value"):
            await socket.receive_json()
        assert wire.venue.core.client(LOCAL).inflight == 0


@pytest.mark.parametrize(("fault", "processed"), [("close_before", 0), ("close_after", 1)])
async def test_the_connection_is_cut_before_or_after_processing(fault: str, processed: int) -> None:
    async with running() as wire:
        socket = await wire.connect()
        await wire.http("/local/faults", {fault: 1})
        await socket.send_json(wire.action_post(1, orders(order())))
        message = await socket.receive(timeout=5)
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSE)
        assert len(wire.actions()) == processed
        assert wire.venue.core.client(LOCAL).inflight == 0


async def test_a_post_held_back_is_processed_though_its_connection_is_gone() -> None:
    async with running(faults=Faults(processing_delay_ms=300)) as wire:
        socket = await wire.connect()
        await socket.send_json(wire.action_post(1, orders(order(cloid=cloid(1)))))
        await socket.close()
        assert wire.actions() == []
        await until(lambda: bool(wire.actions()) and not wire.venue.core.client(LOCAL).inflight)
        assert wire.actions()[0].items[0].status == "resting"


async def test_held_back_posts_overtake_each_other() -> None:
    async with running(faults=Faults(processing_delay_ms=200), seed=4) as wire:
        socket = await wire.connect()
        for number in range(20):
            await socket.send_json(info_post(number, type="exchangeStatus"))
        came = [(await channel(socket, "post"))["id"] for _ in range(20)]
        assert sorted(came) == list(range(20)) != came


async def test_connections_are_cut_after_their_time() -> None:
    async with running(faults=Faults(close_every_ms=50)) as wire:
        socket = await wire.connect()
        message = await socket.receive(timeout=5)
        assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSE)


async def test_stream_frames_can_be_lost_or_late_and_replies_are_not() -> None:
    async with running(faults=Faults(drop_update=1.0)) as wire:
        socket = await wire.connect()
        await socket.send_json(subscription(type="orderUpdates", user=wire.trader.address))
        await channel(socket, "subscriptionResponse")
        await socket.send_json(wire.action_post(1, orders(order())))
        await channel(socket, "post")
        await silence(socket)
        await wire.http("/local/faults", {"update_delay_ms": 200})
        await socket.send_json(wire.action_post(2, orders(order())))
        await channel(socket, "post")
        assert (await channel(socket, "orderUpdates"))[0]["status"] == "open"


async def test_look_ups_lag_behind() -> None:
    async with running(faults=Faults(lookup_lag_ms=60_000)) as wire:
        core = wire.venue.core
        await wire.http("/exchange", wire.trader.payload(orders(order(cloid=cloid(1))), nonce=core.now_ms()))
        question = {"type": "orderStatus", "user": wire.trader.address, "oid": cloid(1)}
        assert await wire.http("/info", question) == (200, '{"status":"unknownOid"}')
        await wire.http("/local/faults", {})
        assert '"open"' in (await wire.http("/info", question))[1]


async def test_the_clock_can_be_set_off() -> None:
    async with running() as wire:
        nonce = wire.venue.core.now_ms()
        await wire.http("/local/faults", {"clock_offset_ms": 3 * 86_400_000})
        status, body = await wire.http("/exchange", wire.trader.payload({"type": "noop"}, nonce=nonce))
        assert status == 200
        assert f"Invalid nonce: nonce too low {nonce} < " in body


async def test_worker_processes_verify_what_comes_over_the_wire() -> None:
    async with running(verifiers=1) as wire:
        socket = await wire.connect()
        for number in range(30):
            await socket.send_json(wire.action_post(number, orders(order(px=str(50_000 + number)))))
        came = [await channel(socket, "post") for _ in range(30)]
        assert [reply["id"] for reply in came] == list(range(30))
        assert all(reply["response"]["payload"]["status"] == "ok" for reply in came)
        status, _ = await wire.http(
            "/exchange", wire.trader.payload({"type": "noop"}, nonce=wire.venue.core.now_ms() + 999)
        )
        assert status == 200
        assert {record.signer for record in wire.actions()} == {wire.trader.address}


def test_an_asset_of_the_builder_dex_counts_null_and_empty_dexes() -> None:
    universe = Venue().core.universe
    assert universe.by_asset[120_001].coin == "xyz:NVDA"
    assert universe.by_asset[BTC].coin == "BTC"
    assert universe.by_asset[10_000].coin == "PURR/USDC"
