"""One venue of the benchmark, as the process that it is, for the tests of a module."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from adapters.bench.messages import Where
from adapters.bench.runner import venue


@pytest.fixture(scope="module")
def where() -> Iterator[Where]:
    """Where it listens."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(stack.enter_async_context(venue()))
        finally:
            runner.run(stack.aclose())
