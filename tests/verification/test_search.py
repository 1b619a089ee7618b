"""The exhaustive search: its worlds are copied and told apart soundly, and it finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from adapters.verification import search as search_module
from adapters.verification.abstraction import RULES, UnknownKind, fields_of, key_of
from adapters.verification.code import PINNED, run_code
from adapters.verification.copying import copy_of
from adapters.verification.level import Options
from adapters.verification.lifecycle import LIFECYCLE, STATES, view
from adapters.verification.search import Search, SearchFailed
from adapters.verification.world import Choice, Scenario, World
from machines import post as post_module
from machines.executor import ExecutorCore
from machines.post import POST, PostEvent
from machines.settlement import LookUp
from machines.settler import Settler
from machines.table import StateMachine

SCENARIOS = {scenario.name: scenario for scenario, _ in PINNED}
ORDER = SCENARIOS["an order, two connections"]
REDUCE = SCENARIOS["a reduce-only order, two connections"]
UNKNOWN: tuple[Choice, ...] = (("submit",), ("tick", "written"), ("time",), ("tick", "written"))
"""An order has timed out, and its fence is on the wire."""


def _after(scenario: Scenario, *choices: Choice) -> World:
    world = World(scenario)
    for choice in choices:
        assert choice in list(world.choices())
        world.take(choice)
    return world


def test_everything_holds_and_the_counts_are_as_pinned() -> None:
    results = list(run_code(Options()))
    assert {result.name: result.detail for result in results if result.status != "passed"} == {}
    assert len(results) == len(PINNED) + 3


# --------------------------------------------------------------------------------------------- copies and keys


def test_copy_is_the_same_state_and_shares_nothing() -> None:
    world = _after(ORDER, *UNKNOWN)
    before = key_of(world)
    copied = copy_of(world)
    assert key_of(copied) == before
    for choice in list(copied.choices()):
        copy_of(copied).take(choice)
    copied.take(("time",))
    assert key_of(copied) != before
    assert key_of(world) == before
    assert copied.core is not world.core
    assert copied.core.inflight is copied.core.posts.inflight, "what two objects share, their copies share"


def test_copies_share_what_is_frozen_and_nothing_else() -> None:
    world = _after(ORDER, *UNKNOWN)
    copied = copy_of(world)
    assert copied.scenario is world.scenario, "a frozen dataclass"
    for seq, intent in world.intents.items():
        assert copied.intents[seq] is not intent
        assert copied.intents[seq].request is intent.request, "a frozen struct"


def test_copy_and_original_go_the_same_ways() -> None:
    world = _after(ORDER, *UNKNOWN)
    for choice in list(world.choices()):
        one, other = copy_of(world), copy_of(copy_of(world))
        one.take(choice)
        other.take(choice)
        assert key_of(one) == key_of(other), choice


def test_time_and_numbers_are_kept_relative() -> None:
    """Hours later, with other nonces and ids, the same things happening are the same states."""
    early, late = World(REDUCE), World(REDUCE)
    for _ in range(100):
        late.take(("time",))
    late.core.posts.last_id += 17
    for choice in UNKNOWN:
        early.take(choice)
        late.take(choice)
        assert key_of(early) == key_of(late)


@pytest.mark.parametrize(
    "change",
    [
        lambda world: setattr(world.core.inflight, "count", 0),
        lambda world: world.clock.advance(1),
        lambda world: world.frames.pop(),
        lambda world: setattr(world.frames[0], "forget_ms", world.frames[0].forget_ms + 1_000),
        lambda world: world.venue.nonces.add(world.frames[0].nonce),
        lambda world: setattr(next(iter(world.intents.values())), "cancel_wanted", True),
        lambda world: setattr(next(iter(world.core.settler.attempts.values())), "ran", True),
    ],
)
def test_what_matters_tells_states_apart(change: Callable[[World], object]) -> None:
    world = _after(ORDER, *UNKNOWN)
    before = key_of(world)
    change(world)
    assert key_of(world) != before


def test_rules_name_fields_that_exist() -> None:
    world = _after(ORDER, *UNKNOWN)
    core = world.core
    objects: list[Any] = [world, core, world.venue, core.scheduler, core.inflight, core.hard_stop, core.posts]
    objects += [core.intents, core.settler, *world.frames, *world.intents.values(), *core.settler.attempts.values()]
    for thing in objects:
        assert set(RULES[type(thing)]) <= set(fields_of(thing)), type(thing).__name__


def test_value_of_which_nothing_would_be_kept_is_refused() -> None:
    world = World(ORDER)
    world.seen = set()
    world.told = object()  # type: ignore[assignment]  # something new that nobody thought of
    with pytest.raises(UnknownKind, match="say in adapters/verification what a object holds"):
        key_of(world)


# ------------------------------------------------------------------------------------------------- what is found


def _break_timeout(patch: pytest.MonkeyPatch) -> None:
    """A timeout frees the slot, with no quarantine (finding X3)."""
    effect = next(row.effect for row in POST.table if row.event is PostEvent.ACK)
    table = tuple(replace(row, effect=effect) if row.event is PostEvent.TIME_OUT else row for row in POST.table)
    wrong = StateMachine(POST.name, POST.states, POST.events, initial=POST.initial, final=POST.final, table=table)
    patch.setattr(post_module, "POST", wrong)


def _resend_blindly(patch: pytest.MonkeyPatch) -> None:
    """Every lost item goes out again at once, as if it were a cancel (finding X1)."""

    def lose(self: ExecutorCore, post: Any, reason: str, *, spent: bool = False) -> None:
        self.settler.fence_lost(post)
        items = tuple(item for item in post.items if item.outcome is None)
        for item in items:
            item.settled_by = "nothing"
        if items:
            self._return(items)

    patch.setattr(ExecutorCore, "_lose", lose)


def _believe_the_first_absence(patch: pytest.MonkeyPatch) -> None:
    """One `unknownOid` is taken as proof (settlement.md, rule 9)."""
    patch.setattr(LookUp, "missed", lambda self, now: True)


def _look_up_without_a_fence(patch: pytest.MonkeyPatch) -> None:
    """Look-ups count before the nonce is spent (settlement.md, rule 9)."""
    opened = Settler.open

    def open_and_spend(self: Settler, post: Any, items: Any, now: int, **facts: Any) -> Any:
        attempt = opened(self, post, items, now, **facts)
        self.spend(attempt, now)
        return attempt

    patch.setattr(Settler, "open", open_and_spend)


def _forget_the_fences(patch: pytest.MonkeyPatch) -> None:
    """No fence is ever sent, so nothing settles."""
    patch.setattr(Settler, "next_fence", lambda self, *, new_orders: None)


@pytest.mark.parametrize(
    ("mistake", "scenario", "found"),
    [
        (_break_timeout, REDUCE, "VenueInflightWithinLimit: the venue may count 3 posts"),
        (_resend_blindly, REDUCE, "NoContradiction: the post's late reply says"),
        (_believe_the_first_absence, ORDER, "OutcomeIsTrue"),
        (_look_up_without_a_fence, ORDER, "OutcomeIsTrue"),
        (_forget_the_fences, ORDER, "stuck"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_mistake_is_found_with_the_way_to_it(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None], scenario: Scenario, found: str
) -> None:
    mistake(monkeypatch)
    with pytest.raises(SearchFailed, match=found) as caught:
        Search(scenario).run()
    assert "after: submit; tick written" in str(caught.value)


def test_search_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MOST_STATES", 50)
    with pytest.raises(SearchFailed, match="more than 50 states"):
        Search(ORDER).run()


def test_observers_are_gone_after_a_search() -> None:
    before = list(StateMachine.observers)
    Search(SCENARIOS["limit 1, watermark 1"]).run()
    assert StateMachine.observers == before


def test_view_counts_what_it_projects() -> None:
    found = Search(LIFECYCLE, view).run()
    assert len(found.views) == STATES < found.states
    assert {seen[0] for seen in found.views} == {0, 1, 2, 3, 4}
