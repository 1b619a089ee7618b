"""A model of the venue: takes each nonce once, and knows what really became of each order.

Not a venue that trades; a judge. It processes posts in the order in which the network brings them, and answers what
protocol.md §2, §4, §5 say; the outcomes that the executor reports are then compared with what happened here.
"""

from __future__ import annotations

from random import Random
from typing import Final

from machines.clock import ManualClock
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Filled,
    Intent,
    ItemResult,
    NotExecuted,
    Rejected,
    Resting,
)
from machines.post import PostRequest
from machines.reply import Accepted, PostReply, Refused
from machines.settlement import VENUE_LAG_MS, OrderRecord
from tests.machines.builders import MARGIN, MISSING

NO_DEPOSIT: Final = Refused("Must deposit before performing actions. User: 0x12")
"""Refuses a batch without a record, though its nonce is used (protocol.md §4, §5)."""


class ModelVenue:
    """The venue.

    Attributes:
        orders: The record of each order that it ever took, by cloid.
        canceled_by: The cancel that took an order off the book, by cloid.
    """

    def __init__(self, random: Random, clock: ManualClock) -> None:
        self.orders: dict[str, OrderRecord] = {}
        self.canceled_by: dict[str, int] = {}
        self._random = random
        self._clock = clock
        self._arrived: set[int] = set()
        self._used: set[int] = set()
        self._versions: dict[str, list[tuple[int, OrderRecord]]] = {}

    def process(self, post: PostRequest) -> PostReply:
        """Take a post that arrived, perhaps for the second time."""
        self._arrived.add(post.post_id)
        if post.nonce in self._used:
            text = self._random.choice(["duplicate nonce 7", "nonce too low 7 < 9"])
            return Refused(f"Invalid nonce: {text}")
        self._used.add(post.nonce)
        if post.expires_ms is not None and self._clock.now_ms() > post.expires_ms:
            return Refused("Action already expired")
        if post.items and self._random.random() < 0.05:
            return NO_DEPOSIT
        return Accepted(tuple(self._carry_out(item) for item in post.items))

    def knows(self, post: PostRequest) -> bool:
        """Whether a frame of this post has arrived."""
        return post.post_id in self._arrived

    def trade(self) -> str | None:
        """An order on the book trades; its cloid."""
        resting = [cloid for cloid, record in self.orders.items() if record.on_book]
        if not resting:
            return None
        cloid = self._random.choice(resting)
        status, traded = self._random.choice([("open", "0.4"), ("filled", "1"), ("marginCanceled", "0")])
        if self.orders[cloid].traded == "0" or status == "filled":
            self._record(cloid, OrderRecord(self.orders[cloid].oid, status, traded))
        return cloid

    def look_up(self, key: str | int) -> OrderRecord | None:
        """What a look-up by cloid finds: the record as it was up to a lag ago (protocol.md §5)."""
        seen = self._clock.now_ms() - self._random.randrange(VENUE_LAG_MS)
        versions = [record for since, record in self._versions.get(str(key), []) if since <= seen]
        return versions[-1] if versions else None

    def lie(self, item: Intent) -> str | None:
        """What is wrong with an item's outcome; None if it is the truth."""
        outcome = item.outcome
        if isinstance(item.request, Cancel):
            denied = isinstance(outcome, Rejected | NotExecuted)
            if denied and self.canceled_by.get(item.cloid or "") == item.seq:
                return f"cancel {item.seq} ended {outcome}, and took its order off the book"
            return None
        record = self.orders.get(item.cloid or "")
        ran = record is not None and not record.refused
        if ran is isinstance(outcome, Rejected | NotExecuted):
            return f"order {item.seq} ended {outcome}, its record is {record}"
        if isinstance(outcome, Filled | Resting) and record is not None and outcome.oid != record.oid:
            return f"order {item.seq} ended {outcome}, its record is {record}"
        return None

    def _carry_out(self, item: Intent) -> ItemResult:
        cloid = item.cloid or ""
        if item.kind is ActionKind.CANCEL_BY_CLOID:
            record = self.orders.get(cloid)
            if record is None or not record.on_book:
                return MISSING
            self._record(cloid, OrderRecord(record.oid, "canceled", record.traded))
            self.canceled_by[cloid] = item.seq
            return Canceled()
        assert cloid not in self.orders, f"order {item.seq} is executed twice"
        oid = len(self.orders) + 1
        fates: list[tuple[str, str, ItemResult]] = [
            ("open", "0", Resting(oid)),
            ("open", "0", Resting(oid)),
            ("filled", "1", Filled(oid, "1", "400")),
            ("perpMarginRejected", "0", Rejected(MARGIN)),
        ]
        status, traded, result = self._random.choice(fates)
        self._record(cloid, OrderRecord(oid, status, traded))
        return result

    def _record(self, cloid: str, record: OrderRecord) -> None:
        self.orders[cloid] = record
        self._versions.setdefault(cloid, []).append((self._clock.now_ms(), record))
