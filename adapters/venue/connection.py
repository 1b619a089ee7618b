"""One WebSocket connection: frames in, frames out, and the posts in between (protocol.md §1, §2, §3).

A post is in flight from its arrival until its reply has been handed to the socket, so that a client which pipelines
more than it may is refused as it would be by the real venue. A post that is held back by a fault goes on when its
connection is gone: it is processed, and nobody hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import WSMsgType, web

from adapters.venue.actions import MalformedRequest, decode_action
from adapters.venue.core import VenueCore
from adapters.venue.engine import Reply
from adapters.venue.faults import PostPlan
from adapters.venue.info import decode_info
from adapters.venue.limits import Client
from adapters.venue.streams import Streams, Subscription, SubscriptionRefused

_GREETING: Final = b"Websocket connection established."
_PONG: Final = b'{"channel":"pong"}'
_GARBAGE: Final = b'{"channel":"post","data":{"id":'
_MAX_BACKLOG_BYTES: Final = 64 * 1024 * 1024
"""A client that lets more pile up than this does not read, and is cut off."""

_encode: Final = msgspec.json.Encoder().encode


class _PostRequest(msgspec.Struct, gc=False):
    type: Literal["action", "info"]
    payload: msgspec.Raw


class _Frame(msgspec.Struct, gc=False):
    """What a client may send."""

    method: Literal["post", "ping", "subscribe", "unsubscribe"]
    id: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None
    request: _PostRequest | None = None
    subscription: msgspec.Raw = msgspec.Raw()  # "or None" would not decode


_FRAME: Final = msgspec.json.Decoder(_Frame)
_SUBSCRIPTION: Final = msgspec.json.Decoder(Subscription)


class Connection:
    """One client's WebSocket.

    Args:
        core: The venue.
        streams: Its subscriptions.
        socket: The prepared WebSocket.
        transport: What it runs on; lets a fault cut it without a closing handshake.
        client: The client address that it came from.

    Attributes:
        sent_at: When something was last handed to the socket, monotonic ms.
    """

    def __init__(
        self,
        core: VenueCore,
        streams: Streams,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        client: Client,
    ) -> None:
        self.client: Final = client
        self.sent_at = core.monotonic_ms()
        self._core: Final = core
        self._streams: Final = streams
        self._socket: Final = socket
        self._transport: Final = transport
        self._loop: Final = asyncio.get_running_loop()
        self._outbox: list[bytes] = []
        self._unsent_replies = 0
        self._wake: Final = asyncio.Event()
        self._closing: asyncio.Task[bool] | None = None
        self._ended = False

    async def run(self) -> None:
        """Serve the client until the connection ends."""
        self.send(_GREETING)
        life = self._core.faults.connection_life_ms()
        death = None if life is None else self._loop.call_later(life / 1000, self.cut)
        writer = asyncio.create_task(self._write())
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(message.data)
        finally:
            self._ended = True
            if death is not None:
                death.cancel()
            writer.cancel()
            self._streams.drop(self)
            self.client.end_posts(self._unsent_replies)
            self._unsent_replies = 0

    def cut(self) -> None:
        """End the connection at once, without a closing handshake; what was not sent yet is lost."""
        self._transport.abort()

    def close(self) -> None:
        """End the connection in good order, with a closing handshake."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._socket.close())

    # --- out ------------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Send a frame; frames leave in the order of these calls."""
        if not self._ended:
            self._outbox.append(frame)
            self._wake.set()

    def send_update(self, frame: bytes) -> None:
        """Send a frame of a stream; faults may lose or delay it."""
        delay = self._core.faults.update_delay_ms()
        if delay is None:
            return
        if delay:
            self._loop.call_later(delay / 1000, self.send, frame)
        else:
            self.send(frame)

    async def _write(self) -> None:
        """Hand frames to the socket, all that have come together since the last time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            frames, self._outbox = self._outbox, []
            replies, self._unsent_replies = self._unsent_replies, 0
            try:
                for frame in frames:
                    await self._socket.send_frame(frame, WSMsgType.TEXT)
            except ConnectionError:
                return  # the reading side sees the end of the connection too, and cleans up
            finally:
                self.client.end_posts(replies)
            self.sent_at = self._core.monotonic_ms()
            if self._transport.get_write_buffer_size() > _MAX_BACKLOG_BYTES:
                self.cut()

    def _error(self, text: str) -> None:
        self.send(_encode({"channel": "error", "data": text}))

    # --- in -------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Take one frame."""
        if not self.client.send_message(self._core.monotonic_ms()):
            self._error(f"Cannot send more than {self._core.config.limits.messages_per_minute} messages per minute.")
            return
        try:
            frame = _FRAME.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._unreadable(data)
            return
        if frame.method == "post" and frame.id is not None and frame.request is not None:
            self._post(frame.id, frame.request)
        elif frame.method == "ping":
            self.send(_PONG)
        elif frame.method in ("subscribe", "unsubscribe") and frame.subscription:
            self._subscribe(frame.method, frame.subscription, data)
        else:
            self._unreadable(data)

    def _unreadable(self, data: bytes) -> None:
        echo = data.decode(errors="replace")
        self._error(f"Error parsing JSON into valid websocket request: {echo}")

    def _subscribe(self, method: str, subscription: msgspec.Raw, data: bytes) -> None:
        try:
            wanted = _SUBSCRIPTION.decode(subscription)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._unreadable(data)
            return
        try:
            if method == "subscribe":
                self._streams.subscribe(self, wanted, subscription)
            else:
                self._streams.unsubscribe(self, wanted, subscription)
        except SubscriptionRefused as refusal:
            self._error(str(refusal))

    # --- posts ----------------------------------------------------------------------------------------------

    def _post(self, post_id: int, request: _PostRequest) -> None:
        if not self.client.begin_post():
            self._error(f"too many pending post requests id={post_id}")
            return
        plan = self._core.faults.plan()
        if plan is None:
            self._answer(request, lambda answer: self._reply(post_id, answer))
        else:
            self._loop.call_later(plan.before_ms / 1000, self._process, post_id, request, plan)

    def _process(self, post_id: int, request: _PostRequest, plan: PostPlan) -> None:
        """Process a disturbed post, and plan its reply."""

        def finish_later(answer: dict[str, Any] | None) -> None:
            self._loop.call_later(plan.after_ms / 1000, self._finish, post_id, answer, plan)

        if plan.processed:
            self._answer(request, finish_later)
        else:
            finish_later(None)

    def _finish(self, post_id: int, answer: dict[str, Any] | None, plan: PostPlan) -> None:
        """End a disturbed post."""
        if plan.reply in ("none", "close"):
            self.client.end_posts(1)
            if plan.reply == "close":
                self.cut()
            return
        error = {"type": "error", "payload": plan.reply}
        reply = answer if answer is not None and plan.reply == "own" else error
        self._reply(post_id, reply)
        for _ in range(plan.copies - 1):
            self.send(_post_frame(post_id, reply))
        if plan.garbage:
            self.send(_GARBAGE)

    def _reply(self, post_id: int, response: dict[str, Any]) -> None:
        if self._ended:
            self.client.end_posts(1)
            return
        self._unsent_replies += 1
        self.send(_post_frame(post_id, response))

    def _answer(self, request: _PostRequest, done: Callable[[dict[str, Any]], None]) -> None:
        """Respond to a post; an unreadable one gets the HTTP status that its HTTP form would get (§2)."""
        try:
            if request.type == "info":
                asked = decode_info(request.payload)
                done({"type": "info", "payload": {"type": asked.type, "data": self._core.info.answer(asked)}})
                return
            signed = decode_action(request.payload)
        except MalformedRequest as error:
            done({"type": "error", "payload": f"422 Unprocessable Entity: {error}"})
            return

        def told(reply: Reply) -> None:
            done({"type": "action", "payload": reply})
            self._streams.publish()

        self._core.submit(signed, self.client.address, told)


def _post_frame(post_id: int, response: dict[str, Any]) -> bytes:
    return _encode({"channel": "post", "data": {"id": post_id, "response": response}})
