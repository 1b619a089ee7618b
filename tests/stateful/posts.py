"""The register of posts: each ends once, holds a slot while the venue may count it, is found by id and connection."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, initialize, invariant, multiple, precondition

from machines.errors import IllegalEvent, SignedNonceMismatch, StepOrderError
from machines.inflight import InflightTracker
from machines.intent import ActionKind, IntentState
from machines.post import PostEvent, PostRequest, PostRequestManager, PostState
from machines.session import SessionState
from machines.snapshot import Snapshot
from tests.machines.builders import post_request
from tests.stateful.checks import check_invariants
from tests.stateful.record import RECORD, Explorer, rule
from tests.stateful.venue import TRUE_ORIGIN_MS

ENDINGS: Final = {
    PostEvent.ACK: PostState.ACKED,
    PostEvent.FAIL: PostState.FAILED,
    PostEvent.TIME_OUT: PostState.TIMED_OUT,
    PostEvent.DISCONNECT: PostState.DISCONNECTED,
}
UNANSWERED: Final = (PostState.TIMED_OUT, PostState.DISCONNECTED)
LIMIT: Final = 4


class Posts(Explorer):
    """`PostRequestManager` against two dicts: what is open, and what is in quarantine (P1 to P6, I1, D1, D2, X3)."""

    posts: Bundle[PostRequest] = Bundle("posts")

    @initialize(
        target=posts,
        timeout_ms=st.sampled_from((3_000, 4_000, 5_000)),
        quarantine_ms=st.sampled_from((0, 2_000, 10_000)),
        left=st.lists(st.booleans(), max_size=3),
    )
    def begin(self, timeout_ms: int, quarantine_ms: int, left: list[bool]) -> MultipleResults[PostRequest]:
        """A run begins; an earlier one left posts, each of which the venue may still hold, or holds no more."""
        self.inflight = InflightTracker(LIMIT, LIMIT - 1)
        self.last_id = 7
        self.register = PostRequestManager(self.inflight, timeout_ms, quarantine_ms, self.last_id)
        self.now = 0
        self.epoch = 1
        self.misreports = 0
        self.in_hand: PostRequest | None = None
        self.due: dict[int, int] = {}
        self.quarantined: dict[int, int] = {}
        self.states: dict[PostRequest, PostState] = {}
        for post_id, held in enumerate(left):
            post = post_request(post_id + 1, signed_nonce=TRUE_ORIGIN_MS)
            post.state = PostState.SENT if held else PostState.DISCONNECTED
            self.register.recover(post, self.now)
            self.states[post] = PostState.DISCONNECTED
            if held:
                self.quarantined[post.post_id] = quarantine_ms
        return multiple(*self.states)

    def ended(self, post: PostRequest, state: PostState) -> None:
        """The model's note that a post ended."""
        self.due.pop(post.post_id, None)
        self.states[post] = state
        if state in UNANSWERED:
            self.quarantined[post.post_id] = self.now + self.register.quarantine_ms

    # ------------------------------------------------------------------------------------------------------ hand-over

    def take(self) -> PostRequest:
        """A post is taken in hand."""
        self.last_id += 1
        nonce = TRUE_ORIGIN_MS + self.last_id
        post = self.register.prepare(ActionKind.NOOP, None, (), nonce, TRUE_ORIGIN_MS)
        assert post.post_id == self.last_id
        self.in_hand = post
        self.states[post] = PostState.QUEUED
        return post

    def write(self, post: PostRequest) -> None:
        """The post in hand is written, if there is a slot."""
        if len(self.due) + len(self.quarantined) == LIMIT:
            RECORD.sometimes("a post finds no slot")
            with pytest.raises(IllegalEvent):
                self.register.sent(post.post_id, post.nonce, self.epoch, self.now)
            return
        assert self.register.sent(post.post_id, post.nonce, self.epoch, self.now) is post
        self.in_hand = None
        self.due[post.post_id] = self.now + self.register.timeout_ms
        self.states[post] = PostState.SENT

    @rule(target=posts)
    @precondition(lambda self: self.in_hand is None)
    def post_is_taken_in_hand(self) -> PostRequest:
        return self.take()

    @rule(target=posts, times=st.integers(1, LIMIT))
    @precondition(lambda self: self.in_hand is None)
    def posts_leave(self, times: int) -> MultipleResults[PostRequest]:
        posts: list[PostRequest] = []
        while self.in_hand is None and len(posts) < times:
            posts.append(self.take())
            self.write(posts[-1])
        return multiple(*posts)

    @rule()
    @precondition(lambda self: self.in_hand is not None)
    def post_is_written(self) -> None:
        assert self.in_hand is not None
        self.write(self.in_hand)

    @rule()
    @precondition(lambda self: self.in_hand is not None)
    def post_is_refused(self) -> None:
        post = self.in_hand
        assert post is not None
        assert self.register.refused(post.post_id) is post
        self.in_hand = None
        self.ended(post, PostState.UNSENT)

    @rule()
    @precondition(lambda self: self.misreports < 3)
    def hand_over_is_misreported(self) -> None:
        self.misreports += 1
        post_id, nonce = (0, 0) if self.in_hand is None else (self.in_hand.post_id, self.in_hand.nonce)
        with pytest.raises(StepOrderError):
            self.register.sent(post_id + 1, nonce, self.epoch, self.now)
        with pytest.raises(StepOrderError):
            self.register.refused(post_id + 1)
        if self.in_hand is not None:
            with pytest.raises(StepOrderError):
                self.register.prepare(ActionKind.NOOP, None, (), nonce + 1, TRUE_ORIGIN_MS)
            with pytest.raises(SignedNonceMismatch):
                self.register.sent(post_id, nonce - 1, self.epoch, self.now)

    # --------------------------------------------------------------------------------------------------------- endings

    @rule(post=posts, event=st.sampled_from(sorted(ENDINGS, key=lambda event: event.value)))
    def post_ends(self, post: PostRequest, event: PostEvent) -> None:
        if post.post_id in self.due:
            self.register.end(post, event, self.now)
            self.ended(post, ENDINGS[event])
        else:
            RECORD.sometimes("a post is ended twice", post.state in ENDINGS.values())
            with pytest.raises(IllegalEvent):
                self.register.end(post, event, self.now)

    @rule(ms=st.sampled_from((1, 5_000, 1_500, 3_000, 5_000)), looked=st.sampled_from((True, True, False)))
    def time_passes(self, ms: int, looked: bool) -> None:
        self.now += ms
        if looked:
            due = [post_id for post_id, deadline in self.due.items() if deadline <= self.now]
            expired = self.register.expire(self.now)
            assert [post.post_id for post in expired] == due, "oldest first, each once, none forgotten"
            for post in expired:
                self.ended(post, PostState.TIMED_OUT)

    @rule(ms=st.sampled_from((0, 2_000, 10_000)))
    def quarantine_is_looked_at(self, ms: int) -> None:
        self.now += ms
        over = [post_id for post_id, until in self.quarantined.items() if until <= self.now]
        released = self.register.expire_quarantine(self.now)
        assert sorted(post.post_id for post in released) == sorted(over)
        for post in released:
            del self.quarantined[post.post_id]
            assert (post.quarantine_over, post.answered) == (True, False)

    @rule(post=posts)
    def reply_comes_late(self, post: PostRequest) -> None:
        if post.post_id not in self.quarantined:
            assert self.register.find_quarantined(post.post_id, post.epoch) is None
            return
        assert self.register.find_quarantined(post.post_id, post.epoch + 1) is None
        assert self.register.find_quarantined(post.post_id, post.epoch) is post
        self.register.answered_late(post)
        del self.quarantined[post.post_id]
        RECORD.sometimes("a late reply ends a quarantine")

    @rule()
    @precondition(lambda self: self.due)
    def connection_is_lost(self) -> None:
        lost = self.register.disconnect(self.now)
        assert [post.post_id for post in lost] == list(self.due)
        for post in lost:
            self.ended(post, PostState.DISCONNECTED)
        self.epoch += 1

    # ---------------------------------------------------------------------------------------------------- what is seen

    @rule(post=posts, shift=st.integers(-1, 1))
    def post_is_looked_up(self, post: PostRequest, shift: int) -> None:
        is_open = post.post_id in self.due and shift == 0
        assert self.register.find(post.post_id, post.epoch + shift) is (post if is_open else None)

    @invariant()
    def register_is_right(self) -> None:
        register = self.register
        assert register.in_hand is self.in_hand
        assert len(register) == len(self.due) == self.inflight.count
        assert register.quarantined == len(self.quarantined) == self.inflight.quarantined
        assert register.next_deadline_ms == min((*self.due.values(), *self.quarantined.values()), default=None)
        assert {post: post.state for post in self.states} == self.states

    @invariant()
    def invariants_hold(self) -> None:
        snapshot = Snapshot(
            inflight=self.inflight.count,
            quarantined=self.inflight.quarantined,
            inflight_state=self.inflight.state,
            limit=LIMIT,
            high_watermark=self.inflight.high_watermark,
            open_posts=len(self.register),
            quarantined_posts=self.register.quarantined,
            items_in_flight=self.register.items_in_flight,
            in_hand=self.register.in_hand,
            posts=list(self.states),
            intents=(),
            attempts=(),
            unknown_items=0,
            waiting_cancels=0,
            queues={},
            population=dict.fromkeys(IntentState, 0),
            halted=False,
            session=SessionState.READY,
            batch_limit=1,
        )
        check_invariants(snapshot)
