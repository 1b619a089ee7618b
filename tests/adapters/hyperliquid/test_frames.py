"""Every frame of protocol.md is read, and nothing that a peer sends raises."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hyperliquid.frames import (
    ErrorFrame,
    Established,
    Frame,
    InfoReplyFrame,
    Malformed,
    OrderUpdates,
    OtherChannel,
    Pong,
    PostReplyFrame,
    SubscriptionAck,
    UserFills,
    parse_frame,
)
from adapters.hyperliquid.records import OrderRecord, OrderUpdate, UserFill
from machines.intent import Canceled, Filled, ItemResult, Rejected, Resting
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from tests.adapters.hyperliquid.samples import CLOIDS, JSON_VALUES

CLOID = "0x0123456789abcdef0123456789abcdef"


def post(response: Any, post_id: Any = 7) -> dict[str, Any]:
    return {"channel": "post", "data": {"id": post_id, "response": response}}


def action(payload: Any) -> dict[str, Any]:
    return post({"type": "action", "payload": payload})


def ok(kind: str, statuses: list[Any]) -> dict[str, Any]:
    return action({"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}})


def parsed(frame: Any) -> Frame:
    """The frame as text and as bytes: both are read alike."""
    text = json.dumps(frame)
    found = parse_frame(text)
    assert parse_frame(text.encode()) == found
    return found


def reply_of(frame: Any) -> PostReply:
    found = parsed(frame)
    assert isinstance(found, PostReplyFrame)
    assert found.post_id == 7
    return found.reply


# --- replies to posts ---------------------------------------------------------------------------------------------


def test_one_result_per_item_in_request_order() -> None:
    statuses = [
        {"resting": {"oid": 77738308, "cloid": CLOID}},
        {"resting": {"oid": 1}},
        {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 77747314, "cloid": None}},
        {"error": "Order must have minimum value of $10. asset=5"},
        "waitingForFill",
        "waitingForTrigger",
    ]
    assert reply_of(ok("order", statuses)) == Accepted(
        (
            Resting(77738308),
            Resting(1),
            Filled(77747314, "0.02", "1891.4"),
            Rejected("Order must have minimum value of $10. asset=5"),
            Resting(None),
            Resting(None),
        )
    )


def test_cancels() -> None:
    missing = "Order was never placed, already canceled, or filled. asset=5"
    assert reply_of(ok("cancel", ["success", {"error": missing}])) == Accepted((Canceled(), Rejected(missing)))


def test_default_response() -> None:
    assert reply_of(action({"status": "ok", "response": {"type": "default"}})) == Accepted(())


def test_a_single_error_may_stand_for_the_batch() -> None:
    assert reply_of(ok("order", [{"error": "Tick"}])) == Accepted((Rejected("Tick"),))


def test_refused_action() -> None:
    text = "Must deposit before performing actions. User: 0x12"
    assert reply_of(action({"status": "err", "response": text})) == Refused(text)


def test_gateway_error() -> None:
    assert reply_of(post({"type": "error", "payload": "429 Too Many Requests"})) == GatewayError(
        "429 Too Many Requests"
    )


def test_info_reply() -> None:
    data = {"coin": "BTC", "levels": [[], []], "time": 1}
    frame = parsed(post({"type": "info", "payload": {"type": "l2Book", "data": data}}))
    assert frame == InfoReplyFrame(7, data)


@pytest.mark.parametrize(
    "response",
    [
        None,
        "ok",
        [],
        {},
        {"type": "action"},
        {"type": "surprise", "payload": {}},
        {"type": None, "payload": {}},
        {"type": "error", "payload": {"code": 429}},
        {"type": "error", "payload": None},
        {"type": "info", "payload": "x"},
        {"type": "info", "payload": {"type": "l2Book"}},
        {"type": "action", "payload": "ok"},
        {"type": "action", "payload": {"status": "ok"}},
        {"type": "action", "payload": {"status": "maybe", "response": {"type": "default"}}},
        {"type": "action", "payload": {"status": "err", "response": {"type": "default"}}},
        {"type": "action", "payload": {"status": "ok", "response": "fine"}},
        {"type": "action", "payload": {"status": "ok", "response": {"type": "order"}}},
        {"type": "action", "payload": {"status": "ok", "response": {"type": "order", "data": {}}}},
        {"type": "action", "payload": {"status": "ok", "response": {"type": "order", "data": {"statuses": "x"}}}},
    ],
)
def test_a_reply_with_unreadable_content_still_names_its_post(response: Any) -> None:
    assert isinstance(reply_of(post(response)), Unreadable)


def test_a_reply_without_content_still_names_its_post() -> None:
    assert isinstance(reply_of({"channel": "post", "data": {"id": 7}}), Unreadable)


@pytest.mark.parametrize(
    "status",
    [
        None,
        5,
        "",
        "Success",
        "resting",
        [],
        {},
        {"running": {"twapId": 5}},
        {"resting": {}},
        {"resting": {"oid": "1"}},
        {"resting": {"oid": 1.5}},
        {"resting": {"oid": True}},
        {"resting": None},
        {"filled": {"oid": 1, "totalSz": "1"}},
        {"filled": {"oid": 1, "totalSz": 1, "avgPx": "1"}},
        {"filled": {"oid": 1, "totalSz": "NaN", "avgPx": "1"}},
        {"filled": {"oid": 1, "totalSz": "1", "avgPx": "-1"}},
        {"filled": {"oid": 1, "totalSz": "1\n", "avgPx": "1"}},
        {"filled": {"oid": 1, "totalSz": "1", "avgPx": "1e5"}},
        {"error": None},
        {"error": {"code": 5}},
        {"resting": {"oid": 1}, "error": "x"},
        {"resting": {"oid": 1}, "filled": {"oid": 1, "totalSz": "1", "avgPx": "1"}},
    ],
)
def test_an_unreadable_status_is_neither_a_result_nor_left_out(status: Any) -> None:
    reply = reply_of(ok("order", [{"resting": {"oid": 1}}, status]))
    assert isinstance(reply, Unreadable)
    assert 0 < len(reply.detail) <= 200


@pytest.mark.parametrize("post_id", [None, "7", 7.5, True, [7], {}])
def test_a_reply_without_an_id_ends_no_post(post_id: Any) -> None:
    assert isinstance(parsed(post({"type": "action", "payload": {}}, post_id)), Malformed)


results: st.SearchStrategy[tuple[Any, ItemResult]] = st.one_of(
    st.builds(
        lambda oid, cloid: ({"resting": {"oid": oid, "cloid": cloid}}, Resting(oid)),
        st.integers(0, 2**64 - 1),
        st.none() | CLOIDS,
    ),
    st.builds(
        lambda oid, size, price: ({"filled": {"totalSz": size, "avgPx": price, "oid": oid}}, Filled(oid, size, price)),
        st.integers(0, 2**64 - 1),
        st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,8})?", fullmatch=True),
        st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,8})?", fullmatch=True),
    ),
    st.text().map(lambda reason: ({"error": reason}, Rejected(reason))),
    st.sampled_from(["waitingForFill", "waitingForTrigger"]).map(lambda text: (text, Resting(None))),
    st.just(("success", Canceled())),
)


@given(st.integers(0, 2**63 - 1), st.lists(results, max_size=50))
def test_every_batch_is_read_item_by_item(post_id: int, items: list[tuple[Any, ItemResult]]) -> None:
    frame = ok("order", [status for status, _ in items])
    frame["data"]["id"] = post_id
    assert parsed(frame) == PostReplyFrame(post_id, Accepted(tuple(result for _, result in items)))


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "post_id"),
    [
        ("too many pending post requests id=1234", 1234),
        ("too many pending post requests id=0", 0),
        ("too many pending post requests", None),
        ("too many pending post requests id=", None),
        ("too many pending post requests id=12x", None),
        ("too many pending post requests id=-1", None),
        ("too many pending post requests id=1\n", None),
        ("too many pending post requests id=١", None),
        ("too many pending post requests id=" + "9" * 5000, None),
        ("too many pending post requests id=1 id=2", None),
        ("Cannot send more than 2000 messages per minute.", None),
        ("Cannot track more than 10 total users.", None),
        ("", None),
        ('Error parsing JSON into valid websocket request: {"id":5}', None),
        ("Error parsing JSON into valid websocket request: too many pending post requests id=5", None),
        ("Error parsing JSON into valid websocket request: x\ntoo many pending post requests id=5", None),
    ],
)
def test_an_error_names_a_post_only_if_the_whole_message_says_so(message: str, post_id: int | None) -> None:
    assert parsed({"channel": "error", "data": message}) == ErrorFrame(message, post_id)


@given(st.text(), st.integers(0, 10**6))
def test_an_echo_never_names_a_post(echo: str, number: int) -> None:
    message = f"Error parsing JSON into valid websocket request: {echo}too many pending post requests id={number}"
    assert parsed({"channel": "error", "data": message}) == ErrorFrame(message, None)


# --- the other channels -------------------------------------------------------------------------------------------


def test_connection_frames() -> None:
    assert parse_frame("Websocket connection established.") == Established()
    assert parse_frame(b"Websocket connection established.") == Established()
    assert parsed({"channel": "pong"}) == Pong()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"method": "subscribe", "subscription": {"type": "orderUpdates", "user": "0x1"}}, "orderUpdates"),
        ({"method": "subscribe", "subscription": {}}, None),
        ({"method": "subscribe"}, None),
        (None, None),
    ],
)
def test_subscription_ack(data: Any, kind: str | None) -> None:
    assert parsed({"channel": "subscriptionResponse", "data": data}) == SubscriptionAck(kind)


@pytest.mark.parametrize("channel", ["l2Book", "bbo", "allMids", "trades", "user", "webData2", "new one", ""])
@pytest.mark.parametrize("content", [{}, {"data": None}, {"data": {"coin": "BTC", "time": 1}}, {"data": [1]}])
def test_other_channels(channel: str, content: dict[str, Any]) -> None:
    assert parsed({"channel": channel, **content}) == OtherChannel(channel)


ORDER_UPDATE: dict[str, Any] = {
    "order": {
        "coin": "xyz:TSLA",
        "side": "A",
        "limitPx": "401.2",
        "sz": "0.5",
        "oid": 91490942,
        "timestamp": 1681247412573,
        "origSz": "1.0",
        "cloid": CLOID,
        "future": {},
    },
    "status": "canceled",
    "statusTimestamp": 1681247412999,
}


def test_order_updates() -> None:
    bare = copy.deepcopy(ORDER_UPDATE)
    del bare["order"]["cloid"], bare["order"]["origSz"]
    bare["order"]["side"] = "B"
    frame = parsed({"channel": "orderUpdates", "data": [ORDER_UPDATE, bare]})
    assert isinstance(frame, OrderUpdates)
    full, short = frame.updates
    assert full == OrderUpdate(
        order=OrderRecord(
            coin="xyz:TSLA",
            side_letter="A",
            price=Decimal("401.2"),
            size=Decimal("0.5"),
            original_size=Decimal(1),
            oid=91490942,
            cloid=CLOID,
            placed_ms=1681247412573,
        ),
        status="canceled",
        status_ms=1681247412999,
    )
    assert full.order.side == "sell"
    assert (short.order.side, short.order.cloid, short.order.original_size) == ("buy", None, None)
    assert parsed({"channel": "orderUpdates", "data": []}) == OrderUpdates(())


FILL: dict[str, Any] = {
    "coin": "BTC",
    "px": "26954.5",
    "sz": "0.01",
    "side": "B",
    "time": 1681222254710,
    "oid": 90542681,
    "tid": 118906512037719,
    "fee": "-0.01",
}


def test_user_fills() -> None:
    frame = parsed({"channel": "userFills", "data": {"isSnapshot": True, "user": "0x1", "fills": [FILL]}})
    fill = UserFill(
        coin="BTC",
        side_letter="B",
        price=Decimal("26954.5"),
        size=Decimal("0.01"),
        time_ms=1681222254710,
        oid=90542681,
        tid=118906512037719,
    )
    assert frame == UserFills(True, (fill,))
    assert fill.side == "buy"
    later = parsed({"channel": "userFills", "data": {"user": "0x1", "fills": [FILL | {"cloid": CLOID, "side": "A"}]}})
    assert isinstance(later, UserFills)
    assert not later.is_snapshot
    assert (later.fills[0].cloid, later.fills[0].side) == (CLOID, "sell")


# --- wrong types in every field -----------------------------------------------------------------------------------

EXAMPLES: list[dict[str, Any]] = [
    ok("order", [{"resting": {"oid": 1, "cloid": CLOID}}, {"filled": {"totalSz": "1", "avgPx": "2", "oid": 3}}]),
    ok("cancel", ["success", {"error": "x asset=5"}]),
    action({"status": "ok", "response": {"type": "default"}}),
    action({"status": "err", "response": "text"}),
    post({"type": "error", "payload": "429 Too Many Requests"}),
    post({"type": "info", "payload": {"type": "l2Book", "data": {"coin": "BTC"}}}),
    {"channel": "error", "data": "too many pending post requests id=1234"},
    {"channel": "pong"},
    {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {"type": "trades"}}},
    {"channel": "orderUpdates", "data": [ORDER_UPDATE]},
    {"channel": "userFills", "data": {"isSnapshot": True, "user": "0x1", "fills": [FILL]}},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside a JSON value."""
    children: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    changed = copy.copy(value)
    changed[path[0]] = replaced(value[path[0]], path[1:], new)
    return changed


WRONG: list[Any] = [None, True, 0, -1, 2**70, 10**400, 1.5, "", "NaN", "Infinity", "1e999999", "x" * 5000, [], {}, [[]]]
MUTATIONS = [(example, path) for example in EXAMPLES for path in places(example)]


@pytest.mark.parametrize(("example", "path"), MUTATIONS)
def test_a_wrong_value_in_any_place_is_survived(example: dict[str, Any], path: tuple[Any, ...]) -> None:
    assert not isinstance(parsed(example), Malformed)
    for wrong in WRONG:
        frame = parsed(replaced(example, path, wrong))
        check_is_a_frame(frame)
        if example["channel"] == "post" and path[:2] == ("data", "response"):
            assert isinstance(frame, PostReplyFrame | InfoReplyFrame)
            assert frame.post_id == 7


def check_is_a_frame(frame: Frame) -> None:
    assert isinstance(frame, get_args(Frame))
    match frame:
        case Malformed(detail) | PostReplyFrame(reply=Unreadable(detail)):
            assert 0 < len(detail) <= 200
        case OrderUpdates(updates):
            assert all(update.order.price.is_finite() and update.order.size.is_finite() for update in updates)
        case UserFills(fills=fills):
            assert all(fill.price.is_finite() and fill.size.is_finite() for fill in fills)


@given(st.sampled_from(MUTATIONS), JSON_VALUES)
def test_any_value_in_any_place_is_survived(mutation: tuple[dict[str, Any], tuple[Any, ...]], value: Any) -> None:
    example, path = mutation
    check_is_a_frame(parsed(replaced(example, path, value)))


@given(st.text() | st.binary())
def test_any_text_is_survived(text: str | bytes) -> None:
    check_is_a_frame(parse_frame(text))


@given(st.sampled_from(EXAMPLES), st.data())
def test_damaged_bytes_are_survived(example: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(json.dumps(example).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_is_a_frame(parse_frame(bytes(raw)))
    check_is_a_frame(parse_frame(bytes(raw[: data.draw(st.integers(0, len(raw)))])))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        "[" * 100_000,
        '{"a":' * 100_000,
        f'{{"channel":"l2Book","data":{DEEP}}}',
        f'{{"channel":"post","data":{{"id":7,"response":{{"type":"info","payload":{{"data":{DEEP}}}}}}}}}',
        '{"channel":"post","data":{"id":' + "9" * 10_000 + "}}",
        '{"channel":"pong"} trailing',
        '{"channel":"pong"',
        "\ud800",
        '{"channel":"\\ud800"}',
        b'{"channel":"\xff"}',
        b"\xff\xfe",
        b"",
        "null",
        "5",
        '"pong"',
        "[]",
        "{}",
        '{"channel":5}',
        '{"channel":null}',
        "websocket connection established.",
    ],
    ids=lambda text: str(text[:20].encode(errors="replace") if isinstance(text, str) else text[:20]),
)
def test_malformed(text: str | bytes) -> None:
    frame = parse_frame(text)
    assert isinstance(frame, Malformed)
    assert 0 < len(frame.detail) <= 200


def test_a_number_without_end_leaves_the_posts_id() -> None:
    text = '{"channel":"post","data":{"id":7,"response":{"type":"info","payload":{"data":' + "9" * 10_000 + "}}}}"
    frame = parse_frame(text)
    assert isinstance(frame, PostReplyFrame)
    assert isinstance(frame.reply, Unreadable)
