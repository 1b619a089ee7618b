"""What arrives on the socket: frames as events for the core and news for the owner's readers.

Nothing that a peer sends raises from here: what makes no sense is counted and logged, a bounded number of times.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from adapters.hyperliquid.frames import (
    ErrorFrame,
    Malformed,
    OrderUpdates,
    OtherChannel,
    PostReplyFrame,
    UserFills,
    parse_frame,
)
from adapters.hyperliquid.markets import canonical
from adapters.hyperliquid.records import OrderUpdate, UserFill
from adapters.logs import get_logger
from machines import events as ev
from machines.settlement import OrderRecord

TIDS_KEPT: Final = 20_000
"""Trades remembered to recognise a fill that is seen twice: a snapshot holds at most 2 000."""
OTHER_CHANNELS: Final = "others"
"""What the channels beyond the first ones are counted as: a peer could make up any number of names."""
_CHANNELS_KEPT: Final = 20
_NAME_KEPT: Final = 100
_TEXT_KEPT: Final = 200
_LOGGED_EACH: Final = 10
"""Log lines for each kind of frame that makes no sense; the counters go on."""

log = get_logger("reception")


class Reception:
    """Reads frames.

    Attributes:
        malformed: Frames that could not be read.
        unread_channels: Frames of channels that the executor does not read, by channel.
        errors: Error frames.
    """

    def __init__(self, drive: Callable[[ev.Event], None], publish: Callable[[OrderUpdate | UserFill], None]) -> None:
        """Give events to `drive`, and news of orders and fills to `publish`."""
        self.malformed = 0
        self.unread_channels: Counter[str] = Counter()
        self.errors = 0
        self._drive = drive
        self._publish = publish
        self._tids: OrderedDict[int, None] = OrderedDict()
        self._fills_known = False

    def receive(self, frame: bytes, epoch: int) -> None:
        """Take a frame that arrived on connection `epoch`."""
        match parse_frame(frame):
            case PostReplyFrame(post_id, reply):
                self._drive(ev.ReplyReceived(epoch, post_id, reply))
            case OrderUpdates(updates):
                for update in updates:
                    self._on_update(update)
            case UserFills(is_snapshot, fills):
                self._on_fills(is_snapshot, fills)
            case ErrorFrame(message, post_id):
                self.errors += 1
                # Behind a brace the venue echoes what we sent, with its signature (protocol.md §2).
                text = message.partition("{")[0][:_TEXT_KEPT]
                if self.errors <= _LOGGED_EACH:
                    log.warning("error_frame", message=text, post_id=post_id)
                self._drive(ev.ErrorReceived(epoch, text, post_id))
            case Malformed(detail):
                self.malformed += 1
                if self.malformed <= _LOGGED_EACH:
                    log.warning("malformed_frame", detail=detail, count=self.malformed)
            case OtherChannel(channel):
                name = channel[:_NAME_KEPT]
                if name not in self.unread_channels and len(self.unread_channels) >= _CHANNELS_KEPT:
                    name = OTHER_CHANNELS
                self.unread_channels[name] += 1
                if self.unread_channels[name] == 1:
                    log.info("unread_channel", channel=name)
            case _:
                pass  # greeting, pong, acknowledgement: their arrival is all that they say

    def _on_update(self, update: OrderUpdate) -> None:
        self._publish(update)
        if update.order.cloid is not None:
            self._drive(ev.OrderSeen(update.order.cloid, record_of(update)))

    def _on_fills(self, is_snapshot: bool, fills: tuple[UserFill, ...]) -> None:
        """Fills are news once. The first snapshot is history; later ones hold what a lost connection missed."""
        history = is_snapshot and not self._fills_known
        self._fills_known = True
        for fill in fills:
            if fill.tid in self._tids:
                continue
            self._tids[fill.tid] = None
            if len(self._tids) > TIDS_KEPT:
                self._tids.popitem(last=False)
            if not history:
                self._publish(fill)
            if fill.cloid is not None:  # also of history: an order that an earlier run lost track of may be in it
                self._drive(ev.FillSeen(fill.cloid, fill.oid, canonical(fill.size)))


def record_of(update: OrderUpdate) -> OrderRecord:
    """What an update, from the stream or from a look-up, says of an order."""
    order = update.order
    placed = order.size if order.original_size is None else order.original_size
    traded = placed if update.status == "filled" else placed - order.size
    return OrderRecord(order.oid, update.status, canonical(traded))
