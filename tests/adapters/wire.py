"""A TCP relay between an executor and a venue, whose connections a test can hold up, break and read.

It sits on real sockets, so that what the executor meets is what the operating system does: a peer that goes silent, a
reset in the middle of a step, frames that arrive long after they were sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

_CHUNK: Final = 65_536
_TEXT: Final = 0x81
_SHORT: Final = 125
_MASK_BYTES: Final = 4
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Link:
    client: socket.socket
    venue: socket.socket
    sent: bytearray = field(default_factory=bytearray)
    pumps: list[asyncio.Task[None]] = field(default_factory=list)


class Wire:
    """Relays any number of connections to one peer.

    Attributes:
        accepted: Connections accepted so far.
        sent: What clients sent, one buffer a connection; the handshake comes first.
        requests: Set while what clients send is relayed; clear it to hold that up.
        answers: Set while what the peer sends is relayed; clear it to hold that up.
        refusing: While true, new connections are hung up on.
    """

    def __init__(self, target: str) -> None:
        """Relay to the host and port of the URL `target`."""
        parts = urlsplit(target)
        self._peer = (str(parts.hostname), int(parts.port or 0))
        self._path = parts.path
        self.accepted = 0
        self.sent: list[bytearray] = []
        self.requests = asyncio.Event()
        self.answers = asyncio.Event()
        self.refusing = False
        self._links: set[_Link] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._accepting: asyncio.Task[None] | None = None

    @property
    def ws_url(self) -> str:
        """Where the relay listens."""
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}{self._path}"

    async def __aenter__(self) -> Self:
        self.requests.set()
        self.answers.set()
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()
        pumps = [pump for link in self._links for pump in link.pumps]
        self.reset()
        await asyncio.gather(*pumps, return_exceptions=True)

    def reset(self) -> None:
        """Break every connection now, with a TCP reset in both directions, before this call returns."""
        loop = asyncio.get_running_loop()
        for link in tuple(self._links):
            for end in (link.client, link.venue):
                loop.remove_reader(end)
                loop.remove_writer(end)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.close()
            for pump in link.pumps:
                pump.cancel()
            self._links.discard(link)

    async def inject(self, text: str) -> None:
        """Send the clients a frame of our own, as if the peer had; hold up its answers meanwhile."""
        payload = text.encode()
        length = struct.pack("!BH", 126, len(payload)) if len(payload) > _SHORT else bytes((len(payload),))
        for link in tuple(self._links):
            await asyncio.get_running_loop().sock_sendall(link.client, bytes((_TEXT,)) + length + payload)

    def frames(self, method: str) -> list[dict[str, Any]]:
        """The frames of this method that clients sent, oldest first."""
        frames = [json.loads(frame) for record in self.sent for frame in _client_frames(record)]
        return [frame for frame in frames if frame["method"] == method]

    def posts(self) -> list[dict[str, Any]]:
        """The posts that clients sent, oldest first."""
        return self.frames("post")

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            if self.refusing:
                client.close()
                continue
            self.accepted += 1
            venue = socket.socket()
            venue.setblocking(False)
            await loop.sock_connect(venue, self._peer)
            link = _Link(client, venue)
            self.sent.append(link.sent)
            self._links.add(link)
            link.pumps = [
                asyncio.create_task(self._pump(link, client, venue, self.requests, link.sent)),
                asyncio.create_task(self._pump(link, venue, client, self.answers, bytearray())),
            ]

    async def _pump(
        self, link: _Link, source: socket.socket, sink: socket.socket, flowing: asyncio.Event, record: bytearray
    ) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while chunk := await loop.sock_recv(source, _CHUNK):
                record += chunk
                await flowing.wait()
                await loop.sock_sendall(sink, chunk)
        self._end(link)

    def _end(self, link: _Link) -> None:
        """One side hung up: hang up on both."""
        if link in self._links:
            self._links.discard(link)
            for end in (link.client, link.venue):
                asyncio.get_running_loop().remove_reader(end)
                end.close()
            for pump in link.pumps:
                if pump is not asyncio.current_task():
                    pump.cancel()


def _client_frames(record: bytearray) -> Iterator[bytes]:
    """The text frames in what a client sent, unmasked (RFC 6455, 5.2); none of them is fragmented."""
    rest = bytes(record).partition(b"\r\n\r\n")[2]
    while rest:
        opcode, length, start = rest[0], rest[1] & 0x7F, 2
        if length > _SHORT:
            size = 2 if length == _SHORT + 1 else 8
            length, start = int.from_bytes(rest[2 : 2 + size], "big"), 2 + size
        mask, body = rest[start : start + _MASK_BYTES], rest[start + _MASK_BYTES :]
        if opcode == _TEXT:
            yield bytes(byte ^ mask[place % _MASK_BYTES] for place, byte in enumerate(body[:length]))
        rest = body[length:]
