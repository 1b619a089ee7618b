"""Posts that carry no intent: the noop that proves the key, and the dead-man's switch.

**The key** is proven before anything depends on it (machines/session.py): a noop (protocol.md §5) is sent while the
session is SYNCING, and again until the venue has said yes or no.

**The switch**, if it is wanted, is `scheduleCancel` (protocol.md §6): the venue cancels all orders of the account at a
time that the executor puts off again and again. It is renewed at half of its time, and only while the executor is
healthy: READY, and not halted. So orders do not outlive who watches them. A shutdown does not take it back.

At most one post of each kind is under way.
"""

from __future__ import annotations

from typing import Final

from machines.intent import ActionKind
from machines.post import PostRequest
from machines.session import Session, SessionState

KEY_REFUSALS: Final = ("User or API Wallet", "Must deposit", "Vault not registered")
"""Beginnings of the refusals that concern the signer, whatever the action (protocol.md §9)."""


class StandingPosts:
    """Which of them is due, and which is under way.

    Attributes:
        key_refused: Whether the venue has said that it does not know the signer; then it is not asked again.
    """

    __slots__ = ("_renew_ms", "_switch_ms", "_under_way", "key_refused")

    def __init__(self, switch_ms: int | None) -> None:
        """Begin with the key unproven; `switch_ms` is how far ahead the switch is set, None for none."""
        self.key_refused = False
        self._switch_ms = switch_ms
        self._renew_ms = 0
        self._under_way: dict[ActionKind, PostRequest] = {}

    def due(self, session: Session, halted: bool, now: int) -> ActionKind | None:
        """The kind of post that is to be sent at monotonic ms `now`, if any."""
        if session.state is SessionState.SYNCING and not session.key_accepted and not self.key_refused:
            return None if ActionKind.NOOP in self._under_way else ActionKind.NOOP
        renew_ms = self.renew_ms(session, halted)
        return None if renew_ms is None or now < renew_ms else ActionKind.SCHEDULE_CANCEL

    def renew_ms(self, session: Session, halted: bool) -> int | None:
        """When the switch is to be renewed, monotonic ms; None while it is not."""
        idle = ActionKind.SCHEDULE_CANCEL not in self._under_way
        return self._renew_ms if self._switch_ms is not None and session.ready and not halted and idle else None

    def taken(self, post: PostRequest, now: int) -> None:
        """A post that was due is in hand."""
        self._under_way[post.kind] = post
        if self._switch_ms is not None and post.kind is ActionKind.SCHEDULE_CANCEL:
            self._renew_ms = now + self._switch_ms // 2

    def ended(self, post: PostRequest, now: int) -> None:
        """A post ended; if it was a switch that may not have arrived, it is due again."""
        if self._under_way.get(post.kind) is post:
            del self._under_way[post.kind]
            if not post.answered:
                self._renew_ms = now
