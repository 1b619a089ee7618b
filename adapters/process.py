"""How a process that trades is set up: its event loop, and when it looks for garbage.

Neither changes what the executor does, only how evenly it does it. A strategy that embeds the executor can use it in
place of `asyncio.run`:

    process.run(main())
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

GARBAGE: Final = (10_000, 20, 50)
"""Thresholds of the garbage collector (`gc.set_threshold`); Python's own are 700, 10, 10.

Orders leave hardly any cycles behind. With Python's thresholds the collector walks through all that the program ever
imported every few thousand orders, and nothing is sent for as long: tens of ms."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end, as `asyncio.run` does: on uvloop if it is installed, with the garbage collector quiet."""
    quiet_garbage()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def quiet_garbage() -> None:
    """Take all objects that exist by now for permanent, and look for garbage among the others less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The extra `uvloop`, if it was installed; None for the loop of the standard library."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
