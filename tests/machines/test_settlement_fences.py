"""Settlement, rule by rule (settlement.md): 1 to 8, from the ambiguous post to what its fence and replies prove.

The name of a test says which rule it is of; its scenario is the one that goes wrong without the rule. Rules 1 and 2 are
also the journal's.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from machines import events as ev
from machines.errors import StepOrderError
from machines.intent import (
    ActionKind,
    Filled,
    IntentState,
    NotExecuted,
    Request,
)
from machines.post import PostState
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.settings import CoreSettings
from machines.settlement import SettlementState
from tests.machines.builders import (
    DUPLICATE,
    FILLED,
    RESTING,
    Desk,
    cancel,
    of_type,
    order,
    record,
    reduce_only,
    unanswered,
)
from tests.machines.settling import (
    FENCE_WON,
    GATE,
    MEANWHILE,
    NO_RECORD,
    ORDERS,
    SPENT,
    fence_timed_out,
    known,
    only,
    state_of,
)

# ------------------------------------------------------------------------------- 1: ambiguous, although it never left


@ORDERS
def test_x2_rule_01_post_without_an_ending_is_settled_after_a_restart_though_it_may_never_have_left(
    make: Callable[[], Request],
) -> None:
    desk = Desk(ready=False, last_post_id=7, last_seq=4)
    post = unanswered(7, make())
    desk.recover(post)
    desk.connect()
    desk.learn()
    desk.prove_key()
    assert state_of(only(post)) is IntentState.UNKNOWN
    fence = desk.fence()
    assert (fence.nonce, fence.fence_of) == (post.nonce, 7)
    desk.reply(fence)
    assert desk.outcome(only(post)) == FENCE_WON


def test_x2_rule_01_nothing_happens_between_the_record_of_a_post_and_its_writing() -> None:
    desk = Desk()
    desk.submit(order())
    effects = desk.handle(ev.Tick())
    assert isinstance(effects[-1], ev.Transmit), "what the shell does next is to journal and to write it"
    with pytest.raises(StepOrderError):
        desk.core.handle(ev.TimePassed())


# ---------------------------------------------------------------------------------- 2: the verdict, then its effects


def test_x2_rule_02_verdict_and_closing_are_one_step_and_come_before_the_owner_hears() -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.fence()
    effects = desk.reply(fence)
    assert effects == [ev.PostEnded(fence), ev.IntentEnded(only(post))]
    core = desk.core
    assert [attempt.post for attempt in core.settler.moved] == [post]
    assert (core.intents.moved, core.settler.attempts) == ([only(post)], {})


def test_x2_rule_02_verdict_that_an_order_never_ran_is_a_step_before_it_is_sent_again() -> None:
    desk = Desk()
    post = desk.lose(reduce_only())
    effects = desk.reply(desk.fence())
    assert of_type(effects, ev.Transmit) == []
    assert (state_of(only(post)), only(post).settled_by) == (IntentState.QUEUED, FENCE_WON.reason)
    assert known(desk, post) is SettlementState.NEVER_EXECUTED
    assert desk.send().items == post.items


# ----------------------------------------------------------------------------------------------------- 3: the fence


def test_x2_rule_03_fence_is_a_noop_with_the_same_nonce_and_without_expiry() -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.take()
    assert (fence.kind, fence.items, fence.priority) == (ActionKind.NOOP, (), None)
    assert (fence.nonce, fence.fence_of, fence.expires_ms) == (post.nonce, post.post_id, None)
    assert desk.core.nonces.last == post.nonce, "it takes no nonce of its own"


def test_x2_rule_03_fence_is_a_post_like_any_other() -> None:
    desk = Desk(settings=CoreSettings(messages_per_minute=4))
    desk.lose(order())
    used = desk.core.budget.used
    fence = desk.fence()
    assert (fence.state, fence.slots_taken, desk.inflight(), desk.core.budget.used) == (PostState.SENT, 1, 1, used + 1)
    desk.pass_time(5_000)
    assert (fence.state, desk.inflight(), desk.quarantined()) == (PostState.TIMED_OUT, 0, 2)
    desk.fence()
    desk.submit(cancel())
    assert desk.tick() is None, "four messages were sent: noop, order, two fences"


def _fence_disconnected(desk: Desk) -> None:
    desk.fence()
    desk.reconnect()


def _fence_not_sent(desk: Desk) -> None:
    desk.handle(ev.SendRefused(desk.take().post_id, "socket not open"))


def _fence_broken(desk: Desk) -> None:
    fence = desk.take()
    desk.handle(ev.SendBroken(fence.post_id, fence.nonce, 1, "broken pipe"))


def _fence_answered(reply: PostReply) -> Callable[[Desk], None]:
    def lose(desk: Desk) -> None:
        desk.answer(desk.fence(), reply)

    return lose


def _fence_named_by_an_error(desk: Desk) -> None:
    fence = desk.fence()
    desk.handle(ev.ErrorReceived(1, f"too many pending post requests id={fence.post_id}", fence.post_id))


LOST_FENCES = [
    fence_timed_out,
    _fence_disconnected,
    _fence_not_sent,
    _fence_broken,
    _fence_named_by_an_error,
    _fence_answered(GATE),
    _fence_answered(GatewayError("502 Bad Gateway")),
    _fence_answered(Unreadable("not an object")),
    _fence_answered(Refused("User or API Wallet 0x12 does not exist.")),
    _fence_answered(Accepted((RESTING,))),
]


@pytest.mark.parametrize("lose", LOST_FENCES)
def test_x2_rule_03_fence_that_proves_nothing_is_repeated_under_a_new_id_and_never_fenced_itself(
    lose: Callable[[Desk], None],
) -> None:
    desk = Desk()
    post = desk.lose(order())
    lose(desk)
    assert (state_of(only(post)), known(desk, post)) == (IntentState.UNKNOWN, SettlementState.UNKNOWN)
    desk.clock.advance(1_000)
    again = desk.fence()
    assert (again.post_id, again.nonce, again.fence_of) == (4, post.nonce, post.post_id)
    assert desk.tick() is None
    desk.reply(again)
    assert desk.outcome(only(post)) == FENCE_WON
    assert desk.core.idle


@pytest.mark.parametrize("reply", [GATE, Refused("Must deposit before performing actions.")])
def test_x2_rule_03_refused_fence_is_not_repeated_at_once(reply: PostReply) -> None:
    desk = Desk()
    desk.lose(order())
    desk.answer(desk.fence(), reply)
    desk.clock.advance(999)
    assert desk.tick() is None
    desk.clock.advance(1)
    desk.fence()


def test_x2_rule_03_one_fence_at_a_time_for_an_attempt() -> None:
    desk = Desk()
    desk.lose(order())
    desk.fence()
    assert (desk.tick(), desk.core.wants_tick) == (None, False)


# ------------------------------------------------------------------------------------------------- 4: the fence won


def test_x2_rule_04_order_whose_fence_won_never_ran() -> None:
    desk = Desk()
    post = desk.lose(order(), order())
    desk.reply(desk.fence())
    assert [desk.outcome(item) for item in post.items] == [FENCE_WON] * 2
    assert [item.settled_by for item in post.items] == [FENCE_WON.reason] * 2
    assert known(desk, post) is SettlementState.NEVER_EXECUTED
    assert desk.core.idle


def test_x2_rule_04_reduce_only_order_whose_fence_won_is_sent_again() -> None:
    desk = Desk()
    post = desk.lose(reduce_only())
    desk.reply(desk.fence())
    again = desk.send()
    assert again.items == post.items
    assert again.nonce > post.nonce
    desk.reply(again, FILLED)
    assert desk.outcome(only(post)) == FILLED
    assert only(post).attempts == (post.post_id, again.post_id)


@MEANWHILE
def test_x2_rule_04_late_answer_that_an_earlier_fence_won_decides_too(meanwhile: Callable[[Desk], None]) -> None:
    desk = Desk()
    post = desk.lose(order())
    first = desk.fence()
    desk.pass_time(5_000)
    meanwhile(desk)
    effects = desk.reply(first)
    assert effects == [ev.IntentEnded(only(post))]
    assert desk.outcome(only(post)) == FENCE_WON


def test_x2_rule_04_answer_of_a_fence_whose_attempt_is_settled_changes_nothing() -> None:
    desk = Desk()
    desk.lose(order())
    first = desk.fence()
    desk.pass_time(5_000)
    second = desk.fence()
    desk.reply(first)
    assert desk.answer(second, DUPLICATE) == [ev.PostEnded(second)]
    assert desk.core.idle


# -------------------------------------------------------------------------------------------- 5 to 7: spent, no more


@SPENT
def test_x2_rule_05_06_fence_with_a_spent_nonce_decides_nothing(spent: PostReply) -> None:
    desk = Desk()
    post = desk.lose(order())
    fence = desk.fence()
    assert desk.answer(fence, spent) == [ev.PostEnded(fence)]
    assert (state_of(only(post)), desk.outcome(only(post))) == (IntentState.UNKNOWN, None)
    assert known(desk, post) is SettlementState.LOOKING_UP
    assert desk.tick() is None, "spent is spent: no further fence"


@SPENT
def test_x2_rule_05_order_whose_nonce_an_earlier_fence_spent_never_ran(spent: PostReply) -> None:
    desk = Desk()
    post = desk.lose(order())
    fence_timed_out(desk)  # it won, and its answer was lost
    desk.answer(desk.fence(), spent)
    desk.find_nothing()
    assert desk.outcome(only(post)) == NO_RECORD


@SPENT
@ORDERS
def test_x2_rule_06_order_that_ran_before_its_nonce_was_spent_is_not_sent_again(
    make: Callable[[], Request], spent: PostReply
) -> None:
    desk = Desk()
    post = desk.lose(make())
    desk.answer(desk.fence(), spent)
    assert desk.tick() is None
    desk.look_up(record("filled", traded="1", oid=12))
    assert desk.outcome(only(post)) == Filled(12, "1", None)
    assert only(post).settled_by == "the venue's record"
    assert (desk.tick(), desk.core.idle) == (None, True)


@SPENT
@ORDERS
def test_x2_rule_07_order_delivered_twice_is_not_rejected_by_the_answer_to_the_second(
    make: Callable[[], Request], spent: Refused
) -> None:
    desk = Desk()
    post = desk.post(make())
    effects = desk.answer(post, spent)
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(only(post), spent.reason)]
    assert (state_of(only(post)), known(desk, post)) == (IntentState.UNKNOWN, SettlementState.LOOKING_UP)
    assert desk.tick() is None, "the nonce is known to be spent: no fence"
    desk.look_up(record("open"))
    assert desk.outcome(only(post)) == RESTING


@SPENT
@MEANWHILE
def test_x2_rule_07_late_answer_to_a_second_delivery_only_spends_the_nonce(
    meanwhile: Callable[[Desk], None], spent: PostReply
) -> None:
    desk = Desk()
    post = desk.lose(order())
    meanwhile(desk)
    assert desk.answer(post, spent) == []
    assert (state_of(only(post)), known(desk, post)) == (IntentState.UNKNOWN, SettlementState.LOOKING_UP)
    assert desk.tick() is None
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(only(post)), Filled)


def test_x2_rule_07_fence_that_is_lost_after_the_nonce_is_spent_is_not_repeated() -> None:
    desk = Desk()
    post = desk.lose(order())
    desk.fence()
    desk.answer(post, DUPLICATE)
    desk.pass_time(5_000)
    assert known(desk, post) is SettlementState.LOOKING_UP
    assert desk.tick() is None


# ------------------------------------------------------------------------------------------- 8: what proves a refusal


@pytest.mark.parametrize("text", ["502 Bad Gateway", "504 Gateway Timeout", "internal error", ""])
@ORDERS
def test_x2_rule_08_error_that_proves_no_refusal_is_ambiguous(make: Callable[[], Request], text: str) -> None:
    desk = Desk()
    post = desk.post(make())
    effects = desk.answer(post, GatewayError(text))
    assert effects == [ev.PostEnded(post), ev.IntentUnknown(only(post), text)]
    desk.clock.advance(1_000)
    desk.answer(desk.fence(), DUPLICATE)
    desk.look_up(record("filled", traded="1"))
    assert isinstance(desk.outcome(only(post)), Filled), "it ran behind the gateway"


@pytest.mark.parametrize("text", ["429 Too Many Requests", "too many pending post requests id=2"])
@MEANWHILE
def test_x2_rule_08_proven_refusal_that_comes_late_settles(meanwhile: Callable[[Desk], None], text: str) -> None:
    desk = Desk()
    post = desk.lose(order())
    meanwhile(desk)
    assert desk.answer(post, GatewayError(text)) == [ev.IntentEnded(only(post))]
    assert desk.outcome(only(post)) == NotExecuted(f"refused by the venue's gate, late: {text}")
    assert known(desk, post) is SettlementState.NEVER_EXECUTED


def test_x2_rule_08_late_error_that_proves_nothing_changes_nothing() -> None:
    desk = Desk()
    post = desk.lose(order())
    assert desk.answer(post, GatewayError("502 Bad Gateway")) == []
    assert (state_of(only(post)), known(desk, post)) == (IntentState.UNKNOWN, SettlementState.UNKNOWN)
    desk.fence()
