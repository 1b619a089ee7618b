"""The mistakes that settlement.md's rules forbid, each as a small patch that puts it back.

A mistake names the rule, the promises of which one has to break, and what it does to the machines, the recorder or the
shell. The patches are undone after each test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import msgspec
import pytest

from adapters import recorder
from adapters.journal import PostRow, Recovered
from adapters.simulation import process
from adapters.simulation.journal import Disk
from adapters.simulation.process import Process
from machines import events as ev
from machines import settler, verdict
from machines.batch import BatchScheduler
from machines.executor import ExecutorCore
from machines.intent import Intent, IntentEvent, NotExecuted, Priority, Rejected
from machines.post import PostEvent, PostRequest, PostRequestManager
from machines.register import IntentRegister
from machines.reply import PostReply, Refused
from machines.settlement import Attempt, LookUp, OrderRecord, SettlementEvent, outcome_of
from machines.settler import Finding, Settler
from machines.verdict import Answered, Verdict

Patch: TypeAlias = pytest.MonkeyPatch
Apply: TypeAlias = Callable[[Patch], None]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        rule: The rule of settlement.md that forbids it.
        breaks: The promises of which one has to break.
        put_back: Patches the code.
    """

    rule: int
    breaks: tuple[str, ...]
    put_back: Apply


MISTAKES: Final[list[Mistake]] = []


def mistake(rule: int, *breaks: str) -> Callable[[Apply], Apply]:
    """Register a patch as a mistake."""

    def register(put_back: Apply) -> Apply:
        MISTAKES.append(Mistake(rule, breaks, put_back))
        return put_back

    return register


# -------------------------------------------------------------------------------------------- journal and recovery


@mistake(1, "OutcomeIsTrue", "NothingDeadRuns")
def a_post_in_hand_at_the_crash_is_forgotten(patch: Patch) -> None:
    real = vars(PostRow)["open"].fget
    patch.setattr(PostRow, "open", property(lambda row: row.state != "queued" and real(row)))


@mistake(1, "JournalBeforeWrite")
@mistake(2, "DurableBeforeTold", "JournalBeforeWrite")
def effects_come_before_the_record(patch: Patch) -> None:
    def perform_and_record(self: Process, event: ev.Event, effects: Sequence[ev.Effect]) -> None:
        self._perform(effects)
        self._record(event, effects)

    patch.setattr(Process, "_record_and_perform", perform_and_record)


@mistake(3, "OutcomeIsTrue", "NothingDeadRuns")
def a_fence_of_another_key_proves_something(patch: Patch) -> None:
    def with_any_key(recovered: Recovered, signer: str) -> ev.Recovered:
        return replace(recorder.restored(recovered, signer), same_key=True)

    patch.setattr(process, "restored", with_any_key)


@mistake(14, "NoFaultOfOurOwn", "NumbersNeverRepeat")
def post_ids_begin_again_after_a_restart(patch: Patch) -> None:
    real = Disk.begin_run

    def begin_run(self: Disk, signer: str) -> Recovered:
        return msgspec.structs.replace(real(self, signer), last_post_id=0)

    patch.setattr(Disk, "begin_run", begin_run)


@mistake(15, "VenueInflightWithinLimit")
def a_restart_forgets_the_quarantine(patch: Patch) -> None:
    real = PostRequestManager.recover

    def recover(self: PostRequestManager, post: PostRequest, now: int) -> None:
        real(self, post, now)
        if post.quarantined_until_ms is not None:
            self._release(post)

    patch.setattr(PostRequestManager, "recover", recover)


@mistake(19, "OutcomeIsTrue", "NothingDeadRuns")
def a_cancel_that_may_have_run_ends_at_the_restart(patch: Patch) -> None:
    def dropping(recovered: Recovered, signer: str) -> ev.Recovered:
        left = recorder.restored(recovered, signer)
        lost = tuple(replace(item, lost=False) for item in left.lost_cancels)
        return replace(left, never_sent=(*left.never_sent, *lost), lost_cancels=())

    patch.setattr(process, "restored", dropping)


# ------------------------------------------------------------------------------------------------- what proves what


@mistake(5, "OutcomeIsTrue")
def a_duplicate_nonce_means_that_the_order_was_processed(patch: Patch) -> None:
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


@mistake(6, "NothingDeadRuns", "OutcomeIsTrue", "ExecutedOnce")
def a_nonce_that_is_too_low_means_that_it_never_ran(patch: Patch) -> None:
    def fence_won(reply: PostReply) -> bool:
        return verdict.fence_won(reply) or (isinstance(reply, Refused) and "too low" in reply.reason)

    patch.setattr("machines.executor.fence_won", fence_won)


@mistake(7, "OutcomeIsTrue", "NoContradiction")
def an_order_answered_with_a_spent_nonce_was_rejected(patch: Patch) -> None:
    def verdict_on(reply: PostReply, kind: Any, items: int) -> Verdict:
        if isinstance(reply, Refused):
            return Answered((Rejected(reply.reason),) * items)
        return verdict.verdict_on(reply, kind, items)

    patch.setattr("machines.executor.verdict_on", verdict_on)


@mistake(8, "OutcomeIsTrue", "NothingDeadRuns", "NoContradiction")
def every_error_reply_is_a_refusal(patch: Patch) -> None:
    patch.setattr(verdict, "PROOFS_OF_REFUSAL", (*verdict.PROOFS_OF_REFUSAL, "5"))


@mistake(9, "OutcomeIsTrue", "NothingDeadRuns")
def look_ups_count_before_the_nonce_is_spent(patch: Patch) -> None:
    real = Settler.open

    def open_and_spend(self: Settler, post: PostRequest, items: Any, now: int, **facts: Any) -> Attempt:
        attempt = real(self, post, items, now, **facts)
        if post.priority is not Priority.CANCEL:
            self.spend(attempt, now)
        return attempt

    patch.setattr(Settler, "open", open_and_spend)


@mistake(9, "OutcomeIsTrue", "NothingDeadRuns", "NoBlindResend")
def one_absence_is_proof(patch: Patch) -> None:
    real = LookUp.missed

    def missed(self: LookUp, now: int) -> bool:
        real(self, now)
        return True

    patch.setattr(LookUp, "missed", missed)


@mistake(10, "ToldOnce", "NoFaultOfOurOwn")
def a_late_report_is_told_as_another_outcome(patch: Patch) -> None:
    def compare(self: ExecutorCore, intent: Intent, *_: object) -> None:
        if intent.outcome is not None:
            self._effects.append(ev.IntentEnded(intent))

    patch.setattr(ExecutorCore, "_compare", compare)


@mistake(11, "OutcomeIsTrue", "NothingDeadRuns")
def an_expiry_needs_no_margin(patch: Patch) -> None:
    patch.setattr(settler, "EXPIRY_MARGIN_MS", -100_000)


@mistake(11, "OutcomeIsTrue", "NothingDeadRuns")
def an_expiry_passes_on_the_local_clock(patch: Patch) -> None:
    patch.setattr(ExecutorCore, "_venue_time", ExecutorCore._server_time)


@mistake(13, "CloidBelongsToOneIntent")
def a_cloid_can_be_used_again(patch: Patch) -> None:
    patch.setattr(IntentRegister, "cloid_taken", lambda self, intent: self.order(intent.cloid) is not None)


# --------------------------------------------------------------------------------------------- slots, queues, cancels


@mistake(15, "VenueInflightWithinLimit")
def settlement_ends_the_quarantine(patch: Patch) -> None:
    real = ExecutorCore._apply

    def apply(self: ExecutorCore, findings: list[Finding]) -> None:
        real(self, findings)
        for post in list(self.posts._quarantine.values()):
            if post.items and post.post_id not in self.settler.attempts:
                self.posts.answered_late(post)

    patch.setattr(ExecutorCore, "_apply", apply)


@mistake(16, "VenueInflightWithinLimit")
def an_unanswered_post_frees_its_slot_at_once(patch: Patch) -> None:
    real = PostRequestManager.end

    def end(self: PostRequestManager, post: PostRequest, event: PostEvent, now: int, **facts: Any) -> None:
        real(self, post, event, now, **facts)
        if post.quarantined_until_ms is not None:
            self._release(post)

    patch.setattr(PostRequestManager, "end", end)


@mistake(17, "QueueOrderKept")
def returned_items_go_to_the_end(patch: Patch) -> None:
    def requeue(self: BatchScheduler, items: tuple[Intent, ...]) -> None:
        for item in items:
            self._queues[item.priority][item.seq] = item

    patch.setattr(BatchScheduler, "requeue", requeue)


@mistake(18, "QueuesBounded")
def admission_counts_waiting_items_only(patch: Patch) -> None:
    real = BatchScheduler.enqueue

    def enqueue(self: BatchScheduler, intent: Intent) -> Any:
        outstanding = self.outstanding[intent.priority]
        self.outstanding[intent.priority] = self.queued(intent.priority)
        admission = real(self, intent)
        self.outstanding[intent.priority] = outstanding + admission.accepted
        return admission

    patch.setattr(BatchScheduler, "enqueue", enqueue)


@mistake(19, "CancelHolds", "OutcomeIsTrue", "NothingDeadRuns")
def a_missing_order_always_ends_its_cancel(patch: Patch) -> None:
    def in_doubt(self: ExecutorCore, cancel: Intent, result: Rejected) -> bool:
        self._end_intent(cancel, IntentEvent.REJECT, result)
        return False

    patch.setattr(ExecutorCore, "_in_doubt", in_doubt)


@mistake(19, "OutcomeIsTrue", "NothingDeadRuns")
def a_record_that_lags_denies_a_cancel(patch: Patch) -> None:
    def told_of(item: Intent, record: OrderRecord | None) -> Any:
        if record is not None and item.priority is Priority.CANCEL and record.on_book:
            return Rejected("the order was not canceled")
        return None if record is None else outcome_of(record)

    patch.setattr(settler, "told_of", told_of)


@mistake(20, "NoBlindResend", "ExecutedOnce")
def an_ambiguous_reduce_only_order_is_sent_again_at_once(patch: Patch) -> None:
    real = ExecutorCore._lose

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **facts: Any) -> None:
        if post.priority is Priority.REDUCE_ONLY:
            self._take_back(post, reason)
        else:
            real(self, post, reason, **facts)

    patch.setattr(ExecutorCore, "_lose", lose)


@mistake(20, "OutcomeIsTrue", "NothingDeadRuns", "UnknownNeverReportedAsRejected")
def an_ambiguous_order_is_given_up(patch: Patch) -> None:
    def lose(self: ExecutorCore, post: PostRequest, reason: str, **_: Any) -> None:
        self.settler.fence_lost(post)
        for item in post.items:
            if item.outcome is None:
                self._end_intent(item, IntentEvent.ABANDON, NotExecuted(reason))

    patch.setattr(ExecutorCore, "_lose", lose)
