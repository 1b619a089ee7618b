"""The state of the core between two events, as the invariants see it.

A snapshot refers to the posts and intents that the last step moved (or to any others that the caller names), so that
watching a live executor costs the same whatever waits in its queues and however long it has run; tests name all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from machines.inflight import InflightState
from machines.intent import Intent, Priority
from machines.post import PostRequest
from machines.session import SessionState


@dataclass(frozen=True, slots=True)
class QueueView:
    """One queue: what waits, what is outstanding, the most that it may hold, and its first sequence number."""

    queued: int
    outstanding: int
    limit: int
    head: int | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What holds now.

    Attributes:
        inflight: Slots taken.
        inflight_state: The band that the tracker says it is in.
        limit: The most slots.
        high_watermark: The count from which new orders wait.
        open_posts: Posts registered as sent.
        items_in_flight: Items that they carry.
        in_hand: The post being handed over; None between steps of the shell.
        posts: Posts to check.
        intents: Intents to check.
        queues: The three queues.
        accepted: Intents accepted so far.
        ended: Intents that got an outcome so far.
        halted: Whether the hard stop is tripped.
        session: State of the connection.
        batch_limit: The most items that one post carries.
    """

    inflight: int
    inflight_state: InflightState
    limit: int
    high_watermark: int
    open_posts: int
    items_in_flight: int
    in_hand: PostRequest | None
    posts: Sequence[PostRequest]
    intents: Sequence[Intent]
    queues: Mapping[Priority, QueueView]
    accepted: int
    ended: int
    halted: bool
    session: SessionState
    batch_limit: int
