"""The mistakes about outcomes and settlement (findings.md: X; settlement.md), each as a patch that puts it back."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from adapters.journal import PostRow
from machines import events as ev
from machines import executor, hard_stop, settlement, settler, verdict
from machines.batch import BatchScheduler
from machines.executor import ExecutorCore
from machines.inflight import InflightTracker
from machines.intent import Admission, Intent, IntentEvent, ItemResult, NotExecuted, Priority, Rejected, Resting
from machines.post import PostEvent, PostRequest, PostRequestManager
from machines.register import IntentRegister
from machines.reply import PostReply, Refused
from machines.settlement import Attempt, LookUp, OrderRecord, SettlementEvent
from machines.settler import Finding, Settler
from tests.stateful.composed import ComposedCore
from tests.stateful.mistake import Patch, mistake
from tests.stateful.settlements import Settlements

# ------------------------------------------------------------------------------------- X1: ambiguous is not sent again


@mistake("X1", by=Settlements, rules=(20,))
def rule_20_an_ambiguous_reduce_only_order_is_sent_again_at_once(patch: Patch) -> None:
    """A reduce-only order without an answer goes back to its queue, as if it had never left."""
    real = ExecutorCore._lose

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **facts: Any) -> None:
        if post.priority is Priority.REDUCE_ONLY:
            self._take_back(post, reason)
        else:
            real(self, post, reason, **facts)

    patch.setattr(ExecutorCore, "_lose", lose)


@mistake("X1", by=Settlements, rules=(20,))
def rule_20_an_ambiguous_order_is_given_up(patch: Patch) -> None:
    """An order without an answer is called not executed."""

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **_: Any) -> None:
        self.settler.fence_lost(post)
        for item in post.items:
            if item.outcome is None:
                self._end_intent(item, IntentEvent.ABANDON, NotExecuted(reason))

    patch.setattr(ExecutorCore, "_lose", lose)


@mistake("X1", "X2", by=ComposedCore)
def unknown_is_reported_as_rejected(patch: Patch) -> None:
    """An order without an answer is called rejected."""

    def sure(self: ExecutorCore, lost: PostRequest, reason: str, **_: Any) -> None:
        self.settler.fence_lost(lost)
        for item in lost.items:
            if item.outcome is None:
                self._end_intent(item, IntentEvent.REJECT, Rejected(reason))

    patch.setattr(ExecutorCore, "_lose", sure)


@mistake("X1", by=ComposedCore)
def broken_hand_over_is_taken_for_refused(patch: Patch) -> None:
    """A frame of which a part may be out counts as one that never left."""
    patch.setattr(ExecutorCore, "_on_broken", ExecutorCore._on_refused)


@mistake("X2", by=Settlements, rules=(12,))
def rule_12_the_first_of_several_attempts_to_be_settled_decides(patch: Patch) -> None:
    """An order goes out again while an attempt of it is open; the next one that is settled ends it."""
    real = ExecutorCore._lose

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **facts: Any) -> None:
        real(self, post, reason, **facts)
        again = tuple(item for item in post.items if post.priority is Priority.REDUCE_ONLY and item.outcome is None)
        if again:
            self._return(again, proof="another attempt will tell")

    patch.setattr(ExecutorCore, "_lose", lose)


# -------------------------------------------------------------------------------------------- rules 1, 2: what is kept


@mistake("X2", by=Settlements, rules=(1,))
def rule_01_a_post_in_hand_at_the_crash_is_forgotten(patch: Patch) -> None:
    """A restart takes a post that was recorded, and of whose hand-over nothing is known, for one that never left."""
    real = vars(PostRow)["open"].fget
    patch.setattr(PostRow, "open", property(lambda row: row.state != "queued" and real(row)))


@mistake("X2", by=Settlements, rules=(2,))
def rule_02_an_outcome_is_told_and_not_recorded(patch: Patch) -> None:
    """The step that ends an intent does not name it, so that a restart finds it open and ends it once more."""
    real = IntentRegister.end

    def unnamed(self: IntentRegister, *facts: Any) -> None:
        real(self, *facts)
        self.moved.pop()

    patch.setattr(IntentRegister, "end", unnamed)


# ------------------------------------------------------------------------------------------------ rules 3 to 6: fences


@mistake("X2", by=Settlements, rules=(3,))
def rule_03_a_fence_has_a_nonce_of_its_own(patch: Patch) -> None:
    """The noop that is to spend the nonce of a post spends another one."""
    prepare = PostRequestManager.prepare

    def fresh(
        self: PostRequestManager, kind: Any, priority: Any, items: Any, nonce: int, *facts: Any, **more: Any
    ) -> Any:
        is_fence = more.get("fence_of") is not None
        return prepare(self, kind, priority, items, self._last_nonce + 1 if is_fence else nonce, *facts, **more)

    patch.setattr(PostRequestManager, "prepare", fresh)


@mistake("X2", by=Settlements, rules=(3,))
def rule_03_a_fence_of_another_key_proves_something(patch: Patch) -> None:
    """After the key has changed, posts of the old one are fenced with the new one."""
    real = ExecutorCore._on_recovered
    patch.setattr(ExecutorCore, "_on_recovered", lambda self, event: real(self, replace(event, same_key=True)))


@mistake("X2", by=Settlements, rules=(3,))
def rule_03_an_unanswered_fence_is_not_repeated(patch: Patch) -> None:
    """A fence is sent once; if its answer is lost, nothing is ever found out."""
    patch.setattr(Settler, "fence_lost", lambda self, fence: None)


@mistake("X2", by=Settlements, rules=(3,))
def rule_03_a_fence_expires(patch: Patch) -> None:
    """A fence carries an expiry, and so proves nothing when it is refused for that."""
    prepare = PostRequestManager.prepare

    def expiring(self: PostRequestManager, *facts: Any, **more: Any) -> PostRequest:
        made = prepare(self, *facts, **more)
        if made.fence_of is not None:
            made.expires_ms = made.server_time_ms + 1_000
        return made

    patch.setattr(PostRequestManager, "prepare", expiring)


@mistake("X2", by=Settlements, rules=(4,))
def rule_04_a_fence_that_won_proves_nothing(patch: Patch) -> None:
    """The answer `ok` to a fence is taken for no answer."""
    patch.setattr(executor, "fence_won", lambda reply: False)


@mistake("X2", by=Settlements, rules=(4,))
def rule_04_a_fence_that_won_shows_that_the_order_ran(patch: Patch) -> None:
    """The answer `ok` to a fence is read as if it were the order's."""
    real = Settler.fence_answered

    def fence_answered(self: Settler, fence: PostRequest, *, won: bool, now: int) -> list[Finding]:
        found = real(self, fence, won=won, now=now)
        return [replace(finding, outcome=Resting(None)) for finding in found]

    patch.setattr(Settler, "fence_answered", fence_answered)


@mistake("X2", by=Settlements, rules=(5,))
def rule_05_a_duplicate_nonce_means_that_the_order_was_processed(patch: Patch) -> None:
    """`duplicate nonce`, said to a fence, is read as the order's refusal, though an earlier fence may have used it."""
    real = Settler.fence_answered

    def fence_answered(self: Settler, fence: PostRequest, *, won: bool, now: int) -> list[Finding]:
        attempt = self._fenced_by(fence)
        if won or attempt is None:
            return real(self, fence, won=won, now=now)
        found = [Finding(item, Rejected("the nonce was used"), "fence") for item in attempt.open.values()]
        self._step(attempt, SettlementEvent.ANSWER)
        self._close(attempt)
        return found

    patch.setattr(Settler, "fence_answered", fence_answered)


@mistake("X2", by=Settlements, rules=(6,))
def rule_06_a_nonce_that_is_too_low_means_that_the_order_never_ran(patch: Patch) -> None:
    """`nonce too low`, said to a fence, is read as if the fence had won, though the order may have run before."""

    def fence_won(reply: PostReply) -> bool:
        return verdict.fence_won(reply) or (isinstance(reply, Refused) and "too low" in reply.reason)

    patch.setattr(executor, "fence_won", fence_won)


# ----------------------------------------------------------------------------------- rules 7, 8, 10: what replies prove


@mistake("X2", by=Settlements, rules=(7,))
def rule_07_an_order_answered_with_a_spent_nonce_was_rejected(patch: Patch) -> None:
    """`duplicate nonce`, said to the order in a frame delivered twice, is read as its refusal."""
    patch.setattr(verdict, "SPENT_NONCE", ("no such text",))


@mistake("X2", by=Settlements, rules=(8,))
def rule_08_every_error_reply_is_a_refusal(patch: Patch) -> None:
    """An error text that is not known is read as proof that the post never ran."""
    patch.setattr(verdict, "PROOFS_OF_REFUSAL", "")


@mistake("X2", by=Settlements, rules=(8,))
def rule_08_a_proven_refusal_is_not_believed(patch: Patch) -> None:
    """`429` is taken for an unclear answer, so that what could go out again at once is fenced."""
    patch.setattr(verdict, "PROOFS_OF_REFUSAL", ("no such text",))


@mistake("X2", by=Settlements, rules=(10,))
def rule_10_a_late_reply_does_not_decide(patch: Patch) -> None:
    """The attempt's own reply is ignored if it comes after the timeout."""
    patch.setattr(Settler, "replied_late", lambda self, attempt, verdict, spent, now: [])


@mistake("X2", "X7", by=Settlements, rules=(10,))
def rule_10_a_late_report_is_told_as_another_outcome(patch: Patch) -> None:
    """A second source that speaks of an order makes its owner hear of it again."""

    def compare(self: ExecutorCore, intent: Intent, *_: object) -> None:
        if intent.outcome is not None:
            self._effects.append(ev.IntentEnded(intent))

    patch.setattr(ExecutorCore, "_compare", compare)


@mistake("X2", "X7", by=Settlements, rules=(10,))
def rule_10_a_timeout_reopens_what_the_stream_has_ended(patch: Patch) -> None:
    """An order that the stream has ended is looked for once more when its post times out."""

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **_: Any) -> None:
        self.settler.fence_lost(post)
        if post.items and post.priority is not Priority.CANCEL:
            self.settler.open(post, post.items, self._now)
            for item in post.items:
                self.intents.move(item, IntentEvent.LOSE)

    patch.setattr(ExecutorCore, "_lose", lose)


# ----------------------------------------------------------------------------------------- rules 9, 11: records, expiry


@mistake("X2", by=Settlements, rules=(9,))
def rule_09_look_ups_count_before_the_nonce_is_spent(patch: Patch) -> None:
    """A lost order is looked up at once, and called dead while it is on its way."""
    real = Settler.open

    def open_and_spend(self: Settler, post: PostRequest, items: Any, now: int, **facts: Any) -> Attempt:
        attempt = real(self, post, items, now, **facts)
        if post.priority is not Priority.CANCEL:
            self.spend(attempt, now)
        return attempt

    patch.setattr(Settler, "open", open_and_spend)


@mistake("X2", by=Settlements, rules=(9,))
def rule_09_one_absence_is_proof(patch: Patch) -> None:
    """One `unknownOid` is enough, though the record may lag behind."""
    real = LookUp.missed

    def missed(self: LookUp, now: int) -> bool:
        real(self, now)
        return True

    patch.setattr(LookUp, "missed", missed)


@mistake("X2", by=Settlements, rules=(9,))
def rule_09_absences_need_not_be_spread_out(patch: Patch) -> None:
    """Three times `unknownOid` within the venue's lag are enough."""
    patch.setattr(settlement, "VENUE_LAG_MS", -1)
    patch.setattr(settlement, "LOOK_UP_EVERY_MS", 100)


@mistake("X2", by=Settlements, rules=(9,))
def rule_09_a_failed_look_up_counts_as_an_absence(patch: Patch) -> None:
    """A look-up that was not answered is taken for `unknownOid`."""
    patch.setattr(LookUp, "unanswered", LookUp.missed)


@mistake("X2", by=Settlements, rules=(11,))
def rule_11_an_expiry_needs_no_margin(patch: Patch) -> None:
    """An order is taken for expired while a venue whose clock is behind still takes it."""
    patch.setattr(settler, "EXPIRY_MARGIN_MS", -4_000)


@mistake("X2", by=Settlements, rules=(11,))
def rule_11_an_expiry_passes_on_the_local_clock(patch: Patch) -> None:
    """An order is taken for expired because somebody stepped the local clock."""
    patch.setattr(ExecutorCore, "_venue_time", ExecutorCore._server_time)


# ----------------------------------------------------------------------------------------- rules 13, 14: names, numbers


@mistake("X2", by=ComposedCore, rules=(13,))
def rule_13_a_cloid_can_be_used_again(patch: Patch) -> None:
    """An order may have the cloid of one that is over, so that a look-up finds the other's record."""

    def cloid_taken(self: IntentRegister, intent: Intent) -> bool:
        return intent.priority is not Priority.CANCEL and self.order(intent.cloid or "") is not None

    patch.setattr(IntentRegister, "cloid_taken", cloid_taken)


@mistake("X2", by=Settlements, rules=(14,))
def rule_14_post_ids_begin_again_after_a_restart(patch: Patch) -> None:
    """The first post of a run has the id of an earlier run's."""
    begin = ExecutorCore.__init__

    def forgetful(self: ExecutorCore, *facts: Any, **more: Any) -> None:
        begin(self, *facts, **{**more, "last_post_id": 0})

    patch.setattr(ExecutorCore, "__init__", forgetful)


# ----------------------------------------------------------------------------------------- X3, rules 15, 16: quarantine


@mistake("X3", by=Settlements, rules=(15,))
def rule_15_settlement_ends_the_quarantine(patch: Patch) -> None:
    """A slot is free as soon as the fate of its post is known, though the venue may count it still."""
    real = ExecutorCore._apply

    def apply(self: ExecutorCore, findings: list[Finding]) -> None:
        real(self, findings)
        for post in list(self.posts._quarantine.values()):
            if post.items and post.post_id not in self.settler.attempts:
                self.posts.answered_late(post)

    patch.setattr(ExecutorCore, "_apply", apply)


@mistake("X3", by=Settlements, rules=(15,))
def rule_15_fences_are_not_quarantined(patch: Patch) -> None:
    """An unanswered fence gives its slot back at once."""
    real = PostRequestManager.end

    def end(self: PostRequestManager, post: PostRequest, event: PostEvent, now: int, **facts: Any) -> None:
        real(self, post, event, now, **facts)
        if post.quarantined_until_ms is not None and post.fence_of is not None:
            self._release(post)

    patch.setattr(PostRequestManager, "end", end)


@mistake("X3", by=Settlements, rules=(15,))
def rule_15_a_recovered_post_is_not_quarantined(patch: Patch) -> None:
    """A restart takes it that the venue has forgotten all posts of the earlier run."""
    real = PostRequestManager.recover

    def recover(self: PostRequestManager, post: PostRequest, now: int) -> None:
        real(self, post, now)
        if post.quarantined_until_ms is not None:
            self._release(post)

    patch.setattr(PostRequestManager, "recover", recover)


@mistake("X3", by=Settlements, rules=(16,))
def rule_16_an_unanswered_post_frees_its_slot_at_once(patch: Patch) -> None:
    """There is no quarantine."""
    real = PostRequestManager.end

    def end(self: PostRequestManager, post: PostRequest, event: PostEvent, now: int, **facts: Any) -> None:
        real(self, post, event, now, **facts)
        if post.quarantined_until_ms is not None:
            self._release(post)

    patch.setattr(PostRequestManager, "end", end)


@mistake("X3", by=Settlements, rules=(16,))
def rule_16_quarantine_is_over_too_soon(patch: Patch) -> None:
    """A slot leaves quarantine half a time before the venue has forgotten its post."""
    real = PostRequestManager.expire_quarantine
    patch.setattr(
        PostRequestManager,
        "expire_quarantine",
        lambda self, now: real(self, now + self.quarantine_ms // 2),
    )


@mistake("X3", by=Settlements)
def late_reply_releases_a_slot_that_is_in_quarantine(patch: Patch) -> None:
    """A late reply gives back a slot that is in use, and leaves its own in quarantine."""

    def answered_late(self: PostRequestManager, post: PostRequest) -> None:
        post.answered = True
        self.inflight.release()

    patch.setattr(PostRequestManager, "answered_late", answered_late)


# ------------------------------------------------------------------------------------------------- rules 17, 18: queues


@mistake("X2", "P7", by=Settlements, rules=(17,))
def rule_17_a_settled_order_comes_back_at_the_tail(patch: Patch) -> None:
    """A reduce-only order that never ran goes out again behind those that came after it."""

    def requeue(self: BatchScheduler, items: tuple[Intent, ...]) -> None:
        for item in items:
            self._queues[item.priority][item.seq] = item

    patch.setattr(BatchScheduler, "requeue", requeue)


@mistake("X2", "B3", by=Settlements, rules=(18,))
def rule_18_admission_counts_waiting_items_only(patch: Patch) -> None:
    """Items that are under way do not count, so that one that comes back finds its queue full."""
    real = BatchScheduler.enqueue

    def enqueue(self: BatchScheduler, intent: Intent) -> Admission:
        outstanding = self.outstanding[intent.priority]
        self.outstanding[intent.priority] = self.queued(intent.priority)
        admission = real(self, intent)
        self.outstanding[intent.priority] = outstanding + admission.accepted
        return admission

    patch.setattr(BatchScheduler, "enqueue", enqueue)


@mistake("X3", "B4", by=Settlements, rules=(18,))
def rule_18_the_watermark_does_not_count_quarantined_slots(patch: Patch) -> None:
    """New orders may take the last slots while others are in quarantine."""
    patch.setattr(InflightTracker, "degraded", property(lambda self: self.count >= self.high_watermark))


@mistake("X2", "B5", by=Settlements, rules=(18,))
def rule_18_fences_of_new_orders_ignore_the_watermark(patch: Patch) -> None:
    """Fences of new orders take the slots that are kept free for cancels and reduce-only orders."""
    real = Settler.next_fence
    patch.setattr(Settler, "next_fence", lambda self, new_orders: real(self, new_orders=True))


@mistake("X2", "B5", by=Settlements, rules=(18,))
def rule_18_fences_of_reduce_only_orders_wait_at_the_watermark(patch: Patch) -> None:
    """Over the watermark nothing is fenced at all."""
    real = Settler.next_fence
    patch.setattr(Settler, "next_fence", lambda self, new_orders: real(self, new_orders=True) if new_orders else None)


# ----------------------------------------------------------------------------------------------------- rule 19: cancels


@mistake("X2", by=Settlements, rules=(19,))
def rule_19_a_missing_order_always_ends_its_cancel(patch: Patch) -> None:
    """A cancel that overtook its order is told that there is no such order, and then the order rests."""

    def in_doubt(self: ExecutorCore, cancel: Intent, result: Rejected) -> bool:
        self._end_intent(cancel, IntentEvent.REJECT, result)
        return False

    patch.setattr(ExecutorCore, "_in_doubt", in_doubt)


@mistake("X2", by=Settlements, rules=(19,))
def rule_19_a_reduce_only_order_that_has_a_cancel_is_sent_again(patch: Patch) -> None:
    """An order that its owner has cancelled goes out once more."""
    real = ExecutorCore._on_submit

    def forgetful(self: ExecutorCore, event: ev.Submit) -> None:
        real(self, event)
        for intent in self.intents._open.values():
            intent.cancel_wanted = False

    patch.setattr(ExecutorCore, "_on_submit", forgetful)


@mistake("X2", by=Settlements, rules=(19,))
def rule_19_a_lost_cancel_is_denied_by_its_repetition(patch: Patch) -> None:
    """A cancel that was lost, and did it, is called rejected because the second one finds no order."""
    real = ExecutorCore._lose

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **facts: Any) -> None:
        real(self, post, reason, **facts)
        for item in post.items:
            item.lost = False

    patch.setattr(ExecutorCore, "_lose", lose)


@mistake("X2", by=Settlements, rules=(19,))
def rule_19_a_record_that_lags_denies_a_cancel(patch: Patch) -> None:
    """An order on the book, by a record of some time ago, is read as proof that its cancel did nothing."""
    real = settlement.told_of

    def told_of(item: Intent, record: OrderRecord | None) -> ItemResult | None:
        if record is not None and item.priority is Priority.CANCEL and record.on_book:
            return Rejected("the order was not canceled")
        return real(item, record)

    patch.setattr(settler, "told_of", told_of)


@mistake("X2", by=Settlements, rules=(19,))
def rule_19_a_waiting_cancel_is_not_sent_again_when_its_order_rests(patch: Patch) -> None:
    """A cancel that overtook its order ends when the order comes to rest."""

    def wake(self: ExecutorCore, target: Intent) -> None:
        for cancel in self._waiting.pop(target.seq, ()):
            self._end_intent(cancel, IntentEvent.REJECT, Rejected(hard_stop.MISSING_ORDER))

    patch.setattr(ExecutorCore, "_wake_cancels", wake)


@mistake("X2", by=Settlements, rules=(19,))
def rule_19_an_order_that_waits_here_is_sent_though_it_was_cancelled(patch: Patch) -> None:
    """A cancel of a queued order overtakes it, finds nothing, and the order goes out."""
    patch.setattr(ExecutorCore, "_cancel_here", lambda self, cancel, target: self._accept(cancel, self._admit(cancel)))
