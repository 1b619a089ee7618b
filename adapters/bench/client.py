"""A client's process: it reads its job, does it, and prints the measures.

    python -m adapters.bench.client

The job is a line of JSON on standard input, and so are the measures on standard output. The process does not outlive
its standard input, so that none stays behind when the one that started it is gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import msgspec

from adapters.bench.floor import Floor
from adapters.bench.measuring import Window, memory_mb
from adapters.bench.messages import Burst, Course, Job, Mark, Measures, Steady
from adapters.bench.trader import Told, Trader
from adapters.bench.variants import VARIANTS
from adapters.hyperliquid.signing import Signer
from adapters.logs import configure_logs
from adapters.process import quiet_garbage

_KEY: Final = (1).to_bytes(32, "big")
"""The venue knows no keys; with the same one every time, the same is signed."""


class Poster(Protocol):
    """A client without a queue: each call is a post, and leaves when it is called."""

    async def place(self, count: int) -> Sequence[int]:
        """Place orders that trade at once, in one post; their oids."""
        ...

    async def cancel(self, oids: Sequence[int]) -> None:
        """Cancel orders, in one post."""
        ...


Client: TypeAlias = Trader | Poster


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[Client]:
    """The client of a job, ready to trade."""
    variant = VARIANTS[job.variant]
    if variant.kind == "executor":
        async with Trader.open(job, variant, _KEY) as trader:
            yield trader
    elif variant.kind == "floor":
        floor = await Floor.open(job.ws_url, Signer(_KEY))
        yield floor
        await floor.close()
    else:
        from adapters.bench.sdk import Sdk  # an extra; and the others are not measured with its modules

        yield Sdk(job.http_url, _KEY)


async def perform(job: Job) -> Measures:
    """Do a job."""
    async with opened(job) as client:
        window = Window(job.http_url)
        match job.load:
            case Steady():
                return await _steady(client, job.load, window)
            case Burst():
                return await _bursts(client, job.load, window)
            case Course():
                return await _course(client, job.load, window, Path(job.folder))


async def _steady(client: Client, load: Steady, window: Window) -> Measures:
    """Open the window over calls that are under way already, and close it before they end."""
    stopped = asyncio.Event()
    calling = asyncio.create_task(calls(client, load, _until(stopped), window))
    try:
        await _unless_done(calling, load.warm_up_s)
        with window:
            await _unless_done(calling, load.seconds)
    finally:
        stopped.set()
        await calling
    return window.measures()


async def _unless_done(calling: asyncio.Task[None], seconds: float) -> None:
    """Wait; not for callers that have failed."""
    await asyncio.wait([calling], timeout=seconds)


async def _bursts(client: Client, load: Burst, window: Window) -> Measures:
    """One burst unmeasured, then as many as there is time for."""
    ahead = 0
    await _burst(client, load)
    until = time.perf_counter() + load.seconds
    while not window.seconds or time.perf_counter() < until:
        with window:
            told = await _burst(client, load)
        after = window.record.posts[window.seen_before + told.sent - window.record.seen :]
        last = max(place for place, post in enumerate(after) if post.action == "cancel")
        ahead = max(ahead, sum(post.action == "order" for post in after[:last]))
        window.add(told.called_ns, after[last].received_ns, told.answered_ns, load.orders + load.cancels)
    return window.measures(posts_ahead=ahead)


async def _burst(client: Client, load: Burst) -> Told:
    """One burst; a client without a queue is asked for all of it at once."""
    if isinstance(client, Trader):
        return await client.burst(load)
    called, size = time.perf_counter_ns(), load.per_call
    orders = [asyncio.create_task(client.place(size)) for _ in range(0, load.orders, size)]
    cancels = [asyncio.create_task(client.cancel(range(oid, oid + size))) for oid in range(1, load.cancels + 1, size)]
    await asyncio.gather(*cancels)
    answered = time.perf_counter_ns()
    await asyncio.gather(*orders)
    return Told(called, answered, 0)


async def _course(client: Client, load: Course, window: Window, folder: Path) -> Measures:
    """All orders, with a mark after each part of them."""
    course: list[Mark] = []
    part = load.orders // load.marks
    with window:
        for number in range(1, load.marks + 1):
            began = time.perf_counter()
            await calls(client, load, iter(range(part // load.per_call)), window)
            rate = part / (time.perf_counter() - began)
            journal_mb = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            course.append(
                Mark(orders=number * part, rss_mb=memory_mb("VmRSS"), orders_per_s=rate, journal_mb=journal_mb)
            )
    return window.measures(course=tuple(course))


async def calls(client: Client, load: Steady | Course, turns: Iterable[object], window: Window) -> None:
    """Place orders, with as many calls under way as the load says, for as long as there are turns."""
    pause_s = load.pause_ms / 1_000 if isinstance(load, Steady) else 0.0
    await asyncio.gather(*(_caller(client, load.per_call, turns, window, pause_s) for _ in range(load.calls)))


async def _caller(client: Client, size: int, turns: Iterable[object], window: Window, pause_s: float) -> None:
    for _ in turns:
        called = time.perf_counter_ns()
        oids = await client.place(size)
        if window.is_open:
            window.add(called, max(oids), time.perf_counter_ns(), size)
        if pause_s:
            await asyncio.sleep(pause_s)


def _until(stopped: asyncio.Event) -> Iterator[None]:
    while not stopped.is_set():
        yield


def _end_with_standard_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Do the job on standard input."""
    configure_logs(logging.WARNING)
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(1)  # who would have given it a job is gone
    job = msgspec.json.decode(line, type=Job)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    quiet_garbage()  # for everybody: what it brings is not the executor's merit
    if VARIANTS[job.variant].on_uvloop:
        import uvloop  # an extra; what is measured without it is not measured with its modules

        measures = uvloop.run(perform(job))
    else:
        measures = asyncio.run(perform(job))
    sys.stdout.write(msgspec.json.encode(measures).decode())


if __name__ == "__main__":
    main()
