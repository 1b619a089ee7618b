"""Events for readers: in order, to each, and never at the price of the executor's memory or pace."""

from __future__ import annotations

import asyncio

import pytest

from adapters.feed import BACKLOG, Feed, FeedLagged, Subscription
from tests.adapters.live import PATIENCE_S


async def read(reader: Subscription[int]) -> list[int]:
    """Everything until the end."""
    return [item async for item in reader]


async def test_each_reader_gets_what_comes_after_it_subscribed() -> None:
    feed: Feed[int] = Feed()
    first = feed.subscribe()
    feed.publish(1)
    second = feed.subscribe()
    feed.publish(2)
    feed.close()
    assert await read(first) == [1, 2]
    assert await read(second) == [2]
    assert await read(feed.subscribe()) == []


async def test_a_reader_that_waits_is_woken_by_an_event_and_by_the_end() -> None:
    feed: Feed[int] = Feed()
    reading = asyncio.create_task(read(feed.subscribe()))
    await asyncio.sleep(0)
    feed.publish(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not reading.done()
    feed.close()
    assert await asyncio.wait_for(reading, PATIENCE_S) == [1]


async def test_a_reader_that_left_gets_nothing_more_and_does_not_wait() -> None:
    feed: Feed[int] = Feed()
    reader = feed.subscribe()
    waiting = asyncio.create_task(read(reader))
    feed.publish(1)
    await asyncio.sleep(0)
    reader.close()
    reader.close()
    feed.publish(2)
    assert await asyncio.wait_for(waiting, PATIENCE_S) == [1]


async def test_a_reader_that_falls_behind_is_told_after_what_it_did_get() -> None:
    feed: Feed[int] = Feed()
    slow, quick = feed.subscribe(), feed.subscribe()
    for number in range(BACKLOG + 5):
        feed.publish(number)
        assert await anext(quick) == number
    got = [await anext(slow) for _ in range(BACKLOG)]
    assert got == list(range(BACKLOG))
    for _ in range(2):
        with pytest.raises(FeedLagged, match=f"more than {BACKLOG} events"):
            await anext(slow)
    feed.publish(0)
    assert await anext(quick) == 0
