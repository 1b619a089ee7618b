"""What the core is told (events), and what it asks its shell to do (effects): both plain data.

A run is a sequence of (event, effects); recorded, it can be replayed (design.md, One owner). Every event that a
connection causes carries its epoch, so that what a dead connection still says is recognised as late.

All of it is frozen structs (machines/value.py says why). They are written down by the name of their class and their
fields, so that they need no `type` of their own.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from machines.intent import Admission, Intent, ItemResult, Outcome, Request
from machines.nonce import Drift
from machines.post import PostRequest
from machines.reply import PostReply
from machines.settlement import OrderRecord

# ---------------------------------------------------------------------------------------------- from the owner


class Submit(Struct, frozen=True):
    """The strategy wants this done; prices, sizes and names were checked already."""

    request: Request


class StopTripped(Struct, frozen=True):
    """The operator, or the watch over the invariants, stops new orders."""

    reason: str


class StopReset(Struct, frozen=True):
    """The operator lets new orders pass again."""

    reason: str


class DrainStarted(Struct, frozen=True):
    """Shut down: accept nothing more, send what closes risk, wait for open posts."""


class Closed(Struct, frozen=True):
    """The connection is closed for good; what is still open ends now."""


# ---------------------------------------------------------------------------------------------- from the clock


class Tick(Struct, frozen=True):
    """Time to send: at most one post follows (finding B1)."""


class TimePassed(Struct, frozen=True):
    """The next deadline may have come."""


# --------------------------------------------------------- from the hand-over, in the same step as its `Transmit`


class PostWritten(Struct, frozen=True):
    """The frame of the post in hand was handed to the open socket of connection `epoch`."""

    post_id: int
    signed_nonce: int
    epoch: int


class SendRefused(Struct, frozen=True):
    """The hand-over failed before any byte: the frame is certainly not out."""

    post_id: int
    reason: str


class SendBroken(Struct, frozen=True):
    """The hand-over failed later: the frame may be out (finding X1)."""

    post_id: int
    signed_nonce: int
    epoch: int
    reason: str


# ----------------------------------------------------------------------------------------- from the connection


class MessageWritten(Struct, frozen=True):
    """A message that is no post (ping, subscription) was written; it counts toward the message rate."""


class ConnectStarted(Struct, frozen=True):
    """A connection attempt begins."""


class ConnectionOpened(Struct, frozen=True):
    """The attempt succeeded: a new epoch."""


class ConnectionLost(Struct, frozen=True):
    """The connection, or the attempt, is gone."""

    reason: str


class ReplyReceived(Struct, frozen=True):
    """A reply to a post arrived on connection `epoch`."""

    epoch: int
    post_id: int
    reply: PostReply


class ErrorReceived(Struct, frozen=True):
    """An error frame arrived; `post_id` is the post that it names, or None (finding X5)."""

    epoch: int
    message: str
    post_id: int | None


class OrderSeen(Struct, frozen=True):
    """The order stream says what became of the order `cloid` (finding X7)."""

    cloid: str
    record: OrderRecord


class OrderGone(Struct, frozen=True):
    """The order `cloid` rested, and is no longer among the open ones; what became of it was missed."""

    cloid: str


class FillSeen(Struct, frozen=True):
    """The stream of trades has one of the order `cloid`: it ran, whatever else is not known of it (finding X7).

    Attributes:
        cloid: The order.
        oid: The venue's id for it.
        size: What traded, in contracts, as exact text.
    """

    cloid: str
    oid: int
    size: str


class LookedUp(Struct, frozen=True):
    """The answer to a `LookUp`; None if the venue knows no such order (settlement.md, rule 9)."""

    post_id: int
    seq: int
    record: OrderRecord | None


class LookUpFailed(Struct, frozen=True):
    """A `LookUp` was not answered, which counts for nothing."""

    post_id: int
    seq: int


class Recovered(Struct, frozen=True):
    """What an earlier run left unsettled, from the journal; comes first, if at all.

    Attributes:
        posts: Unanswered or unsettled posts with their open items, oldest first.
        never_sent: Intents that no post ever carried; they end, because a stale order is not sent by itself.
        same_key: Whether this run signs with the key that signed them; else fences prove nothing (rule 3).
        lost_cancels: Cancels that were sent and have no outcome; they may have run, and are sent again (rule 19).
    """

    posts: tuple[PostRequest, ...]
    never_sent: tuple[Intent, ...]
    same_key: bool
    lost_cancels: tuple[Intent, ...] = ()


class ServerTimeLearned(Struct, frozen=True):
    """The server's time, in unix ms."""

    server_time_ms: int


class MarketsLoaded(Struct, frozen=True):
    """The markets are known."""


class BudgetReported(Struct, frozen=True):
    """The address's action budget, as the venue counts it (protocol.md §3)."""

    used: int
    cap: int


Event: TypeAlias = (
    Submit
    | StopTripped
    | StopReset
    | DrainStarted
    | Closed
    | Tick
    | TimePassed
    | PostWritten
    | SendRefused
    | SendBroken
    | MessageWritten
    | ConnectStarted
    | ConnectionOpened
    | ConnectionLost
    | ReplyReceived
    | ErrorReceived
    | OrderSeen
    | OrderGone
    | FillSeen
    | LookedUp
    | LookUpFailed
    | Recovered
    | ServerTimeLearned
    | MarketsLoaded
    | BudgetReported
)


# ---------------------------------------------------------------------------------------------------- effects


class Admitted(Struct, frozen=True):
    """The answer to a submit.

    Attributes:
        admission: Whether and how the intent was accepted.
        intent: The intent: the accepted one; the running one for ALREADY_FLATTENING; else None.
    """

    admission: Admission
    intent: Intent | None


class Transmit(Struct, frozen=True):
    """Sign, journal and write this post now, and report the hand-over before anything else."""

    post: PostRequest


class PostEnded(Struct, frozen=True):
    """A post ended; its state says how."""

    post: PostRequest


class IntentEnded(Struct, frozen=True):
    """An intent got its outcome: tell its owner, once."""

    intent: Intent


class IntentUnknown(Struct, frozen=True):
    """The fate of an intent is not known for now; settlement has begun."""

    intent: Intent
    reason: str


class IntentUnsettled(Struct, frozen=True):
    """The executor closes before the fate of an intent is known; the journal keeps it for the next run."""

    intent: Intent
    reason: str


class LookUp(Struct, frozen=True):
    """Ask the venue for the record of an order; answer with `LookedUp` or `LookUpFailed`."""

    post_id: int
    seq: int
    key: str | int


class SettlementOverdue(Struct, frozen=True):
    """These intents have been unknown for too long: an alarm. Their markets take no new orders until it is known."""

    intents: tuple[Intent, ...]


class Contradiction(Struct, frozen=True):
    """Two sources tell of one order what can't both be true: an alarm; the first one stays (finding X7)."""

    intent: Intent
    first: Outcome
    later: ItemResult
    source: str


class StrayReply(Struct, frozen=True):
    """A reply for no open post: late, repeated or unknown. It changed nothing."""

    epoch: int
    post_id: int


class Halted(Struct, frozen=True):
    """The hard stop tripped just now."""

    reason: str


class DriftSeen(Struct, frozen=True):
    """A sync found the local clock more than 2 s (WARN) or 5 s (ERROR) off."""

    drift: Drift
    offset_ms: int


class KeyRefused(Struct, frozen=True):
    """The venue does not accept this signer; no order will pass."""

    reason: str


class SwitchRefused(Struct, frozen=True):
    """The venue did not set the dead-man's switch: an alarm; it is tried again when it is due."""

    reason: str


Effect: TypeAlias = (
    Admitted
    | Transmit
    | PostEnded
    | IntentEnded
    | IntentUnknown
    | IntentUnsettled
    | LookUp
    | SettlementOverdue
    | Contradiction
    | StrayReply
    | Halted
    | DriftSeen
    | KeyRefused
    | SwitchRefused
)
