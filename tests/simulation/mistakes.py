"""The mistakes that settlement.md's rules forbid, each as a small patch that puts it back.

`MISTAKES` is the registry: whoever tries whether the simulator can fail goes through it with `kill`. Where the random
suite has the same mistake, it is that very patch. The patches are undone afterwards. A mistake that few runs would show
names the faults that provoke it; they strike as often as they may, all others at the rates that the seed draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import pytest
from msgspec import structs

from adapters import recorder
from adapters.journal import Recovered
from adapters.simulation import Failure, process, simulate
from adapters.simulation.faults import Fault
from adapters.simulation.journal import Disk
from adapters.simulation.process import Process
from machines import events as ev
from machines import settler, verdict
from machines.batch import BatchScheduler
from machines.executor import ExecutorCore
from machines.intent import Intent, IntentEvent, Priority, Rejected
from machines.post import PostRequest
from machines.register import IntentRegister
from machines.reply import PostReply, Refused
from machines.settlement import OrderRecord, outcome_of
from machines.settler import Finding
from machines.verdict import Answered, Verdict
from tests.stateful import mistakes_of_settlement as of_settlement

Patch: TypeAlias = pytest.MonkeyPatch
Apply: TypeAlias = Callable[[Patch], None]

HOURS: Final = 0.05
"""Length of a run, in simulated hours."""
PATIENCE: Final = 100
"""Runs within which a mistake has to show; most show in the first few."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        id: Its name.
        findings: The findings that forbid it (findings.md).
        rules: The rules of settlement.md that forbid it.
        description: What is done wrong, in a sentence.
        apply: Patches the code.
        breaks: The promises of which one has to break.
        provoked_by: Faults that strike as often as they may while it is looked for.
    """

    id: str
    findings: tuple[str, ...]
    rules: tuple[int, ...]
    description: str
    apply: Apply
    breaks: tuple[str, ...]
    provoked_by: tuple[Fault, ...]


class Kill(NamedTuple):
    """How a mistake showed: in which run, and as what."""

    seed: int
    failure: Failure


MISTAKES: Final[list[Mistake]] = []


def mistake(
    *rules: int, findings: tuple[str, ...] = ("X2",), breaks: tuple[str, ...], provoked_by: tuple[Fault, ...] = ()
) -> Callable[[Apply], Apply]:
    """Register a patch as a mistake; its name is the function's, its description the docstring."""

    def register(apply: Apply) -> Apply:
        name, description = apply.__name__.replace("_", "-"), apply.__doc__ or ""
        MISTAKES.append(Mistake(name, findings, rules, description, apply, breaks, provoked_by))
        return apply

    return register


def kill(mistake: Mistake, patience: int = PATIENCE) -> Kill | None:
    """Put a mistake back, and run the simulator until it notices; None if it does not within `patience` runs."""
    with pytest.MonkeyPatch.context() as patch:
        mistake.apply(patch)
        for seed in range(patience):
            failure = simulate(seed, HOURS, mistake.provoked_by).failure
            if failure is not None:
                return Kill(seed, failure)
    return None


# -------------------------------------------------------------------------------------------- journal and recovery


@mistake(1, breaks=("OutcomeIsTrue", "NothingDeadRuns"), provoked_by=(Fault.CRASH,))
def a_post_in_hand_at_the_crash_is_forgotten(patch: Patch) -> None:
    """A restart takes up what was sent, and not what was in hand when the executor died."""
    of_settlement.rule_01_a_post_in_hand_at_the_crash_is_forgotten(patch)


@mistake(1, 2, breaks=("JournalBeforeWrite", "DurableBeforeTold"))
def effects_come_before_the_record(patch: Patch) -> None:
    """A step is recorded after its frame has left and its outcomes were told."""

    def perform_and_record(self: Process, event: ev.Event, effects: Sequence[ev.Effect]) -> None:
        self._perform(effects)
        self._recorder.record(event, effects)
        self._make_durable()

    patch.setattr(Process, "_record_and_perform", perform_and_record)


@mistake(
    3,
    breaks=("OutcomeIsTrue", "NothingDeadRuns", "NumbersNeverRepeat"),
    provoked_by=(Fault.CRASH, Fault.KEY_CHANGE, Fault.SLOW_FRAME, Fault.SLOW_EXECUTION),
)
def a_fence_of_another_key_proves_something(patch: Patch) -> None:
    """A fence is believed though it was signed with another key than the post that it fences."""

    def with_any_key(recovered: Recovered, signer: str) -> ev.Recovered:
        return structs.replace(recorder.restored(recovered, signer), same_key=True)

    patch.setattr(process, "restored", with_any_key)


@mistake(14, breaks=("NoFaultOfOurOwn", "NumbersNeverRepeat"))
def post_ids_begin_again_after_a_restart(patch: Patch) -> None:
    """Post ids begin at 1 in each run."""
    real = Disk.begin_run

    def begin_run(self: Disk, signer: str) -> Recovered:
        return structs.replace(real(self, signer), last_post_id=0)

    patch.setattr(Disk, "begin_run", begin_run)


@mistake(15, findings=("X3",), breaks=("VenueInflightWithinLimit",), provoked_by=(Fault.CRASH, Fault.SLOW_ANSWER))
def a_restart_forgets_the_quarantine(patch: Patch) -> None:
    """The unanswered posts of an earlier run take no slot."""
    of_settlement.rule_15_a_recovered_post_is_not_quarantined(patch)


@mistake(19, breaks=("OutcomeIsTrue", "NothingDeadRuns"), provoked_by=(Fault.CRASH, Fault.SLOW_ANSWER))
def a_cancel_that_may_have_run_ends_at_the_restart(patch: Patch) -> None:
    """A cancel that was sent before a restart ends as not executed."""

    def dropping(recovered: Recovered, signer: str) -> ev.Recovered:
        left = recorder.restored(recovered, signer)
        lost = tuple(replace(item, lost=False) for item in left.lost_cancels)
        return structs.replace(left, never_sent=(*left.never_sent, *lost), lost_cancels=())

    patch.setattr(process, "restored", dropping)


# ------------------------------------------------------------------------------------------------- what proves what


@mistake(5, breaks=("OutcomeIsTrue", "NothingDeadRuns"))
def a_duplicate_nonce_means_that_the_order_was_processed(patch: Patch) -> None:
    """A fence answered `duplicate nonce` is taken for a refusal of the order."""
    of_settlement.rule_05_a_duplicate_nonce_means_that_the_order_was_processed(patch)


@mistake(6, breaks=("NothingDeadRuns", "OutcomeIsTrue", "ExecutedOnce"))
def a_nonce_that_is_too_low_means_that_it_never_ran(patch: Patch) -> None:
    """A fence answered `nonce too low` is taken for one that won."""

    of_settlement.rule_06_a_nonce_that_is_too_low_means_that_the_order_never_ran(patch)


@mistake(7, breaks=("OutcomeIsTrue", "NoContradiction", "NothingDeadRuns"))
def an_order_answered_with_a_spent_nonce_was_rejected(patch: Patch) -> None:
    """An order that was delivered twice is told as rejected."""

    def verdict_on(reply: PostReply, kind: Any, items: int) -> Verdict:
        if isinstance(reply, Refused):
            return Answered((Rejected(reply.reason),) * items)
        return verdict.verdict_on(reply, kind, items)

    patch.setattr("machines.executor.verdict_on", verdict_on)


@mistake(8, findings=("X1",), breaks=("OutcomeIsTrue", "NothingDeadRuns", "NoContradiction", "ExecutedOnce"))
def every_error_reply_is_a_refusal(patch: Patch) -> None:
    """A 5xx is taken for proof that the post never ran."""
    patch.setattr(verdict, "PROOFS_OF_REFUSAL", (*verdict.PROOFS_OF_REFUSAL, "5"))


@mistake(9, breaks=("OutcomeIsTrue", "NothingDeadRuns", "CancelHolds", "NoFaultOfOurOwn"))
def look_ups_count_before_the_nonce_is_spent(patch: Patch) -> None:
    """An order is looked up without a fence, and its absence is believed."""
    of_settlement.rule_09_look_ups_count_before_the_nonce_is_spent(patch)


@mistake(9, breaks=("OutcomeIsTrue", "NothingDeadRuns", "NoBlindResend"))
def one_absence_is_proof(patch: Patch) -> None:
    """The first look-up that finds nothing is believed."""
    of_settlement.rule_09_one_absence_is_proof(patch)


@mistake(10, findings=("P2", "X7"), breaks=("ToldOnce", "NoFaultOfOurOwn"))
def a_late_report_is_told_as_another_outcome(patch: Patch) -> None:
    """What comes after an outcome is told as an outcome too."""

    of_settlement.rule_10_a_late_report_is_told_as_another_outcome(patch)


@mistake(
    11,
    breaks=("OutcomeIsTrue", "NothingDeadRuns", "CancelHolds"),
    provoked_by=(Fault.CRASH, Fault.KEY_CHANGE, Fault.SLOW_FRAME, Fault.SLOW_EXECUTION),
)
def an_expiry_needs_no_margin(patch: Patch) -> None:
    """A post of another key counts as expired as soon as anything is known of the time."""
    patch.setattr(settler, "EXPIRY_MARGIN_MS", -100_000)


@mistake(
    11,
    findings=("N5", "X2"),
    breaks=("OutcomeIsTrue", "NothingDeadRuns"),
    provoked_by=(Fault.CRASH, Fault.KEY_CHANGE, Fault.SLOW_FRAME, Fault.CLOCK_FORWARD, Fault.CLOCK_AFTER_RESTART),
)
def an_expiry_passes_on_the_local_clock(patch: Patch) -> None:
    """Whether a post has expired is told by the local clock, which can be stepped."""
    real = ExecutorCore._on_time_passed

    def on_time_passed(self: ExecutorCore, event: ev.TimePassed) -> None:
        venue_ahead_ms = self._venue_ahead_ms
        self._venue_ahead_ms = self._clock.now_ms() - self._now
        real(self, event)
        self._venue_ahead_ms = venue_ahead_ms

    patch.setattr(ExecutorCore, "_on_time_passed", on_time_passed)


@mistake(13, breaks=("CloidBelongsToOneIntent",))
def a_cloid_can_be_used_again(patch: Patch) -> None:
    """A client order id is free again once its order has ended."""
    patch.setattr(IntentRegister, "cloid_taken", lambda self, intent: self.order(intent.cloid) is not None)


# --------------------------------------------------------------------------------------------- slots, queues, cancels


@mistake(15, findings=("X3",), breaks=("VenueInflightWithinLimit", "NoFaultOfOurOwn"))
def settlement_ends_the_quarantine(patch: Patch) -> None:
    """The slot of an unanswered post is free as soon as its items are settled."""
    real = ExecutorCore._apply

    def apply(self: ExecutorCore, findings: list[Finding]) -> None:
        real(self, findings)
        for post in list(self.posts._quarantine.values()):
            if post.items and post.post_id not in self.settler.attempts:
                self.posts.answered_late(post)
                self.moved_posts.append(post)

    patch.setattr(ExecutorCore, "_apply", apply)


@mistake(16, findings=("X3",), breaks=("VenueInflightWithinLimit",))
def an_unanswered_post_frees_its_slot_at_once(patch: Patch) -> None:
    """There is no quarantine."""
    of_settlement.rule_16_an_unanswered_post_frees_its_slot_at_once(patch)


@mistake(17, findings=("P7",), breaks=("QueueOrderKept",))
def returned_items_go_to_the_end(patch: Patch) -> None:
    """What comes back to its queue is sent after what came later."""

    of_settlement.rule_17_a_settled_order_comes_back_at_the_tail(patch)


@mistake(18, findings=("B3",), breaks=("QueuesBounded",))
def admission_counts_waiting_items_only(patch: Patch) -> None:
    """A queue admits as many as it holds, whatever is under way and may come back."""
    real = BatchScheduler.enqueue

    def enqueue(self: BatchScheduler, intent: Intent) -> Any:
        outstanding = self.outstanding[intent.priority]
        self.outstanding[intent.priority] = self.queued(intent.priority)
        admission = real(self, intent)
        self.outstanding[intent.priority] = outstanding + admission.accepted
        return admission

    patch.setattr(BatchScheduler, "enqueue", enqueue)


@mistake(19, breaks=("CancelHolds", "OutcomeIsTrue", "NothingDeadRuns", "UnknownNeverReportedAsRejected"))
def a_missing_order_always_ends_its_cancel(patch: Patch) -> None:
    """A cancel answered "not on the book" ends, though its order may still be under way."""

    of_settlement.rule_19_a_missing_order_always_ends_its_cancel(patch)


@mistake(19, breaks=("OutcomeIsTrue", "NothingDeadRuns"), provoked_by=(Fault.HAND_OVER_BROKEN, Fault.DISCONNECT))
def a_record_that_lags_denies_a_cancel(patch: Patch) -> None:
    """A look-up that still shows the order is taken for proof that its cancel failed."""

    def told_of(item: Intent, record: OrderRecord | None) -> Any:
        if record is not None and item.priority is Priority.CANCEL and record.on_book:
            return Rejected("the order was not canceled")
        return None if record is None else outcome_of(record)

    patch.setattr(settler, "told_of", told_of)


@mistake(
    20, findings=("X1",), breaks=("NoBlindResend", "ExecutedOnce", "NoContradiction", "UnknownNeverReportedAsRejected")
)
def an_ambiguous_reduce_only_order_is_sent_again_at_once(patch: Patch) -> None:
    """A reduce-only order whose post was not answered goes back to its queue."""
    of_settlement.rule_20_an_ambiguous_reduce_only_order_is_sent_again_at_once(patch)


@mistake(20, findings=("X1",), breaks=("OutcomeIsTrue", "NothingDeadRuns", "UnknownNeverReportedAsRejected"))
def an_ambiguous_order_is_given_up(patch: Patch) -> None:
    """An order whose post was not answered ends as not executed."""

    of_settlement.rule_20_an_ambiguous_order_is_given_up(patch)


# ------------------------------------------------------------------------------------------------------- two sources


@mistake(10, findings=("X7",), breaks=("ContradictionIsNoticed",))
def two_sources_are_not_compared(patch: Patch) -> None:
    """What the order stream says of an order that has ended is not heard."""
    patch.setattr(ExecutorCore, "_compare", lambda self, *_: None)


@mistake(10, findings=("X7",), breaks=("NoFaultOfOurOwn",))
def a_time_out_reopens_what_the_stream_has_ended(patch: Patch) -> None:
    """All items of a post that was not answered become unknown, those too that have their outcome."""
    real = ExecutorCore._lose

    def lose(self: ExecutorCore, post: PostRequest, reason: str, **facts: Any) -> None:
        for item in post.items:
            if item.outcome is not None and item.priority is not Priority.CANCEL:
                self.intents.move(item, IntentEvent.LOSE)
        real(self, post, reason, **facts)

    patch.setattr(ExecutorCore, "_lose", lose)
