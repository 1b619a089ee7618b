"""What a strategy wants done, its life, and how it ended.

An **intent** is one order, one cancel or one modify, as submitted. It is accepted, waits in a queue, travels in a
post, and ends in exactly one **outcome**. An item of a batch has its own fate: one bad order in a post never hides
the good ones (finding X4).

An item whose attempt is ambiguous is UNKNOWN: neither rejected nor to be sent again (finding X1). Settlement finds
out what became of it (machines/settlement.py) and ends it, or, for a reduce-only order that is proven never to have
run, returns it to the place in its queue. Cancels are idempotent: an ambiguous one goes back to its queue at once. One
that the venue answers with "never placed, already canceled, or filled" while the fate of its order was not known
proves nothing; it is WAITING until that fate is settled (settlement.md, rule 19).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from machines.table import Row, StateMachine, Word
from machines.value import Value

Side: TypeAlias = Literal["buy", "sell"]
Tif: TypeAlias = Literal["Gtc", "Ioc", "Alo"]


class Trigger(Value, frozen=True, kw_only=True):
    """Makes an order wait for a trigger price (protocol.md §6).

    Attributes:
        price: Trigger price in USD.
        is_market: Whether the triggered order takes any price.
        kind: Take-profit or stop-loss.
    """

    price: Decimal | str
    is_market: bool
    kind: Literal["tp", "sl"]


class Order(Value, frozen=True, kw_only=True):
    """An order to be placed.

    Attributes:
        market: Name as the venue writes it: `BTC`, `PURR/USDC`, `xyz:TSLA`.
        side: `buy` or `sell`.
        size: In contracts (base units of the market); positive.
        price: Limit price in USD; positive.
        tif: Time in force; ignored when `trigger` is given.
        reduce_only: May only shrink a position; has its own queue, before new orders.
        cloid: Client order id, `0x` and 32 hex digits; allotted when None.
        trigger: Turns the order into a trigger order.
        flatten: Closes a whole position, and so is reduce-only; at most one per market is under way (finding X9).
    """

    market: str
    side: Side
    size: Decimal | str
    price: Decimal | str
    tif: Tif = "Gtc"
    reduce_only: bool = False
    cloid: str | None = None
    trigger: Trigger | None = None
    flatten: bool = False


class Cancel(Value, frozen=True, kw_only=True):
    """A cancel of one order, named by its cloid or by the venue's oid (exactly one of them)."""

    market: str
    cloid: str | None = None
    oid: int | None = None


class Modify(Value, frozen=True, kw_only=True):
    """Replaces one order, named by its cloid or oid (exactly one), by another one with a cloid of its own."""

    order: Order
    cloid: str | None = None
    oid: int | None = None


Request: TypeAlias = Order | Cancel | Modify


class ActionKind(Word):
    """The L1 action that carries an item; one post carries items of one kind only (finding B1)."""

    ORDER = "order"
    CANCEL = "cancel"
    CANCEL_BY_CLOID = "cancelByCloid"
    MODIFY = "batchModify"
    NOOP = "noop"
    """Carries no item: proves the key (machines/standing.py), or fences another post (machines/settlement.py)."""
    SCHEDULE_CANCEL = "scheduleCancel"
    """Carries no item: the dead-man's switch (machines/standing.py)."""


class Priority(Word):
    """The three queues, first to last (finding B5)."""

    CANCEL = "cancel"
    REDUCE_ONLY = "reduce_only"
    NEW_ORDER = "new_order"


class Admission(Word):
    """The answer to a submit (finding B4). Only the first two mean that the intent was accepted."""

    QUEUED = "queued"
    QUEUED_DEGRADED = "queued_degraded"
    """Accepted, but delayed: too many posts are in flight, or there is no connection at the moment."""
    QUEUE_FULL = "queue_full"
    INFLIGHT_FULL = "inflight_full"
    HALTED = "halted"
    NOT_READY = "not_ready"
    CLOID_IN_USE = "cloid_in_use"
    MARKET_BLOCKED = "market_blocked"
    """An order in this market has been unsettled for too long; new ones have to wait until its fate is known."""
    ALREADY_FLATTENING = "already_flattening"

    @property
    def accepted(self) -> bool:
        """Whether the executor took the intent and owes it an outcome."""
        return self in (Admission.QUEUED, Admission.QUEUED_DEGRADED)


# --- outcomes: also what the venue says of an item --------------------------------------------------------------


class Resting(Value, frozen=True):
    """The order is on the book, or waits for its trigger (then it has no oid yet)."""

    oid: int | None


class Filled(Value, frozen=True):
    """The order traded: size in contracts; average price in USD, None where the source of the news has none."""

    oid: int
    size: str
    average_price: str | None


class Canceled(Value, frozen=True):
    """The cancel was carried out; said of an order: it was on the book, and was canceled without having traded."""


class Rejected(Value, frozen=True):
    """The venue refused the item; `reason` is its own text (protocol.md §9)."""

    reason: str


class NotExecuted(Value, frozen=True):
    """The item had no effect and never will; `reason` says where it stopped."""

    reason: str


class Unknown(Value, frozen=True):
    """The item may or may not have been executed; `reason` says what is missing. Never a rejection."""

    reason: str


ItemResult: TypeAlias = Resting | Filled | Canceled | Rejected
Outcome: TypeAlias = ItemResult | NotExecuted | Unknown


# --- the life of an intent --------------------------------------------------------------------------------------


class IntentState(Word):
    """Where an intent is."""

    ACCEPTED = "accepted"
    """Taken on within this very step; not yet in a queue."""
    QUEUED = "queued"
    """Waits in its queue, or is back at its place there; nothing of it is on the wire."""
    POSTED = "posted"
    """Travels in a post that is sent and not ended."""
    UNKNOWN = "unknown"
    """Its attempt may or may not have run: neither rejected nor sent again until it is settled."""
    WAITING = "waiting"
    """A cancel whose answer proves nothing until the fate of its order is settled."""
    RESTING = "resting"
    """Outcome: the order is on the book."""
    FILLED = "filled"
    """Outcome: the order traded."""
    REJECTED = "rejected"
    """Outcome: the venue refused it."""
    CANCELED = "canceled"
    """Outcome: the cancel was carried out, or the order ended without having traded."""
    NOT_EXECUTED = "not_executed"
    """Outcome: it had no effect and never will."""


class IntentEvent(Word):
    """What happens to an intent."""

    ENQUEUE = "enqueue"
    POST = "post"
    DROP = "drop"
    REST = "rest"
    FILL = "fill"
    REJECT = "reject"
    CANCEL = "cancel"
    RETURN = "return_"
    ABANDON = "abandon"
    LOSE = "lose"
    WAIT = "wait"


@dataclass(slots=True, eq=False)
class Intent:
    """One accepted request on its way.

    Attributes:
        seq: Its number; the order in which intents were accepted, and their place in their queue.
        request: What was submitted, with its cloid filled in.
        cloid: The client order id of the order concerned; None for a cancel or a modify of an oid alone.
        priority: The queue it belongs to.
        kind: The action that carries it.
        alo: Whether it is a post-only order; these are batched apart (protocol.md §4).
        state: Where it is.
        outcome: How it ended; None while it has not.
        outcomes: How many times it was given an outcome; evidence for the invariants, never more than 1.
        attempts: Ids of the posts that carried it.
        settled_by: What proved the fate of its last attempt, if it was not the reply in time; else None.
        cancel_wanted: Whether its owner asked to cancel it; then it is not sent again (settlement.md, rule 19).
        target_was_settled: For a cancel: whether the fate of its order was known when it was sent.
        lost: For a cancel: whether an earlier attempt of it ended ambiguous.
    """

    seq: int
    request: Request
    cloid: str | None
    priority: Priority
    kind: ActionKind
    alo: bool
    state: IntentState = IntentState.ACCEPTED
    outcome: Outcome | None = None
    outcomes: int = 0
    attempts: tuple[int, ...] = ()
    settled_by: str | None = None
    cancel_wanted: bool = False
    target_was_settled: bool = False
    lost: bool = False

    @property
    def market(self) -> str:
        """The market that it concerns."""
        request = self.request
        return request.order.market if isinstance(request, Modify) else request.market


def _carry(intent: Intent, post_id: int) -> None:
    intent.attempts += (post_id,)
    intent.settled_by = None


def _end(intent: Intent, outcome: Outcome, proof: str | None = None) -> None:
    intent.settled_by = proof or intent.settled_by
    intent.outcome = outcome
    intent.outcomes += 1


def _settle_for_return(intent: Intent, proof: str) -> None:
    intent.settled_by = proof


_S, _E = IntentState, IntentEvent
INTENT: Final = StateMachine(
    "intent",
    IntentState,
    IntentEvent,
    initial=_S.ACCEPTED,
    final=frozenset({_S.RESTING, _S.FILLED, _S.REJECTED, _S.CANCELED, _S.NOT_EXECUTED}),
    table=(
        Row(_E.ENQUEUE, _S.ACCEPTED, _S.QUEUED, why="admitted to its queue"),
        Row(_E.CANCEL, _S.ACCEPTED, _S.CANCELED, effect=_end, why="a cancel whose target was still queued here"),
        Row(_E.POST, _S.QUEUED, _S.POSTED, effect=_carry, why="its frame was handed to the socket"),
        Row(_E.DROP, _S.QUEUED, _S.NOT_EXECUTED, effect=_end, why="never sent: halted, withdrawn, unsent or shut down"),
        Row(_E.REST, _S.POSTED, _S.RESTING, effect=_end, why="on the book"),
        Row(_E.FILL, _S.POSTED, _S.FILLED, effect=_end, why="traded"),
        Row(_E.REJECT, _S.POSTED, _S.REJECTED, effect=_end, why="refused by the venue"),
        Row(_E.CANCEL, _S.POSTED, _S.CANCELED, effect=_end, why="the cancel was carried out"),
        Row(_E.ABANDON, _S.POSTED, _S.NOT_EXECUTED, effect=_end, why="the venue proved that it did not run it"),
        Row(_E.RETURN, _S.POSTED, _S.QUEUED, why="proven never to have run, or a cancel: back to its place"),
        Row(_E.WAIT, _S.POSTED, _S.WAITING, why="a cancel that proves nothing until its order is settled"),
        Row(_E.LOSE, _S.POSTED, _S.UNKNOWN, why="its attempt may or may not have run"),
        Row(_E.REST, _S.UNKNOWN, _S.RESTING, effect=_end, why="settled: on the book"),
        Row(_E.FILL, _S.UNKNOWN, _S.FILLED, effect=_end, why="settled: traded"),
        Row(_E.REJECT, _S.UNKNOWN, _S.REJECTED, effect=_end, why="settled: refused by the venue"),
        Row(_E.CANCEL, _S.UNKNOWN, _S.CANCELED, effect=_end, why="settled: canceled"),
        Row(_E.ABANDON, _S.UNKNOWN, _S.NOT_EXECUTED, effect=_end, why="settled: it never ran and never can"),
        Row(_E.RETURN, _S.UNKNOWN, _S.QUEUED, effect=_settle_for_return, why="settled: never ran; reduce-only: again"),
        Row(_E.RETURN, _S.WAITING, _S.QUEUED, why="its order rests: again"),
        Row(_E.REJECT, _S.WAITING, _S.REJECTED, effect=_end, why="its order is gone"),
        Row(_E.DROP, _S.WAITING, _S.NOT_EXECUTED, effect=_end, why="shut down"),
    ),
)

_ENDING: Final[dict[type[ItemResult], IntentEvent]] = {
    Resting: _E.REST,
    Filled: _E.FILL,
    Rejected: _E.REJECT,
    Canceled: _E.CANCEL,
}


def ending_of(result: ItemResult) -> IntentEvent:
    """The event that ends an intent with the venue's answer `result`."""
    return _ENDING[type(result)]
