"""What a reply proves: answered, never ran, or nothing at all."""

from __future__ import annotations

import pytest

from machines.intent import ActionKind, Canceled, Filled, IntentEvent, ItemResult, Rejected, Resting, ending_of
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.verdict import Answered, NeverRan, Unclear, verdict_on
from tests.machines.builders import FILLED, MARGIN, RESTING

REJECTED = Rejected(MARGIN)
ORDERS, CANCELS = (ActionKind.ORDER, ActionKind.MODIFY), (ActionKind.CANCEL, ActionKind.CANCEL_BY_CLOID)


@pytest.mark.parametrize("kind", ORDERS)
def test_x4_each_order_has_its_own_result(kind: ActionKind) -> None:
    results = (RESTING, REJECTED, FILLED, Resting(oid=None))
    assert verdict_on(Accepted(results), kind, 4) == Answered(results)


@pytest.mark.parametrize("kind", CANCELS)
def test_x4_each_cancel_has_its_own_result(kind: ActionKind) -> None:
    results = (Canceled(), REJECTED, Canceled())
    assert verdict_on(Accepted(results), kind, 3) == Answered(results)


@pytest.mark.parametrize("items", [1, 2, 50])
def test_x4_one_error_for_the_batch_is_every_items(items: int) -> None:
    assert verdict_on(Accepted((REJECTED,)), ActionKind.ORDER, items) == Answered((REJECTED,) * items)


def test_action_without_items_is_answered_without_results() -> None:
    assert verdict_on(Accepted(()), ActionKind.NOOP, 0) == Answered(())


@pytest.mark.parametrize(
    ("results", "items"),
    [
        ((), 1),
        ((RESTING,), 2),
        ((RESTING, RESTING), 1),
        ((REJECTED, REJECTED), 3),
        ((REJECTED,), 0),
    ],
)
def test_wrong_number_of_statuses_proves_nothing(results: tuple[ItemResult, ...], items: int) -> None:
    unclear = Unclear(f"the reply has {len(results)} statuses for {items} items")
    assert verdict_on(Accepted(results), ActionKind.ORDER, items) == unclear


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        *((Canceled(), kind) for kind in ORDERS),
        *((result, kind) for kind in CANCELS for result in (RESTING, FILLED)),
    ],
)
def test_status_of_another_action_proves_nothing(result: ItemResult, kind: ActionKind) -> None:
    unclear = Unclear(f"the reply has statuses that do not fit a {kind.value} action")
    assert verdict_on(Accepted((REJECTED, result)), kind, 2) == unclear


@pytest.mark.parametrize(
    "reason",
    [
        "User or API Wallet 0x12 does not exist.",
        "Must deposit before performing actions. User: 0x12",
        "Action already expired",
        "Invalid nonce: nonce too high 9 > 8",
    ],
)
def test_refused_action_rejects_every_item(reason: str) -> None:
    assert verdict_on(Refused(reason), ActionKind.ORDER, 2) == Answered((Rejected(reason), Rejected(reason)))
    assert verdict_on(Refused(reason), ActionKind.NOOP, 0) == Answered(())


@pytest.mark.parametrize("reason", ["Invalid nonce: duplicate nonce 7", "Invalid nonce: nonce too low 7 < 9"])
def test_x1_spent_nonce_proves_nothing(reason: str) -> None:
    assert verdict_on(Refused(reason), ActionKind.ORDER, 2) == Unclear(reason)


@pytest.mark.parametrize("reason", ["429 Too Many Requests", "too many pending post requests id=1234"])
def test_gate_that_turned_the_post_away_proves_that_it_never_ran(reason: str) -> None:
    assert verdict_on(GatewayError(reason), ActionKind.ORDER, 2) == NeverRan(reason)


@pytest.mark.parametrize("reason", ["502 Bad Gateway", "504 Gateway Timeout", "", "no such text", "error 429"])
def test_x1_other_errors_of_the_gate_prove_nothing(reason: str) -> None:
    assert verdict_on(GatewayError(reason), ActionKind.ORDER, 2) == Unclear(reason)


def test_unreadable_reply_proves_nothing() -> None:
    unclear = Unclear("unreadable reply: no 'type' at $.response")
    assert verdict_on(Unreadable("no 'type' at $.response"), ActionKind.ORDER, 1) == unclear


@pytest.mark.parametrize("reply", [Accepted(()), Refused("x"), GatewayError("429"), Unreadable("x")])
def test_every_kind_of_reply_has_a_verdict(reply: PostReply) -> None:
    assert isinstance(verdict_on(reply, ActionKind.NOOP, 0), Answered | NeverRan | Unclear)


@pytest.mark.parametrize(
    ("result", "event"),
    [
        (Resting(oid=None), IntentEvent.REST),
        (Filled(oid=1, size="1", average_price="2"), IntentEvent.FILL),
        (Rejected("x"), IntentEvent.REJECT),
        (Canceled(), IntentEvent.CANCEL),
    ],
)
def test_every_result_ends_an_intent(result: ItemResult, event: IntentEvent) -> None:
    assert ending_of(result) is event
