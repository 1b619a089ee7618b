"""A TCP relay in a process of its own: killed with SIGKILL, it cuts every connection at whatever byte it was at."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess


class Relay:
    """Carries bytes between a port of its own and the venue's.

    Attributes:
        port: Where it listens, the same after every cut.
        cuts: How often it was killed.
    """

    def __init__(self, context: ForkServerContext, target_port: int) -> None:
        """Listen, and start the process that relays."""
        self._context = context
        self._target = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self._process = self._start()

    def _start(self) -> BaseProcess:
        process = self._context.Process(target=_relay, args=(self._listener, self._target), daemon=True)
        process.start()
        return process

    def cut(self) -> None:
        """Kill the relay and start another one; connections are gone, the port stays open."""
        self.stop()
        self.cuts += 1
        self._process = self._start()

    def stop(self) -> None:
        """Kill the relay."""
        if self._process.pid is not None:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()

    def close(self) -> None:
        """Kill the relay and give the port back."""
        self.stop()
        self._listener.close()


def _relay(listener: socket.socket, target: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve(listener, target))


async def _serve(listener: socket.socket, target: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        venue_reader, venue_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_carry(reader, venue_writer), _carry(venue_reader, writer))

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def fork_server() -> ForkServerContext:
    """Starts processes in milliseconds: what they import is imported once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["adapters.executor", "tests.e2e.kill.life"])
    return context
