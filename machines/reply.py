"""What a reply to a post can say, as data (protocol.md §2).

The wire format is the adapter's business; these are the four meanings that the machines tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from machines.intent import ItemResult


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue took the action: status `ok`.

    Attributes:
        results: One per item, in request order; a single `Rejected` may stand for the whole batch; empty for
            an action without items (`noop`, `updateLeverage`: response type `default`).
    """

    results: tuple[ItemResult, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue refused the whole action: status `err`, with its text."""

    reason: str


@dataclass(frozen=True, slots=True)
class GatewayError:
    """A reply of type `error`: the text mirrors an HTTP status, e.g. `429 Too Many Requests`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A reply that names the post but whose content could not be read; `detail` says where reading stopped."""

    detail: str


PostReply: TypeAlias = Accepted | Refused | GatewayError | Unreadable
