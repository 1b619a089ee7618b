"""The simulated venue: its gate, its nonce rules, and what it answers.

Frames of one connection arrive in order; what they ask for is carried out, and answered, in whatever order the venue
pleases. A nonce is committed before anything is answered, each action runs at most once, and a nonce once refused as
too low stays refused: the assumptions of settlement.md. So is that the venue has forgotten an unanswered post when the
executor's quarantine is over (rule 16); under it, the venue checks that it never holds more posts than its limit.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import partial
from typing import Final

from adapters.simulation.book import Book
from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.judge import Judge
from adapters.simulation.messages import ErrorText, Frame, Reply
from adapters.simulation.network import Connection, Network
from adapters.simulation.timeline import Timeline
from machines.intent import ActionKind, Rejected
from machines.nonce import WINDOW_FUTURE_MS, WINDOW_PAST_MS
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable
from machines.settlement import VENUE_LAG_MS

_REFUSALS: Final = (
    "Too many cumulative requests sent (37986 > 10436) for cumulative volume traded $437.92.",
    "Only post-only orders allowed immediately after a network upgrade",
)
_BUDGET: Final = 10_000
_SWITCH_LEAST_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class VenueRules:
    """What differs from run to run.

    Attributes:
        nonces_kept: How many of the highest nonces it keeps per signer: 100 really, less to meet the edge often.
        inflight_limit: How many posts it allows at a time.
        forgets_ms: How long after it was written a post is forgotten at the latest (rule 16).
        quarantine_ms: How long after a disconnect its posts are forgotten at the latest (rule 16).
    """

    nonces_kept: int
    inflight_limit: int
    forgets_ms: int
    quarantine_ms: int


class Nonces:
    """The nonces of one signer (protocol.md §4)."""

    def __init__(self, kept: int) -> None:
        """Keep the `kept` highest."""
        self._kept = kept
        self._highest: list[int] = []

    def use(self, nonce: int, now: int) -> str | None:
        """Use up a nonce at venue time `now`; or the venue's words, if it can't be used."""
        if nonce in self._highest:
            return f"Invalid nonce: duplicate nonce {nonce}"
        lowest = now - WINDOW_PAST_MS
        if len(self._highest) == self._kept:
            lowest = max(lowest, self._highest[0])
        if nonce <= lowest:
            return f"Invalid nonce: nonce too low {nonce} < {lowest}"
        if nonce >= now + WINDOW_FUTURE_MS:
            return f"Invalid nonce: nonce too high {nonce} > {now + WINDOW_FUTURE_MS}"
        heapq.heappush(self._highest, nonce)
        if len(self._highest) > self._kept:
            heapq.heappop(self._highest)
        return None


class _Job:
    """A post that was taken in and not carried out yet."""

    __slots__ = ("connection", "frame", "lost")

    def __init__(self, frame: Frame, connection: Connection | None) -> None:
        self.frame = frame
        self.connection = connection
        self.lost = False


class Venue:
    """The venue.

    Attributes:
        book: Its orders.
    """

    def __init__(
        self, timeline: Timeline, troubles: Troubles, network: Network, judge: Judge, rules: VenueRules
    ) -> None:
        """Open for business."""
        self.book = Book(timeline, troubles, network, judge.placed, judge.canceled)
        self._timeline = timeline
        self._troubles = troubles
        self._network = network
        self._judge = judge
        self._rules = rules
        self._nonces: dict[str, Nonces] = {}
        self._pending: dict[int, tuple[int, Connection]] = {}
        self._jobs: dict[_Job, None] = {}
        self._down_until = 0
        self._switch_at = 0

    # ---------------------------------------------------------------------------------------------- the network's side

    def reachable(self) -> bool:
        """Whether it takes connections and questions now."""
        return self._timeline.now >= self._down_until

    def receive(self, frame: Frame, connection: Connection | None, written_ms: int) -> None:
        """A frame arrived; on no connection if its own is gone."""
        if not self.reachable():
            return
        if connection is not None:
            self._hold(frame, connection, written_ms)
            if self._turned_away(frame, connection):
                return
        if self._troubles.strikes(Fault.FRAME_DUPLICATED):
            # Some gateway sends it on again, often because it lost the first answer.
            self._accept(frame, connection, self._troubles.between(0, 10_000))
            connection = connection if self._troubles.between(0, 1) else None
        self._accept(frame, connection)

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone; it forgets the posts of that connection a little later, in time (rule 16)."""
        forget = self._timeline.now + self._troubles.between(0, self._rules.quarantine_ms - 500)
        for post_id, (until, of) in self._pending.items():
            if of is connection:
                self._pending[post_id] = (min(until, forget), of)

    def restart(self, down_ms: int) -> None:
        """Go down for `down_ms`: connections and replies are lost, nonces and orders are kept."""
        self._down_until = self._timeline.now + down_ms
        for connection in tuple(self._network.connections):
            connection.break_off(self._troubles.between(0, 2_000))
        for job in self._jobs:
            job.lost = self._troubles.rng.random() < 0.5

    # ------------------------------------------------------------------------------------------------------- the gate

    def _hold(self, frame: Frame, connection: Connection, written_ms: int) -> None:
        """Count a post until it is answered, or forgotten (rule 16)."""
        now = self._timeline.now
        for post_id in [post_id for post_id, (until, _) in self._pending.items() if until <= now]:
            del self._pending[post_id]
        self._pending[frame.post_id] = (written_ms + self._rules.forgets_ms, connection)
        held = len(self._pending)
        if held > self._rules.inflight_limit:
            raise PromiseBroken(
                "VenueInflightWithinLimit", f"the venue holds {held} posts, its limit is {self._rules.inflight_limit}"
            )
        self._troubles.saw(Sight.LIMIT_REACHED, held == self._rules.inflight_limit)

    def _turned_away(self, frame: Frame, connection: Connection) -> bool:
        """What keeps a post from being carried out, or from being answered truly, before anybody looked at it."""
        strikes = self._troubles.strikes
        post_id = frame.post_id
        if strikes(Fault.TOO_MANY_REQUESTS):
            self._answer(frame, connection, Reply(post_id, GatewayError("429 Too Many Requests")))
        elif strikes(Fault.TOO_MANY_PENDING):
            text = f"too many pending post requests id={post_id}"
            self._answer(frame, connection, ErrorText(text, post_id))
        elif strikes(Fault.TOO_MANY_MESSAGES):
            text = "Cannot send more than 2000 messages per minute."
            self._answer(frame, connection, ErrorText(text, None))
        elif strikes(Fault.GATEWAY_ERROR):
            self._answer(frame, connection, Reply(post_id, GatewayError("503 Service Unavailable")))
        elif strikes(Fault.GATEWAY_ERROR_EXECUTED):
            self._answer(frame, connection, Reply(post_id, GatewayError("502 Bad Gateway")))
            self._accept(frame, None, self._troubles.between(0, 5_000))
        else:
            return False
        return True

    # -------------------------------------------------------------------------------------------------------- the work

    def _accept(self, frame: Frame, connection: Connection | None, later_ms: int = 0) -> None:
        job = _Job(frame, connection)
        self._jobs[job] = None
        slow = self._troubles.between(500, 10_000) if self._troubles.strikes(Fault.SLOW_EXECUTION) else 0
        self._timeline.after(self._troubles.between(1, 30) + slow + later_ms, partial(self._execute, job))

    def _execute(self, job: _Job) -> None:
        del self._jobs[job]
        if job.lost:
            return
        frame = job.frame
        reply = self._carry_out(frame)
        self._judge.executed(frame)
        if job.connection is not None:
            if self._troubles.strikes(Fault.GARBLED):
                reply = Unreadable("the reply breaks off at byte 17")
            self._answer(frame, job.connection, Reply(frame.post_id, reply))

    def _carry_out(self, frame: Frame) -> PostReply:
        now, troubles = self._timeline.now, self._troubles
        nonces = self._nonces.setdefault(frame.signer, Nonces(self._rules.nonces_kept))
        refusal = nonces.use(frame.nonce, now)
        if refusal is not None:
            troubles.saw(Sight.NONCE_DUPLICATE, "duplicate" in refusal)
            troubles.saw(Sight.NONCE_TOO_LOW, "too low" in refusal)
            return Refused(refusal)
        if frame.expires_ms is not None and now > frame.expires_ms:
            troubles.saw(Sight.EXPIRED)
            return Refused("Action already expired")
        if frame.kind is ActionKind.NOOP:
            return Accepted(())
        if frame.kind is ActionKind.SCHEDULE_CANCEL:
            return self._set_switch(frame.cancel_at_ms or 0)
        if troubles.strikes(Fault.BATCH_REFUSED):
            which = troubles.between(0, len(_REFUSALS))
            if which < len(_REFUSALS):
                return Refused(_REFUSALS[which])
            return Accepted((Rejected("Order has invalid price. asset=0"),))
        return Accepted(tuple(self.book.run(frame)))

    def _set_switch(self, at: int) -> PostReply:
        """The dead-man's switch: what was set last counts (protocol.md §6)."""
        if at < self._timeline.now + _SWITCH_LEAST_MS:
            return Refused("Scheduled cancel time too early, must be at least 5 seconds from now.")
        self._switch_at = at
        self._timeline.at(at, partial(self._go_off, at))
        return Accepted(())

    def _go_off(self, at: int) -> None:
        if self._switch_at == at:
            self._troubles.saw(Sight.SWITCH_WENT_OFF)
            self.book.cancel_all()

    def _answer(self, frame: Frame, connection: Connection, message: Reply | ErrorText) -> None:
        slow = self._troubles.between(500, 12_000) if self._troubles.strikes(Fault.SLOW_ANSWER) else 0
        self._timeline.after(self._troubles.between(0, 20) + slow, partial(self._send, frame, connection, message))
        if isinstance(message, Reply) and self._troubles.strikes(Fault.REPLY_DUPLICATED):
            again = slow + self._troubles.between(20, 3_000)
            self._timeline.after(again, partial(self._send, frame, connection, message))

    def _send(self, frame: Frame, connection: Connection, message: Reply | ErrorText) -> None:
        self._pending.pop(frame.post_id, None)
        connection.send(message)

    # ------------------------------------------------------------------------------------------------------- questions

    def budget(self) -> tuple[int, int]:
        """Actions used and allowed (protocol.md §3): plenty, or none any more."""
        return _BUDGET, _BUDGET if self._troubles.strikes(Fault.BUDGET_USED_UP) else 2 * _BUDGET

    def lag(self) -> int:
        """How far behind the replica is that answers a question, ms; at most what settlement allows for (rule 9)."""
        chance = self._troubles.rng.random()
        if self._troubles.healed or chance < 0.3:
            return 0
        return VENUE_LAG_MS if chance < 0.5 else self._troubles.between(0, VENUE_LAG_MS)
