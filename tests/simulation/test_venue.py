"""The simulated venue keeps the rules that settlement.md assumes of the real one."""

from __future__ import annotations

from contextlib import nullcontext
from random import Random

import pytest

from adapters.simulation.book import POSITION
from adapters.simulation.errors import PromiseBroken
from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.journal import Disk
from adapters.simulation.judge import Judge
from adapters.simulation.messages import ErrorText, Fill, Frame, Message, Reply, Update
from adapters.simulation.network import Connection, Network
from adapters.simulation.timeline import Timeline
from adapters.simulation.venue import Nonces, Venue, VenueRules
from machines.intent import ActionKind, Cancel, Canceled, Filled, Modify, Order, Rejected, Request, Resting
from machines.nonce import DAY_MS
from machines.reply import Accepted, GatewayError, PostReply, Refused

NOW = 1_700_000_000_000
MISSING = Rejected("Order was never placed, already canceled, or filled. asset=0")


def order(cloid: str, **facts: object) -> Order:
    return Order(**{"market": "BTC", "side": "buy", "size": "1", "price": "100", "cloid": cloid, **facts})  # type: ignore[arg-type]


class Desk:
    """A venue with a client that writes frames and keeps what arrives."""

    def __init__(self, seed: int = 4, **rules: int) -> None:
        self.timeline = Timeline()
        self.troubles = Troubles(Random(seed))
        self.troubles.chances = dict.fromkeys(Fault, 0.0)
        self.network = Network(self.timeline, self.troubles)
        limits = {"nonces_kept": 100, "inflight_limit": 5, "forgets_ms": 13_000, "quarantine_ms": 10_000}
        self.judge = Judge(Disk(), self.troubles)
        self.venue = Venue(self.timeline, self.troubles, self.network, self.judge, VenueRules(**{**limits, **rules}))
        self.network.serve(self.venue)
        self.messages: list[Message] = []
        self.connection: Connection
        self.network.connect(self)
        self.pass_ms(500)
        self.posts = 0

    def on_open(self, connection: Connection) -> None:
        self.connection = connection

    def on_message(self, _: Connection, message: Message) -> None:
        self.messages.append(message)

    def on_lost(self, connection: Connection | None) -> None:
        raise AssertionError("not here")

    def pass_ms(self, ms: int) -> None:
        self.timeline.run_until(self.timeline.now + ms)

    def write(self, *requests: Request, kind: ActionKind = ActionKind.ORDER, nonce: int = 0, **facts: int) -> None:
        self.posts += 1
        number = nonce or self.timeline.now + self.posts
        seqs = tuple(range(self.posts * 10, self.posts * 10 + len(requests)))
        expires, at = facts.get("expires_ms"), facts.get("cancel_at_ms")
        self.connection.write(Frame(self.posts, "key", number, kind, requests, expires, 1, 1, seqs, at))

    def post(self, *requests: Request, kind: ActionKind = ActionKind.ORDER, nonce: int = 0, **facts: int) -> PostReply:
        self.write(*requests, kind=kind, nonce=nonce, **facts)
        self.pass_ms(300)
        replies = {message.post_id: message.reply for message in self.messages if isinstance(message, Reply)}
        return replies[self.posts]


# -------------------------------------------------------------------------------------------------------------- nonces


def test_a_nonce_is_taken_once() -> None:
    nonces = Nonces(100)
    assert nonces.use(NOW, NOW) is None
    assert nonces.use(NOW, NOW) == f"Invalid nonce: duplicate nonce {NOW}"


def test_a_nonce_below_the_window_is_too_low_for_ever() -> None:
    nonces = Nonces(2)
    for nonce in (NOW, NOW + 10, NOW + 20):
        assert nonces.use(nonce, NOW) is None
    assert nonces.use(NOW + 5, NOW) == f"Invalid nonce: nonce too low {NOW + 5} < {NOW + 10}"
    assert nonces.use(NOW, NOW) == f"Invalid nonce: nonce too low {NOW} < {NOW + 10}"
    assert nonces.use(NOW + 10, NOW) == f"Invalid nonce: duplicate nonce {NOW + 10}"
    assert nonces.use(NOW + 15, NOW) is None


def test_a_nonce_has_to_be_near_the_venues_time() -> None:
    nonces = Nonces(100)
    assert "nonce too low" in (nonces.use(NOW - 2 * DAY_MS, NOW) or "")
    assert "nonce too high" in (nonces.use(NOW + DAY_MS, NOW) or "")
    assert nonces.use(NOW + DAY_MS - 200_000, NOW) is None


def test_a_noop_spends_its_nonce_before_or_after_the_order() -> None:
    desk = Desk()
    nonce = desk.timeline.now
    assert desk.post(kind=ActionKind.NOOP, nonce=nonce) == Accepted(())
    assert desk.post(order("a"), nonce=nonce) == Refused(f"Invalid nonce: duplicate nonce {nonce}")
    assert desk.venue.book.orders == {}


def test_an_expired_action_has_no_effect_and_spends_its_nonce() -> None:
    desk = Desk()
    nonce = desk.timeline.now
    assert desk.post(order("a"), nonce=nonce, expires_ms=desk.timeline.now - 1) == Refused("Action already expired")
    assert desk.post(order("a"), nonce=nonce) == Refused(f"Invalid nonce: duplicate nonce {nonce}")
    assert desk.venue.book.orders == {}


# -------------------------------------------------------------------------------------------------------------- orders


def test_orders_rest_fill_and_are_refused_and_records_say_so() -> None:
    desk = Desk()
    results: list[object] = []
    for number in range(40):
        reply = desk.post(order(f"o{number}"))
        assert isinstance(reply, Accepted)
        results.extend(reply.results)
        record = desk.venue.book.look_up(f"o{number}", 0)
        result = reply.results[0]
        if isinstance(result, Resting):
            assert record is not None
            assert (record.oid, record.status, record.traded) == (result.oid, "open", "0")
        elif isinstance(result, Filled):
            assert record is not None
            assert (record.oid, record.status, record.traded) == (result.oid, "filled", "1")
        else:
            assert record is None or record.refused
    assert {type(result) for result in results} == {Resting, Filled, Rejected}


def test_a_reduce_only_order_needs_a_position() -> None:
    desk = Desk()
    filled = 0
    for number in range(60):
        reply = desk.post(order(f"r{number}", side="sell", reduce_only=True, tif="Ioc"))
        filled += isinstance(reply, Accepted) and isinstance(reply.results[0], Filled)
    assert filled == POSITION, "then nothing is left to reduce"


def test_what_trades_is_told_by_the_stream_of_trades() -> None:
    desk = Desk()
    for number in range(20):
        desk.post(order(f"t{number}"))
    desk.pass_ms(1_000)
    fills = {(news.cloid, news.oid, news.size) for news in desk.messages if isinstance(news, Fill)}
    updates = [news for news in desk.messages if isinstance(news, Update) and news.record.status == "filled"]
    assert fills == {(news.cloid, news.record.oid, news.record.traded) for news in updates}
    assert fills


def test_the_dead_mans_switch_cancels_everything_when_it_was_not_put_off() -> None:
    desk = Desk()
    cloid = resting(desk)
    begin = desk.timeline.now
    switch = ActionKind.SCHEDULE_CANCEL
    assert desk.post(kind=switch, cancel_at_ms=begin + 20_000) == Accepted(())
    desk.pass_ms(10_000)
    assert desk.post(kind=switch, cancel_at_ms=begin + 40_000) == Accepted(())
    desk.pass_ms(20_000)
    assert desk.venue.book.open_orders(0) == [cloid]
    assert isinstance(desk.post(kind=switch, cancel_at_ms=desk.timeline.now + 4_000), Refused)
    desk.pass_ms(15_000)
    assert desk.venue.book.open_orders(0) == []
    assert desk.troubles.counts[Sight.SWITCH_WENT_OFF] == 1


def test_the_budget_is_plentiful_or_used_up() -> None:
    desk = Desk()
    used, allowed = desk.venue.budget()
    assert used < allowed
    desk.troubles.chances[Fault.BUDGET_USED_UP] = 1.0
    used, allowed = desk.venue.budget()
    assert used >= allowed


def resting(desk: Desk) -> str:
    for number in range(50):
        if isinstance(desk.post(order(f"x{number}")).results[0], Resting):  # type: ignore[union-attr]
            return f"x{number}"
    raise AssertionError("no order rests")


def test_a_cancel_takes_an_order_off_the_book_once() -> None:
    desk = Desk()
    cloid = resting(desk)
    cancel = Cancel(market="BTC", cloid=cloid)
    assert desk.post(cancel, kind=ActionKind.CANCEL_BY_CLOID) == Accepted((Canceled(),))
    assert desk.post(cancel, kind=ActionKind.CANCEL_BY_CLOID) == Accepted((MISSING,))
    assert cloid not in desk.venue.book.open_orders(0)


def test_a_cancel_by_oid_finds_its_order() -> None:
    desk = Desk()
    oid = desk.venue.book.oid_of(resting(desk))
    assert desk.post(Cancel(market="BTC", oid=oid), kind=ActionKind.CANCEL) == Accepted((Canceled(),))
    assert desk.post(Cancel(market="BTC", oid=999), kind=ActionKind.CANCEL) == Accepted((MISSING,))


def test_a_modify_replaces_its_order_or_leaves_it() -> None:
    desk = Desk()
    cloid = resting(desk)
    for number in range(50):
        reply = desk.post(Modify(order=order(f"m{number}"), cloid=cloid), kind=ActionKind.MODIFY)
        assert isinstance(reply, Accepted)
        if not isinstance(reply.results[0], Rejected):
            break
        assert cloid in desk.venue.book.open
    assert cloid not in desk.venue.book.open
    again = desk.post(Modify(order=order("late"), cloid=cloid), kind=ActionKind.MODIFY)
    assert again == Accepted((Rejected("Cannot modify canceled or filled order"),))


def test_records_lag_and_the_stream_tells_in_order() -> None:
    desk = Desk()
    cloid = resting(desk)
    desk.pass_ms(1_000)
    desk.post(Cancel(market="BTC", cloid=cloid), kind=ActionKind.CANCEL_BY_CLOID)
    book = desk.venue.book
    lagging, now = book.look_up(cloid, 700), book.look_up(cloid, 0)
    assert lagging is not None
    assert now is not None
    assert (lagging.status, now.status) == ("open", "canceled")
    assert book.look_up(cloid, 60_000) is None
    assert book.open_orders(700) == [cloid]
    updates = [
        message.record.status for message in desk.messages if isinstance(message, Update) and message.cloid == cloid
    ]
    assert updates == ["open", "canceled"]


def test_the_market_changes_open_orders() -> None:
    desk = Desk()
    statuses = set()
    for number in range(60):
        reply = desk.post(order(f"s{number}"))
        if isinstance(reply, Accepted) and isinstance(reply.results[0], Resting):
            desk.venue.book.stir()
            record = desk.venue.book.look_up(f"s{number}", 0)
            assert record is not None
            statuses.add((record.status, record.traded))
    assert {("open", "0.5"), ("marginCanceled", "0"), ("filled", "1")} <= statuses


# ------------------------------------------------------------------------------------------------------------ the gate


def gate(fault: Fault, seed: int = 4) -> tuple[Desk, list[Message]]:
    desk = Desk(seed)
    desk.troubles.chances[fault] = 1.0
    desk.write(order("a", tif="Ioc"))
    desk.pass_ms(30_000)
    return desk, [message for message in desk.messages if not isinstance(message, Update | Fill)]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault.TOO_MANY_REQUESTS, Reply(1, GatewayError("429 Too Many Requests"))),
        (Fault.TOO_MANY_PENDING, ErrorText("too many pending post requests id=1", 1)),
        (Fault.TOO_MANY_MESSAGES, ErrorText("Cannot send more than 2000 messages per minute.", None)),
        (Fault.GATEWAY_ERROR, Reply(1, GatewayError("503 Service Unavailable"))),
    ],
)
def test_what_the_gate_turns_away_is_not_carried_out(fault: Fault, said: Message) -> None:
    desk, messages = gate(fault)
    assert messages == [said]
    assert desk.venue.book.orders == {}
    desk.troubles.chances[fault] = 0.0
    assert desk.post(kind=ActionKind.NOOP, nonce=NOW + 501) == Accepted(())


def test_some_gateway_errors_hide_that_the_post_is_carried_out() -> None:
    desk, messages = gate(Fault.GATEWAY_ERROR_EXECUTED)
    assert messages == [Reply(1, GatewayError("502 Bad Gateway"))]
    desk.troubles.chances[Fault.GATEWAY_ERROR_EXECUTED] = 0.0
    assert "duplicate" in str(desk.post(kind=ActionKind.NOOP, nonce=NOW + 501))


def test_a_frame_that_is_processed_twice_runs_once() -> None:
    answers = set()
    for seed in range(10):
        _, messages = gate(Fault.FRAME_DUPLICATED, seed)
        answers.add(len(messages))
        replies = [message.reply for message in messages if isinstance(message, Reply)]
        assert sum(isinstance(reply, Refused) and "duplicate" in reply.reason for reply in replies) <= 1
        assert sum(isinstance(reply, Accepted) for reply in replies) <= 1
    assert answers == {1, 2}


def test_the_venue_holds_no_more_posts_than_its_limit() -> None:
    desk = Desk(inflight_limit=2)
    desk.troubles.chances[Fault.SLOW_ANSWER] = 1.0
    desk.write(kind=ActionKind.NOOP)
    desk.write(kind=ActionKind.NOOP)
    desk.write(kind=ActionKind.NOOP)
    with pytest.raises(PromiseBroken, match="VenueInflightWithinLimit: the venue holds 3 posts, its limit is 2"):
        desk.pass_ms(200)


@pytest.mark.parametrize(("waited_ms", "kept"), [(2_100, False), (1_500, True)])
def test_the_venue_forgets_an_unanswered_post_in_time(waited_ms: int, kept: bool) -> None:
    """A second post is one too many only while the first one is remembered."""
    desk = Desk(inflight_limit=1, forgets_ms=2_000)
    desk.troubles.chances[Fault.TOO_MANY_MESSAGES] = desk.troubles.chances[Fault.SLOW_ANSWER] = 1.0
    desk.write(kind=ActionKind.NOOP)
    desk.pass_ms(waited_ms)
    desk.write(kind=ActionKind.NOOP)
    with pytest.raises(PromiseBroken, match="its limit is 1") if kept else nullcontext():
        desk.pass_ms(200)


def test_a_restart_keeps_orders_and_nonces_and_loses_connections() -> None:
    desk = Desk()
    cloid = resting(desk)
    nonce = desk.timeline.now
    desk.post(kind=ActionKind.NOOP, nonce=nonce)
    desk.venue.restart(1_000)
    assert not desk.connection.flows
    assert not desk.venue.reachable()
    desk.connection.close()
    desk.pass_ms(1_000)
    desk.network.connect(desk)
    desk.pass_ms(500)
    assert cloid in desk.venue.book.open
    assert desk.post(kind=ActionKind.NOOP, nonce=nonce) == Refused(f"Invalid nonce: duplicate nonce {nonce}")
