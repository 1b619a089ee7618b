"""The state of the core between two events, as the invariants see it.

A snapshot refers to the posts and intents that the last step moved (or to any others that the caller names), so that
watching a live executor costs the same whatever waits in its queues and however long it has run; tests name all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from machines.inflight import InflightState
from machines.intent import Intent, IntentState, Priority
from machines.post import PostRequest
from machines.session import SessionState
from machines.settlement import Attempt


class QueueView(Struct, frozen=True):
    """One queue: what waits, what is outstanding, the most that it may hold, and its first sequence number."""

    queued: int
    outstanding: int
    limit: int
    head: int | None


class Snapshot(Struct, frozen=True):
    """What holds now.

    Attributes:
        inflight: Slots taken.
        quarantined: Slots in quarantine.
        inflight_state: The band that the tracker says that both together are in.
        limit: The most slots.
        high_watermark: The count from which new orders wait.
        open_posts: Posts registered as sent.
        quarantined_posts: Unanswered posts in quarantine.
        items_in_flight: Items of open posts that have not ended.
        in_hand: The post being handed over; None between steps of the shell.
        posts: Posts to check.
        intents: Intents to check.
        attempts: Attempts to check.
        unknown_items: Items whose fate is being found out.
        waiting_cancels: Cancels that wait for the fate of their order.
        queues: The three queues, first to last.
        population: How many accepted intents are in each state.
        halted: Whether the hard stop is tripped.
        session: State of the connection.
        batch_limit: The most items that one post carries.
    """

    inflight: int
    quarantined: int
    inflight_state: InflightState
    limit: int
    high_watermark: int
    open_posts: int
    quarantined_posts: int
    items_in_flight: int
    in_hand: PostRequest | None
    posts: Sequence[PostRequest]
    intents: Sequence[Intent]
    attempts: Sequence[Attempt]
    unknown_items: int
    waiting_cancels: int
    queues: Mapping[Priority, QueueView]
    population: Mapping[IntentState, int]
    halted: bool
    session: SessionState
    batch_limit: int
