"""What the core is told (events), and what it asks its shell to do (effects): both plain data.

A run is a sequence of (event, effects); recorded, it can be replayed (design.md, One owner). Every event that a
connection causes carries its epoch, so that what a dead connection still says is recognised as late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from machines.intent import Admission, Intent, ItemResult, Outcome, Request
from machines.nonce import Drift
from machines.post import PostRequest
from machines.reply import PostReply
from machines.settlement import OrderRecord

# ---------------------------------------------------------------------------------------------- from the owner


@dataclass(frozen=True, slots=True)
class Submit:
    """The strategy wants this done; prices, sizes and names were checked already."""

    request: Request


@dataclass(frozen=True, slots=True)
class StopTripped:
    """The operator, or the watch over the invariants, stops new orders."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopReset:
    """The operator lets new orders pass again."""

    reason: str


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """Shut down: accept nothing more, send what closes risk, wait for open posts."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is closed for good; what is still open ends now."""


# ---------------------------------------------------------------------------------------------- from the clock


@dataclass(frozen=True, slots=True)
class Tick:
    """Time to send: at most one post follows (finding B1)."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The next deadline may have come."""


# --------------------------------------------------------- from the hand-over, in the same step as its `Transmit`


@dataclass(frozen=True, slots=True)
class PostWritten:
    """The frame of the post in hand was handed to the open socket of connection `epoch`."""

    post_id: int
    signed_nonce: int
    epoch: int


@dataclass(frozen=True, slots=True)
class SendRefused:
    """The hand-over failed before any byte: the frame is certainly not out."""

    post_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class SendBroken:
    """The hand-over failed later: the frame may be out (finding X1)."""

    post_id: int
    signed_nonce: int
    epoch: int
    reason: str


# ----------------------------------------------------------------------------------------- from the connection


@dataclass(frozen=True, slots=True)
class MessageWritten:
    """A message that is no post (ping, subscription) was written; it counts toward the message rate."""


@dataclass(frozen=True, slots=True)
class ConnectStarted:
    """A connection attempt begins."""


@dataclass(frozen=True, slots=True)
class ConnectionOpened:
    """The attempt succeeded: a new epoch."""


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection, or the attempt, is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReplyReceived:
    """A reply to a post arrived on connection `epoch`."""

    epoch: int
    post_id: int
    reply: PostReply


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """An error frame arrived; `post_id` is the post that it names, or None (finding X5)."""

    epoch: int
    message: str
    post_id: int | None


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """The order stream says what became of the order `cloid` (finding X7)."""

    cloid: str
    record: OrderRecord


@dataclass(frozen=True, slots=True)
class OrderGone:
    """The order `cloid` rested, and is no longer among the open ones; what became of it was missed."""

    cloid: str


@dataclass(frozen=True, slots=True)
class FillSeen:
    """The stream of trades has one of the order `cloid`: it ran, whatever else is not known of it (finding X7).

    Attributes:
        cloid: The order.
        oid: The venue's id for it.
        size: What traded, in contracts, as exact text.
    """

    cloid: str
    oid: int
    size: str


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The answer to a `LookUp`; None if the venue knows no such order (settlement.md, rule 9)."""

    post_id: int
    seq: int
    record: OrderRecord | None


@dataclass(frozen=True, slots=True)
class LookUpFailed:
    """A `LookUp` was not answered, which counts for nothing."""

    post_id: int
    seq: int


@dataclass(frozen=True, slots=True)
class Recovered:
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


@dataclass(frozen=True, slots=True)
class ServerTimeLearned:
    """The server's time, in unix ms."""

    server_time_ms: int


@dataclass(frozen=True, slots=True)
class MarketsLoaded:
    """The markets are known."""


@dataclass(frozen=True, slots=True)
class BudgetReported:
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


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to a submit.

    Attributes:
        admission: Whether and how the intent was accepted.
        intent: The intent: the accepted one; the running one for ALREADY_FLATTENING; else None.
    """

    admission: Admission
    intent: Intent | None


@dataclass(frozen=True, slots=True)
class Transmit:
    """Sign, journal and write this post now, and report the hand-over before anything else."""

    post: PostRequest


@dataclass(frozen=True, slots=True)
class PostEnded:
    """A post ended; its state says how."""

    post: PostRequest


@dataclass(frozen=True, slots=True)
class IntentEnded:
    """An intent got its outcome: tell its owner, once."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class IntentUnknown:
    """The fate of an intent is not known for now; settlement has begun."""

    intent: Intent
    reason: str


@dataclass(frozen=True, slots=True)
class IntentUnsettled:
    """The executor closes before the fate of an intent is known; the journal keeps it for the next run."""

    intent: Intent
    reason: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the venue for the record of an order; answer with `LookedUp` or `LookUpFailed`."""

    post_id: int
    seq: int
    key: str | int


@dataclass(frozen=True, slots=True)
class SettlementOverdue:
    """These intents have been unknown for too long: an alarm. Their markets take no new orders until it is known."""

    intents: tuple[Intent, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two sources tell of one order what can't both be true: an alarm; the first one stays (finding X7)."""

    intent: Intent
    first: Outcome
    later: ItemResult
    source: str


@dataclass(frozen=True, slots=True)
class StrayReply:
    """A reply for no open post: late, repeated or unknown. It changed nothing."""

    epoch: int
    post_id: int


@dataclass(frozen=True, slots=True)
class Halted:
    """The hard stop tripped just now."""

    reason: str


@dataclass(frozen=True, slots=True)
class DriftSeen:
    """A sync found the local clock more than 2 s (WARN) or 5 s (ERROR) off."""

    drift: Drift
    offset_ms: int


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """The venue does not accept this signer; no order will pass."""

    reason: str


@dataclass(frozen=True, slots=True)
class SwitchRefused:
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
