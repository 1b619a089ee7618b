"""Limits per client address and per account (protocol.md §3)."""

from __future__ import annotations

from collections import Counter, deque
from typing import Annotated, Final

import msgspec

_MINUTE_MS: Final = 60_000
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The venue's limits; the defaults are the real ones, and load tests lift them.

    Attributes:
        connections: WebSocket connections at a time, per client address.
        connections_per_minute: New WebSocket connections a minute, per client address.
        subscriptions: Subscriptions at a time, per client address.
        users: Different users in subscriptions, per client address.
        messages_per_minute: Messages sent to the venue over all connections, per client address.
        inflight_posts: Posts without a reply over all connections, per client address.
        weight_per_minute: HTTP request weight, per client address.
        address_budget: Actions an account has to begin with.
        open_orders: Open orders an account has to begin with; one more per 5M USDC traded, at most 5000.
    """

    connections: _Count = 10
    connections_per_minute: _Count = 30
    subscriptions: _Count = 1000
    users: _Count = 10
    messages_per_minute: _Count = 2000
    inflight_posts: _Count = 100
    weight_per_minute: _Count = 1200
    address_budget: _Count = 10_000
    open_orders: _Count = 1000


class MinuteWindow:
    """Lets at most `limit` through in any 60 s; what it refuses does not count."""

    __slots__ = ("_limit", "_past", "_spent")

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self._past: Final[deque[tuple[int, int]]] = deque()
        self._spent = 0

    def admit(self, monotonic_ms: int, weight: int = 1) -> bool:
        """Whether `weight` more fits now; counts it if so."""
        past = self._past
        while past and past[0][0] <= monotonic_ms - _MINUTE_MS:
            self._spent -= past.popleft()[1]
        if self._spent + weight > self._limit:
            return False
        past.append((monotonic_ms, weight))
        self._spent += weight
        return True


class Client:
    """What one client address uses, over all its connections.

    Attributes:
        inflight: Posts received whose reply has not been handed to the socket.
        max_inflight: The highest `inflight` so far.
        refused_posts: Posts refused because `inflight` was at the limit.
        refused_messages: Messages dropped because there were too many in a minute.
    """

    def __init__(self, address: str, limits: Limits) -> None:
        self.address: Final = address
        self._limits: Final = limits
        self.connections = 0
        self.opened: Final = MinuteWindow(limits.connections_per_minute)
        self.messages: Final = MinuteWindow(limits.messages_per_minute)
        self.weight: Final = MinuteWindow(limits.weight_per_minute)
        self.inflight = 0
        self.max_inflight = 0
        self.refused_posts = 0
        self.refused_messages = 0
        self.subscriptions = 0
        self._users: Final[Counter[str]] = Counter()

    def connect(self, monotonic_ms: int) -> bool:
        """Count a new connection, if one more is allowed."""
        if self.connections >= self._limits.connections or not self.opened.admit(monotonic_ms):
            return False
        self.connections += 1
        return True

    def begin_post(self) -> bool:
        """Count a post as in flight, if one more is allowed."""
        if self.inflight >= self._limits.inflight_posts:
            self.refused_posts += 1
            return False
        self.inflight += 1
        self.max_inflight = max(self.max_inflight, self.inflight)
        return True

    def end_posts(self, count: int) -> None:
        """Note that `count` posts have been answered."""
        self.inflight -= count

    def send_message(self, monotonic_ms: int) -> bool:
        """Count a message, if one more is allowed in this minute."""
        if self.messages.admit(monotonic_ms):
            return True
        self.refused_messages += 1
        return False

    def subscribe(self, user: str | None) -> str | None:
        """Count a subscription, or say in the venue's words why there can be no more."""
        if self.subscriptions >= self._limits.subscriptions:
            return f"Cannot subscribe to more than {self._limits.subscriptions} channels."
        if user is not None and user not in self._users and len(self._users) >= self._limits.users:
            return f"Cannot track more than {self._limits.users} total users."
        self.subscriptions += 1
        if user is not None:
            self._users[user] += 1
        return None

    def unsubscribe(self, user: str | None) -> None:
        """Note that a subscription ended."""
        self.subscriptions -= 1
        if user is not None:
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]


class AddressBudget:
    """Actions of one account: so many to begin with, then one more per USDC traded; a batch of n counts n.

    Attributes:
        used: Actions counted so far.
    """

    _PAUSE_MS: Final = 10_000
    """Once used up, one action is let through per this time."""
    _CANCEL_EXTRA: Final = 100_000

    __slots__ = ("_initial", "_last_ms", "used")

    def __init__(self, initial: int) -> None:
        self._initial: Final = initial
        self._last_ms: int | None = None
        self.used = 0

    def cap(self, traded_usdc: int) -> int:
        """How many actions an account with this volume has in all."""
        return self._initial + traded_usdc

    def charge(self, items: int, *, traded_usdc: int, is_cancel: bool, now_ms: int) -> bool:
        """Count an action of `items` items; False, and nothing counted, if the account has used its budget up."""
        cap = self.cap(traded_usdc)
        if is_cancel:
            cap = min(cap + self._CANCEL_EXTRA, 2 * cap)
        if self.used + items > cap:
            if self._last_ms is not None and now_ms - self._last_ms < self._PAUSE_MS:
                return False
            self._last_ms = now_ms
        self.used += items
        return True
