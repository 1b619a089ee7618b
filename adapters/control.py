"""Where commands come from: standard input, or a Unix socket that only its owner can reach."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import Any, BinaryIO, Final

import msgspec

from adapters.commands import LINE_LIMIT, CommandSession
from adapters.executor import Executor
from adapters.logs import get_logger

_READ_AHEAD: Final = 100
"""Lines read from standard input before the executor takes them."""
_UNREAD_ANSWERS: Final = 1_000
"""Answers that may wait for a slow reader of standard output; beyond, no more commands are taken."""
_PAUSE_S: Final = 0.05
_LAST_ANSWERS_S: Final = 2.0
"""How long a peer gets, in the end, to take the answers that still wait for it."""

log = get_logger("control")


class ControlUnusable(Exception):
    """The control socket can't be had; the message says why and what to do."""


async def serve_stdin(executor: Executor) -> None:
    """Carry out commands from standard input, until it ends and all outcomes have been told.

    Raises:
        ControlUnusable: Standard input or output is closed.
    """
    if sys.stdin is None or sys.stdout is None:  # their descriptors may be anything by now, a socket to the venue too
        raise ControlUnusable("standard input or output is closed; open both, or configure a control_socket")
    answers = _Answers(sys.stdout.fileno())
    session = CommandSession(executor, answers.put)
    try:
        await session.serve(_stdin_lines(sys.stdin.fileno(), answers))
    finally:
        await _tell_last(session)
        await answers.finish()


async def serve_socket(executor: Executor, path: Path) -> None:
    """Carry out commands of any number of peers on the Unix socket `path`, mode 0600, until cancelled.

    Raises:
        ControlUnusable: Another process listens there, or the path can't be used.
    """
    peers: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve_peer(executor, reader, writer))
        peers.add(task)
        task.add_done_callback(peers.discard)

    await _remove_stale(path)
    previous = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(accept, path, limit=LINE_LIMIT)
    except OSError as error:
        raise ControlUnusable(f"control_socket {path}: {error.strerror or error}") from None
    finally:
        os.umask(previous)
    try:
        async with server:
            await server.serve_forever()
    finally:
        for task in peers:
            task.cancel()
        await asyncio.gather(*peers, return_exceptions=True)
        path.unlink(missing_ok=True)


async def _serve_peer(executor: Executor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    session = CommandSession(executor, lambda answer: writer.write(_line(answer)))
    try:
        with suppress(ConnectionError):  # gone
            await session.serve(_peer_lines(reader, writer))
    finally:
        await _tell_last(session)
        writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), _LAST_ANSWERS_S)


async def _tell_last(session: CommandSession) -> None:
    """Tell the outcomes that a shutdown brought."""
    with suppress(TimeoutError):
        await asyncio.wait_for(session.told(), _LAST_ANSWERS_S)


async def _peer_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
    """Lines of a peer, as fast as it takes the answers; nothing is read behind one that is too long."""
    while True:
        try:
            line = await reader.readuntil()
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError:
            yield bytes(LINE_LIMIT + 1)
            return
        if not line:
            return
        yield line
        await writer.drain()


async def _remove_stale(path: Path) -> None:
    """Take away a socket that a killed executor left behind; one that answers stays, and so does any other file."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # not there, or out of reach: listening will show which
    if not stat.S_ISSOCK(mode):
        raise ControlUnusable(f"control_socket {path} is there and is no socket; name another path")
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except ConnectionRefusedError:
        path.unlink()
        return
    except OSError as error:
        raise ControlUnusable(f"control_socket {path} can't be reached: {error.strerror or error}") from None
    writer.close()
    raise ControlUnusable(f"control_socket {path} is in use: another executor listens there")


def _line(answer: dict[str, Any]) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


class _Answers:
    """Answers on standard output, written by a thread: a slow reader must not hold back the executor.

    The threads here use the file descriptors themselves. `sys.stdin` and `sys.stdout` have locks that the interpreter
    wants in its end, and a thread that still waits for a peer would not give them back.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: Queue[bytes | None] = Queue()
        self._thread = threading.Thread(target=self._write, name="hip3 stdout", daemon=True)
        self._thread.start()

    def put(self, answer: dict[str, Any]) -> None:
        """Let an answer be written after those that wait."""
        self._waiting.put(_line(answer))

    async def ready(self) -> None:
        """Wait until the reader has caught up well enough for more commands to be taken."""
        while self._waiting.qsize() > _UNREAD_ANSWERS:  # noqa: ASYNC110 - what it waits for happens in a thread
            await asyncio.sleep(_PAUSE_S)

    async def finish(self) -> None:
        """Wait until all is written, though not for ever."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join, _LAST_ANSWERS_S)

    def _write(self) -> None:
        reading = True
        while (line := self._waiting.get()) is not None:
            try:
                while line and reading:
                    line = line[os.write(self._descriptor, line) :]
            except OSError as error:
                reading = False
                log.warning("answers_not_read", reason=error.strerror)


async def _stdin_lines(descriptor: int, answers: _Answers) -> AsyncIterator[bytes]:
    """Lines of standard input; read by a thread, because a file or a terminal can't be awaited."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue(_READ_AHEAD)

    def read() -> None:
        with suppress(RuntimeError, CancelledError):  # the loop is closed: the executor has shut down
            while True:
                line = _read_line(source)
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
                if not line:
                    return

    source = open(descriptor, "rb", closefd=False)  # noqa: SIM115, ASYNC230 - the thread's, to its end
    # A daemon: a read that never returns must not keep the process from ending.
    threading.Thread(target=read, name="hip3 stdin", daemon=True).start()
    while line := await lines.get():
        yield line
        await answers.ready()


def _read_line(source: BinaryIO) -> bytes:
    """The next line; of one that is too long only so much as shows it, and nothing at the end."""
    line = source.readline(LINE_LIMIT + 1)
    rest = line
    while len(rest) > LINE_LIMIT and not rest.endswith(b"\n"):
        rest = source.readline(LINE_LIMIT + 1)
    return line
