"""All open attempts: which fence to send, what to look up and when, and what the answers decide.

The settler drives the settlement machine (machines/settlement.py) and hands its findings to the core as `Finding`s, one
for each item whose fate is known; the core ends the intents. It sends nothing itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from machines.intent import Cancel, Intent, ItemResult, NotExecuted, Priority
from machines.post import PostRequest
from machines.settlement import (
    EXPIRY_MARGIN_MS,
    Attempt,
    OrderRecord,
    SettlementEvent,
    SettlementState,
    told_of,
)
from machines.verdict import NeverRan, Unclear, Verdict

LOOK_UPS_AT_ONCE: Final = 8
"""Questions under way at a time: the venue allows a weight of 1200 a minute over HTTP (protocol.md §3)."""

_E = SettlementEvent


class Finding(Struct, frozen=True):
    """The fate of one item.

    Attributes:
        intent: The item.
        outcome: What became of it; None if it never ran and never can.
        proof: What shows it, for the owner and for the invariants.
        may_return: Whether an item that never ran may be sent again.
    """

    intent: Intent
    outcome: ItemResult | NotExecuted | None
    proof: str
    may_return: bool = True


class Question(Struct, frozen=True):
    """A look-up to be made.

    Attributes:
        post_id: The attempt.
        seq: The item.
        key: The cloid or oid of the order.
    """

    post_id: int
    seq: int
    key: str | int


class Settler:
    """The open attempts.

    Attributes:
        alarm_ms: How long an attempt may stay open before it is overdue.
        attempts: Open attempts by the id of their post.
        moved: Attempts that the present step moved; the core empties it.
        blocked: How many overdue items each market has; new orders there have to wait.
    """

    __slots__ = ("_asked", "_due", "_of_item", "alarm_ms", "attempts", "blocked", "moved")

    def __init__(self, alarm_ms: int) -> None:
        """Begin without attempts."""
        self.alarm_ms = alarm_ms
        self.attempts: dict[int, Attempt] = {}
        self.moved: list[Attempt] = []
        self.blocked: dict[str, int] = {}
        self._of_item: dict[int, Attempt] = {}
        self._due: list[tuple[int, int, int]] = []
        self._asked = 0

    @property
    def open_items(self) -> int:
        """Items without a fate."""
        return len(self._of_item)

    # ------------------------------------------------------------------------------------------- opening, fencing

    def open(
        self,
        post: PostRequest,
        items: Iterable[Intent],
        now: int,
        *,
        fenceable: bool = True,
        earlier: bool = False,
        refused: Iterable[int] = (),
    ) -> Attempt:
        """Take charge of the items of an ambiguous post."""
        attempt = Attempt(
            post,
            now,
            fenceable,
            open={item.seq: item for item in items},
            of_earlier_run=earlier,
            refused=frozenset(refused),
        )
        self.attempts[post.post_id] = attempt
        self._of_item.update(dict.fromkeys(attempt.open, attempt))
        self.moved.append(attempt)
        return attempt

    def next_fence(self, *, new_orders: bool) -> Attempt | None:
        """The oldest attempt that wants a fence; those of new orders only while there is room (rule 18)."""
        for attempt in self.attempts.values():
            if attempt.wants_fence and (new_orders or attempt.post.priority is not Priority.NEW_ORDER):
                return attempt
        return None

    def fence_sent(self, attempt: Attempt, fence: PostRequest) -> None:
        """The fence of an attempt is in hand."""
        self._step(attempt, _E.FENCE, fence_id=fence.post_id)

    def fence_lost(self, fence: PostRequest) -> None:
        """A fence was not sent, or not answered: it is repeated under a new id."""
        attempt = self._fenced_by(fence)
        if attempt is not None and attempt.fence_id == fence.post_id:
            self._step(attempt, _E.FENCE_LOST)

    def fence_answered(self, fence: PostRequest, *, won: bool, now: int) -> list[Finding]:
        """A fence was answered `ok` (won) or with a spent nonce; late answers count too."""
        attempt = self._fenced_by(fence)
        if attempt is None:
            return []
        if won:
            self._step(attempt, _E.FENCE_WON)
            return self._never_ran(attempt, "its fence won: it never ran and never can")
        if attempt.state is not SettlementState.LOOKING_UP:
            self.spend(attempt, now)
        return []

    def spend(self, attempt: Attempt, now: int) -> None:
        """The nonce is spent, or has surely expired: from here on the venue's record counts."""
        self._step(attempt, _E.SPEND, now=now)
        for seq, look_up in attempt.look_ups.items():
            heapq.heappush(self._due, (look_up.due_ms, attempt.post.post_id, seq))

    # ------------------------------------------------------------------------------------------------- looking up

    def questions(self, now: int) -> list[Question]:
        """The look-ups that are due; each is answered by `looked_up` or `look_up_failed`."""
        asked: list[Question] = []
        while self._due and self._due[0][0] <= now and self._asked < LOOK_UPS_AT_ONCE:
            _, post_id, seq = heapq.heappop(self._due)
            attempt = self.attempts.get(post_id)
            if attempt is not None and seq in attempt.open:
                self._asked += 1
                asked.append(Question(post_id, seq, _key(attempt.open[seq])))
        return asked

    def looked_up(self, post_id: int, seq: int, record: OrderRecord | None, now: int) -> list[Finding]:
        """The venue's record of an item, or None if it knows no such order."""
        self._asked -= 1
        attempt = self.attempts.get(post_id)
        item = None if attempt is None else attempt.open.get(seq)
        if attempt is None or item is None:
            return []
        told = told_of(item, record)
        if told is not None:
            self._item_known(attempt, seq)
            self._close_if_done(attempt, ran=True)
            return [Finding(item, told, "the venue's record")]
        if not attempt.look_ups[seq].missed(now):
            self._ask_again(attempt, seq)
            return []
        self._item_known(attempt, seq)
        self._close_if_done(attempt, ran=False)
        may_return = not attempt.of_earlier_run
        if item.priority is Priority.CANCEL:  # sent again only if it may still be needed (rule 19)
            may_return = record is not None and seq in attempt.refused
        return [Finding(item, None, "its nonce is spent and it left no record", may_return)]

    def look_up_failed(self, post_id: int, seq: int, now: int) -> None:
        """A look-up was not answered, which counts for nothing."""
        self._asked -= 1
        attempt = self.attempts.get(post_id)
        if attempt is not None and seq in attempt.open:
            attempt.look_ups[seq].unanswered(now)
            self._ask_again(attempt, seq)

    # ---------------------------------------------------------------------------------------------- other evidence

    def item_ended(self, seq: int) -> None:
        """The order stream told the fate of an unknown item."""
        attempt = self._of_item[seq]
        self._item_known(attempt, seq)
        self._close_if_done(attempt, ran=True)

    def ran(self, seq: int, now: int) -> None:
        """An unknown item has traded: its nonce is spent, and its record is to be looked up."""
        attempt = self._of_item[seq]
        if attempt.state is not SettlementState.LOOKING_UP:
            self.spend(attempt, now)

    def replied_late(self, attempt: Attempt, verdict: Verdict, spent: bool, now: int) -> list[Finding]:
        """The attempt's own reply came after all (rule 10)."""
        if isinstance(verdict, NeverRan):
            self._step(attempt, _E.REFUSE)
            return self._never_ran(attempt, f"refused by the venue's gate, late: {verdict.reason}")
        if isinstance(verdict, Unclear):
            if spent and attempt.state is not SettlementState.LOOKING_UP:
                self.spend(attempt, now)
            return []
        by_item = zip(attempt.post.items, verdict.results, strict=True)
        found = [Finding(item, result, "its own late reply") for item, result in by_item if item.seq in attempt.open]
        self._step(attempt, _E.ANSWER)
        self._close(attempt)
        return found

    def time_passed(self, now: int, venue_time_ms: int | None) -> list[Attempt]:
        """Notice what only time brings: expiries (rule 11), and attempts that are overdue, which are returned.

        While the venue's time is not known, nothing has expired.
        """
        overdue = []
        for attempt in self.attempts.values():
            expires = attempt.post.expires_ms
            if (
                not attempt.fenceable
                and attempt.state is SettlementState.UNKNOWN
                and expires is not None
                and venue_time_ms is not None
                and venue_time_ms > expires + EXPIRY_MARGIN_MS
            ):
                self.spend(attempt, now)
            if not attempt.overdue and now - attempt.opened_ms >= self.alarm_ms:
                attempt.overdue = True
                overdue.append(attempt)
                for item in attempt.open.values():
                    self._block(item, 1)
        return overdue

    def next_wake_ms(self, now: int) -> int | None:
        """When time alone may change something, monotonic ms; None if there is nothing open."""
        if not self.attempts:
            return None
        if self._due and self._asked < LOOK_UPS_AT_ONCE:
            return min(self._due[0][0], now + _PATIENCE_MS)
        return now + _PATIENCE_MS

    # ----------------------------------------------------------------------------------------------------- closing

    def _never_ran(self, attempt: Attempt, proof: str) -> list[Finding]:
        may_return = not attempt.of_earlier_run
        found = [Finding(item, None, proof, may_return) for item in attempt.open.values()]
        self._close(attempt)
        return found

    def _close_if_done(self, attempt: Attempt, *, ran: bool) -> None:
        if ran:
            attempt.ran = True
        if self._step(attempt, _E.FIND if attempt.ran else _E.MISS):
            self._close(attempt)

    def _close(self, attempt: Attempt) -> None:
        for seq in list(attempt.open):
            self._item_known(attempt, seq)
        del self.attempts[attempt.post.post_id]

    def _item_known(self, attempt: Attempt, seq: int) -> None:
        item = attempt.open.pop(seq)
        del self._of_item[seq]
        if attempt.overdue:
            self._block(item, -1)

    def _block(self, item: Intent, change: int) -> None:
        market = item.market
        left = self.blocked.get(market, 0) + change
        if left:
            self.blocked[market] = left
        else:
            self.blocked.pop(market, None)

    def _ask_again(self, attempt: Attempt, seq: int) -> None:
        heapq.heappush(self._due, (attempt.look_ups[seq].due_ms, attempt.post.post_id, seq))

    def _fenced_by(self, fence: PostRequest) -> Attempt | None:
        return None if fence.fence_of is None else self.attempts.get(fence.fence_of)

    def _step(self, attempt: Attempt, event: SettlementEvent, *, now: int = 0, fence_id: int | None = None) -> bool:
        moved = attempt.step(event, now=now, fence_id=fence_id)
        if moved:
            self.moved.append(attempt)
        return moved


_PATIENCE_MS: Final = 1_000
"""How often expiries and overdue attempts are looked for."""


def _key(item: Intent) -> str | int:
    """What an item's order is looked up by: its cloid; for a cancel, the order that it names."""
    request = item.request
    if isinstance(request, Cancel) and request.oid is not None:
        return request.oid
    return item.cloid or ""
