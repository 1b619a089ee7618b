"""Starts the processes of a benchmark, one venue and one client for each measurement, and collects what they say.

Rounds are interleaved: every client has its first round, then every client its second, and so on, in an order that
alternates; so what else the machine does hits all of them alike.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from adapters.bench.errors import ExtraMissing, NeedsLinux, RunFailed
from adapters.bench.messages import Burst, Course, Job, Measures, Steady, Where
from adapters.bench.scenarios import Scenario
from adapters.bench.variants import Variant

_START_S: Final = 30.0
_RUN_S: Final = 600.0
_END_S: Final = 10.0
_ENVIRONMENT: Final = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
"""The venue is on this machine, whatever proxy the SDK is told to use."""


_MODULES: Final = {"hyperliquid-python-sdk": "hyperliquid", "picows": "picows", "uvloop": "uvloop"}
"""What the extra `bench` brings, and how it is imported."""


def require_means() -> None:
    """See that all is there that the processes need.

    Raises:
        NeedsLinux: This is another system.
        ExtraMissing: A package is not installed.
    """
    if sys.platform != "linux":
        raise NeedsLinux("the benchmark reads /proc and compares clocks of processes, as Linux lets it; run it there")
    missing = [package for package, module in _MODULES.items() if find_spec(module) is None]
    if missing:
        raise ExtraMissing(f"the benchmark needs {', '.join(missing)}: pip install 'hip3-executor[bench]'")


class Run(msgspec.Struct, frozen=True):
    """What one entry did in one round of a scenario."""

    scenario: str
    entry: str
    round: int
    measures: Measures


async def runs_of(scenario: Scenario, rounds: int, *, quick: bool) -> AsyncIterator[Run]:
    """All rounds of all entries, as they end; in a hurry if they are to be `quick`.

    Raises:
        RunFailed: A run gave no measures.
    """
    for number in range(1, rounds_of(scenario, rounds) + 1):
        for entry in scenario.entries if number % 2 else reversed(scenario.entries):
            measures = await measure(entry.variant, entry.load.hurried() if quick else entry.load)
            yield Run(scenario.name, entry.name, number, measures)


def rounds_of(scenario: Scenario, wanted: int) -> int:
    """How many rounds a scenario has."""
    return 1 if scenario.once else wanted


async def measure(variant: Variant, load: Steady | Burst | Course) -> Measures:
    """One run.

    Raises:
        RunFailed: It gave no measures.
    """
    with TemporaryDirectory(prefix="hip3-bench-") as folder:
        try:
            async with _process("adapters.bench.client") as client, venue(load.delay_ms) as where:
                job = Job(variant=variant.name, load=load, ws_url=where.ws_url, http_url=where.http_url, folder=folder)
                client.input.write(msgspec.json.encode(job) + b"\n")
                told = await asyncio.wait_for(client.output.read(), _RUN_S)
                return msgspec.json.decode(told, type=Measures)
        except TimeoutError:
            raise RunFailed(f"{variant.name}, or its venue, took too long") from None
        except msgspec.DecodeError as error:
            raise RunFailed(f"{variant.name}, or its venue, ended early; what it said is above") from error


@asynccontextmanager
async def venue(delay_ms: int = 0) -> AsyncIterator[Where]:
    """The benchmark's venue, for as long as the context lasts."""
    async with _process("adapters.bench.venue", "--delay-ms", str(delay_ms)) as process:
        yield msgspec.json.decode(await asyncio.wait_for(process.output.readline(), _START_S), type=Where)


@dataclass(frozen=True, slots=True)
class _Pipes:
    """How to talk to a process."""

    input: asyncio.StreamWriter
    output: asyncio.StreamReader


@asynccontextmanager
async def _process(module: str, *options: str) -> AsyncIterator[_Pipes]:
    """A process for as long as the context lasts; in a group of its own, so that Ctrl-C reaches only this one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *options, stdin=PIPE, stdout=PIPE, env=os.environ | _ENVIRONMENT, process_group=0
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RunFailed(f"{module} was started without its pipes")
        yield _Pipes(process.stdin, process.stdout)
        process.stdin.close()  # it ends with its input
        await asyncio.wait_for(process.wait(), _END_S)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
