"""What we receive: every frame of the WebSocket as one of a few types (protocol.md §1, §2, §8).

`parse_frame` never raises: a frame that makes no sense is a `Malformed`, and a reply that names its post but says
nothing readable is that post's `Unreadable`, which the executor settles like a lost reply. The machines see
`machines.reply` and `machines.intent` only; the venue's words for them are translated here and nowhere else.

A frame is read in steps, each typed, and what the next step reads is left unparsed until then (`msgspec.Raw`). So, in
a frame that is JSON at all, a fault in the content of a reply does not hide its id. The reply that all goes well with
is by far the most frequent frame, and is read in one step; whatever has not exactly its form goes the long way.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from adapters.hyperliquid.records import OrderUpdate, UserFill
from machines.intent import Canceled, Filled, ItemResult, Rejected, Resting
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable

GREETING: Final = "Websocket connection established."
"""What the server may say first; not JSON (protocol.md §1)."""

_DETAIL_LENGTH: Final = 200
"""A detail ends in a log line; the frame that caused it may be megabytes."""
_REFUSED_POST: Final = re.compile(r"too many pending post requests id=([0-9]{1,18})")


class PostReplyFrame(msgspec.Struct, frozen=True):
    """The reply to an action post."""

    post_id: int
    reply: PostReply


class InfoReplyFrame(msgspec.Struct, frozen=True):
    """The reply to an info post; `data` is its content as plain JSON values.

    The executor asks over HTTP (`info.py`), so the form of these replies, `{"type": …, "data": …}` in the official
    docs, was not established further; another one ends as `Unreadable`.
    """

    post_id: int
    data: Any


class ErrorFrame(msgspec.Struct, frozen=True):
    """An error that is no reply; `post_id` is set only where the message names the post that was refused."""

    message: str
    post_id: int | None


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping."""


class Established(msgspec.Struct, frozen=True):
    """The server's greeting."""


class SubscriptionAck(msgspec.Struct, frozen=True):
    """A stream was started or ended; `kind` is its type, such as `orderUpdates`, or None where the reply has none."""

    kind: str | None


class OrderUpdates(msgspec.Struct, frozen=True):
    """Orders that changed their state."""

    updates: tuple[OrderUpdate, ...]


class UserFills(msgspec.Struct, frozen=True):
    """Trades; those of a snapshot are old ones, no new events."""

    is_snapshot: bool
    fills: tuple[UserFill, ...]


class OtherChannel(msgspec.Struct, frozen=True):
    """A frame of a channel that the executor does not read: market data, or one that is new."""

    channel: str


class Malformed(msgspec.Struct, frozen=True):
    """A frame that can't be read; `detail` says where reading stopped."""

    detail: str


Frame: TypeAlias = (
    PostReplyFrame
    | InfoReplyFrame
    | ErrorFrame
    | Pong
    | Established
    | SubscriptionAck
    | OrderUpdates
    | UserFills
    | OtherChannel
    | Malformed
)


def parse_frame(text: str | bytes) -> Frame:
    """Read one frame; never raises.

    Args:
        text: The whole text message, as str or as UTF-8.
    """
    try:
        reply = _ACCEPTED.decode(text)
        return PostReplyFrame(reply.data.id, Accepted(tuple([_item(status) for status in reply.statuses])))
    except _UNREADABLE:
        pass  # it is not that one
    if text in (GREETING, GREETING.encode()):
        return Established()
    try:
        envelope = _ENVELOPE.decode(text)
        return _READERS.get(envelope.channel, _other)(envelope)
    except _UNREADABLE as error:
        return Malformed(_detail(error))


# --- the steps --------------------------------------------------------------------------------------------------

# ValueError covers the decoder's own errors, broken UTF-8 and numbers too long to read; nesting ends in RecursionError.
_UNREADABLE: Final = (ValueError, RecursionError)

# A number as the venue writes it. Filled keeps its text.
_Number: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,40}(\.[0-9]{1,40})?\Z")]


class _Envelope(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Post(msgspec.Struct):
    id: int
    response: msgspec.Raw = msgspec.Raw(b"null")


class _Response(msgspec.Struct):
    type: str
    payload: msgspec.Raw


class _InfoPayload(msgspec.Struct):
    data: Any


class _ActionPayload(msgspec.Struct):
    status: str
    response: msgspec.Raw


class _Resting(msgspec.Struct):
    oid: int


class _Filled(msgspec.Struct):
    oid: int
    size: _Number = msgspec.field(name="totalSz")
    average_price: _Number = msgspec.field(name="avgPx")


class _Status(msgspec.Struct):
    resting: _Resting | None = None
    filled: _Filled | None = None
    error: str | None = None


class _Statuses(msgspec.Struct):
    statuses: list[str | _Status]


class _Ok(msgspec.Struct):
    type: str
    data: _Statuses | None = None


class _AcceptedResponse(msgspec.Struct):
    type: str
    data: _Statuses


class _AcceptedPayload(msgspec.Struct):
    status: Literal["ok"]
    response: _AcceptedResponse


class _AcceptedReply(msgspec.Struct):
    type: Literal["action"]
    payload: _AcceptedPayload


class _AcceptedPost(msgspec.Struct):
    id: int
    response: _AcceptedReply


class _AcceptedFrame(msgspec.Struct):
    """An action that was taken: what `_Envelope`, `_Post`, `_Response`, `_ActionPayload` and `_Ok` read one by one."""

    channel: Literal["post"]
    data: _AcceptedPost

    @property
    def statuses(self) -> list[str | _Status]:
        """What became of each item."""
        return self.data.response.payload.response.data.statuses


class _Subscription(msgspec.Struct):
    type: str | None = None


class _Ack(msgspec.Struct):
    subscription: _Subscription | None = None


class _Fills(msgspec.Struct):
    fills: tuple[UserFill, ...]
    is_snapshot: bool = msgspec.field(name="isSnapshot", default=False)


_ACCEPTED: Final = msgspec.json.Decoder(_AcceptedFrame)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_POST: Final = msgspec.json.Decoder(_Post)
_RESPONSE: Final = msgspec.json.Decoder(_Response)
_INFO: Final = msgspec.json.Decoder(_InfoPayload)
_ACTION: Final = msgspec.json.Decoder(_ActionPayload)
_OK: Final = msgspec.json.Decoder(_Ok)
_TEXT: Final = msgspec.json.Decoder(str)
_ACK: Final = msgspec.json.Decoder(_Ack | None)
_UPDATES: Final = msgspec.json.Decoder(tuple[OrderUpdate, ...])
_FILLS: Final = msgspec.json.Decoder(_Fills)


def _post(envelope: _Envelope) -> Frame:
    post = _POST.decode(envelope.data)
    try:
        response = _RESPONSE.decode(post.response)
        if response.type == "info":
            return InfoReplyFrame(post.id, _INFO.decode(response.payload).data)
        return PostReplyFrame(post.id, _reply(response))
    except _UNREADABLE as error:
        return PostReplyFrame(post.id, Unreadable(_detail(error)))


def _reply(response: _Response) -> PostReply:
    if response.type == "error":
        return GatewayError(_TEXT.decode(response.payload))
    if response.type != "action":
        raise ValueError(f"response type {response.type!r} is not known")
    payload = _ACTION.decode(response.payload)
    if payload.status == "err":
        return Refused(_TEXT.decode(payload.response))
    if payload.status != "ok":
        raise ValueError(f"status {payload.status!r} is not known")
    ok = _OK.decode(payload.response)
    if ok.data is not None:
        return Accepted(tuple(map(_item, ok.data.statuses)))
    if ok.type != "default":
        raise ValueError(f"a response of type {ok.type!r} has no statuses")
    return Accepted(())


def _item(status: str | _Status) -> ItemResult:
    if isinstance(status, str):
        if status in _WORDS:
            return _WORDS[status]
    else:
        resting, filled, error = status.resting, status.filled, status.error
        if (resting is None) + (filled is None) + (error is None) == 2:
            if filled is not None:
                return Filled(filled.oid, filled.size, filled.average_price)
            return Resting(resting.oid) if resting is not None else Rejected(str(error))
    raise ValueError(f"item status {status!r} is not known")


_WORDS: Final[dict[str, ItemResult]] = {
    "success": Canceled(),
    "waitingForFill": Resting(None),
    "waitingForTrigger": Resting(None),
}


def _error(envelope: _Envelope) -> Frame:
    message = _TEXT.decode(envelope.data)
    # The whole message must match: `Error parsing JSON … {echo}` repeats what we sent, and that may say anything.
    refused = _REFUSED_POST.fullmatch(message)
    return ErrorFrame(message, int(refused[1]) if refused else None)


def _acknowledgement(envelope: _Envelope) -> Frame:
    ack = _ACK.decode(envelope.data)
    return SubscriptionAck(ack.subscription.type if ack is not None and ack.subscription is not None else None)


def _fills(envelope: _Envelope) -> Frame:
    content = _FILLS.decode(envelope.data)
    return UserFills(content.is_snapshot, content.fills)


def _other(envelope: _Envelope) -> Frame:
    return OtherChannel(envelope.channel)


def _detail(error: Exception) -> str:
    return str(error)[:_DETAIL_LENGTH]


_READERS: Final = {
    "post": _post,
    "error": _error,
    "pong": lambda _: Pong(),
    "subscriptionResponse": _acknowledgement,
    "orderUpdates": lambda envelope: OrderUpdates(_UPDATES.decode(envelope.data)),
    "userFills": _fills,
}
