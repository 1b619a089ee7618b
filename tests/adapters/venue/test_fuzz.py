"""Garbage of every degree, at every entrance: the venue answers, and goes on answering."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.adapters.venue.support import Trader, cloid, order, orders, venue_process

LIFTED = ("messages_per_minute", "weight_per_minute", "connections_per_minute", "connections", "users")
LIMITS = dict.fromkeys(LIFTED, 10**9)
TRADER = Trader(1)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        "order",
        "cancel",
        "noop",
        "modify",
        "BTC",
        "xyz",
        "",
        "0x",
        "1",
        "-1",
        "1e9",
        TRADER.address,
        cloid(1),
        "Gtc",
        "na",
    ]
)
VALUES = JSON | WORDS


@pytest.fixture(scope="module")
def facts() -> Iterator[dict[str, Any]]:
    with venue_process("--account", TRADER.address, "--limits", json.dumps(LIMITS)) as told:
        yield told


def post(url: str, path: str, body: bytes) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()


def check_alive(facts: dict[str, Any]) -> None:
    status, body = post(facts["url"], "/info", b'{"type":"exchangeStatus"}')
    assert status == 200
    assert b'"time"' in body


@st.composite
def nearly(draw: st.DrawFn, templates: list[dict[str, Any]]) -> bytes:
    """A good message with one or two of its parts replaced or left out."""
    message = json.loads(json.dumps(draw(st.sampled_from(templates))))
    for _ in range(draw(st.integers(1, 2))):
        place = message
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            name = draw(st.sampled_from(keys))
            if isinstance(place[name], dict | list) and draw(st.booleans()):
                place = place[name]
                continue
            if draw(st.booleans()):
                place[name] = draw(VALUES)
            elif isinstance(place, dict):
                del place[name]
            break
    return json.dumps(message).encode()


ACTIONS = [
    TRADER.payload(action)
    for action in (
        orders(order(cloid=cloid(1)), order(trigger={"isMarket": True, "triggerPx": "80000", "tpsl": "sl"})),
        {"type": "cancel", "cancels": [{"a": 0, "o": 1}]},
        {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": cloid(1)}]},
        {"type": "batchModify", "modifies": [{"oid": cloid(1), "order": order()}]},
        {"type": "modify", "oid": 1, "order": order()},
        {"type": "scheduleCancel", "time": 1},
        {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5},
        {"type": "noop"},
    )
]
QUESTIONS: list[dict[str, Any]] = [
    {"type": kind, "user": TRADER.address, "dex": "xyz", "coin": "BTC", "oid": cloid(1)}
    for kind in (
        "meta",
        "spotMeta",
        "perpDexs",
        "metaAndAssetCtxs",
        "allMids",
        "l2Book",
        "openOrders",
        "frontendOpenOrders",
        "orderStatus",
        "userFills",
        "clearinghouseState",
        "spotClearinghouseState",
        "userRateLimit",
        "exchangeStatus",
    )
]
OPERATOR: list[dict[str, Any]] = [
    {"address": TRADER.address, "usdc": "1", "agents": [TRADER.address], "leader": TRADER.address},
    {"coin": "BTC", "price": "90000"},
    {"drop_reply": 0.0, "reply_delay_ms": 0},
]
FRAMES: list[dict[str, Any]] = [
    *({"method": "post", "id": 1, "request": {"type": "action", "payload": action}} for action in ACTIONS),
    *({"method": "post", "id": 1, "request": {"type": "info", "payload": question}} for question in QUESTIONS),
    {"method": "subscribe", "subscription": {"type": "orderUpdates", "user": TRADER.address}},
    {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC", "nSigFigs": 5}},
    {"method": "unsubscribe", "subscription": {"type": "allMids", "dex": "xyz"}},
    {"method": "ping"},
]
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ANY_BODY = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())
DEEP = [b"[" * 100_000, b'{"a":' * 100_000, b'{"type":"\\ud800"}', b'{"type":1e999}', b"\xff\xfe", b"\x00"]


@FUZZ
@given(ANY_BODY | nearly(ACTIONS) | st.sampled_from(DEEP))
def test_exchange(facts: dict[str, Any], body: bytes) -> None:
    status, answer = post(facts["url"], "/exchange", body)
    assert status in (200, 422)
    assert status != 200 or json.loads(answer)["status"] in ("ok", "err")


@FUZZ
@given(ANY_BODY | nearly(QUESTIONS) | st.sampled_from(DEEP))
def test_info(facts: dict[str, Any], body: bytes) -> None:
    status, answer = post(facts["url"], "/info", body)
    assert status in (200, 422)
    if status == 200:
        json.loads(answer)


@FUZZ
@given(st.sampled_from(["account", "price"]), ANY_BODY | nearly(OPERATOR) | st.sampled_from(DEEP))
def test_operator(facts: dict[str, Any], path: str, body: bytes) -> None:
    status, answer = post(facts["url"], f"/local/{path}", body)
    assert status in (200, 400)
    json.loads(answer)
    check_alive(facts)


def pong(socket: ClientConnection) -> None:
    """Everything sent before has been taken, and the connection still answers."""
    socket.send('{"method":"ping"}')
    while True:
        frame = json.loads(socket.recv(timeout=10))
        if frame["channel"] == "pong":
            return


@FUZZ
@given(st.lists(st.text() | ANY_BODY | nearly(FRAMES) | st.sampled_from(DEEP), max_size=6))
def test_websocket(facts: dict[str, Any], frames: list[str | bytes]) -> None:
    with connect(facts["ws_url"], compression=None) as socket:
        assert socket.recv(timeout=10) == "Websocket connection established."
        for frame in frames:
            # Not every text can be sent as text: a lone surrogate has no UTF-8 form.
            socket.send(frame if isinstance(frame, bytes) else frame.encode("utf-8", "replace").decode())
        pong(socket)


@settings(FUZZ, max_examples=40)
@given(st.binary(min_size=1, max_size=60))
def test_bytes_that_are_no_websocket_frames(facts: dict[str, Any], garbage: bytes) -> None:
    with connect(facts["ws_url"], compression=None, close_timeout=0.05) as socket:
        socket.socket.sendall(garbage)
        with suppress(ConnectionClosed, TimeoutError, OSError):
            for _ in range(3):
                socket.recv(timeout=0.02)
    check_alive(facts)
