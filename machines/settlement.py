"""What became of an ambiguous post: found out, never guessed (settlement.md).

A post that ended without proof leaves an **attempt** behind: its nonce, and its items, UNKNOWN. The attempt is closed
in two steps.

1. **Fence.** A noop with the same nonce and the same key, a post like any other. Answered `ok`, it won: the attempt
   never ran and never can (rule 4). Answered `duplicate nonce` or `nonce too low`, the nonce is **spent**, and that is
   all (rules 5, 6): perhaps by the attempt, perhaps by an earlier fence whose answer was lost. Not answered, it is
   repeated.
2. **Look up.** Only once the nonce is spent does the venue's record mean anything (rule 9). A record decides at once;
   "unknown" counts only when it comes several times in a row, spread over more than the venue's lag.

A late reply of the attempt itself, or the order stream, can decide at any time while it is open (rule 10). If the key
changed since, fences prove nothing: the attempt waits until its expiry has surely passed (rule 11), and is then spent.

States: UNKNOWN → FENCING → LOOKING_UP → EXECUTED or NEVER_EXECUTED. EXECUTED means that the action ran, whatever became
of each item.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from machines.intent import Cancel, Canceled, Filled, Intent, ItemResult, NotExecuted, Rejected, Resting
from machines.post import PostRequest
from machines.table import Row, StateMachine, Word
from machines.value import Value

ABSENCES_NEEDED: Final = 3
"""How often in a row the venue must not know an order (settlement.md, rule 9)."""
VENUE_LAG_MS: Final = 2_000
"""The venue's record may lag behind by so much (settlement.md, rule 9; protocol.md §5)."""
LOOK_UP_EVERY_MS: Final = 1_100
"""Between two look-ups of one order: three of them span more than the lag."""
EXPIRY_MARGIN_MS: Final = 10_000
"""Worst drift (5 s) and a margin, before an expiry counts as passed (settlement.md, rule 11)."""


class SettlementState(Word):
    """What is known of an attempt."""

    UNKNOWN = "unknown"
    """The attempt may or may not have run; a fence is to be sent, or its expiry waited for."""
    FENCING = "fencing"
    """A noop with the attempt's nonce is on the wire."""
    LOOKING_UP = "looking_up"
    """The nonce is spent, so that the venue's record of each item now tells."""
    EXECUTED = "executed"
    """Settled: the action ran, whatever became of each item."""
    NEVER_EXECUTED = "never_executed"
    """Settled: the action never ran and never can."""


class SettlementEvent(Word):
    """What is learnt about an attempt."""

    FENCE = "fence"
    FENCE_LOST = "fence_lost"
    FENCE_WON = "fence_won"
    SPEND = "spend"
    FIND = "find"
    MISS = "miss"
    ANSWER = "answer"
    REFUSE = "refuse"


@dataclass(slots=True, eq=False)
class LookUp:
    """The search for one item.

    Attributes:
        due_ms: When to ask next, monotonic ms.
        absences: How often in a row the venue did not know the order.
        absent_since_ms: When the first of these answers came, monotonic ms.
    """

    due_ms: int
    absences: int = 0
    absent_since_ms: int = 0

    def missed(self, now: int) -> bool:
        """The venue does not know the order; True once that is proof."""
        if self.absences == 0:
            self.absent_since_ms = now
        self.absences += 1
        self.due_ms = now + LOOK_UP_EVERY_MS
        return self.absences >= ABSENCES_NEEDED and now - self.absent_since_ms > VENUE_LAG_MS

    def unanswered(self, now: int) -> None:
        """The look-up failed or timed out, which counts for nothing; ask again."""
        self.due_ms = now + LOOK_UP_EVERY_MS


@dataclass(slots=True, eq=False)
class Attempt:
    """One ambiguous post until it is settled.

    Attributes:
        post: The post; its nonce is what a fence spends.
        opened_ms: When it became ambiguous, monotonic ms.
        fenceable: Whether a fence can prove anything: the key is the one that signed it.
        state: What is known.
        fence_id: The fence under way; None if there is none.
        open: The items that have no fate yet, by sequence number.
        look_ups: Their look-ups, once the nonce is spent.
        of_earlier_run: Whether an earlier run left it; then nothing of it is sent again.
        overdue: Whether the alarm was raised that it takes too long.
        ran: Whether one of its items left a record: then the action ran.
        refused: Cancels whose last answer says nothing of their order; an earlier one of them may still run (rule 19).
    """

    post: PostRequest
    opened_ms: int
    fenceable: bool = True
    state: SettlementState = SettlementState.UNKNOWN
    fence_id: int | None = None
    open: dict[int, Intent] = field(default_factory=dict)
    look_ups: dict[int, LookUp] = field(default_factory=dict)
    of_earlier_run: bool = False
    overdue: bool = False
    ran: bool = False
    refused: frozenset[int] = frozenset()

    @property
    def wants_fence(self) -> bool:
        """Whether a fence is to be sent."""
        return self.state is SettlementState.UNKNOWN and self.fenceable

    def step(self, event: SettlementEvent, *, now: int = 0, fence_id: int | None = None) -> bool:
        """Learn something, at monotonic ms `now`; False if the table's guard says that it is not enough.

        Raises:
            IllegalEvent: It cannot be learnt in the present state; nothing changed.
        """
        return SETTLEMENT.step(self, event, now=now, fence_id=fence_id)


def _await_fence(attempt: Attempt, now: int, fence_id: int | None) -> None:
    attempt.fence_id = fence_id


def _forget_fence(attempt: Attempt, now: int, fence_id: int | None) -> None:
    attempt.fence_id = None


def _begin_look_ups(attempt: Attempt, now: int, fence_id: int | None) -> None:
    attempt.fence_id = None
    attempt.look_ups = {seq: LookUp(now) for seq in attempt.open}


def _no_item_open(attempt: Attempt, now: int, fence_id: int | None) -> bool:
    return not attempt.open


_S, _E = SettlementState, SettlementEvent
SETTLEMENT: Final = StateMachine(
    "settlement",
    SettlementState,
    SettlementEvent,
    initial=_S.UNKNOWN,
    final=frozenset({_S.EXECUTED, _S.NEVER_EXECUTED}),
    table=(
        Row(_E.FENCE, _S.UNKNOWN, _S.FENCING, effect=_await_fence, why="noop with the same nonce and key (rule 3)"),
        Row(_E.FENCE_LOST, _S.FENCING, _S.UNKNOWN, effect=_forget_fence, why="unanswered: again (rule 3)"),
        Row(_E.FENCE_WON, _S.FENCING, _S.NEVER_EXECUTED, effect=_forget_fence, why="it never ran, never can (rule 4)"),
        Row(_E.FENCE_WON, _S.UNKNOWN, _S.NEVER_EXECUTED, why="an earlier fence, answered late (rule 4)"),
        Row(_E.FENCE_WON, _S.LOOKING_UP, _S.NEVER_EXECUTED, why="an earlier fence, answered late (rule 4)"),
        Row(
            _E.SPEND, _S.FENCING, _S.LOOKING_UP, effect=_begin_look_ups, why="the nonce is spent, no more (rules 5, 6)"
        ),
        Row(_E.SPEND, _S.UNKNOWN, _S.LOOKING_UP, effect=_begin_look_ups, why="spent, or surely expired (rules 7, 11)"),
        Row(_E.FIND, _S.UNKNOWN, _S.EXECUTED, guard=_no_item_open, why="every item's fate came from the stream"),
        Row(_E.FIND, _S.FENCING, _S.EXECUTED, guard=_no_item_open, why="every item's fate came from the stream"),
        Row(_E.FIND, _S.LOOKING_UP, _S.EXECUTED, guard=_no_item_open, why="every item has its fate (rule 9)"),
        Row(_E.MISS, _S.LOOKING_UP, _S.NEVER_EXECUTED, guard=_no_item_open, why="no item left a record (rule 9)"),
        Row(_E.ANSWER, _S.UNKNOWN, _S.EXECUTED, why="its own reply, late (rule 10)"),
        Row(_E.ANSWER, _S.FENCING, _S.EXECUTED, why="its own reply, late (rule 10)"),
        Row(_E.ANSWER, _S.LOOKING_UP, _S.EXECUTED, why="its own reply, late (rule 10)"),
        Row(_E.REFUSE, _S.UNKNOWN, _S.NEVER_EXECUTED, why="a proven refusal, late (rule 8)"),
        Row(_E.REFUSE, _S.FENCING, _S.NEVER_EXECUTED, why="a proven refusal, late (rule 8)"),
        Row(_E.REFUSE, _S.LOOKING_UP, _S.NEVER_EXECUTED, why="a proven refusal, late (rule 8)"),
    ),
)


ON_BOOK: Final = ("open", "triggered")
"""Statuses with which an order is still on the book; with any other it has ended (protocol.md §8)."""


class OrderRecord(Value, frozen=True):
    """What the venue says of an order, in a look-up or in the order stream (protocol.md §5, §8).

    Attributes:
        oid: The venue's id.
        status: Its word for the state.
        traded: What has traded of it, in contracts, as exact text; "0" for nothing.
    """

    oid: int
    status: str
    traded: str

    @property
    def on_book(self) -> bool:
        """Whether the order may still trade."""
        return self.status in ON_BOOK

    @property
    def refused(self) -> bool:
        """Whether the order was refused."""
        return self.status.lower().endswith("rejected")


def outcome_of(record: OrderRecord) -> ItemResult:
    """The outcome of an order that the venue has this record of."""
    if record.on_book:
        return Resting(record.oid)
    if record.traded != "0":
        return Filled(record.oid, record.traded, None)
    if record.refused:
        return Rejected(f"order status: {record.status}")
    return Canceled()


def outcome_of_cancel(record: OrderRecord) -> ItemResult:
    """The outcome of a cancel, from the record of the order that it names, which is on the book no more."""
    if record.status == "filled" or record.refused:
        return Rejected(f"the order was not canceled, its status is {record.status}")
    return Canceled()


def told_of(item: Intent, record: OrderRecord | None) -> ItemResult | None:
    """What a look-up says of an item; None for nothing.

    An order on the book says nothing of a cancel: the record may lag behind it.
    """
    if record is None:
        return None
    if isinstance(item.request, Cancel):
        return None if record.on_book else outcome_of_cancel(record)
    return outcome_of(record)


def contradict(first: object, later: ItemResult) -> bool:
    """Whether two reports of one order's fate can't both be true (finding X7).

    An order that rested may trade or be canceled later, so only "refused" against "taken", and two different oids, are
    contradictions.
    """
    refused = (Rejected, NotExecuted)
    if isinstance(first, refused) is not isinstance(later, refused):
        return True
    oids = [oid for oid in (getattr(first, "oid", None), getattr(later, "oid", None)) if oid is not None]
    return len(set(oids)) > 1
