"""The invariants themselves: each holds on a good snapshot, and reports on snapshots broken by hand.

A predicate that can report nothing would let every mutant live; so each one has to name what is wrong in at least one
state that no correct executor reaches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from machines.clock import ManualClock
from machines.executor import ExecutorCore
from machines.inflight import InflightState
from machines.intent import (
    ActionKind,
    Filled,
    Intent,
    IntentState,
    NotExecuted,
    Order,
    Outcome,
    Priority,
    Rejected,
)
from machines.nonce import WINDOW_FUTURE_MS, WINDOW_PAST_MS
from machines.post import PostRequest, PostState
from machines.session import SessionState
from machines.settlement import Attempt, LookUp, SettlementState
from machines.snapshot import QueueView, Snapshot
from spec.invariants import INVARIANTS, Invariant, violations

NOW = 1_700_000_000_000
ORDER = Order(market="xyz:TSLA", side="buy", size="1", price="400")
NEW_ORDER = Priority.NEW_ORDER


def _intent(seq: int, state: IntentState, post_id: int | None = None, outcome: Outcome | None = None) -> Intent:
    made = Intent(seq, ORDER, f"0x{seq:032x}", NEW_ORDER, ActionKind.ORDER, alo=False, state=state, outcome=outcome)
    made.outcomes = 0 if outcome is None else 1
    made.attempts = () if post_id is None else (post_id,)
    return made


def _post(post_id: int, state: PostState, *items: Intent) -> PostRequest:
    nonce = NOW + post_id
    post = PostRequest(post_id, nonce, ActionKind.ORDER, NEW_ORDER, items, nonce - 1, NOW, state=state)
    if state not in (PostState.QUEUED, PostState.UNSENT):
        post.signed_nonce, post.slots_taken = nonce, 1
    if state not in (PostState.QUEUED, PostState.SENT):
        post.completions, post.slots_returned = 1, post.slots_taken
    return post


def _waiting_cancel(seq: int) -> Intent:
    made = _intent(seq, IntentState.WAITING, 3)
    made.priority, made.kind, made.lost = Priority.CANCEL, ActionKind.CANCEL_BY_CLOID, True
    return made


def _looked_up(absences: int) -> LookUp:
    return LookUp(due_ms=0, absences=absences)


POPULATION = dict.fromkeys(IntentState, 0) | {
    IntentState.QUEUED: 4,
    IntentState.POSTED: 1,
    IntentState.UNKNOWN: 1,
    IntentState.WAITING: 1,
    IntentState.FILLED: 1,
    IntentState.NOT_EXECUTED: 2,
}


def good() -> Snapshot:
    """One post of each kind, and an attempt of each kind.

    1 is sent, 2 timed out, 3 acked, 4 unsent, 5 in hand, 6 disconnected and settled. Of the intents 1 to 10, number 7
    waits behind the post in hand, 9 is a cancel that waits for its order, and 10 is a reduce-only order that comes back
    from post 6, which never ran.
    """
    sent = _post(1, PostState.SENT, _intent(1, IntentState.POSTED, 1))
    lost = _post(2, PostState.TIMED_OUT, _intent(2, IntentState.UNKNOWN, 2))
    acked = _post(3, PostState.ACKED, _intent(3, IntentState.FILLED, 3, Filled(1, "1", "400")))
    unsent = _post(4, PostState.UNSENT, _intent(4, IntentState.NOT_EXECUTED, None, NotExecuted("not sent")))
    in_hand = _post(5, PostState.QUEUED, _intent(5, IntentState.QUEUED), _intent(6, IntentState.QUEUED))
    settled = _post(6, PostState.DISCONNECTED, _intent(8, IntentState.NOT_EXECUTED, 6, NotExecuted("it never ran")))
    returned = _intent(10, IntentState.QUEUED, 6)
    settled.items += (returned,)
    for item in settled.items:
        item.settled_by = "its fence won"
    posts = [sent, lost, acked, unsent, in_hand, settled]
    attempts = [
        Attempt(lost, 0, state=SettlementState.LOOKING_UP, open={2: lost.items[0]}, look_ups={2: _looked_up(2)}),
        Attempt(settled, 0, state=SettlementState.NEVER_EXECUTED),
    ]
    intents = {item.seq: item for post in posts for item in post.items} | {
        7: _intent(7, IntentState.QUEUED),
        9: _waiting_cancel(9),
    }
    return Snapshot(
        inflight=1,
        quarantined=2,
        inflight_state=InflightState.NORMAL,
        limit=10,
        high_watermark=8,
        open_posts=1,
        quarantined_posts=2,
        items_in_flight=1,
        in_hand=in_hand,
        posts=posts,
        intents=[intents[seq] for seq in sorted(intents)],
        attempts=attempts,
        unknown_items=1,
        waiting_cancels=1,
        queues={
            Priority.CANCEL: QueueView(queued=0, outstanding=1, limit=3, head=None),
            Priority.REDUCE_ONLY: QueueView(queued=0, outstanding=2, limit=3, head=None),
            NEW_ORDER: QueueView(queued=2, outstanding=6, limit=3, head=7),
        },
        population=POPULATION,
        halted=False,
        session=SessionState.READY,
        batch_limit=2,
    )


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda invariant: invariant.id)
def test_invariant_holds_on_a_good_snapshot(invariant: Invariant) -> None:
    assert invariant.check(good()) is None


def test_invariants_hold_on_a_fresh_core() -> None:
    assert list(violations(ExecutorCore(ManualClock(), run_id=1).snapshot())) == []


@pytest.mark.parametrize("quarantined", [0, 1])
@pytest.mark.parametrize(
    ("occupied", "state"),
    [
        (0, InflightState.IDLE),
        (1, InflightState.NORMAL),
        (7, InflightState.NORMAL),
        (8, InflightState.DEGRADED),
        (9, InflightState.DEGRADED),
        (10, InflightState.FULL),
    ],
)
def test_x3_band_of_every_occupation_is_known(occupied: int, quarantined: int, state: InflightState) -> None:
    quarantined = min(quarantined, occupied)
    inflight = occupied - quarantined
    now = replace(
        good(),
        inflight=inflight,
        open_posts=inflight,
        quarantined=quarantined,
        quarantined_posts=quarantined,
        inflight_state=state,
        in_hand=None,
    )
    assert [violation.invariant.id for violation in violations(now)] == ["EveryAcceptedIntentHasOneOutcome"]
    for other in set(InflightState) - {state}:
        wrong = replace(now, inflight_state=other)
        assert "InflightMatchesSent" in {violation.invariant.id for violation in violations(wrong)}


def _noop_in_hand(**changes: object) -> Snapshot:
    """The good snapshot, with a noop in hand while items of every queue wait."""
    noop = PostRequest(9, NOW + 9, ActionKind.NOOP, None, (), NOW + 8, NOW)
    for name, value in changes.items():
        setattr(noop, name, value)
    now = good()
    queues = {priority: QueueView(queued=1, outstanding=1, limit=3, head=1) for priority in Priority}
    population = {**POPULATION, IntentState.QUEUED: 3}
    return replace(now, in_hand=noop, posts=[*now.posts, noop], queues=queues, population=population)


def test_noop_in_hand_is_no_batch() -> None:
    assert list(violations(_noop_in_hand())) == []


def test_x2_fence_is_no_link_in_the_chain_of_nonces_and_may_be_old() -> None:
    fence = _noop_in_hand(fence_of=2, nonce=NOW + 2, previous_nonce=NOW + 50, server_time_ms=NOW + 3 * WINDOW_PAST_MS)
    assert list(violations(fence)) == []


def test_x2_item_is_proven_dead_by_its_own_absence_while_others_of_its_post_are_looked_up() -> None:
    now = good()
    (attempt, _), item = now.attempts, now.intents[1]
    attempt.look_ups[2] = _looked_up(3)
    item.state, item.settled_by = IntentState.QUEUED, "its nonce is spent and it left no record"
    population = {**POPULATION, IntentState.UNKNOWN: 0, IntentState.QUEUED: 5}
    queues = dict(now.queues) | {Priority.REDUCE_ONLY: QueueView(queued=0, outstanding=2, limit=3, head=None)}
    queues[NEW_ORDER] = QueueView(queued=3, outstanding=6, limit=3, head=7)
    assert list(violations(replace(now, unknown_items=0, population=population, queues=queues))) == []


def test_x2_cancels_go_out_again_without_proof() -> None:
    now = good()
    item = now.intents[1]
    item.priority = now.posts[1].priority = Priority.CANCEL
    item.state, item.lost = IntentState.QUEUED, True
    population = {**POPULATION, IntentState.UNKNOWN: 0, IntentState.QUEUED: 5}
    queues = dict(now.queues) | {NEW_ORDER: QueueView(queued=3, outstanding=6, limit=3, head=7)}
    assert list(violations(replace(now, unknown_items=0, population=population, queues=queues))) == []


# ------------------------------------------------------------------------------------------------ broken by hand


def _with_post(number: int, /, **changes: object) -> Callable[[], Snapshot]:
    """The good snapshot, with some fields of one post changed."""

    def broken() -> Snapshot:
        now = good()
        for name, value in changes.items():
            setattr(now.posts[number - 1], name, value)
        return now

    return broken


def _with_intent(number: int, /, **changes: object) -> Callable[[], Snapshot]:
    """The good snapshot, with some fields of one intent changed."""

    def broken() -> Snapshot:
        now = good()
        for name, value in changes.items():
            setattr(now.intents[number - 1], name, value)
        return now

    return broken


def _with(**changes: Any) -> Callable[[], Snapshot]:
    """The good snapshot, with some of its own fields changed."""
    return lambda: replace(good(), **changes)


def _with_population(**changes: int) -> Callable[[], Snapshot]:
    """The good snapshot, with other counts of some states."""
    population = POPULATION | {IntentState[name]: count for name, count in changes.items()}
    return lambda: replace(good(), population=population)


def _with_queues(**changes: QueueView) -> Callable[[], Snapshot]:
    """The good snapshot, with some queues changed."""

    def broken() -> Snapshot:
        now = good()
        queues: Mapping[Priority, QueueView] = {p: changes.get(p.value, view) for p, view in now.queues.items()}
        return replace(now, queues=queues)

    return broken


def _reduce_only_in_hand(item_number: int = 5) -> Snapshot:
    now = good()
    item = _intent(item_number, IntentState.QUEUED)
    item.priority = Priority.REDUCE_ONLY
    in_hand = _post(5, PostState.QUEUED, item)
    in_hand.priority = Priority.REDUCE_ONLY
    return replace(now, in_hand=in_hand, population={**POPULATION, IntentState.QUEUED: 3})


WAITING = QueueView(queued=1, outstanding=1, limit=3, head=1)

BROKEN = [
    ("InflightNeverNegative", _with(inflight=-1), "inflight is -1"),
    ("InflightNeverAboveLimit", _with(inflight=11), "inflight is 11, the limit 10"),
    ("InflightMatchesSent", _with(inflight=2), "inflight is 2, posts sent and not ended are 1"),
    ("InflightMatchesSent", _with(open_posts=0), "inflight is 1, posts sent and not ended are 0"),
    ("InflightMatchesSent", _with(inflight_state=InflightState.FULL), "1 + 2 slots are called full, not normal"),
    (
        "VenueInflightWithinLimit",
        _with(quarantined=3),
        "3 slots are quarantined for 2 unanswered posts",
    ),
    (
        "VenueInflightWithinLimit",
        _with(quarantined_posts=0),
        "2 slots are quarantined for 0 unanswered posts",
    ),
    (
        "VenueInflightWithinLimit",
        _with(inflight=9, open_posts=9),
        "sent and quarantined are 11, the limit 10",
    ),
    ("ExactlyOneCompletion", _with_post(1, completions=1), "post 1 is sent and ended 1 times"),
    ("ExactlyOneCompletion", _with_post(2, completions=2), "post 2 is timed_out and ended 2 times"),
    ("ExactlyOneCompletion", _with_post(4, completions=0), "post 4 is unsent and ended 0 times"),
    ("CompletedReleasesOnce", _with_post(1, slots_taken=0), "post 1 is sent, took 0 slots and returned 0"),
    ("CompletedReleasesOnce", _with_post(1, slots_returned=1), "post 1 is sent, took 1 slots and returned 1"),
    ("CompletedReleasesOnce", _with_post(2, slots_returned=0), "post 2 is timed_out, took 1 slots and returned 0"),
    ("CompletedReleasesOnce", _with_post(3, slots_returned=2), "post 3 is acked, took 1 slots and returned 2"),
    ("UnsentHoldsNoSlot", _with_post(4, slots_taken=1), "post 4 is unsent and took 1 slots"),
    ("UnsentHoldsNoSlot", _with_post(4, slots_returned=1), "post 4 is unsent and took 0 slots"),
    ("UnsentHoldsNoSlot", _with_post(5, slots_taken=1), "post 5 is queued and took 1 slots"),
    ("NoncesUniqueAndIncreasing", _with_post(3, previous_nonce=NOW + 3), f"nonce {NOW + 3} after {NOW + 3}"),
    ("NoncesUniqueAndIncreasing", _with_post(3, previous_nonce=NOW + 9), f"nonce {NOW + 3} after {NOW + 9}"),
    ("NonceInsideWindow", _with_post(5, nonce=NOW + WINDOW_FUTURE_MS), f"{WINDOW_FUTURE_MS} ms from server time"),
    ("NonceInsideWindow", _with_post(5, nonce=NOW - WINDOW_PAST_MS), f"-{WINDOW_PAST_MS} ms from server time"),
    ("NonceInsideWindow", _with_post(5, nonce=1), "post 5 has nonce 1, -1699999999999 ms from server time"),
    ("NonceInsideWindow", _with_post(5, nonce=0, server_time_ms=0), "post 5 has nonce 0, 0 ms from server time"),
    ("NonceInsideWindow", lambda: _noop_in_hand(fence_of=2, nonce=0), "post 9 has nonce 0"),
    (
        "FenceSpendsTheAttemptsNonce",
        lambda: _noop_in_hand(fence_of=2),
        f"fence 9 has nonce {NOW + 9}, its attempt {NOW + 2}",
    ),
    (
        "FenceSpendsTheAttemptsNonce",
        lambda: _noop_in_hand(fence_of=2, nonce=NOW + 2, expires_ms=NOW + 50),
        f"fence 9 carries 0 items and expires at {NOW + 50}",
    ),
    (
        "FenceSpendsTheAttemptsNonce",
        lambda: _noop_in_hand(fence_of=2, nonce=NOW + 2, items=(_intent(5, IntentState.QUEUED),)),
        "fence 9 carries 1 items and expires at None",
    ),
    ("SignedNonceIsRegisteredNonce", _with_post(1, signed_nonce=None), f"allotted nonce {NOW + 1}, signed was None"),
    ("SignedNonceIsRegisteredNonce", _with_post(3, signed_nonce=5), f"allotted nonce {NOW + 3}, signed was 5"),
    (
        "CancelsBeforeReduceOnlyBeforeNew",
        _with_queues(cancel=WAITING),
        "post 5 carries new_order items while cancel items wait",
    ),
    (
        "CancelsBeforeReduceOnlyBeforeNew",
        _with_queues(reduce_only=WAITING),
        "post 5 carries new_order items while reduce_only items wait",
    ),
    (
        "CancelsBeforeReduceOnlyBeforeNew",
        lambda: replace(_reduce_only_in_hand(), queues=_with_queues(cancel=WAITING)().queues),
        "post 5 carries reduce_only items while cancel items wait",
    ),
    ("QueueOrderKept", _with_intent(5, seq=6), "post 5 carries its items in the order [6, 6]"),
    ("QueueOrderKept", _with_intent(5, seq=8), "post 5 carries its items in the order [8, 6]"),
    (
        "QueueOrderKept",
        _with_queues(new_order=replace(WAITING, head=5)),
        "post 5 carries item 6 while item 5 waits",
    ),
    ("NoNewOrderWhileDegradedOrHalted", _with(halted=True), "post 5 carries new orders while halted"),
    ("NoNewOrderWhileDegradedOrHalted", _with(inflight=8), "post 5 carries new orders with 10 slots occupied"),
    (
        "NoNewOrderWhileDegradedOrHalted",
        _with(quarantined=7, quarantined_posts=7),
        "post 5 carries new orders with 8 slots occupied",
    ),
    (
        "NoNewOrderWhileDegradedOrHalted",
        _with(session=SessionState.SYNCING),
        "post 5 carries new orders while the session is syncing",
    ),
    ("OneActionTypePerPost", _with_intent(6, kind=ActionKind.MODIFY), "post 5 of kind order carries other kinds"),
    ("OneActionTypePerPost", _with_intent(6, priority=Priority.CANCEL), "post 5 of kind order carries other kinds"),
    ("OneActionTypePerPost", _with_intent(6, alo=True), "post 5 mixes post-only orders with others"),
    (
        "QueuesBounded",
        _with_queues(cancel=QueueView(queued=0, outstanding=4, limit=3, head=None)),
        "the cancel queue holds 4 of at most 3",
    ),
    (
        "QueuesBounded",
        _with_queues(reduce_only=QueueView(queued=4, outstanding=0, limit=3, head=9)),
        "the reduce_only queue holds 0 of at most 3",
    ),
    (
        "QueuesBounded",
        _with_queues(new_order=QueueView(queued=4, outstanding=9, limit=3, head=9)),
        "the new_order queue holds 4 of at most 3",
    ),
    ("QueuesBounded", _with(batch_limit=1), "post 5 carries 2 of at most 1 items"),
    ("EveryAcceptedIntentHasOneOutcome", _with_intent(3, outcomes=2), "intent 3 is filled and has 2 outcomes"),
    ("EveryAcceptedIntentHasOneOutcome", _with_intent(3, outcome=None), "intent 3 is filled and has 1 outcomes"),
    ("EveryAcceptedIntentHasOneOutcome", _with_intent(2, outcomes=1), "intent 2 is unknown and has 1 outcomes"),
    (
        "EveryAcceptedIntentHasOneOutcome",
        _with_intent(1, outcome=Rejected("early")),
        "intent 1 is posted and has 0 outcomes",
    ),
    (
        "EveryAcceptedIntentHasOneOutcome",
        _with_population(ACCEPTED=1),
        "1 intents are accepted, and 0 are where these have to be",
    ),
    (
        "EveryAcceptedIntentHasOneOutcome",
        _with_population(QUEUED=3),
        "3 intents are queued, and 4 are where these have to be",
    ),
    ("EveryAcceptedIntentHasOneOutcome", _with(in_hand=None), "4 intents are queued, and 2 are where these have to be"),
    ("EveryAcceptedIntentHasOneOutcome", _with(items_in_flight=0), "1 intents are posted, and 0 are"),
    ("EveryAcceptedIntentHasOneOutcome", _with(unknown_items=2), "1 intents are unknown, and 2 are"),
    ("EveryAcceptedIntentHasOneOutcome", _with(waiting_cancels=0), "1 intents are waiting, and 0 are"),
    (
        "UnknownNeverReportedAsRejected",
        _with_intent(2, state=IntentState.REJECTED, outcome=Rejected("no reply")),
        "intent 2 is rejected after its post 2 ended unknown, unproven",
    ),
    (
        "UnknownNeverReportedAsRejected",
        _with_intent(8, settled_by=None),
        "intent 8 is not_executed after its post 6 ended unknown, unproven",
    ),
    (
        "UnknownNeverReportedAsRejected",
        _with_post(3, unclear=True),
        "intent 3 is filled after its post 3 ended unknown, unproven",
    ),
    (
        "UnknownNeverReportedAsRejected",
        _with_intent(9, state=IntentState.REJECTED),
        "cancel 9 is rejected, unproven, and an earlier attempt of it ended unknown",
    ),
    (
        "UnknownNeverReportedAsRejected",
        _with_intent(9, state=IntentState.NOT_EXECUTED),
        "cancel 9 is not_executed, unproven, and an earlier attempt of it ended unknown",
    ),
    (
        "NoBlindResend",
        _with_intent(2, state=IntentState.QUEUED),
        "intent 2 goes out again while its post 2 is looking_up",
    ),
    ("NoBlindResend", _with_intent(2, attempts=(2, 5)), "intent 2 goes out again while its post 2 is looking_up"),
    (
        "NoBlindResend",
        lambda: replace(_with_intent(2, state=IntentState.QUEUED)(), attempts=[]),
        "intent 2 waits to go out again, its post 2 ended unknown",
    ),
    (
        "NoBlindResend",
        _with_intent(10, cancel_wanted=True),
        "intent 10 waits to go out again, and its owner asked to cancel it",
    ),
]


@pytest.mark.parametrize(
    ("name", "broken", "detail"), [pytest.param(*case, id=f"{case[0]}-{number}") for number, case in enumerate(BROKEN)]
)
def test_invariant_reports_what_is_wrong(name: str, broken: Callable[[], Snapshot], detail: str) -> None:
    reported = {violation.invariant.id: violation for violation in violations(broken())}
    assert name in reported
    assert detail in reported[name].detail
    assert str(reported[name]) == f"{name}: {reported[name].detail}"


def test_resend_after_an_unknown_ending_is_told_apart_from_a_wrong_report() -> None:
    resent = list(violations(_with_intent(2, attempts=(2, 5), state=IntentState.POSTED, outcome=None, outcomes=0)()))
    assert [violation.invariant.id for violation in resent] == ["NoBlindResend"]


def test_every_invariant_was_seen_to_report() -> None:
    assert {name for name, _, _ in BROKEN} == {invariant.id for invariant in INVARIANTS}


# --------------------------------------------------------------------------------------------------- the catalogue


def test_names_are_unique_and_are_names() -> None:
    ids = [invariant.id for invariant in INVARIANTS]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", name) for name in ids)


def test_statements_are_sentences_of_their_own() -> None:
    statements = [invariant.statement for invariant in INVARIANTS]
    assert len(set(statements)) == len(statements)
    assert all(re.fullmatch(r"[A-Z].*\.", statement) for statement in statements)
