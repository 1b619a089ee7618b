"""What the journal holds, as plain data.

Two kinds of thing. A **step** is what happened: one event of the core with its facts, the transitions that it caused
and the effects that it asked for; steps are only ever added. A **row** is how one intent or one post stands now; it is
replaced by the step that changes it, in the same transaction, so that a restart reads how things stand and not how
they came about.

Everything is what JSON holds: numbers, strings, booleans, None, lists, and dicts with string keys. Prices and sizes are
strings. Nothing secret belongs here: no key, no signature.

These structures grow only by fields with defaults, added at the end, so that an older journal can always be read.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

NEVER_SENT: Final = "unsent"
"""State of a post whose frame certainly never left (machines/post.py); nothing of it is open."""
SETTLED: Final = frozenset({"executed", "never_executed"})
"""States in which the settlement of a post is closed (design.md, `settlement`)."""


def as_json(value: Any) -> dict[str, Any]:
    """A struct in the place of the dict that it is in JSON: written down they are the same, and that costs less.

    It must not change until it is written down.
    """
    the_same: dict[str, Any] = value
    return the_same


class Move(Struct, frozen=True):
    """One transition of a state machine.

    Attributes:
        machine: Name of the machine: `intent`, `post`, `settlement`, `session`, …
        key: Which one of its kind: an intent's sequence number, a post's id (for `settlement` too), or 0.
        event: Name of the transition's event.
        source: State before.
        target: State afterwards.
    """

    machine: str
    key: int
    event: str
    source: str
    target: str


class Step(Struct, frozen=True, kw_only=True):
    """One step of the core.

    Attributes:
        seq: Its number in its run, contiguous from 0; the journal assigns it, whatever is given.
        unix_ms: Unix time of the step, ms. For people: order comes from `seq` alone.
        monotonic_ms: Monotonic time of the step, ms.
        event: Name of the event's type.
        facts: The event's fields.
        moves: The transitions that it caused, in order.
        effects: What the core asked its shell to do, in order.
        cause: `seq` of the earlier step of this run that led to this one; None when it came from outside.
    """

    seq: int = 0
    unix_ms: int
    monotonic_ms: int
    event: str
    facts: dict[str, Any] = {}
    moves: tuple[Move, ...] = ()
    effects: tuple[dict[str, Any], ...] = ()
    cause: int | None = None


class IntentRow(Struct, frozen=True, kw_only=True):
    """How an intent stands.

    Attributes:
        seq: Its number; never repeats, across runs too.
        cloid: The client order id of the order concerned; None for a cancel or a modify of an oid alone.
        market: Name of the market.
        priority: Its queue.
        kind: The L1 action that carries it: `order`, `cancel`, `cancelByCloid`, `batchModify`.
        request: What was submitted.
        state: Where it is.
        attempts: Ids of the posts that carried it.
        outcome: How it ended, for good; None while it is under way, and while its fate is unknown.
    """

    seq: int
    cloid: str | None
    market: str
    priority: str
    kind: str
    request: dict[str, Any]
    state: str
    attempts: tuple[int, ...] = ()
    outcome: dict[str, Any] | None = None

    @property
    def open(self) -> bool:
        """Whether it still has to get its outcome."""
        return self.outcome is None

    @property
    def is_cancel(self) -> bool:
        """Whether it cancels the order that its cloid names."""
        return self.kind.startswith("cancel")


class PostRow(Struct, frozen=True, kw_only=True):
    """How a post stands; fences are posts like any other (settlement.md, rule 3).

    Attributes:
        post_id: The correlation key; never repeats, across runs too (rule 14).
        nonce: Its nonce.
        kind: The action that it carries.
        priority: The queue that its items came from; None for a post without items.
        items: Sequence numbers of the intents that it carries, in request order.
        fence_of: The post that it fences; None if it is no fence.
        epoch: The connection that carries it.
        prepared_unix_ms: When it was made, unix ms.
        expires_after: Unix ms after which the venue refuses it; None for no expiry.
        state: Where it is.
        settlement: Where its settlement is; None if it needs none (not ambiguous, a fence, a cancel).
        answered: Whether a reply to it came, late ones included.
        quarantine_over: Whether its quarantine has ended by time (rule 16), so that a restart need not begin it again.
    """

    post_id: int
    nonce: int
    kind: str
    priority: str | None
    items: tuple[int, ...]
    fence_of: int | None
    epoch: int
    prepared_unix_ms: int
    expires_after: int | None
    state: str
    settlement: str | None = None
    answered: bool = False
    quarantine_over: bool = False

    @property
    def open(self) -> bool:
        """Whether a restart has to take it up: to settle it, to quarantine it, or both (rules 1 and 15)."""
        if self.state == NEVER_SENT:
            return False
        unsettled = self.settlement is not None and self.settlement not in SETTLED
        return unsettled or not (self.answered or self.quarantine_over)


class Changes(Struct, frozen=True):
    """The rows that a step made or changed, as they are after it."""

    intents: tuple[IntentRow, ...] = ()
    posts: tuple[PostRow, ...] = ()


class OpenPost(Struct, frozen=True):
    """A post of an earlier run that is not over.

    Attributes:
        row: The post.
        run: The run that made it.
        signer: The address that signed it; if it is not today's, a fence proves nothing (settlement.md, rule 3).
    """

    row: PostRow
    run: int
    signer: str


class Recovered(Struct, frozen=True, kw_only=True):
    """What the runs before this one left behind.

    Attributes:
        run: Number of the run that begins.
        last_nonce: The highest nonce that this signer ever used; 0 if none.
        last_post_id: The highest post id ever used, by any signer; 0 if none.
        last_intent_seq: The highest sequence number of an intent ever used; 0 if none.
        last_signer: Who signed in the last run; None if there was none.
        clean: Whether the last run ended in order, or there was none.
        torn_frames: Pieces that were only half written and were dropped: pages of a last transaction, a line of the
            redo log; 0 when nothing was.
        unrecorded: Whether a run went on after its journal had failed: what it left may have gone on, too.
        intents: Intents of earlier runs without an outcome, in order.
        posts: Posts of earlier runs that are not over, in order.
    """

    run: int
    last_nonce: int
    last_post_id: int
    last_intent_seq: int
    last_signer: str | None
    clean: bool
    torn_frames: int
    unrecorded: bool = False
    intents: tuple[IntentRow, ...]
    posts: tuple[OpenPost, ...]
