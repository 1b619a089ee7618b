"""Subscriptions and what they are sent (protocol.md §8).

Order updates and fills leave as soon as the step that caused them is over; market data leaves on a beat, and only
when the book has changed since. A frame is encoded once, however many connections want it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from adapters.venue.accounts import Fill
from adapters.venue.core import VenueCore
from adapters.venue.limits import Client

_encode: Final = msgspec.json.Encoder().encode


class Subscriber(Protocol):
    """A connection, as far as streams see it."""

    @property
    def client(self) -> Client:
        """The client address that it came from."""
        ...

    def send(self, frame: bytes) -> None:
        """Send a frame that answers a request."""
        ...

    def send_update(self, frame: bytes) -> None:
        """Send a frame of a stream; faults may lose or delay it."""
        ...


class SubscriptionRefused(Exception):
    """There will be no such subscription; the message is the venue's text."""


class Subscription(msgspec.Struct, frozen=True, rename="camel"):
    """What a client wants to hear: a type, and a coin, a user or a dex."""

    type: str
    coin: str | None = None
    user: str | None = None
    dex: str | None = None


Key = tuple[str, str]

_OF_COIN: Final = frozenset({"l2Book", "bbo"})
_OF_USER: Final = frozenset({"orderUpdates", "userFills"})


class Streams:
    """Who subscribed to what.

    Args:
        core: The venue.
    """

    def __init__(self, core: VenueCore) -> None:
        self._core: Final = core
        self._subscribers: Final[dict[Key, dict[Subscriber, None]]] = {}
        self._sent_versions: Final[dict[Key, int]] = {}

    # --- subscribing ----------------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber, wanted: Subscription, echo: msgspec.Raw) -> None:
        """Add a subscription, confirm it and send its snapshot.

        Args:
            subscriber: The connection.
            wanted: What it wants.
            echo: The subscription as it was sent, in JSON.

        Raises:
            SubscriptionRefused: It makes no sense, is one too many, or is there already.
        """
        key = self._key(wanted, echo)
        subscribers = self._subscribers.setdefault(key, {})
        if subscriber in subscribers:
            raise SubscriptionRefused(f"Already subscribed: {_text(echo)}")
        refusal = subscriber.client.subscribe(_user_of(key))
        if refusal is not None:
            raise SubscriptionRefused(refusal)
        subscribers[subscriber] = None
        subscriber.send(_confirmation("subscribe", echo))
        snapshot = self._snapshot(key)
        if snapshot is not None:
            subscriber.send_update(snapshot)

    def unsubscribe(self, subscriber: Subscriber, wanted: Subscription, echo: msgspec.Raw) -> None:
        """End a subscription and confirm that.

        Raises:
            SubscriptionRefused: There is none.
        """
        key = self._key(wanted, echo)
        if subscriber not in self._subscribers.get(key, {}):
            raise SubscriptionRefused(f"Already unsubscribed: {_text(echo)}")
        self._remove(key, subscriber)
        subscriber.send(_confirmation("unsubscribe", echo))

    def drop(self, subscriber: Subscriber) -> None:
        """Forget a connection that is gone."""
        for key in [key for key, subscribers in self._subscribers.items() if subscriber in subscribers]:
            self._remove(key, subscriber)

    def _remove(self, key: Key, subscriber: Subscriber) -> None:
        del self._subscribers[key][subscriber]
        if not self._subscribers[key]:
            del self._subscribers[key]
        subscriber.client.unsubscribe(_user_of(key))

    def _key(self, wanted: Subscription, echo: msgspec.Raw) -> Key:
        if wanted.type in _OF_COIN and wanted.coin in self._core.universe.by_coin:
            return wanted.type, wanted.coin
        if wanted.type in _OF_USER and wanted.user is not None:
            return wanted.type, wanted.user.lower()
        if wanted.type == "allMids" and self._core.universe.perps(wanted.dex or "") is not None:
            return wanted.type, wanted.dex or ""
        raise SubscriptionRefused(f"Invalid subscription {_text(echo)}")

    # --- sending --------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Send what the latest step did to users' orders."""
        updates, fills = self._core.trading.feed.drain()
        if not self._subscribers or not (updates or fills):
            return
        orders: dict[Key, list[dict[str, Any]]] = {}
        for order, status, sz, time in updates:
            key = "orderUpdates", order.account.address
            if key in self._subscribers:
                told = {"order": order.basic(sz), "status": status, "statusTimestamp": time}
                orders.setdefault(key, []).append(told)
        trades: dict[Key, list[Fill]] = {}
        for account, fill in fills:
            key = "userFills", account.address
            if key in self._subscribers:
                trades.setdefault(key, []).append(fill)
        for key, updated in orders.items():
            self._send(key, _frame("orderUpdates", updated))
        for key, filled in trades.items():
            self._send(key, _frame("userFills", {"user": key[1], "fills": filled}))

    def publish_bbo(self) -> None:
        """Send the best bid and offer of the books that changed."""
        self._publish_changed("bbo")

    def publish_books(self) -> None:
        """Send the books that changed."""
        self._publish_changed("l2Book")

    def publish_mids(self) -> None:
        """Send mid prices."""
        for key in [key for key in self._subscribers if key[0] == "allMids"]:
            frame = self._snapshot(key)
            if frame is not None:
                self._send(key, frame)

    def _publish_changed(self, kind: str) -> None:
        for key in [key for key in self._subscribers if key[0] == kind]:
            market = self._core.universe.by_coin[key[1]]
            version = self._core.trading.books[market.asset].version
            if self._sent_versions.get(key) != version:
                self._sent_versions[key] = version
                frame = self._snapshot(key)
                if frame is not None:
                    self._send(key, frame)

    def _snapshot(self, key: Key) -> bytes | None:
        """The present state that a stream begins with; None for a stream that begins with nothing."""
        kind, of = key
        core = self._core
        snapshots: dict[str, Callable[[], Any]] = {
            "l2Book": lambda: core.info.l2_book(core.universe.by_coin[of]),
            "bbo": lambda: core.info.bbo(core.universe.by_coin[of]),
            "allMids": lambda: {"mids": core.info.mids(of)} | ({"dex": of} if of else {}),
            "userFills": lambda: self._fills_snapshot(of),
        }
        snapshot = snapshots.get(kind)
        return None if snapshot is None else _frame(kind, snapshot())

    def _fills_snapshot(self, user: str) -> dict[str, Any]:
        account = self._core.accounts.by_address.get(user)
        return {"isSnapshot": True, "user": user, "fills": [] if account is None else list(account.fills)}

    def _send(self, key: Key, frame: bytes) -> None:
        for subscriber in list(self._subscribers[key]):
            subscriber.send_update(frame)


def _user_of(key: Key) -> str | None:
    return key[1] if key[0] in _OF_USER else None


def _frame(channel: str, data: Any) -> bytes:
    return _encode({"channel": channel, "data": data})


def _confirmation(method: str, echo: msgspec.Raw) -> bytes:
    return _frame("subscriptionResponse", {"method": method, "subscription": echo})


def _text(echo: msgspec.Raw) -> str:
    return bytes(echo).decode(errors="replace")
