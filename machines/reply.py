"""What a reply to a post can say, as data (protocol.md §2).

The wire format is the adapter's business; these are the four meanings that the machines tell apart.
"""

from __future__ import annotations

from typing import TypeAlias

from machines.intent import ItemResult
from machines.value import Value


class Accepted(Value, frozen=True):
    """The venue took the action: status `ok`.

    Attributes:
        results: One per item, in request order; a single `Rejected` may stand for the whole batch; empty for
            an action without items (`noop`, `updateLeverage`: response type `default`).
    """

    results: tuple[ItemResult, ...]


class Refused(Value, frozen=True):
    """The venue refused the whole action: status `err`, with its text."""

    reason: str


class GatewayError(Value, frozen=True):
    """A reply of type `error`: the text mirrors an HTTP status, e.g. `429 Too Many Requests`."""

    reason: str


class Unreadable(Value, frozen=True):
    """A reply that names the post but whose content could not be read; `detail` says where reading stopped."""

    detail: str


PostReply: TypeAlias = Accepted | Refused | GatewayError | Unreadable
