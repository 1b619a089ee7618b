"""Where the executor's time goes, by part: a profile of one scenario.

    python -m adapters.bench.profiling [SCENARIO]

The profiler counts every call, which makes code of many small calls look dearer than it is; shares are good for
comparing parts, and the prices of whole parts are what `hip3 bench` measures by leaving them out.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from adapters.bench.client import calls, opened
from adapters.bench.errors import NotProfiled
from adapters.bench.measuring import Window
from adapters.bench.messages import Job, Steady
from adapters.bench.runner import require_means, venue
from adapters.bench.scenarios import SCENARIOS
from adapters.bench.variants import EXECUTOR
from adapters.process import quiet_garbage

Function: TypeAlias = tuple[str, int, str]
"""As the profiler names it: file, line, name; the file of what is not written in Python is `~`."""

_SECONDS: Final = 3.0
_ROOT: Final = str(Path(__file__).parents[2])
_PARTS: Final = (
    ("signing", ("adapters/hyperliquid/signing.py", "coincurve/", "sha3")),
    ("machines", ("machines/",)),
    ("invariants", ("spec/", "adapters/monitor.py")),
    ("recorder", ("adapters/recorder.py",)),
    ("journal", ("adapters/journal/",)),
    ("checks of requests, wire format", ("adapters/hyperliquid/", "adapters/reception.py")),
    ("WebSocket", ("adapters/transport.py", "websockets/")),
    (
        "driver, tickets, clock",
        ("adapters/driver.py", "adapters/executor.py", "adapters/ticket.py", "adapters/clock.py"),
    ),
    ("event loop", ("asyncio/", "selectors.py")),
    ("who asks", ("adapters/bench/",)),
)
"""Each part, and how the paths of its files begin below the project, or below the folder of their package."""
OTHERS: Final = "everything else"


_LOADS: Final = {
    name: entry.load
    for name, scenario in SCENARIOS.items()
    for entry in scenario.entries
    if entry.name == EXECUTOR.name and isinstance(entry.load, Steady)
}


def part_of(file: str) -> str:
    """The part that a file belongs to."""
    path = file.removeprefix(_ROOT).lstrip("/") if file.startswith(_ROOT) and "site-packages" not in file else file
    for part, beginnings in _PARTS:
        if any(path.startswith(start) or f"/{start}" in path for start in beginnings):
            return part
    return OTHERS


def shares(stats: Mapping[Function, Any]) -> dict[str, float]:
    """The share of each part of the time, the largest first; what is not written in Python counts for who calls it."""
    spent: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, callers) in stats.items():
        if file == "~":
            for caller, (_, _, in_call, _) in callers.items():
                spent[part_of(caller[0])] += in_call
        else:
            spent[part_of(file)] += own
    total = sum(spent.values())
    return {part: time / total for part, time in spent.most_common()}


async def profiled(name: str, seconds: float) -> dict[str, float]:
    """The shares of a scenario with steady load.

    Raises:
        NotProfiled: There is no such scenario, or its load is not steady.
    """
    load = _LOADS.get(name)
    if load is None:
        raise NotProfiled(f"{name!r} is not profiled; choose one of {', '.join(_LOADS)}")
    profiler = cProfile.Profile()
    with TemporaryDirectory(prefix="hip3-bench-") as folder:
        async with venue(load.delay_ms) as where:
            job = Job(variant=EXECUTOR.name, load=load, ws_url=where.ws_url, http_url=where.http_url, folder=folder)
            async with opened(job) as client:
                unseen = Window(where.http_url)  # which is never opened: only the profiler looks
                await calls(client, load, _for(seconds / 3), unseen)
                profiler.enable()
                await calls(client, load, _for(seconds), unseen)
                profiler.disable()
    return shares(pstats.Stats(profiler).stats)  # type: ignore[attr-defined]  # the stubs leave it out


def _for(seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield


def main() -> None:
    """Profile the scenario of the command line; 50 orders in flight by default."""
    require_means()
    quiet_garbage()
    try:
        found = asyncio.run(profiled(sys.argv[1] if len(sys.argv) > 1 else "flight", _SECONDS))
    except NotProfiled as error:
        sys.exit(str(error))
    for part, share in found.items():
        sys.stdout.write(f"{share:6.1%}  {part}\n")


if __name__ == "__main__":
    main()
