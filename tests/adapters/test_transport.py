"""The WebSocket connection, against real servers that behave and that do not."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from adapters import transport as module
from adapters.clock import SystemClock
from adapters.transport import BACKOFF_CAP_MS, BACKOFF_MS, CONNECTIONS_PER_MINUTE, NotWritten, Transport, WriteBroken
from machines.clock import ManualClock
from tests.adapters.live import until
from tests.adapters.wire import Wire

Peer: TypeAlias = Callable[[ServerConnection], Awaitable[None]]


class Diary:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.frames: list[bytes] = []
        self.reasons: list[str] = []
        self.retries: list[int] = []

    def on_connecting(self) -> None:
        self.lines.append("connecting")

    def on_open(self) -> None:
        self.lines.append("open")

    def on_frames(self, frames: Sequence[bytes]) -> None:
        self.lines.extend("frame" for _ in frames)
        self.frames.extend(frames)

    def on_writable(self) -> None:
        self.lines.append("writable")

    def on_lost(self, reason: str, retry_ms: int) -> None:
        self.lines.append("lost")
        self.reasons.append(reason)
        self.retries.append(retry_ms)


class Highest(random.Random):
    """Draws the upper bound, which makes the bounds visible and the pauses the longest."""

    def randint(self, a: int, b: int) -> int:
        return b


@asynccontextmanager
async def peer(handler: Peer) -> AsyncIterator[str]:
    """A WebSocket server on loopback."""
    async with serve(handler, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/ws"


@asynccontextmanager
async def running(url: str, *, silence_ms: int = 30_000) -> AsyncIterator[tuple[Transport, Diary]]:
    """A transport at work."""
    diary = Diary()
    transport = Transport(url, diary, SystemClock(), silence_ms, random.Random(1))
    task = asyncio.create_task(transport.run())
    try:
        yield transport, diary
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_writable(transport: Transport) -> bool:
    """A function, so that mypy does not take the property for a constant."""
    return transport.writable


async def linger(connection: ServerConnection) -> None:
    """Read what comes, until the client leaves."""
    async for _ in connection:
        pass


async def test_it_connects_and_reads_in_order() -> None:
    async def talk(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(f"frame {number}")
        await linger(connection)

    async with peer(talk) as url, running(url) as (transport, diary):
        await until(lambda: len(diary.frames) == 100)
        assert transport.writable
        assert diary.frames == [f"frame {number}".encode() for number in range(100)]
        assert diary.lines == ["connecting", "open", *["frame"] * 100]
        assert transport.silent_ms < 30_000


async def test_what_comes_in_fragments_is_one_frame_in_its_place() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send("before")
        await connection.send(["in ", "three ", "parts"])
        await connection.send("after")
        await linger(connection)

    async with peer(talk) as url, running(url) as (_, diary):
        await until(lambda: len(diary.frames) == 3)
        assert diary.frames == [b"before", b"in three parts", b"after"]


async def test_what_came_with_the_handshake_is_told_after_the_opening() -> None:
    """The venue greets at once: its frame may be read before anybody was told of the connection."""
    handshake = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        accept = accept_key(key.partition(b":")[2].strip().decode())
        writer.write(handshake + f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + b"\x81\x05hello")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server, running(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws") as (_, diary):
        await until(lambda: diary.frames == [b"hello"])
        assert diary.lines[:3] == ["connecting", "open", "frame"]


async def test_a_listener_that_breaks_ends_the_transport_with_its_error() -> None:
    class Broken(Diary):
        def on_frames(self, frames: Sequence[bytes]) -> None:
            raise ZeroDivisionError(frames[0].decode())

    async def talk(connection: ServerConnection) -> None:
        await connection.send("first")
        await connection.send("second")
        await linger(connection)

    async with peer(talk) as url:
        transport = Transport(url, Broken(), SystemClock(), 30_000, random.Random(1))
        with pytest.raises(ZeroDivisionError, match="first"):
            await asyncio.wait_for(transport.run(), 5)


async def test_it_says_when_the_socket_takes_frames_again() -> None:
    """Said as soon as it is so: nobody has to look again and again."""

    async def slow(connection: ServerConnection) -> None:
        async for _ in connection:
            await asyncio.sleep(0.001)

    async with peer(slow) as url, running(url) as (transport, diary):
        await until(lambda: "open" in diary.lines)
        text = "x" * 100_000
        while transport.writable:
            transport.write(text)
        await until(lambda: "writable" in diary.lines)
        assert transport.writable


async def test_a_written_frame_arrives_at_once_as_one_text_frame_uncompressed() -> None:
    received: list[str | bytes] = []
    extensions: list[object] = []

    async def note(connection: ServerConnection) -> None:
        extensions.extend(connection.protocol.extensions)
        async for message in connection:
            received.append(message)  # noqa: PERF401 - it is looked at while it grows

    text = '{"method":"post","id":1}' * 100
    async with peer(note) as url, Wire(url) as wire, running(wire.ws_url) as (transport, diary):
        await until(lambda: "open" in diary.lines)
        transport.write(text)
        transport.write("€")
        await until(lambda: len(received) == 2)
        assert received == [text, "€"]
        assert extensions == []
        handshake, _, frames = bytes(wire.sent[0]).partition(b"\r\n\r\n")
        assert b"permessage-deflate" not in handshake
        # FIN and text, no reserved bit; masked, with a length of two bytes (RFC 6455, 5.2).
        assert frames[:4] == bytes((0x81, 0x80 | 126)) + len(text).to_bytes(2, "big")


async def test_nothing_is_written_without_an_open_connection() -> None:
    async with peer(linger) as url, running(url) as (transport, diary):
        assert not transport.writable
        with pytest.raises(NotWritten, match="not open"):
            transport.write("too early")
        transport.abort("nothing to drop yet")
        await until(lambda: "open" in diary.lines)
        transport.abort("the test wants it")
        # In the same turn: nobody was told yet, and still nothing leaves.
        assert not transport.writable
        with pytest.raises(NotWritten, match="not open"):
            transport.write("too late")
        await until(lambda: diary.lines.count("open") == 2)
        assert diary.reasons == ["the test wants it"]


async def test_a_reset_that_is_met_while_writing_is_a_broken_write() -> None:
    """X1: the frame was handed over; that nothing of it left can't be known."""
    async with peer(linger) as url, Wire(url) as wire, running(wire.ws_url) as (transport, diary):
        await until(lambda: wire.accepted == 1 and "open" in diary.lines)
        await asyncio.sleep(0.05)
        wire.reset()  # no turn of the loop in between: the transport can't know
        assert is_writable(transport)
        with pytest.raises(WriteBroken, match="broke while writing"):
            transport.write("may have left")
        assert not is_writable(transport)
        await until(lambda: diary.lines.count("open") == 2)


async def test_a_socket_that_takes_no_more_is_a_broken_write() -> None:
    async with peer(linger) as url, running(url) as (transport, diary):
        await until(lambda: "open" in diary.lines)
        assert transport._connection is not None
        transport._connection.transport.write_eof()
        with pytest.raises(WriteBroken, match="RuntimeError"):
            transport.write("may have left")


async def test_a_frame_that_waits_in_the_buffer_stops_writing() -> None:
    """X6: nothing signed is held back; a socket that does not take more is not writable."""
    async with peer(linger) as url, Wire(url) as wire, running(wire.ws_url) as (transport, diary):
        await until(lambda: "open" in diary.lines)
        wire.requests.clear()
        frame = "x" * 1_000_000
        for _ in range(100):
            transport.write(frame)
            await asyncio.sleep(0)
            if not transport.writable:
                break
        assert not transport.writable
        wire.requests.set()
        await until(lambda: transport.writable)


async def test_it_connects_again_after_every_kind_of_end() -> None:
    ends: list[Callable[[ServerConnection], Awaitable[None]]] = []

    async def politely(connection: ServerConnection) -> None:
        await connection.close(1012, "restarting")

    async def rudely(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def with_nonsense(connection: ServerConnection) -> None:
        connection.transport.write(b"\xff\xff no frame at all")
        await linger(connection)

    async def with_too_much(connection: ServerConnection) -> None:
        await connection.send("x" * (module.MAX_FRAME_BYTES + 1))
        await linger(connection)

    async def end(connection: ServerConnection) -> None:
        await connection.send("hello")
        await (ends.pop(0) if ends else linger)(connection)

    ends.extend([politely, rudely, with_nonsense, with_too_much])
    async with peer(end) as url, running(url) as (_, diary):
        await until(lambda: diary.lines.count("open") == 5 and len(diary.frames) == 5)
        assert [line for line in diary.lines if line != "frame"] == ["connecting", "open", "lost"] * 4 + [
            "connecting",
            "open",
        ]
        polite, rude, nonsense, too_much = diary.reasons
        assert "received 1012" in polite
        assert "restarting" in polite
        assert "no close frame" in rude
        assert "protocol error" in nonsense
        assert "message too big" in too_much
        assert all(reason.startswith("closed by the venue: ") for reason in (polite, rude, nonsense))
        assert all(0 <= retry <= BACKOFF_MS for retry in diary.retries)


async def test_a_silent_connection_is_replaced() -> None:
    async with peer(linger) as url, running(url, silence_ms=300) as (_, diary):
        await until(lambda: diary.lines.count("open") >= 2)
        assert diary.reasons[0] == "nothing arrived for 300 ms"


async def test_a_connection_that_speaks_is_kept() -> None:
    async def murmur(connection: ServerConnection) -> None:
        while True:
            await connection.send("…")
            await asyncio.sleep(0.02)

    async with peer(murmur) as url, running(url, silence_ms=300) as (_, diary):
        await until(lambda: len(diary.frames) > 40)
        assert diary.lines.count("open") == 1


async def test_a_peer_that_never_finishes_the_handshake_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_TIMEOUT_S", 0.2)
    waiting: list[asyncio.StreamWriter] = []

    async def stare(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stare, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running(f"ws://127.0.0.1:{port}/ws") as (_, diary):
            await until(lambda: len(diary.reasons) >= 2)
            assert "open" not in diary.lines
            assert "timed out" in diary.reasons[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", "HTTP 429"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "did not receive a valid HTTP response"),
        (b"", "did not receive a valid HTTP response"),
    ],
)
async def test_a_peer_that_refuses_the_handshake_is_tried_again(answer: bytes, reason: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with running(f"ws://127.0.0.1:{port}/ws") as (_, diary):
            await until(lambda: len(diary.reasons) >= 2)
            assert reason in diary.reasons[0]
            assert "open" not in diary.lines


async def test_with_nobody_there_it_goes_on_trying() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with running(f"ws://127.0.0.1:{port}/ws") as (_, diary):
        await until(lambda: len(diary.reasons) >= 3)
        assert diary.lines[:4] == ["connecting", "lost", "connecting", "lost"]
        assert all("ConnectionRefusedError" in reason or "Connect call failed" in reason for reason in diary.reasons)


async def backoff(monkeypatch: pytest.MonkeyPatch, url: str, losses: int) -> tuple[list[int], list[float]]:
    """The bounds of the pauses after so many losses in a row, and the pauses made; none is really waited for."""
    slept: list[float] = []
    wait = asyncio.sleep

    async def hurry(delay: float) -> None:
        slept.append(delay)
        await wait(0)

    diary, clock = Diary(), ManualClock(0)
    transport = Transport(url, diary, clock, 30_000, Highest())
    monkeypatch.setattr(asyncio, "sleep", hurry)
    task = asyncio.create_task(transport.run())
    async with asyncio.timeout(15):
        while len(diary.retries) < losses:
            await wait(0.002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    monkeypatch.undo()
    return diary.retries[:losses], slept


async def test_the_pauses_grow_and_never_more_than_30_connections_a_minute_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """protocol.md §3; the clock stands still, so the 31st attempt has to wait for the whole minute."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    bounds, slept = await backoff(monkeypatch, f"ws://127.0.0.1:{port}/ws", CONNECTIONS_PER_MINUTE + 2)
    assert bounds[:6] == [BACKOFF_MS << number for number in range(6)]
    assert bounds[6:] == [BACKOFF_CAP_MS] * (len(bounds) - 6)
    before_attempt = slept[::2]
    assert before_attempt[:CONNECTIONS_PER_MINUTE] == [0] * CONNECTIONS_PER_MINUTE
    assert before_attempt[CONNECTIONS_PER_MINUTE] == 60


async def test_a_venue_that_accepts_and_hangs_up_at_once_is_not_hammered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang_up(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with peer(hang_up) as url:
        bounds, _ = await backoff(monkeypatch, url, 7)
    assert bounds == sorted(bounds)
    assert bounds[-1] == BACKOFF_CAP_MS


async def test_a_frame_that_arrived_ends_the_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    async def greet_and_hang_up(connection: ServerConnection) -> None:
        await connection.send("Websocket connection established.")
        await connection.close()

    async with peer(greet_and_hang_up) as url:
        bounds, _ = await backoff(monkeypatch, url, 5)
    assert bounds == [BACKOFF_MS] * 5


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The questions over HTTP go straight to the venue, and so does the WebSocket."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with peer(linger) as url, running(url) as (_, diary):
        await until(lambda: "open" in diary.lines)
        assert not any(line.startswith("lost") for line in diary.lines), "the first attempt went straight there"


def test_the_clock_is_that_of_the_machine() -> None:
    clock = SystemClock()
    assert abs(clock.now_ms() - time.time() * 1_000) < 1_000
    before = clock.monotonic_ms()
    time.sleep(0.005)
    assert 4 <= clock.monotonic_ms() - before < 5_000
    assert isinstance(clock.now_ms(), int)
