"""What the tests of the settlement rules share: outcomes, replies, and what may happen meanwhile."""

from __future__ import annotations

from typing import Final

import pytest

from machines.intent import Intent, IntentState, NotExecuted
from machines.post import PostRequest
from machines.reply import GatewayError
from machines.settlement import SettlementState
from tests.machines.builders import DUPLICATE, RESTING, TOO_LOW, Desk, cloid, order, reduce_only

FENCE_WON: Final = NotExecuted("its fence won: it never ran and never can")
NO_RECORD: Final = NotExecuted("its nonce is spent and it left no record")
GATE: Final = GatewayError("429 Too Many Requests")


def only(post: PostRequest) -> Intent:
    """The only item of a post."""
    (item,) = post.items
    return item


def state_of(item: Intent) -> IntentState:
    """Where an item is."""
    return item.state


def known(desk: Desk, post: PostRequest) -> SettlementState:
    """What is known of an ambiguous post."""
    return desk.attempts[post.post_id].state


def resting(desk: Desk) -> None:
    """The order `cloid(1)` rests on the book."""
    desk.reply(desk.post(order(cloid=cloid(1))), RESTING)


def fence_timed_out(desk: Desk) -> None:
    """A fence goes out and is not answered."""
    desk.fence()
    desk.pass_time(5_000)


def nothing_new(_: Desk) -> None:
    """Nothing has happened since the post was lost."""


def another_fence(desk: Desk) -> None:
    """A fence is under way."""
    desk.fence()


def spent_as_another_fence_says(desk: Desk) -> None:
    """A fence has said that the nonce is spent."""
    desk.answer(desk.fence(), DUPLICATE)


MEANWHILE: Final = pytest.mark.parametrize("meanwhile", [nothing_new, another_fence, spent_as_another_fence_says])
ORDERS: Final = pytest.mark.parametrize("make", [order, reduce_only])
SPENT: Final = pytest.mark.parametrize("spent", [DUPLICATE, TOO_LOW], ids=["duplicate", "too low"])
