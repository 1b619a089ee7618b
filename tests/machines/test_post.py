"""Posts and their register: hand-over, the four endings, correlation, deadlines."""

from __future__ import annotations

import pytest

from machines.errors import IllegalEvent, InvalidSetting, SignedNonceMismatch, StepOrderError
from machines.inflight import InflightTracker
from machines.intent import ActionKind, Intent, Priority
from machines.post import PostEvent, PostRequest, PostRequestManager, PostState
from tests.machines.builders import NOW, fields, intent, post_request, tracker

EPOCH = 1
ENDINGS = (PostEvent.ACK, PostEvent.FAIL, PostEvent.TIME_OUT, PostEvent.DISCONNECT)


def _manager(inflight: InflightTracker | None = None, timeout_ms: int = 5_000, last_id: int = 0) -> PostRequestManager:
    return PostRequestManager(inflight or tracker(), timeout_ms, last_id)


def _prepare(posts: PostRequestManager, *items: Intent, nonce: int = NOW) -> PostRequest:
    return posts.prepare(ActionKind.ORDER, Priority.NEW_ORDER, items, nonce, NOW)


def _send(posts: PostRequestManager, *items: Intent, nonce: int = NOW, now: int = 0, epoch: int = EPOCH) -> PostRequest:
    post = _prepare(posts, *items, nonce=nonce)
    return posts.sent(post.post_id, nonce, epoch, now)


def _state(post: PostRequest) -> PostState:
    return post.state


# --------------------------------------------------------------------------------------------------- the hand-over


def test_prepared_post_is_in_hand_and_holds_nothing() -> None:
    posts = _manager(last_id=40)
    post = _prepare(posts, intent(1), nonce=NOW + 3)
    assert posts.in_hand is post
    assert (post.post_id, post.nonce, post.kind, post.priority) == (41, NOW + 3, ActionKind.ORDER, Priority.NEW_ORDER)
    assert (post.state, post.slots_taken, posts.inflight.count, len(posts)) == (PostState.QUEUED, 0, 0, 0)
    assert (post.epoch, post.deadline_ms, post.signed_nonce) == (0, 0, None)
    assert posts.items_in_flight == 0


def test_first_id_is_1() -> None:
    assert _prepare(PostRequestManager(tracker())).post_id == 1


def test_ids_count_up_and_each_post_knows_the_nonce_before_its_own() -> None:
    posts = _manager(last_id=7)
    made = [_send(posts, nonce=NOW), _send(posts, nonce=NOW + 5), _send(posts, nonce=NOW + 6)]
    assert [post.post_id for post in made] == [8, 9, 10]
    assert [post.previous_nonce for post in made] == [0, NOW, NOW + 5]


def test_two_posts_are_never_in_hand() -> None:
    posts = _manager()
    first = _prepare(posts)
    with pytest.raises(StepOrderError, match="post 1 is still in hand"):
        _prepare(posts, nonce=NOW + 1)
    assert posts.in_hand is first
    posts.refused(1)
    assert _prepare(posts, nonce=NOW + 1).post_id == 2, "the refused preparation used up no id"


def test_p1_sending_registers_counts_and_sets_the_deadline_in_one_step() -> None:
    posts = _manager()
    post = _prepare(posts, intent(1), intent(2))
    assert (posts.inflight.count, len(posts), posts.find(post.post_id, EPOCH)) == (0, 0, None)
    assert posts.sent(post.post_id, NOW, EPOCH, now=100) is post
    assert (posts.inflight.count, len(posts), posts.find(post.post_id, EPOCH)) == (1, 1, post)
    assert (post.state, post.slots_taken, post.deadline_ms) == (PostState.SENT, 1, 5_100)
    assert (post.signed_nonce, post.epoch) == (NOW, EPOCH)
    assert posts.items_in_flight == 2
    assert posts.in_hand is None


def test_b7_post_signed_with_another_nonce_is_not_registered() -> None:
    posts = _manager()
    post = _prepare(posts)
    before = fields(post)
    with pytest.raises(SignedNonceMismatch, match=f"post 1 was allotted nonce {NOW}, {NOW + 1} was signed"):
        posts.sent(post.post_id, NOW + 1, EPOCH, now=0)
    assert fields(post) == before
    assert (posts.in_hand, posts.inflight.count, len(posts), posts.items_in_flight) == (post, 0, 0, 0)


def test_b6_post_cannot_be_sent_when_all_slots_are_taken() -> None:
    posts = _manager(tracker(2, limit=2, high_watermark=2))
    post = _prepare(posts)
    before = fields(post)
    with pytest.raises(IllegalEvent, match="inflight: event 'acquire' is not allowed in state 'full'"):
        posts.sent(post.post_id, NOW, EPOCH, now=0)
    assert fields(post) == before
    assert (posts.in_hand, posts.inflight.count, len(posts)) == (post, 2, 0)


def test_p3_refused_post_never_held_a_slot() -> None:
    posts = _manager()
    post = _prepare(posts, intent(1))
    assert posts.refused(post.post_id) is post
    assert (post.state, post.completions, post.slots_taken, post.slots_returned) == (PostState.UNSENT, 1, 0, 0)
    assert (posts.in_hand, posts.inflight.count, len(posts), posts.items_in_flight) == (None, 0, 0, 0)
    assert not post.ambiguous


@pytest.mark.parametrize("held", [False, True])
def test_hand_over_of_a_post_that_is_not_in_hand_is_refused(held: bool) -> None:
    posts = _manager()
    in_hand = _prepare(posts) if held else None
    message = f"post 9 was reported as handed over, in hand is {1 if held else None}"
    with pytest.raises(StepOrderError, match=message):
        posts.sent(9, NOW, EPOCH, now=0)
    with pytest.raises(StepOrderError, match=message):
        posts.refused(9)
    assert posts.in_hand is in_hand
    assert (posts.inflight.count, len(posts)) == (0, 0)


# ----------------------------------------------------------------------------------------------------- the endings


@pytest.mark.parametrize("ending", ENDINGS)
def test_p3_every_ending_gives_the_slot_back(ending: PostEvent) -> None:
    posts = _manager()
    post, other = _send(posts, intent(1)), _send(posts, intent(2), intent(3), nonce=NOW + 1)
    posts.end(post, ending)
    assert (posts.inflight.count, len(posts), posts.items_in_flight) == (1, 1, 2)
    assert (post.slots_taken, post.slots_returned, post.completions, post.unclear) == (1, 1, 1, False)
    assert _state(other) is PostState.SENT


@pytest.mark.parametrize("first", ENDINGS)
@pytest.mark.parametrize("second", ENDINGS)
def test_p2_post_that_ended_does_not_end_again(first: PostEvent, second: PostEvent) -> None:
    posts = _manager()
    post, _ = _send(posts), _send(posts, nonce=NOW + 1)
    posts.end(post, first)
    before = fields(post)
    with pytest.raises(IllegalEvent):
        posts.end(post, second)
    assert fields(post) == before
    assert (posts.inflight.count, len(posts)) == (1, 1)
    assert posts.find(post.post_id, EPOCH) is None


@pytest.mark.parametrize(
    ("state", "unclear", "ambiguous"),
    [
        *((state, False, state in (PostState.TIMED_OUT, PostState.DISCONNECTED)) for state in PostState),
        (PostState.FAILED, True, True),
    ],
)
def test_x1_post_is_ambiguous_when_nothing_tells_whether_it_ran(
    state: PostState, unclear: bool, ambiguous: bool
) -> None:
    assert post_request(state=state, unclear=unclear).ambiguous is ambiguous


# --------------------------------------------------------------------------------------------------- correlation


def test_p4_posts_are_found_by_id_never_by_nonce() -> None:
    posts = _manager(last_id=NOW - 1)
    first = _send(posts, nonce=NOW + 1)
    second = _send(posts, nonce=NOW + 9)
    assert (first.post_id, second.post_id) == (NOW, first.nonce)
    assert posts.find(first.nonce, EPOCH) is second
    assert posts.find(second.nonce, EPOCH) is None


def test_reply_of_another_connection_finds_nothing() -> None:
    posts = _manager()
    post = _send(posts, epoch=4)
    assert [posts.find(post.post_id, epoch) for epoch in (3, 4, 5)] == [None, post, None]


def test_unknown_and_unsent_ids_find_nothing() -> None:
    posts = _manager()
    unsent = _prepare(posts)
    assert posts.find(unsent.post_id, 0) is None
    assert posts.find(99, EPOCH) is None


# ------------------------------------------------------------------------------------------------------- deadlines


def test_p6_posts_time_out_at_their_deadline_not_before() -> None:
    posts = _manager(timeout_ms=3_000)
    post = _send(posts, now=10)
    assert posts.next_deadline_ms == 3_010
    assert posts.expire(3_009) == []
    assert posts.expire(3_010) == [post]
    assert _state(post) is PostState.TIMED_OUT
    assert posts.inflight.count == 0


def test_no_open_post_means_no_deadline() -> None:
    posts = _manager()
    _prepare(posts)
    assert posts.next_deadline_ms is None


def test_p6_stuck_first_post_does_not_delay_later_ones() -> None:
    posts = _manager()
    made = [_send(posts, nonce=NOW + number, now=number * 100) for number in range(5)]
    posts.end(made[1], PostEvent.ACK)
    assert posts.expire(5_000) == [made[0]]
    assert posts.next_deadline_ms == 5_200
    assert posts.expire(5_300) == [made[2], made[3]]
    assert [posts.find(post.post_id, EPOCH) for post in made] == [None, None, None, None, made[4]]


def test_p6_answered_post_leaves_the_next_deadline_to_the_next_post() -> None:
    posts = _manager()
    first, _ = _send(posts, now=0), _send(posts, nonce=NOW + 1, now=700)
    posts.end(first, PostEvent.ACK)
    assert posts.next_deadline_ms == 5_700


@pytest.mark.parametrize("timeout_ms", [3_000, 4_321, 5_000])
def test_p6_timeout_is_configurable(timeout_ms: int) -> None:
    assert _send(_manager(timeout_ms=timeout_ms), now=1).deadline_ms == 1 + timeout_ms


@pytest.mark.parametrize("timeout_ms", [0, -1, 2_999, 5_001])
def test_p6_timeout_outside_its_range_is_refused(timeout_ms: int) -> None:
    with pytest.raises(InvalidSetting, match=f"post timeout must be 3000 to 5000 ms, got {timeout_ms}"):
        _manager(timeout_ms=timeout_ms)


# ------------------------------------------------------------------------------------------------------ disconnect


def test_p5_disconnect_ends_sent_posts_only() -> None:
    posts = _manager()
    answered, sent = _send(posts), _send(posts, nonce=NOW + 1)
    posts.end(answered, PostEvent.ACK)
    in_hand = _prepare(posts, nonce=NOW + 2)
    assert posts.disconnect() == [sent]
    assert [_state(post) for post in (answered, sent, in_hand)] == [
        PostState.ACKED,
        PostState.DISCONNECTED,
        PostState.QUEUED,
    ]
    assert posts.in_hand is in_hand
    assert (posts.inflight.count, in_hand.slots_returned, in_hand.completions) == (0, 0, 0)


def test_d2_disconnect_yields_each_post_once_oldest_first() -> None:
    posts = _manager()
    made = [_send(posts, nonce=NOW + number) for number in range(4)]
    assert posts.disconnect() == made
    assert posts.disconnect() == []
    assert [post.completions for post in made] == [1, 1, 1, 1]


def test_d1_only_the_posts_own_transition_gives_slots_back() -> None:
    posts = _manager()
    for number in range(3):
        _send(posts, nonce=NOW + number)
    posts.disconnect()
    assert posts.inflight.count == 0
    with pytest.raises(IllegalEvent, match="inflight: event 'release' is not allowed in state 'idle'"):
        posts.inflight.release()
