"""The mistakes about what owners hear (findings.md: X4 to X9), each as a patch that puts it back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from machines import events as ev
from machines import executor, hard_stop, verdict
from machines.executor import ExecutorCore
from machines.intent import Intent, IntentEvent, ItemResult, Rejected
from machines.post import PostRequest, PostRequestManager
from machines.register import IntentRegister
from machines.settlement import Attempt
from machines.settler import Settler
from machines.verdict import Answered, Verdict
from tests.stateful.composed import ComposedCore
from tests.stateful.mistake import Patch, mistake
from tests.stateful.settlements import Settlements


@mistake("X4", by=Settlements)
def one_bad_item_hides_the_good_ones(patch: Patch) -> None:
    """The first error among the statuses of a batch is told to all of its items."""
    on_results = verdict._on_results

    def hasty(results: tuple[ItemResult, ...], *facts: Any) -> Verdict:
        judged = on_results(results, *facts)
        bad = [result for result in results if isinstance(result, Rejected)]
        return Answered((bad[0],) * len(judged.results)) if bad and isinstance(judged, Answered) else judged

    patch.setattr(verdict, "_on_results", hasty)


@mistake("X4", by=Settlements)
def one_error_for_the_batch_is_not_understood(patch: Patch) -> None:
    """A single error that stands for the whole batch is taken for an unclear answer."""
    on_results = verdict._on_results

    def literal(results: tuple[ItemResult, ...], kind: Any, items: int) -> Verdict:
        return on_results(results, kind, items) if len(results) == items else verdict.Unclear("count")

    patch.setattr(verdict, "_on_results", literal)


@mistake("X5", by=Settlements)
def error_without_an_id_ends_the_first_post(patch: Patch) -> None:
    """An error frame that names no post is taken to mean the oldest one."""
    on_error = ExecutorCore._on_error

    def guess(self: ExecutorCore, event: ev.ErrorReceived) -> None:
        first = next(iter(self.posts._open), None)
        on_error(self, event if event.post_id is not None else replace(event, post_id=first))

    patch.setattr(ExecutorCore, "_on_error", guess)


@mistake("X5", by=Settlements)
def error_that_names_a_post_ends_all(patch: Patch) -> None:
    """`too many pending post requests id=N` is taken to mean every open post."""
    on_error = ExecutorCore._on_error

    def sweeping(self: ExecutorCore, event: ev.ErrorReceived) -> None:
        on_error(self, event)
        for post_id in list(self.posts._open) if event.post_id is not None else ():
            on_error(self, replace(event, post_id=post_id))

    patch.setattr(ExecutorCore, "_on_error", sweeping)


@mistake("X6", by=ComposedCore)
def signed_post_may_be_held_back(patch: Patch) -> None:
    """Other events pass between the signing of a post and its hand-over."""
    patch.setattr(executor, "_HAND_OVER", (object,))


@mistake("X6", by=Settlements)
def expiry_is_made_before_the_sending(patch: Patch) -> None:
    """The expiry of an order counts from a second before it is sent."""
    prepare = PostRequestManager.prepare

    def stale(self: PostRequestManager, *facts: Any, expires_ms: int | None = None, **more: Any) -> PostRequest:
        return prepare(self, *facts, expires_ms=None if expires_ms is None else expires_ms - 1_000, **more)

    patch.setattr(PostRequestManager, "prepare", stale)


@mistake("X7", by=Settlements)
def order_stream_is_not_listened_to(patch: Patch) -> None:
    """What the order stream says ends nothing."""
    patch.setattr(ExecutorCore, "_on_order_seen", lambda self, event: None)


@mistake("X7", by=Settlements)
def stream_ends_what_has_an_outcome(patch: Patch) -> None:
    """What the order stream says overrides the outcome that was told."""
    compare = ExecutorCore._compare

    def believe(self: ExecutorCore, intent: Intent, later: ItemResult, source: str, *facts: Any) -> None:
        compare(self, intent, later, source, *facts)
        if intent.outcome is not None:
            intent.outcome, intent.outcomes = later, intent.outcomes + 1

    patch.setattr(ExecutorCore, "_compare", believe)


@mistake("X7", by=Settlements)
def contradiction_is_no_alarm(patch: Patch) -> None:
    """Two sources that can't both be right are not compared."""
    patch.setattr(ExecutorCore, "_compare", lambda self, *_: None)


@mistake("X7", by=Settlements)
def trades_are_not_listened_to(patch: Patch) -> None:
    """A trade of an order whose fate is unknown proves nothing."""
    patch.setattr(ExecutorCore, "_on_fill_seen", lambda self, event: None)


@mistake("X8", by=ComposedCore)
def benign_rejections_trip_the_hard_stop(patch: Patch) -> None:
    """An IOC order that met no other counts as a sign of ill health."""
    patch.setattr(hard_stop, "BENIGN_REJECTIONS", ())


@mistake("X9", by=Settlements)
def second_flatten_becomes_a_second_order(patch: Patch) -> None:
    """A market is flattened twice at a time."""
    submit = ExecutorCore._on_submit

    def forgetful(self: ExecutorCore, event: ev.Submit) -> None:
        self.intents._flattening.clear()
        submit(self, event)

    patch.setattr(ExecutorCore, "_on_submit", forgetful)


@mistake("X9", by=Settlements)
def flatten_is_over_when_its_fate_becomes_unknown(patch: Patch) -> None:
    """A flattening order without an answer does not keep a second one back."""
    move = IntentRegister.move

    def forgetful(self: IntentRegister, intent: Intent, event: IntentEvent, **facts: Any) -> None:
        move(self, intent, event, **facts)
        if event is IntentEvent.LOSE:
            self._flattening.pop(intent.market, None)

    patch.setattr(IntentRegister, "move", forgetful)


@mistake("X2", "B4", by=Settlements)
def new_orders_pass_in_a_market_with_an_overdue_settlement(patch: Patch) -> None:
    """A market in which a fate has been unknown for too long is not blocked."""
    patch.setattr(Settler, "_block", lambda self, item, change: None)


@mistake("X2", by=Settlements)
def an_overdue_settlement_is_no_alarm(patch: Patch) -> None:
    """Nobody is told that a fate has been unknown for too long."""
    real = Settler.time_passed

    def quiet(self: Settler, now: int, venue_time_ms: int | None) -> list[Attempt]:
        real(self, now, venue_time_ms)
        return []

    patch.setattr(Settler, "time_passed", quiet)


@mistake("X2", by=Settlements)
def new_orders_pass_before_the_past_is_settled(patch: Patch) -> None:
    """A restarted executor is ready while a post of the earlier run is unsettled."""
    real = Settler.open

    def forgetful(self: Settler, post: PostRequest, items: Iterable[Intent], now: int, **facts: Any) -> Attempt:
        attempt = real(self, post, items, now, **facts)
        attempt.of_earlier_run = False
        return attempt

    patch.setattr(Settler, "open", forgetful)
