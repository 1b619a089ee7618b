"""Where commands come from: standard input, or a Unix socket that only its owner can reach."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.commands import CommandSession
from adapters.executor import Executor

LINE_LIMIT: Final = 64 * 1024
"""Bytes in a command; an order takes about 200."""
_READ_AHEAD: Final = 100
"""Lines read from standard input before the executor takes them."""


class ControlUnusable(Exception):
    """The control socket can't be had; the message says why and what to do."""


async def serve_stdin(executor: Executor) -> None:
    """Carry out commands from standard input until it ends and all outcomes have been told."""
    session = CommandSession(executor, _answer_on_stdout)
    await session.serve(_stdin_lines())


async def serve_socket(executor: Executor, path: Path) -> None:
    """Carry out commands of any number of peers on the Unix socket `path`, mode 0600, until cancelled.

    Raises:
        ControlUnusable: Another process listens there, or the path can't be used.
    """
    peers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = CommandSession(executor, lambda answer: writer.write(msgspec.json.encode(answer) + b"\n"))
        with suppress(ConnectionError, ValueError):  # gone, or a line beyond the limit
            await session.serve(reader)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        peers.add(task)
        task.add_done_callback(peers.discard)

    await _remove_stale(path)
    previous = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(accept, path, limit=LINE_LIMIT)
    except OSError as error:
        raise ControlUnusable(f"control_socket {path}: {error.strerror}") from None
    finally:
        os.umask(previous)
    try:
        async with server:
            await server.serve_forever()
    finally:
        for task in peers:
            task.cancel()
        path.unlink(missing_ok=True)


async def _remove_stale(path: Path) -> None:
    """Take away a socket that a killed executor left behind; one that answers stays."""
    if not path.exists():
        return
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except ConnectionRefusedError:
        path.unlink()
        return
    except OSError as error:
        raise ControlUnusable(f"control_socket {path} is there and is no socket: {error.strerror}") from None
    writer.close()
    raise ControlUnusable(f"control_socket {path} is in use: another executor listens there")


def _answer_on_stdout(answer: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


async def _stdin_lines() -> AsyncIterator[bytes]:
    """Lines of standard input; read by a thread, because a file or a terminal can't be awaited."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue(_READ_AHEAD)

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed: the executor has shut down
            while True:
                line = sys.stdin.buffer.readline(LINE_LIMIT)
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
                if not line:
                    return

    # A daemon: a read that never returns must not keep the process from ending.
    threading.Thread(target=read, name="hip3 stdin", daemon=True).start()
    while line := await lines.get():
        yield line
