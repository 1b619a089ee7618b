"""The reference model's second half: what replies, fences, records and the order stream prove (settlement.md).

Each proof is stated as its rule says it, over the plain lists of `ledger.py`. What a reply means is not read from its
text: the venue wrote it and says so.
"""

from __future__ import annotations

from typing import Final

from machines import events as ev
from machines.intent import (
    ActionKind,
    Cancel,
    Canceled,
    Filled,
    Intent,
    ItemResult,
    NotExecuted,
    Priority,
    Rejected,
    Resting,
)
from machines.post import PostState
from machines.reply import Accepted, GatewayError, Refused
from machines.settlement import OrderRecord
from tests.stateful.ledger import LOOK_UP_EVERY_MS, UNDER_WAY, Attempt, Ending, Item, Ledger, Place, Post, Told
from tests.stateful.venue import BENIGN_TEXTS, LAG_MS, MISSING, Meaning, Proof, Reply

ABSENCES: Final = 3
LOOK_UPS_AT_ONCE: Final = 8
EXPIRY_MARGIN_MS: Final = 10_000
_ASKED: Final = -1
"""Due time of a look-up that is under way."""


def fate(record: OrderRecord) -> Ending:
    """What became of an order with this record."""
    if record.status == "open":
        return Resting(record.oid)
    if record.traded != "0":
        return Filled(record.oid, record.traded, None)
    return Rejected if "Rejected" in record.status else Canceled()


def fate_of(item: Item, record: OrderRecord | None) -> Ending | None:
    """What a record says of an item; None if that is nothing: a cancel may have come after it."""
    if record is None or (item.queue is Priority.CANCEL and record.status == "open"):
        return None
    if item.queue is not Priority.CANCEL:
        return fate(record)
    return Rejected if record.status == "filled" or "Rejected" in record.status else Canceled()


def contradict(first: Ending, later: Ending) -> bool:
    """Whether two reports of an order can't both be true: refused and taken, or two orders."""
    refused = [report in (NotExecuted, Rejected) or isinstance(report, Rejected) for report in (first, later)]
    oids = {oid for report in (first, later) if (oid := getattr(report, "oid", None)) is not None}
    return refused[0] is not refused[1] or len(oids) > 1


class Settling(Ledger):
    """What is proven, and what follows."""

    def reply(self, reply: Reply, epoch: int) -> Told:
        """`reply` arrives on connection `epoch`."""
        told = self._begin()
        post = self.sent.get(reply.frame.post_id)
        if post is None or post.epoch != epoch:
            self._reply_late(reply, epoch)
            return told
        del self.sent[post.post_id]
        meaning, content = reply.meaning, reply.content
        took = isinstance(content, Accepted) and not isinstance(meaning, Proof)
        told.posts[post.post_id] = PostState.ACKED if took else PostState.FAILED
        if isinstance(content, GatewayError):
            self._be_silent()
        if post.fence_of is not None:
            if not self._fence_proves(post.fence_of, took, meaning):
                self._fence_failed(post)
                self._be_silent()
        elif meaning is Proof.NEVER_RAN:
            self._take_back(post)
        elif isinstance(meaning, Proof):
            self._lose(post, spent=meaning is Proof.SPENT)
        else:
            if post.kind is ActionKind.NOOP:
                self._judge_key(content)
            told.switch_refused = post.kind is ActionKind.SCHEDULE_CANCEL and isinstance(content, Refused)
            self._end_items(post, meaning)
            self._count_rejections(meaning)
        return told

    def unknown_reply(self) -> Told:
        """A reply to no post of this executor's."""
        told = self._begin()
        told.stray = True
        return told

    def _end_items(self, post: Post, results: tuple[ItemResult, ...]) -> None:
        doubtful, refused = [], set()
        for item, result in zip(post.items, results, strict=True):
            if item.place is not Place.POSTED:
                self._compare(item, result)
            elif item.queue is not Priority.CANCEL or not isinstance(result, Rejected):
                self._end(item, result)
            elif self._in_doubt(item, result):
                doubtful.append(item)
                refused |= set() if result.reason == MISSING else {item.seq}
        if doubtful:
            attempt = Attempt(post, Priority.CANCEL, doubtful, self.now, may_be_answered=False, refused=refused)
            self.attempts[post.post_id] = attempt
            self._spend(attempt)

    def _in_doubt(self, cancel: Item, result: Rejected) -> bool:
        """Rule 19: what a refused cancel proves; True if only a record can tell."""
        target = self.target(cancel)
        overtook = result.reason == MISSING and cancel.overtook
        if target is not None and target.rests and overtook:
            self._return(cancel)
            return False
        if target is not None and target.place in UNDER_WAY and (overtook or cancel.lost):
            cancel.place = Place.HELD
            return False
        if not cancel.lost:
            self._end(cancel, result)
            return False
        cancel.place = Place.UNKNOWN
        self._told.unknown.add(cancel.seq)
        return True

    def _take_back(self, post: Post) -> None:
        for item in post.items:
            if item.place is not Place.POSTED:
                self._compare(item, Rejected)
            elif item.queue is Priority.NEW_ORDER or item.cancel_wanted:
                self._end(item, NotExecuted)
            else:
                self._return(item)

    def _count_rejections(self, results: tuple[ItemResult, ...]) -> None:
        reasons = [result.reason for result in results if isinstance(result, Rejected)]
        if len(reasons) < len(results):
            self.rejected_in_a_row = 0
        elif any(reason not in BENIGN_TEXTS for reason in reasons):
            self.rejected_in_a_row += 1
            if self.rejected_in_a_row >= self.settings.rejections_to_halt:
                self._halt()

    # ------------------------------------------------------------------------------------- late replies, and fences

    def _reply_late(self, reply: Reply, epoch: int) -> None:
        """It ends the quarantine of its post, and decides an open attempt (rule 10)."""
        post_id, meaning = reply.frame.post_id, reply.meaning
        post, attempt = self.quarantine.get(post_id), self.attempts.get(post_id)
        if post is not None and post.epoch == epoch:
            del self.quarantine[post_id]
        elif attempt is not None and attempt.may_be_answered and attempt.post.epoch == epoch:
            post = attempt.post
        else:
            self._told.stray = True
            return
        if post.fence_of is not None:
            took = isinstance(reply.content, Accepted) and not isinstance(meaning, Proof)
            self._fence_proves(post.fence_of, took, meaning)
        elif attempt is not None:
            self._attempt_answered(attempt, meaning)
        elif meaning is Proof.NEVER_RAN or not isinstance(meaning, Proof):
            results = (Rejected,) * len(post.items) if isinstance(meaning, Proof) else meaning
            for item, result in zip(post.items, results, strict=True):
                self._compare(item, result, post_id)

    def _attempt_answered(self, attempt: Attempt, meaning: Meaning) -> None:
        if meaning is Proof.NEVER_RAN:
            self._never_ran(attempt)
        elif meaning is Proof.SPENT:
            self._spend(attempt)
        elif not isinstance(meaning, Proof):
            for item, result in zip(attempt.post.items, meaning, strict=True):
                if item in attempt.items:
                    self._settle(attempt, item, result)

    def _fence_proves(self, fenced: int, took: bool, meaning: Meaning) -> bool:
        """Rules 4 to 6: it ran, so the attempt did not; or the nonce is spent, and no more is known."""
        attempt = self.attempts.get(fenced)
        if took and attempt is not None:
            self._never_ran(attempt)
        elif meaning is Proof.SPENT and attempt is not None:
            self._spend(attempt)
        return took or meaning is Proof.SPENT

    # --------------------------------------------------------------------------------------------- records, stream

    def looked_up(self, post_id: int, seq: int, record: OrderRecord | None) -> Told:
        """The answer to a look-up (rule 9)."""
        told = self._begin()
        self.asked -= 1
        attempt, item = self._of(post_id, seq)
        if attempt is None or item is None or attempt.searches is None:
            return told
        ending = fate_of(item, record)
        search = attempt.searches[seq]
        search.misses.append(self.now)
        search.due_ms = self.now + LOOK_UP_EVERY_MS
        if ending is not None:
            self._settle(attempt, item, ending)
        elif len(search.misses) >= ABSENCES and self.now - search.misses[0] > LAG_MS:
            rests_still = record is not None and seq in attempt.refused
            may_return = rests_still if item.queue is Priority.CANCEL else not attempt.earlier
            self._settle(attempt, item, None, may_return=may_return)
        return told

    def look_up_failed(self, post_id: int, seq: int) -> Told:
        """It counts for nothing, and is repeated."""
        told = self._begin()
        self.asked -= 1
        attempt, item = self._of(post_id, seq)
        if attempt is not None and item is not None and attempt.searches is not None:
            attempt.searches[seq].due_ms = self.now + LOOK_UP_EVERY_MS
        return told

    def _of(self, post_id: int, seq: int) -> tuple[Attempt | None, Item | None]:
        attempt = self.attempts.get(post_id)
        items = [] if attempt is None else [item for item in attempt.items if item.seq == seq]
        return attempt, items[0] if items else None

    def order_seen(self, cloid: str, record: OrderRecord) -> Told:
        """The order stream speaks: first, and it ends the order; or second, and it is compared (X7)."""
        told = self._begin()
        item = self.known.get(cloid)
        if item is None:
            return told
        attempts = [attempt for attempt in self.attempts.values() if item in attempt.items]
        if attempts:
            self._settle(attempts[0], item, fate(record))
        elif item.place is Place.POSTED:
            self._end(item, fate(record))
        else:
            self._compare(item, fate(record))
        if record.status != "open" and item.ending is not None:
            self._off_book(item)
        return told

    def fill_seen(self, cloid: str, oid: int, size: str) -> Told:
        """The stream of trades says that an order ran: its nonce is spent, and its record tells the rest."""
        told = self._begin()
        item = self.known.get(cloid)
        for attempt in self.attempts.values():
            if item in attempt.items:
                self._spend(attempt)
        if item is not None and item.place not in UNDER_WAY:
            self._compare(item, Filled(oid, size, None))
        return told

    def order_gone(self, cloid: str) -> Told:
        """An order that rested does so no more."""
        holder = self.holders.get(cloid)
        if holder is not None and holder.rests:
            self._off_book(holder)
        return self._begin()

    def _compare(self, item: Item, later: Ending, post_id: int | None = None) -> None:
        if item.queue is Priority.CANCEL:
            return
        sent_again = post_id is not None and post_id != item.posts[-1]
        first = NotExecuted if sent_again or item.ending is None else item.ending
        if contradict(first, later):
            self._told.contradictions.append(item.seq)

    # ----------------------------------------------------------------------------------------------------- verdicts

    def _never_ran(self, attempt: Attempt) -> None:
        for item in list(attempt.items):
            self._settle(attempt, item, None, may_return=not attempt.earlier)

    def _settle(self, attempt: Attempt, item: Item, ending: Ending | None, *, may_return: bool = False) -> None:
        """The fate of an item is known; None: it never ran and never can, so it may go out again (rule 17)."""
        attempt.items.remove(item)
        if not attempt.items:
            del self.attempts[attempt.post.post_id]
        if ending is not None:
            self._end(item, ending)
        elif item.queue is Priority.NEW_ORDER or item.cancel_wanted or not may_return:
            self._end(item, NotExecuted)
        else:
            self._return(item)

    def _settle_in_time(self, venue_time_ms: int | None) -> None:
        """Expiries (rule 11), alarms, and the look-ups that are due."""
        for attempt in self.attempts.values():
            expires = attempt.post.expires_ms
            if (
                not attempt.fenceable
                and expires is not None
                and venue_time_ms is not None
                and venue_time_ms > expires + EXPIRY_MARGIN_MS
            ):
                self._spend(attempt)
            if not attempt.overdue and self.now - attempt.opened_ms >= self.settings.settlement_alarm_ms:
                attempt.overdue = True
                self._told.overdue.update(item.seq for item in attempt.items)
        due = sorted(
            (search.due_ms, attempt.post.post_id, item.seq, item)
            for attempt in self.attempts.values()
            for item in attempt.items
            if attempt.searches is not None and 0 <= (search := attempt.searches[item.seq]).due_ms <= self.now
        )
        for _, post_id, seq, item in due[: LOOK_UPS_AT_ONCE - self.asked]:
            self.asked += 1
            searches = self.attempts[post_id].searches
            assert searches is not None
            searches[seq].due_ms = _ASKED
            request = item.request
            oid = request.oid if isinstance(request, Cancel) else None
            self._told.look_ups.append((post_id, seq, item.cloid if oid is None else oid))

    # ----------------------------------------------------------------------------------------------------- recovery

    def recovered(self, left: ev.Recovered) -> Told:
        """What an earlier run left is quarantined again, and settled; nothing of it is sent again but cancels."""
        told = self._begin()
        for post in left.posts:
            items = [self._take_up(intent, Place.UNKNOWN) for intent in post.items]
            kept = Post(post.post_id, post.nonce, post.kind, items, post.expires_ms, post.fence_of)
            if post.state is PostState.SENT:
                self.quarantine[post.post_id] = kept
                kept.free_ms = self.now + self.settings.quarantine_ms
            if items:
                self.attempts[post.post_id] = Attempt(
                    kept, kept.queue, items, self.now, fenceable=left.same_key, earlier=True
                )
        for intent in left.never_sent:
            self._end(self._take_up(intent, Place.WAITING), NotExecuted)
        for intent in left.lost_cancels:
            cancel = self._take_up(intent, Place.WAITING)
            cancel.lost = True
            self._return(cancel)
        return told

    def _take_up(self, intent: Intent, place: Place) -> Item:
        item = Item(intent.seq, intent.request, intent.priority, intent.kind, intent.alo, intent.cloid, place=place)
        item.posts = list(intent.attempts)
        self._accept(item)
        return item
