"""The benchmark's venue answers as the real one does, and says when it read an order."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from websockets.sync.client import connect

from adapters.bench.measuring import venue_record
from adapters.bench.messages import Post, Where
from adapters.bench.venue import Desk
from adapters.hyperliquid import Pong, PostReplyFrame, parse_frame
from machines.intent import Canceled, Filled, Resting
from machines.reply import Accepted


def order(tif: str) -> dict[str, Any]:
    return {"a": 0, "b": True, "p": "50000", "s": "0.01", "r": False, "t": {"limit": {"tif": tif}}}


def frame(action: dict[str, Any], post_id: int = 7) -> bytes:
    payload = {"action": action, "nonce": 1, "signature": {"r": "0x1", "s": "0x1", "v": 27}}
    request = {"type": "action", "payload": payload}
    return msgspec.json.encode({"method": "post", "id": post_id, "request": request})


def results(desk: Desk, action: dict[str, Any]) -> tuple[Any, ...]:
    """What the executor's own decoder reads in the answer."""
    answer = parse_frame(desk.answer(frame(action)) or b"")
    assert isinstance(answer, PostReplyFrame)
    assert answer.post_id == 7
    assert isinstance(answer.reply, Accepted)
    return answer.reply.results


def test_orders_trade_or_rest_by_their_time_in_force_at_the_moment_of_receipt() -> None:
    desk = Desk()
    before = time.perf_counter_ns()
    first, second, third = results(desk, {"type": "order", "orders": [order("Ioc"), order("Gtc"), order("Alo")]})
    assert (type(first), type(second), type(third)) == (Filled, Resting, Resting)
    assert before < first.oid < second.oid < third.oid < time.perf_counter_ns()


def test_oids_never_repeat_though_a_post_has_more_orders_than_its_handling_has_nanoseconds() -> None:
    desk = Desk()
    many = {"type": "order", "orders": [order("Ioc")] * 100_000}
    oids = [result.oid for _ in range(2) for result in results(desk, many)]
    assert len(set(oids)) == len(oids)


def test_cancels_succeed_and_a_noop_is_taken() -> None:
    desk = Desk()
    assert results(desk, {"type": "cancel", "cancels": [{"a": 0, "o": 1}] * 3}) == (Canceled(),) * 3
    assert results(desk, {"type": "noop"}) == ()


def test_pings_are_answered_and_subscriptions_are_not() -> None:
    desk = Desk()
    assert parse_frame(desk.answer(b'{"method":"ping"}') or b"") == Pong()
    assert desk.answer(b'{"method":"subscribe","subscription":{"type":"userFills","user":"0x0"}}') is None


def test_the_process_answers_on_its_socket_and_tells_what_arrived(where: Where) -> None:
    seen, before = venue_record(where.http_url).seen, time.perf_counter_ns()
    with connect(where.ws_url, compression=None, proxy=None) as socket:
        socket.send(frame({"type": "order", "orders": [order("Ioc")] * 2}, 1).decode())
        socket.send(frame({"type": "cancel", "cancels": [{"a": 0, "o": 1}]}, 2).decode())
        assert [parse_frame(socket.recv(timeout=5)).post_id for _ in range(2)] == [1, 2]  # type: ignore[union-attr]
    record = venue_record(where.http_url)
    assert record.cpu_ns > 0
    assert record.seen == seen + 2
    orders, cancels = record.posts[-2:]
    assert (orders.action, orders.items, cancels.action, cancels.items) == ("order", 2, "cancel", 1)
    assert before < orders.received_ns < cancels.received_ns < time.perf_counter_ns()
    assert isinstance(orders, Post)
