"""The venue on a loopback port: `/ws`, `POST /info`, `POST /exchange`, and `/local/…` for its operator.

`/local/` is not part of the real venue: it funds accounts, changes faults and prices, and tells the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import msgspec
from aiohttp import web

from adapters.venue.actions import MalformedRequest, decode_action
from adapters.venue.config import VenueConfig
from adapters.venue.connection import Connection
from adapters.venue.core import VenueCore
from adapters.venue.engine import Reply
from adapters.venue.info import decode_info, weight
from adapters.venue.operator import operator_routes
from adapters.venue.streams import Streams

_LOOPBACK: Final = "127.0.0.1"
_BEAT_S: Final = 0.05
_MAKERS_EVERY: Final = 5
"""In beats, like the three below."""
_BBO_EVERY: Final = 2
_BOOKS_EVERY: Final = 10
_HOUSEKEEPING_EVERY: Final = 20
_MAX_BODY: Final = 2 * 1024 * 1024
_ITEMS_PER_WEIGHT: Final = 40


class PortInUse(OSError):
    """Something else listens on the port that the venue was to listen on; the message names it."""


class Venue:
    """A local venue, running for as long as its context lasts.

    Args:
        config: Its settings.

    Attributes:
        core: Its books, accounts and truth, for tests that run it in their own process.
        url: Base of `/info` and `/exchange`, once it runs.
        ws_url: Its WebSocket, once it runs.
    """

    def __init__(self, config: VenueConfig | None = None) -> None:
        self.core: Final = VenueCore(config or VenueConfig())
        self.url = ""
        self.ws_url = ""
        self._streams: Final = Streams(self.core)
        self._connections: Final[set[Connection]] = set()
        self._runner: web.AppRunner | None = None
        self._beat: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            PortInUse: Something else listens on the port.
        """
        application = web.Application(client_max_size=_MAX_BODY)
        application.add_routes(
            [
                web.get("/ws", self._websocket),
                web.post("/info", self._info),
                web.post("/exchange", self._exchange),
                *operator_routes(self.core, self._streams),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        port = self.core.config.port
        try:
            await web.TCPSite(runner, _LOOPBACK, port).start()
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(error.errno, f"port {port} on {_LOOPBACK} is in use; choose another, or 0") from error
            raise
        self._runner = runner
        await self.core.verifiers.start()
        address = f"{_LOOPBACK}:{runner.addresses[0][1]}"
        self.url, self.ws_url = f"http://{address}", f"ws://{address}/ws"
        self._beat = asyncio.create_task(self._run_beat())

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        if self._beat is not None:
            self._beat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beat
        for connection in list(self._connections):
            connection.cut()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.core.verifiers.stop()
        self.core.close()

    async def run(self) -> None:
        """Wait for the venue to fail: it never ends by itself. What it failed of is raised."""
        if self._beat is not None:
            await asyncio.shield(self._beat)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    # --- time -----------------------------------------------------------------------------------------------

    async def _run_beat(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(_BEAT_S)
            beat += 1
            self.core.trading.strike_scheduled()
            if not beat % _MAKERS_EVERY:
                self.core.makers.step()
            self._streams.publish()
            if not beat % _BBO_EVERY:
                self._streams.publish_bbo()
            if not beat % _BOOKS_EVERY:
                self._streams.publish_books()
            if not beat % _HOUSEKEEPING_EVERY:
                self._streams.publish_mids()
                self.core.truth.flush()
                self._close_idle()

    def _close_idle(self) -> None:
        """Close the connections to which nothing was sent for too long (protocol.md §1)."""
        latest = self.core.monotonic_ms() - self.core.config.idle_close_ms
        for connection in self._connections:
            if connection.sent_at <= latest:
                connection.close()

    # --- handlers -------------------------------------------------------------------------------------------

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        client = self.core.client(request.remote or "")
        if not client.connect(self.core.monotonic_ms()):
            return _too_many()
        try:
            socket = web.WebSocketResponse(compress=False, decode_text=False, max_msg_size=_MAX_BODY)
            await socket.prepare(request)
            transport = request.transport
            if isinstance(transport, asyncio.Transport):
                connection = Connection(self.core, self._streams, socket, transport, client)
                self._connections.add(connection)
                try:
                    await connection.run()
                finally:
                    self._connections.discard(connection)
        finally:
            client.connections -= 1
        return socket

    async def _exchange(self, request: web.Request) -> web.StreamResponse:
        try:
            signed = decode_action(await request.read())
        except MalformedRequest as error:
            return _malformed(error)
        client = self.core.client(request.remote or "")
        if not client.weight.admit(self.core.monotonic_ms(), 1 + signed.items // _ITEMS_PER_WEIGHT):
            return _too_many()

        async def submit() -> bytes:
            answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

            def told(reply: Reply) -> None:
                self._streams.publish()
                if not answered.done():  # the client may have gone
                    answered.set_result(reply)

            self.core.submit(signed, client.address, told)
            return msgspec.json.encode(await answered)

        return await self._disturbed(request, submit)

    async def _info(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = decode_info(await request.read())
            client = self.core.client(request.remote or "")
            if not client.weight.admit(self.core.monotonic_ms(), weight(asked.type)):
                return _too_many()

            async def answer() -> bytes:
                return msgspec.json.encode(self.core.info.answer(asked))

            return await self._disturbed(request, answer)
        except MalformedRequest as error:
            return _malformed(error)

    async def _disturbed(self, request: web.Request, process: Callable[[], Awaitable[bytes]]) -> web.StreamResponse:
        """Process a request and answer it, with the faults that a post would meet."""
        plan = self.core.faults.plan()
        if plan is None:
            return _json(await process())
        await asyncio.sleep(plan.before_ms / 1000)
        body = await process() if plan.processed else b""
        await asyncio.sleep(plan.after_ms / 1000)
        if plan.reply in ("none", "close"):
            if request.transport is not None:
                request.transport.abort()
            return _json(body)
        if plan.reply == "own":
            return _json(body)
        return _too_many() if plan.reply.startswith("429") else web.Response(status=502, text=plan.reply)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _too_many() -> web.Response:
    return web.Response(status=429, body=b"null", content_type="application/json")


def _malformed(error: MalformedRequest) -> web.Response:
    text = f"Failed to deserialize the JSON body into the target type: {error}"
    return web.Response(status=422, text=text)
