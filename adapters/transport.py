"""The WebSocket: one connection at a time, replaced when it breaks, written to in one synchronous step.

`run` connects, reads, and connects again with exponential backoff and full jitter, within the venue's 30 new
connections a minute (protocol.md §3). What happens is told to a `Listener`, in order, on the event loop's thread.

Frames are given on in the very call in which the event loop read them, all that one read brought together: no task has
to wake up in between. A socket that is not read while they are handled needs no queue.

`stage` and `flush` hand frames to the operating system's socket without awaiting, so that "register, take the slot,
write" is one step for the executor (design.md, Sending); frames of one turn leave in one call of the system. They tell
apart the two ways to fail: `NotWritten` (certainly nothing left) and `WriteBroken` (a part may have left). Compression
is off: frames are small, and it would delay each.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import Event, State

from machines.clock import Clock
from machines.rate_limit import MessageRate

CONNECTIONS_PER_MINUTE: Final = 30
"""New connections that the venue allows an IP address (protocol.md §3)."""
BACKOFF_MS: Final = 250
BACKOFF_CAP_MS: Final = 10_000
OPEN_TIMEOUT_S: Final = 10
MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
"""The largest frame taken: a full snapshot of a busy account's fills is a few hundred KiB."""

_QUIET: Final = logging.getLogger("hip3.websocket")
_QUIET.setLevel(logging.WARNING)  # at DEBUG the library logs frames, and signatures with them


class TransportError(Exception):
    """Base of what `write` raises."""


class NotWritten(TransportError):
    """Refused before any byte left: there is no open connection, or it does not take more at the moment."""


class WriteBroken(TransportError):
    """It failed midway: the frame, or a part of it, may have left."""


class Listener(Protocol):
    """Who is told what happens to the connection."""

    def on_connecting(self) -> None:
        """An attempt begins."""

    def on_open(self) -> None:
        """The connection is open."""

    def on_frames(self, frames: Sequence[bytes]) -> None:
        """Frames arrived, in this order."""

    def on_writable(self) -> None:
        """The system has taken all that was written: frames go straight to it again."""

    def on_lost(self, reason: str, retry_ms: int) -> None:
        """The connection, or the attempt, is gone; the next attempt follows after `retry_ms`."""


class _Connection(ClientConnection):
    """The library's connection, which hands messages over as they are read instead of queueing them.

    Attributes:
        sink: Who takes messages; None at first, when they are kept in `early`.
        drained: Told when the write buffer is empty again.
        early: Messages that came before there was a sink.
        fault: What went wrong in the sink; the connection ends then.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sink: Callable[[Sequence[bytes]], None] | None = None
        self.drained: Callable[[], None] | None = None
        self.fault: BaseException | None = None
        self._parts: list[bytes | bytearray | memoryview] = []
        self._messages: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Take what the socket had, and hand on the messages in it."""
        super().data_received(data)
        self._give()

    def process_event(self, event: Event) -> None:
        """Take a frame; the last one of a message completes it."""
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._parts.append(event.data)
        if event.fin:
            self._messages.append(bytes(self._parts[0]) if len(self._parts) == 1 else b"".join(self._parts))
            self._parts.clear()

    def begin(self, sink: Callable[[Sequence[bytes]], None], drained: Callable[[], None]) -> None:
        """From now on messages go to `sink`, those that have come already first."""
        self.sink, self.drained = sink, drained
        self._give()

    def _give(self) -> None:
        if self.sink is None or not self._messages or self.fault is not None:
            return
        messages, self._messages = self._messages, []
        try:
            self.sink(messages)
        except BaseException as error:  # whatever it is: `_serve` raises it; the event loop would only log it
            self.fault = error
            self.transport.abort()

    def resume_writing(self) -> None:
        """The write buffer is empty."""
        super().resume_writing()
        if self.drained is not None:
            self.drained()


class Transport:
    """Keeps one connection to `url` and tells its listener.

    Attributes:
        url: The WebSocket address.
    """

    def __init__(self, url: str, listener: Listener, clock: Clock, silence_ms: int, jitter: random.Random) -> None:
        """Prepare; nothing is opened before `run`."""
        self.url = url
        self._listener = listener
        self._clock = clock
        self._silence_ms = silence_ms
        self._jitter = jitter
        self._connection: _Connection | None = None
        self._staged = bytearray()
        self._dropped = ""
        self._failures = 0
        self._heard_ms = 0
        self._attempts = MessageRate(CONNECTIONS_PER_MINUTE)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            await asyncio.sleep(self._attempts.wait_ms(self._clock.monotonic_ms()) / 1_000)
            self._attempts.record(self._clock.monotonic_ms())
            self._listener.on_connecting()
            try:
                async with connect(
                    self.url,
                    logger=_QUIET,
                    proxy=None,  # as the questions over HTTP go
                    compression=None,
                    ping_interval=None,
                    open_timeout=OPEN_TIMEOUT_S,
                    close_timeout=1,
                    max_size=MAX_FRAME_BYTES,
                    write_limit=0,  # so that it says when all is written
                    create_connection=_Connection,
                ) as connection:
                    reason = await self._serve(connection)
            except (OSError, WebSocketException, TimeoutError) as error:
                reason = _describe(error)
            retry_ms = self._jitter.randint(0, min(BACKOFF_CAP_MS, BACKOFF_MS << min(self._failures, 10)))
            self._failures += 1
            self._listener.on_lost(reason, retry_ms)
            await asyncio.sleep(retry_ms / 1_000)

    @property
    def writable(self) -> bool:
        """Whether a frame would go straight to the operating system, neither refused nor held back (finding X6)."""
        connection = self._connection
        return (
            connection is not None
            and connection.state is State.OPEN
            and not connection.transport.is_closing()
            and connection.transport.get_write_buffer_size() == 0
        )

    @property
    def silent_ms(self) -> int:
        """How long nothing has arrived on the open connection, ms."""
        return self._clock.monotonic_ms() - self._heard_ms

    @property
    def staged(self) -> int:
        """How many bytes wait for `flush`."""
        return len(self._staged)

    def write(self, frame: str) -> None:
        """Hand a text frame to the socket, now, whatever is staged.

        Raises:
            NotWritten: Certainly nothing left: there is no open connection.
            WriteBroken: A part may have left.
        """
        connection = self._open_connection()
        self._hand_on(connection, self._framed(connection, frame))

    def stage(self, frame: str) -> None:
        """Keep a text frame for `flush`; it leaves on this connection or not at all.

        Raises:
            NotWritten: Certainly nothing left: there is no open connection.
        """
        self._staged += self._framed(self._open_connection(), frame)

    def flush(self) -> None:
        """Hand all that is staged to the socket, now, in one piece.

        Raises:
            NotWritten: Certainly nothing left: the connection is not open any more.
            WriteBroken: A part may have left.
        """
        staged, self._staged = self._staged, bytearray()
        self._hand_on(self._open_connection(), staged)

    def _open_connection(self) -> _Connection:
        connection = self._connection
        if connection is None or connection.state is not State.OPEN or connection.transport.is_closing():
            raise NotWritten("the connection is not open")
        return connection

    @staticmethod
    def _framed(connection: _Connection, text: str) -> bytes:
        connection.protocol.send_text(text.encode())
        return b"".join(connection.protocol.data_to_send())

    @staticmethod
    def _hand_on(connection: _Connection, data: bytes | bytearray) -> None:
        try:
            connection.transport.write(data)
        except (OSError, RuntimeError) as error:
            raise WriteBroken(_describe(error)) from None
        if connection.transport.is_closing():
            raise WriteBroken("the connection broke while writing")

    def abort(self, reason: str) -> None:
        """Drop the connection at once, with what is staged, for `reason`; `run` opens the next one."""
        self._staged.clear()
        if self._connection is not None:
            self._dropped = reason
            self._connection.transport.abort()

    async def _serve(self, connection: ClientConnection) -> str:
        """Hand frames on until the connection ends; returns why it did."""
        if not isinstance(connection, _Connection):
            raise TypeError(f"the library made a {type(connection).__name__}")
        self._connection = connection
        self._dropped = ""
        self._heard_ms = self._clock.monotonic_ms()
        self._listener.on_open()
        self._watch_silence(connection)
        connection.begin(self._on_frames, self._listener.on_writable)
        try:
            while True:
                await connection.recv()  # only ever ends with the connection
        except ConnectionClosed as error:
            if connection.fault is not None:
                raise connection.fault from error
            return self._dropped or f"closed by the venue: {error}"
        finally:
            self._connection = None
            self._staged.clear()

    def _on_frames(self, frames: Sequence[bytes]) -> None:
        self._heard_ms = self._clock.monotonic_ms()
        self._failures = 0  # only now: a venue that accepts and hangs up at once is not asked more often
        self._listener.on_frames(frames)

    def _watch_silence(self, connection: _Connection) -> None:
        """Recycle a connection on which nothing at all arrives (design.md, Quarantine)."""
        if self._connection is not connection:
            return
        left_ms = self._silence_ms - self.silent_ms
        if left_ms <= 0:
            self.abort(f"nothing arrived for {self._silence_ms} ms")
        else:
            asyncio.get_running_loop().call_later(left_ms / 1_000, self._watch_silence, connection)


def _describe(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
