"""The invariants: what must hold after every step, as named predicates over a snapshot of the core.

The same predicates are evaluated after each step by the Hypothesis state machines and by the tests of the adapters, and
by the live executor before anything of a step takes effect, where a violation trips the hard stop. Each says which
findings (findings.md) it covers.

A predicate returns None when it holds, and otherwise a sentence that says what is wrong. It looks at the posts and
intents that the snapshot names: when live the ones that moved since the last look, all of them in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Final

from machines.inflight import InflightState
from machines.intent import INTENT, Intent, IntentState, Priority
from machines.nonce import WINDOW_FUTURE_MS, WINDOW_PAST_MS
from machines.post import POST, PostState
from machines.session import SessionState
from machines.settlement import ABSENCES_NEEDED, Attempt, SettlementState
from machines.snapshot import Snapshot

Predicate = Callable[[Snapshot], str | None]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant.

    Attributes:
        id: Its name, the same in the specification, the tests and the logs.
        statement: What must hold, in a sentence.
        findings: The findings that it covers.
        check: The predicate.
    """

    id: str
    statement: str
    findings: tuple[str, ...]
    check: Predicate


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and what was seen."""

    invariant: Invariant
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant.id}: {self.detail}"


def violations(snapshot: Snapshot) -> Iterator[Violation]:
    """All invariants that `snapshot` violates."""
    for invariant in INVARIANTS:
        detail = invariant.check(snapshot)
        if detail is not None:
            yield Violation(invariant, detail)


# ------------------------------------------------------------------------------------------------- inflight


def _inflight_never_negative(now: Snapshot) -> str | None:
    return f"inflight is {now.inflight}" if now.inflight < 0 else None


def _inflight_never_above_limit(now: Snapshot) -> str | None:
    return f"inflight is {now.inflight}, the limit {now.limit}" if now.inflight > now.limit else None


def _venue_inflight_within_limit(now: Snapshot) -> str | None:
    if now.quarantined != now.quarantined_posts:
        return f"{now.quarantined} slots are quarantined for {now.quarantined_posts} unanswered posts"
    occupied = now.inflight + now.quarantined
    return f"sent and quarantined are {occupied}, the limit {now.limit}" if occupied > now.limit else None


def _inflight_matches_sent(now: Snapshot) -> str | None:
    if now.inflight != now.open_posts:
        return f"inflight is {now.inflight}, posts sent and not ended are {now.open_posts}"
    band = _band(now)
    if now.inflight_state is not band:
        return f"{now.inflight} + {now.quarantined} slots are called {now.inflight_state.value}, not {band.value}"
    return None


def _band(now: Snapshot) -> InflightState:
    occupied = now.inflight + now.quarantined
    if occupied == 0:
        return InflightState.IDLE
    if occupied >= now.limit:
        return InflightState.FULL
    return InflightState.DEGRADED if occupied >= now.high_watermark else InflightState.NORMAL


def _exactly_one_completion(now: Snapshot) -> str | None:
    for post in now.posts:
        due = 1 if post.state in POST.final else 0
        if post.completions != due:
            return f"post {post.post_id} is {post.state.value} and ended {post.completions} times"
    return None


def _completed_releases_once(now: Snapshot) -> str | None:
    for post in now.posts:
        if post.state in _SLOTLESS:
            continue
        due = (1, 0) if post.state is PostState.SENT else (1, 1)
        if (post.slots_taken, post.slots_returned) != due:
            return (
                f"post {post.post_id} is {post.state.value}, took {post.slots_taken} slots and returned "
                f"{post.slots_returned}"
            )
    return None


_SLOTLESS: Final = (PostState.QUEUED, PostState.UNSENT)


def _unsent_holds_no_slot(now: Snapshot) -> str | None:
    for post in now.posts:
        if post.state in _SLOTLESS and (post.slots_taken or post.slots_returned):
            return f"post {post.post_id} is {post.state.value} and took {post.slots_taken} slots"
    return None


# --------------------------------------------------------------------------------------------------- nonces


def _nonces_unique_and_increasing(now: Snapshot) -> str | None:
    for post in now.posts:
        if post.fence_of is None and not post.previous_nonce < post.nonce:
            return f"post {post.post_id} has nonce {post.nonce} after {post.previous_nonce}"
    return None


def _fence_spends_the_attempts_nonce(now: Snapshot) -> str | None:
    post = now.in_hand
    if post is None or post.fence_of is None:
        return None
    if post.items or post.expires_ms is not None:
        return f"fence {post.post_id} carries {len(post.items)} items and expires at {post.expires_ms}"
    for attempt in now.attempts:
        if post.fence_of == attempt.post.post_id and post.nonce != attempt.post.nonce:
            return f"fence {post.post_id} has nonce {post.nonce}, its attempt {attempt.post.nonce}"
    return None


def _nonce_inside_window(now: Snapshot) -> str | None:
    for post in now.posts:
        ahead = post.nonce - post.server_time_ms
        if (post.fence_of is None and not -WINDOW_PAST_MS < ahead < WINDOW_FUTURE_MS) or post.nonce <= 0:
            return f"post {post.post_id} has nonce {post.nonce}, {ahead} ms from server time"
    return None


def _signed_nonce_is_registered_nonce(now: Snapshot) -> str | None:
    for post in now.posts:
        if post.state not in _SLOTLESS and post.signed_nonce != post.nonce:
            return f"post {post.post_id} was allotted nonce {post.nonce}, signed was {post.signed_nonce}"
    return None


# ------------------------------------------------------------------------------------------ queues and batches


def _cancels_before_reduce_only_before_new(now: Snapshot) -> str | None:
    post = now.in_hand
    if post is None or post.priority is None:
        return None
    for priority, queue in takewhile(lambda earlier: earlier[0] is not post.priority, now.queues.items()):
        if queue.queued:
            return f"post {post.post_id} carries {post.priority.value} items while {priority.value} items wait"
    return None


def _queue_order_kept(now: Snapshot) -> str | None:
    post = now.in_hand
    if post is None or post.priority is None:
        return None
    for earlier, later in pairwise(post.items):
        if later.seq <= earlier.seq:
            return f"post {post.post_id} carries its items in the order {[item.seq for item in post.items]}"
    head, last = now.queues[post.priority].head, post.items[-1].seq
    if head is not None and head < last:
        return f"post {post.post_id} carries item {last} while item {head} waits"
    return None


def _no_new_order_while_degraded_or_halted(now: Snapshot) -> str | None:
    post = now.in_hand
    if post is None or post.priority is not Priority.NEW_ORDER:
        return None
    if now.halted:
        return f"post {post.post_id} carries new orders while halted"
    if now.session is not SessionState.READY:
        return f"post {post.post_id} carries new orders while the session is {now.session.value}"
    occupied = now.inflight + now.quarantined
    if occupied >= now.high_watermark:
        return f"post {post.post_id} carries new orders with {occupied} slots occupied"
    return None


def _one_action_type_per_post(now: Snapshot) -> str | None:
    for post in now.posts:
        for item in post.items:
            if item.kind is not post.kind or item.priority is not post.priority:
                return f"post {post.post_id} of kind {post.kind.value} carries other kinds"
            if item.alo is not post.items[0].alo:
                return f"post {post.post_id} mixes post-only orders with others"
    return None


def _queues_bounded(now: Snapshot) -> str | None:
    for priority, queue in now.queues.items():
        held = queue.queued if priority is Priority.NEW_ORDER else queue.outstanding
        if held > queue.limit or queue.queued > queue.limit:
            return f"the {priority.value} queue holds {held} of at most {queue.limit}"
    if now.in_hand is not None and len(now.in_hand.items) > now.batch_limit:
        return f"post {now.in_hand.post_id} carries {len(now.in_hand.items)} of at most {now.batch_limit} items"
    return None


# -------------------------------------------------------------------------------------------------- outcomes


def _every_accepted_intent_has_one_outcome(now: Snapshot) -> str | None:
    for intent in now.intents:
        due = 1 if intent.state in INTENT.final else 0
        if intent.outcomes != due or (intent.outcome is None) is (due == 1):
            return f"intent {intent.seq} is {intent.state.value} and has {intent.outcomes} outcomes"
    queued = 0 if now.in_hand is None else len(now.in_hand.items)
    for queue in now.queues.values():
        queued += queue.queued
    held = (0, queued, now.items_in_flight, now.unknown_items, now.waiting_cancels)
    for state, count in zip(_UNENDED, held, strict=True):
        if now.population[state] != count:
            return f"{now.population[state]} intents are {state.value}, and {count} are where these have to be"
    return None


_UNENDED: Final = (
    IntentState.ACCEPTED,
    IntentState.QUEUED,
    IntentState.POSTED,
    IntentState.UNKNOWN,
    IntentState.WAITING,
)


def _unknown_never_reported_as_rejected(now: Snapshot) -> str | None:
    for post in now.posts:
        for item in post.items if post.ambiguous else ():
            if item.attempts[-1:] == (post.post_id,) and item.state in INTENT.final and item.settled_by is None:
                return f"intent {item.seq} is {item.state.value} after its post {post.post_id} ended unknown, unproven"
    for item in now.intents:
        if item.lost and item.state in _DENIED and item.settled_by is None:
            return f"cancel {item.seq} is {item.state.value}, unproven, and an earlier attempt of it ended unknown"
    return None


_DENIED: Final = (IntentState.REJECTED, IntentState.NOT_EXECUTED)


def _proven_dead(attempt: Attempt, item: Intent) -> bool:
    """Its fence won, or its nonce is spent and it left no record often enough (settlement.md, rules 4 to 9)."""
    if attempt.state is SettlementState.NEVER_EXECUTED:
        return True
    look_up = attempt.look_ups.get(item.seq)
    return look_up is not None and look_up.absences >= ABSENCES_NEEDED


def _no_blind_resend(now: Snapshot) -> str | None:
    for item in now.intents:
        if item.cancel_wanted and item.state is IntentState.QUEUED:
            return f"intent {item.seq} waits to go out again, and its owner asked to cancel it"
    for attempt in now.attempts:
        post = attempt.post
        for item in post.items:
            again = item.state is IntentState.QUEUED or item.attempts[-1:] != (post.post_id,)
            if again and item.priority is not Priority.CANCEL and not _proven_dead(attempt, item):
                return f"intent {item.seq} goes out again while its post {post.post_id} is {attempt.state.value}"
    for post in now.posts:
        if post.ambiguous and post.priority is not Priority.CANCEL:
            for item in post.items:
                if (
                    item.state is IntentState.QUEUED
                    and item.attempts[-1:] == (post.post_id,)
                    and item.settled_by is None
                ):
                    return f"intent {item.seq} waits to go out again, its post {post.post_id} ended unknown"
    return None


INVARIANTS: Final = (
    Invariant("InflightNeverNegative", "The inflight count is never below 0.", ("I1",), _inflight_never_negative),
    Invariant(
        "InflightNeverAboveLimit",
        "The inflight count is never above the limit.",
        ("I1", "B6"),
        _inflight_never_above_limit,
    ),
    Invariant(
        "InflightMatchesSent",
        "The inflight count is the number of posts sent and not ended; the band is that of all occupied slots.",
        ("P1", "P3", "P5", "I2", "D1", "D3", "B2"),
        _inflight_matches_sent,
    ),
    Invariant(
        "VenueInflightWithinLimit",
        "Posts sent and posts that the venue may still count are together never above the limit.",
        ("X3", "B6"),
        _venue_inflight_within_limit,
    ),
    Invariant("ExactlyOneCompletion", "Each post ends exactly once.", ("P2", "D1", "D2"), _exactly_one_completion),
    Invariant(
        "CompletedReleasesOnce",
        "A sent post holds one slot; ended, it has given up exactly that one, freed or to quarantine.",
        ("P2", "P3", "D1"),
        _completed_releases_once,
    ),
    Invariant(
        "UnsentHoldsNoSlot",
        "A post that was not handed to the socket never took a slot.",
        ("P1", "P5"),
        _unsent_holds_no_slot,
    ),
    Invariant(
        "NoncesUniqueAndIncreasing",
        "Each post's nonce is greater than the one before.",
        ("N1", "N2", "N5"),
        _nonces_unique_and_increasing,
    ),
    Invariant(
        "FenceSpendsTheAttemptsNonce",
        "A fence carries the nonce of the post that it fences, no item, and no expiry.",
        ("X2",),
        _fence_spends_the_attempts_nonce,
    ),
    Invariant(
        "NonceInsideWindow",
        "Each nonce is positive and inside the venue's window around the server's time.",
        ("N1",),
        _nonce_inside_window,
    ),
    Invariant(
        "SignedNonceIsRegisteredNonce",
        "The nonce that was signed is the one allotted to the post.",
        ("B7", "X6"),
        _signed_nonce_is_registered_nonce,
    ),
    Invariant(
        "CancelsBeforeReduceOnlyBeforeNew",
        "No post carries items of a queue while a queue before it has items waiting.",
        ("B5",),
        _cancels_before_reduce_only_before_new,
    ),
    Invariant(
        "QueueOrderKept",
        "Items of a queue go out in the order of their submission, also after coming back.",
        ("P7",),
        _queue_order_kept,
    ),
    Invariant(
        "NoNewOrderWhileDegradedOrHalted",
        "No new order goes out at or over the high watermark, while the hard stop is tripped, or before READY.",
        ("B4", "B5", "N5"),
        _no_new_order_while_degraded_or_halted,
    ),
    Invariant(
        "OneActionTypePerPost",
        "All items of a post are of one action kind, and post-only orders go apart.",
        ("B1",),
        _one_action_type_per_post,
    ),
    Invariant("QueuesBounded", "No queue and no batch exceeds its limit.", ("B3",), _queues_bounded),
    Invariant(
        "EveryAcceptedIntentHasOneOutcome",
        "An accepted intent waits, travels, is being settled, or has exactly one outcome; none vanishes.",
        ("B2", "B4", "P7", "D2", "X4"),
        _every_accepted_intent_has_one_outcome,
    ),
    Invariant(
        "UnknownNeverReportedAsRejected",
        "No item whose post ended ambiguous has an outcome, and no cancel that was ever lost a refusal, without proof.",
        ("X1", "X2"),
        _unknown_never_reported_as_rejected,
    ),
    Invariant(
        "NoBlindResend",
        "No order is sent again unless its attempt is proven never to have run and its owner still wants it.",
        ("X1", "X2"),
        _no_blind_resend,
    ),
)
"""All of them, in the order in which they are checked and listed."""
