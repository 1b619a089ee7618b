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
from collections.abc import Iterable

import msgspec

from adapters.bench.measuring import Window
from adapters.bench.messages import Job, Load, Measures
from adapters.bench.traders import Client, opened
from adapters.bench.variants import VARIANTS
from adapters.logs import configure_logs


async def perform(job: Job) -> Measures:
    """Do a job."""
    async with opened(job) as client:
        await _calls(client, job.load, job.load.warm_up, Window(job.http_url))
        with Window(job.http_url) as window:
            await _calls(client, job.load, job.load.orders, window)
    return window.measures(job.load.orders)


async def _calls(client: Client, load: Load, orders: int, window: Window) -> None:
    """Place orders, with as many calls under way as the load says, always."""
    calls = iter(range(orders // load.per_call))
    await asyncio.gather(*(_caller(client, load, calls, window) for _ in range(load.calls)))


async def _caller(client: Client, load: Load, calls: Iterable[int], window: Window) -> None:
    for _ in calls:
        called = time.perf_counter_ns()
        oids = await client.place(load.per_call)
        window.add(called, max(oids), time.perf_counter_ns())
        if load.pause_ms:
            await asyncio.sleep(load.pause_ms / 1_000)


def _end_with_standard_input() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> None:
    """Do the job on standard input."""
    configure_logs(logging.WARNING)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    if VARIANTS[job.variant].on_uvloop:
        import uvloop  # an extra; the others have to be measured where it is missing too

        measures = uvloop.run(perform(job))
    else:
        measures = asyncio.run(perform(job))
    sys.stdout.write(msgspec.json.encode(measures).decode())


if __name__ == "__main__":
    main()
