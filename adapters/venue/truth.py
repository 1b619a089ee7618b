"""What the venue really did: the record that a client's reported outcomes are compared with.

Every action that reached the engine leaves an `ActionRecord`, with the effect of each item; trades leave a
`FillRecord` per side, and an order that ends by anything but the trade that completes it leaves an `EndRecord`.
Sequence numbers are contiguous, in the order of processing. Replies may be lost, delayed or doubled on their way
out; the record is made before, and is what counts.

The record can be written to a file, one JSON object a line, and read back with `read_truth`; `fate_by_cloid` boils
it down to one line per client order id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias

import msgspec


class TruthItem(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The effect of one item of an action.

    Attributes:
        status: `resting`, `filled` (traded at once, in part or whole), `waiting` (for its trigger), `success` (a
            cancel that was carried out) or `error`.
        asset: Asset id as sent; None where the item names none.
        oid: The venue's id of the order concerned, if there is one.
        cloid: The client order id of the order concerned, if it has one.
        replaced: The oid that a modify withdrew; None for everything else.
        error: Why the item failed, in the words of the reply.
    """

    status: Literal["resting", "filled", "waiting", "success", "error"]
    asset: int | None = None
    oid: int | None = None
    cloid: str | None = None
    replaced: int | None = None
    error: str | None = None


class ActionRecord(msgspec.Struct, tag="action", tag_field="kind", omit_defaults=True, kw_only=True, gc=False):
    """An action, processed or refused as a whole.

    Attributes:
        seq: Its number in the record.
        time: When it was processed, venue time in unix ms.
        client: The client address that it came from.
        signer: The recovered signer; None if the signature had none.
        user: The account that it applied to; None if there was none.
        action: Its type, such as `order`.
        nonce: As signed.
        spent: Whether it used its nonce up.
        error: Why it was refused as a whole, in the words of the reply; None if it was processed.
        items: The effect of each item; fewer than were sent where `error` or a pre-validation error stands for all.
    """

    seq: int
    time: int
    client: str
    signer: str | None
    user: str | None
    action: str
    nonce: int
    spent: bool = False
    error: str | None = None
    items: list[TruthItem] = []


class FillRecord(msgspec.Struct, tag="fill", tag_field="kind", omit_defaults=True, kw_only=True, frozen=True, gc=False):
    """A trade of one order.

    Attributes:
        left: What the order has left afterwards; "0.0" is the end of it.
        crossed: Whether the order was the one that took liquidity.
    """

    seq: int
    time: int
    user: str
    oid: int
    cloid: str | None = None
    coin: str
    side: str
    px: str
    sz: str
    left: str
    tid: int
    crossed: bool


class EndRecord(msgspec.Struct, tag="end", tag_field="kind", omit_defaults=True, kw_only=True, frozen=True, gc=False):
    """An order that ended with something left: canceled by its owner or by the venue, or rejected at its trigger.

    Attributes:
        status: As `orderStatus` tells it, such as `canceled`, `selfTradeCanceled`, `scheduledCancel`.
    """

    seq: int
    time: int
    user: str
    oid: int
    cloid: str | None = None
    status: str


TruthRecord: TypeAlias = ActionRecord | FillRecord | EndRecord

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(TruthRecord)
_PAGE_DECODER: Final = msgspec.json.Decoder(list[TruthRecord])


class TruthForgotten(LookupError):
    """The records asked for are older than what is kept in memory; the message says from where on it reaches."""


class TruthLog:
    """The record, in memory up to `limit` entries, and whole in a file if one is given.

    Args:
        path: File to write to, emptied at the start; None for none.
        limit: Records kept in memory; the oldest go first.
    """

    def __init__(self, path: Path | None = None, limit: int = 1_000_000) -> None:
        self._records: Final[deque[TruthRecord]] = deque(maxlen=limit)
        self._file: Final[IO[bytes] | None] = None if path is None else path.open("wb")
        self._next = 0
        self._appended = 0
        self._written = 0

    def next_seq(self) -> int:
        """The number of the record to be appended next; every number taken must be appended."""
        seq = self._next
        self._next += 1
        return seq

    def append(self, record: TruthRecord) -> None:
        """Add a record; an `ActionRecord` may still be completed within the same step of the engine."""
        records = self._records
        if self._file is not None and len(records) == records.maxlen and self._written == self._appended - len(records):
            self._file.write(_ENCODER.encode_lines([records[0]]))  # memory is about to forget it
            self._written += 1
        records.append(record)
        self._appended += 1

    def flush(self) -> None:
        """Write what is new to the file; between steps of the engine, so that every record is complete."""
        if self._file is not None:
            self._file.write(_ENCODER.encode_lines(_last(self._records, self._appended - self._written)))
            self._written = self._appended
            self._file.flush()

    def since(self, seq: int, limit: int = 10_000) -> list[TruthRecord]:
        """Up to `limit` records from number `seq` on.

        Raises:
            TruthForgotten: The record at `seq` has left memory.
        """
        first = self._appended - len(self._records)
        if seq < first:
            raise TruthForgotten(f"records before {first} are no longer in memory; read the truth log file instead")
        return _last(self._records, self._appended - seq)[:limit]

    def close(self) -> None:
        """Write what is new and close the file."""
        if self._file is not None:
            self.flush()
            self._file.close()


def _last(records: deque[TruthRecord], count: int) -> list[TruthRecord]:
    """The last `count` records, oldest first, without walking through the others."""
    newest = list(islice(reversed(records), max(0, count)))
    newest.reverse()
    return newest


def read_truth(path: Path) -> list[TruthRecord]:
    """The records of a truth log file."""
    with path.open("rb") as file:
        return [_DECODER.decode(line) for line in file]


def decode_truth(page: bytes) -> list[TruthRecord]:
    """The records of a JSON array, as `GET /local/truth` answers it."""
    return _PAGE_DECODER.decode(page)


class Fate(msgspec.Struct, kw_only=True):
    """What became of the orders that carried one client order id.

    Attributes:
        placed: How many orders were placed with it: rested, traded or waited for a trigger. An order that was
            refused does not count; more than 1 means that something was executed twice (or a modify kept the cloid).
        oids: The orders with it that left a record at the venue, refused ones too, oldest first.
        filled: Total size traded, in contracts.
        rested: Whether one of them was ever on the book or waiting for its trigger.
        canceled: The status that ended the latest one before it was filled, such as `canceled`; None if nothing did.
        rejected: Why the latest refused one was refused; None if none was.
        modified_away: Whether a modify withdrew one of them.
    """

    placed: int = 0
    oids: list[int] = []
    filled: Decimal = Decimal(0)
    rested: bool = False
    canceled: str | None = None
    rejected: str | None = None
    modified_away: bool = False


_PLACED: Final = frozenset({"resting", "filled", "waiting"})


def fate_by_cloid(records: Iterable[TruthRecord]) -> dict[str, Fate]:
    """The fate of every client order id in a record.

    A cloid that was only ever part of a batch refused as a whole is not in the result: it never got to the venue's
    books (protocol.md §5).
    """
    fates: dict[str, Fate] = {}
    cloid_of: dict[int, str] = {}

    def fate(cloid: str) -> Fate:
        return fates.setdefault(cloid, Fate())

    for record in records:
        if isinstance(record, ActionRecord):
            for item in record.items:
                if record.action not in {"order", "modify", "batchModify"} or item.cloid is None:
                    continue
                one = fate(item.cloid)
                if item.oid is not None:
                    one.oids.append(item.oid)
                    cloid_of[item.oid] = item.cloid
                if item.status in _PLACED:
                    one.placed += 1
                    one.rested = one.rested or item.status != "filled"
                    one.canceled = None
                else:
                    one.rejected = item.error
                if item.replaced in cloid_of:
                    fate(cloid_of[item.replaced]).modified_away = True
        elif record.cloid is not None:
            one = fate(record.cloid)
            if isinstance(record, FillRecord):
                one.filled += Decimal(record.sz)
            else:
                one.canceled = record.status
    return fates
