"""Where commands come from: real pipes in the place of standard input and output, and real Unix sockets."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from adapters import control
from adapters.commands import LINE_LIMIT
from adapters.control import ControlUnusable, serve_socket, serve_stdin
from tests.adapters.live import PATIENCE_S, Live, live, until

ORDER: dict[str, Any] = {"op": "order", "market": "BTC", "side": "buy", "size": "0.01", "price": "50000"}


def line(command: dict[str, Any]) -> bytes:
    return json.dumps(command).encode() + b"\n"


# --------------------------------------------------------------------------------------- standard input and output


class Pipes:
    """Our ends of the pipes that stand for standard input and output."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.answers: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        os.write(self.stdin, data)

    def finish(self) -> None:
        """End the input."""
        os.close(self.stdin)
        self.stdin = -1

    def read(self) -> list[dict[str, Any]]:
        """All answers until the executor's end is closed, read by a thread so that none is held back."""
        with os.fdopen(os.dup(self.stdout), "rb") as answers:
            self.answers = [json.loads(answer) for answer in answers]
        return self.answers


@contextmanager
def pipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    """Pipes as `sys.stdin` and `sys.stdout`."""
    from_us, to_us = os.pipe(), os.pipe()
    with os.fdopen(from_us[0], "r") as stdin, os.fdopen(to_us[1], "w") as stdout:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys, "stdout", stdout)
        ends = Pipes(from_us[1], to_us[0])
        try:
            yield ends
        finally:
            monkeypatch.undo()
            for end in (ends.stdin, ends.stdout):
                if end >= 0:
                    os.close(end)


@asynccontextmanager
async def on_stdin(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Live, Pipes, asyncio.Task[None]]]:
    async with live(tick_ms=0) as world:
        with pipes(monkeypatch) as ends:
            serving = asyncio.create_task(serve_stdin(world.executor))
            yield world, ends, serving


async def answers_of(ends: Pipes) -> list[dict[str, Any]]:
    """What was answered, once standard output is closed."""
    sys.stdout.close()
    return await asyncio.to_thread(ends.read)


async def test_commands_on_standard_input_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stdin(monkeypatch) as (_, ends, serving):
        ends.write(line({**ORDER, "ref": "a"}) + b"garbage\n" + line({**ORDER, "ref": "b", "price": "60000"}))
        ends.write(b'{"op":"status","ref":"last"}')  # no newline in the end
        ends.finish()
        await asyncio.wait_for(serving, PATIENCE_S)
        answers = await answers_of(ends)
        assert sorted(str(answer["ref"]) for answer in answers) == ["None", "a", "a", "b", "b", "last"]
        assert [answer["outcome"] for answer in answers if "outcome" in answer] == ["resting", "resting"]


async def test_a_line_that_is_too_long_is_one_bad_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """No part of it is taken for a command, whatever it says."""
    async with on_stdin(monkeypatch) as (world, ends, serving):
        long = b'{"op":"halt","reason":"' + b"x" * 3 * LINE_LIMIT
        text = long + line({"op": "halt", "reason": "no"}) + line({"op": "status", "ref": "s"})

        def say() -> None:
            ends.write(text)
            ends.finish()

        writing = threading.Thread(target=say)
        writing.start()
        await asyncio.wait_for(serving, PATIENCE_S)
        writing.join()
        answers = await answers_of(ends)
        assert [(answer.get("error"), answer["ref"]) for answer in answers] == [("MalformedCommand", None), (None, "s")]
        assert not world.executor.core.hard_stop.tripped


async def test_a_reader_that_does_not_read_does_not_hold_back_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_UNREAD_ANSWERS", 10)
    monkeypatch.setattr(control, "_PAUSE_S", 0.001)
    async with on_stdin(monkeypatch) as (world, ends, serving):
        for pipe in (ends.stdin, ends.stdout):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4_096)
        count = 600  # far more than the pipes and the queues between them hold

        def ask() -> None:
            ends.write(line({**ORDER, "ref": "first"}))
            for number in range(count):
                ends.write(line({"op": "status", "ref": str(number)}))
            ends.finish()

        writing = threading.Thread(target=ask)
        writing.start()
        await until(lambda: world.executor.core.intents.ended == 1)
        await asyncio.sleep(0.2)
        assert writing.is_alive(), "no more is taken than is read"
        await world.disconnect()
        await world.ready()  # all the while it lives
        reading = asyncio.create_task(asyncio.to_thread(ends.read))
        await asyncio.wait_for(serving, PATIENCE_S)
        sys.stdout.close()
        answers = await asyncio.wait_for(reading, PATIENCE_S)
        assert len(answers) == count + 2
        assert [answer["ref"] for answer in answers if "session" in answer] == [str(number) for number in range(count)]


async def test_a_reader_that_went_away_is_noted_and_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with on_stdin(monkeypatch) as (world, ends, serving):
        os.close(ends.stdout)
        ends.stdout = -1
        for _ in range(3):
            ends.write(line(ORDER))
        await until(lambda: world.executor.core.intents.ended == 3)
        ends.finish()
        await asyncio.wait_for(serving, PATIENCE_S)
        assert caplog.text.count("answers_not_read") == 1


async def test_a_shutdown_still_tells_what_it_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_stdin(monkeypatch) as (world, ends, serving):
        world.wire.answers.clear()
        ends.write(line({**ORDER, "ref": "o"}))
        await until(lambda: len(world.actions) == 1)
        serving.cancel()
        await asyncio.sleep(0.05)
        world.wire.answers.set()  # the outcome comes when nothing more is taken
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(serving, PATIENCE_S)
        answers = await answers_of(ends)
        assert [answer.get("outcome", answer.get("admission")) for answer in answers] == ["queued", "resting"]


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
async def test_closed_standard_streams_are_refused(monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    async with live() as world:
        with pipes(monkeypatch):
            monkeypatch.setattr(sys, closed, None)
            with pytest.raises(ControlUnusable, match="standard input or output is closed"):
                await serve_stdin(world.executor)


# ------------------------------------------------------------------------------------------------------ the socket


class Client:
    """A peer on the control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self.writer.write(line(command))
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(self.reader.readline(), PATIENCE_S))
        return answer


@asynccontextmanager
async def on_socket(path: Path) -> AsyncIterator[tuple[Live, asyncio.Task[None]]]:
    async with live(tick_ms=0) as world:
        serving = asyncio.create_task(serve_socket(world.executor, path))
        try:
            await until(lambda: answers(path))
            yield world, serving
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        assert not path.exists()


def answers(path: Path) -> bool:
    """Whether somebody listens on the socket."""
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hip3.sock"


async def test_only_the_owner_can_reach_it_and_several_peers_can_at_once(path: Path) -> None:
    async with on_socket(path) as (_, _task), client(path) as first, client(path) as second:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
        await first.ask({**ORDER, "ref": "mine"})
        status = await second.ask({"op": "status", "ref": "yours"})
        outcome = await first.hear()
        assert (status["ref"], outcome["ref"], outcome["outcome"]) == ("yours", "mine", "resting")


async def test_a_peer_that_leaves_disturbs_nobody(path: Path) -> None:
    async with on_socket(path) as (world, serving):
        world.wire.answers.clear()
        async with client(path) as leaver:
            await leaver.ask(ORDER)
        async with client(path) as rude:
            rude.writer.write(line(ORDER))
            rude.writer.transport.abort()
        world.wire.answers.set()
        async with client(path) as stayer:
            assert (await stayer.ask({"op": "status"}))["session"] == "ready"
        await until(lambda: world.executor.core.idle)
        assert not serving.done()


async def test_a_peer_may_end_its_input_and_still_hears_the_outcome(path: Path) -> None:
    async with on_socket(path), client(path) as peer:
        peer.writer.write(line({**ORDER, "ref": "x"}).rstrip())
        peer.writer.write_eof()
        assert (await peer.hear())["admission"] == "queued"
        assert (await peer.hear())["outcome"] == "resting"
        assert await peer.reader.read() == b""


async def test_behind_a_line_that_is_too_long_nothing_is_read(path: Path) -> None:
    async with on_socket(path) as (world, _), client(path) as peer:
        peer.writer.write(b"x" * (LINE_LIMIT + 10) + b"\n" + line({"op": "halt", "reason": "no"}))
        answer = await peer.hear()
        assert answer["error"] == "MalformedCommand"
        with suppress(ConnectionError):
            assert await peer.reader.read() == b""
        assert not world.executor.core.hard_stop.tripped


async def flood(peer: socket.socket) -> None:
    """Ask for ever."""
    while True:
        peer.sendall(line({"op": "status"}))
        await asyncio.sleep(0)


async def test_a_peer_that_does_not_read_is_not_read_either(path: Path) -> None:
    async with on_socket(path) as (world, _):
        with closing(socket.socket(socket.AF_UNIX)) as peer:
            peer.setblocking(False)
            peer.connect(str(path))
            with pytest.raises(BlockingIOError):
                await flood(peer)
            async with client(path) as other:
                assert (await other.ask({"op": "status"}))["session"] == "ready"
        assert world.executor.core.new_orders_pass


async def test_a_shutdown_tells_the_peers_what_it_brought(path: Path) -> None:
    async with on_socket(path) as (world, serving), client(path) as peer:
        world.wire.answers.clear()
        await peer.ask({**ORDER, "ref": "o"})
        await until(lambda: len(world.actions) == 1)
        serving.cancel()
        await asyncio.sleep(0.05)
        world.wire.answers.set()
        assert (await peer.hear())["outcome"] == "resting"
        assert await peer.reader.read() == b""


async def test_a_socket_that_a_killed_executor_left_is_replaced(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    async with on_socket(path), client(path) as peer:
        assert (await peer.ask({"op": "status"}))["session"] == "ready"


async def test_a_socket_in_use_is_refused_and_left_alone(path: Path) -> None:
    async with on_socket(path) as (world, _):
        with pytest.raises(ControlUnusable, match=r"hip3\.sock is in use: another executor listens there"):
            await serve_socket(world.executor, path)
        async with client(path) as peer:
            assert (await peer.ask({"op": "status"}))["session"] == "ready"


async def test_any_other_file_is_refused_and_left_alone(path: Path, tmp_path: Path) -> None:
    """A connect to a regular file is refused like one to a dead socket; it must not be deleted for that."""
    path.write_text("precious", encoding="ascii")
    link = tmp_path / "link"
    link.symlink_to(path)
    async with live() as world:
        for other in (path, link, tmp_path):
            with pytest.raises(ControlUnusable, match="is there and is no socket; name another path"):
                await serve_socket(world.executor, other)
    assert path.read_text(encoding="ascii") == "precious"
    assert link.is_symlink()


async def test_a_path_that_can_not_be_used_says_why(tmp_path: Path) -> None:
    other = tmp_path / "datagrams"
    async with live() as world:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as datagrams:
            datagrams.bind(str(other))
            with pytest.raises(ControlUnusable, match="can't be reached: Protocol wrong type"):
                await serve_socket(world.executor, other)
        with pytest.raises(ControlUnusable, match="No such file or directory"):
            await serve_socket(world.executor, tmp_path / "missing" / "hip3.sock")
        with pytest.raises(ControlUnusable, match="too long"):
            await serve_socket(world.executor, tmp_path / ("x" * 120))
