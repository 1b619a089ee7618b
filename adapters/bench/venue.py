"""The venue of the benchmark, as a process: it answers every post at once, or after a set time, and checks nothing.

Its markets and its other answers are those of the local venue (adapters/venue), so that every client starts as it
does anywhere; only posts are not verified and reach no book. It is made of the fastest parts there are (picows,
uvloop), so that it leaves the client the bottleneck.

**Time of receipt.** The `oid` that an order gets is the moment at which its frame was read, in ns of the machine's
monotonic clock, which all processes share. So every client learns when its order was on the wire, without a change.

It prints where it listens, as JSON, and ends when its standard input does. `GET /record` says what arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import deque
from typing import Final

import msgspec
import picows
import uvloop
from aiohttp import web

from adapters.bench.messages import Post, VenueRecord, Where
from adapters.venue.config import VenueConfig
from adapters.venue.core import VenueCore
from adapters.venue.info import decode_info
from adapters.venue.limits import Limits

_LOOPBACK: Final = "127.0.0.1"
_KEPT: Final = 10_000
"""Posts kept for the record."""
_BUDGET: Final = 10**12
"""Actions that an account may do: an executor that is told of the real 10 000 soon sends one in ten seconds."""


class _Action(msgspec.Struct):
    type: str
    orders: tuple[msgspec.Raw, ...] = ()
    cancels: tuple[msgspec.Raw, ...] = ()


class _Payload(msgspec.Struct):
    action: _Action


class _Request(msgspec.Struct):
    payload: _Payload


class _Frame(msgspec.Struct):
    method: str
    id: int = 0
    request: _Request | None = None


_FRAME: Final = msgspec.json.Decoder(_Frame)
_EXCHANGE: Final = msgspec.json.Decoder(_Payload)


class Desk:
    """Answers actions, and remembers that it did."""

    def __init__(self) -> None:
        """Nothing has arrived."""
        self._oid = 0
        self._seen = 0
        self._posts: deque[tuple[str, int, int]] = deque(maxlen=_KEPT)

    def record(self) -> VenueRecord:
        """What arrived so far."""
        return VenueRecord(time.process_time_ns(), self._seen, tuple(Post(*post) for post in self._posts))

    def answer(self, frame: bytes) -> bytes | None:
        """The answer to a frame; None for one that gets none."""
        asked = _FRAME.decode(frame)
        if asked.request is None:
            return b'{"channel":"pong"}' if asked.method == "ping" else None
        payload = self.response_to(asked.request.payload.action)
        return (
            f'{{"channel":"post","data":{{"id":{asked.id},"response":{{"type":"action","payload":{payload}}}}}}}'
        ).encode()

    def response_to(self, action: _Action) -> str:
        """What becomes of an action: immediate orders trade, others rest, and cancels succeed (protocol.md §2)."""
        now = time.perf_counter_ns()
        self._seen += 1
        self._posts.append((action.type, len(action.orders) or len(action.cancels), now))
        if action.type == "order":
            self._oid = max(self._oid, now)
            statuses = ",".join(map(self._status, action.orders))
        elif action.cancels:
            statuses = ",".join(['"success"'] * len(action.cancels))
        else:
            return '{"status":"ok","response":{"type":"default"}}'
        return f'{{"status":"ok","response":{{"type":"{action.type}","data":{{"statuses":[{statuses}]}}}}}}'

    def _status(self, order: msgspec.Raw) -> str:
        self._oid += 1
        if b'"Ioc"' in bytes(order):
            return f'{{"filled":{{"totalSz":"0.01","avgPx":"50000","oid":{self._oid}}}}}'
        return f'{{"resting":{{"oid":{self._oid}}}}}'


class _Connection(picows.WSListener):
    """One client."""

    def __init__(self, desk: Desk, delay_s: float) -> None:
        self._desk = desk
        self._delay_s = delay_s

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Answer a frame."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        answer = self._desk.answer(frame.get_payload_as_bytes())
        if answer is None:
            return
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, transport.send, picows.WSMsgType.TEXT, answer)
        else:
            transport.send(picows.WSMsgType.TEXT, answer)


def _http_side(desk: Desk, delay_s: float) -> web.Application:
    core = VenueCore(VenueConfig(limits=Limits(address_budget=_BUDGET)))

    async def info(request: web.Request) -> web.Response:
        return _json(core.info.answer(decode_info(await request.read())))

    async def exchange(request: web.Request) -> web.Response:
        response = desk.response_to(_EXCHANGE.decode(await request.read()).action)
        if delay_s:
            await asyncio.sleep(delay_s)
        return web.Response(text=response, content_type="application/json")

    async def record(_: web.Request) -> web.Response:
        return _json(desk.record())

    application = web.Application()
    application.add_routes([web.post("/info", info), web.post("/exchange", exchange), web.get("/record", record)])
    return application


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


async def _serve(delay_s: float) -> None:
    desk = Desk()
    server = await picows.ws_create_server(lambda _: _Connection(desk, delay_s), _LOOPBACK, 0)
    runner = web.AppRunner(_http_side(desk, delay_s), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, _LOOPBACK, 0).start()
    ws_port, http_port = server.sockets[0].getsockname()[1], runner.addresses[0][1]
    where = Where(f"ws://{_LOOPBACK}:{ws_port}/ws", f"http://{_LOOPBACK}:{http_port}")
    sys.stdout.write(msgspec.json.encode(where).decode() + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, os.read, sys.stdin.fileno(), 1)
    server.close()
    await runner.cleanup()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=int, default=0, help="how long each post waits for its answer")
    uvloop.run(_serve(parser.parse_args().delay_ms / 1_000))


if __name__ == "__main__":
    main()
