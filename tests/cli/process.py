"""`hip3` as a process of its own: what it is told, what it answers, what it logs, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PATIENCE_S = 30.0


class Hip3:
    """One run of a command.

    Attributes:
        log: Lines of standard error that are JSON, so far.
        plain: Its other lines.
    """

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Prepare to run `hip3` with these arguments."""
        self.log: list[dict[str, Any]] = []
        self.plain: list[str] = []
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "adapters.cli",
            *self._arguments,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=ROOT,
            env=self._environment,
        )
        self._reading = asyncio.create_task(self._read_log())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.process.kill()
        assert self._reading is not None
        await self._reading  # to its end; so `communicate`, which reads the same stream, can't be used
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.rest()
        await self.process.wait()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process, once it was started."""
        assert self._process is not None
        return self._process

    @property
    def events(self) -> list[str]:
        """The events logged so far."""
        return [line["event"] for line in self.log]

    def say(self, *commands: dict[str, Any] | bytes) -> None:
        """Write lines to its standard input."""
        stdin = self.process.stdin
        assert stdin is not None
        for command in commands:
            stdin.write(command if isinstance(command, bytes) else json.dumps(command).encode() + b"\n")

    def finish(self) -> None:
        """End its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write_eof()

    async def answer(self) -> dict[str, Any]:
        """Its next answer."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def outcome(self, ref: str) -> dict[str, Any]:
        """The outcome of the command `ref`; answers in between are passed over."""
        while True:
            answer = await self.answer()
            if answer.get("ref") == ref and "outcome" in answer:
                return answer

    async def rest(self) -> str:
        """The rest of its standard output."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.read(), PATIENCE_S)).decode()

    async def logged(self, event: str, times: int = 1) -> None:
        """Wait until `event` has been logged so many times."""
        async with asyncio.timeout(PATIENCE_S):
            while self.events.count(event) < times:
                self._moved.clear()
                await self._moved.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait for its end."""
        code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        if self._reading is not None:
            await self._reading
        return code

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.plain.append(line.decode().rstrip())
            self._moved.set()
