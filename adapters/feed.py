"""Events for any number of readers, each at its own pace, none of them able to hold back the executor."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

BACKLOG: Final = 10_000
"""Events that wait for a reader; one that falls further behind is told, not fed with gaps."""


class FeedLagged(Exception):
    """A reader fell more than `BACKLOG` events behind and missed some; it has to look at the state anew."""


class Subscription(Generic[T], AsyncIterator[T]):
    """One reader's events, in order; ends when the feed is closed."""

    def __init__(self, feed: Feed[T]) -> None:
        """Begin with the next event."""
        self._feed = feed
        self._waiting: deque[T] = deque()
        self._lagged = False
        self._closed = False
        self._news = asyncio.Event()

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._lagged:
                raise FeedLagged(f"more than {BACKLOG} events waited for this reader; some are lost to it")
            if self._closed or self._feed.closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()

    def close(self) -> None:
        """Take no more events; what waits can still be read."""
        self._feed.drop(self)
        self._closed = True
        self._news.set()

    def offer(self, item: T) -> None:
        """Queue an event for this reader, or note that it is too slow."""
        if len(self._waiting) >= BACKLOG:
            self._lagged = True
            self.close()
        else:
            self._waiting.append(item)
        self._news.set()

    def wake(self) -> None:
        """Let the reader notice that the feed is closed."""
        self._news.set()


class Feed(Generic[T]):
    """Hands each event to all readers.

    Attributes:
        closed: Whether there will be no more events.
    """

    def __init__(self) -> None:
        """Begin without readers."""
        self.closed = False
        self._readers: list[Subscription[T]] = []

    def subscribe(self) -> Subscription[T]:
        """A new reader."""
        reader = Subscription(self)
        self._readers.append(reader)
        return reader

    def publish(self, item: T) -> None:
        """Hand `item` to all readers; costs nothing without any."""
        for reader in tuple(self._readers):
            reader.offer(item)

    def drop(self, reader: Subscription[T]) -> None:
        """Forget a reader."""
        if reader in self._readers:
            self._readers.remove(reader)

    def close(self) -> None:
        """End all readers after what waits for them."""
        self.closed = True
        for reader in self._readers:
            reader.wake()
