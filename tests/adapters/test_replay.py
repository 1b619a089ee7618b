"""Recorded runs replay through fresh machines, and a record of which one field was changed does not.

What a replay can't find, because the record stays one of a run that could have been:

* a price, size, side or time in force of a `Submit`: the machines carry them and never look at them (the journal's
  checksums cover them);
* the words of an operator at a reset, of a connection that was lost with nothing open, of an error that names no post;
* the action budget, as long as there is enough of it;
* the time of a step that reads none: one that starts no post, no deadline and no look-up;
* which of two events came that moved nothing, asked for nothing and have the same fields.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any, Final, get_args

import msgspec
import pytest
from msgspec.structs import replace

from adapters.hyperliquid.markets import Markets
from adapters.journal import Step
from adapters.recorder import BEGAN
from adapters.replay import NotReplayable, event_of, replay
from machines import events as ev
from machines.intent import Modify
from tests.adapters.live import (
    Live,
    cancel,
    cloid,
    crossing_order,
    divergences,
    live,
    outcomes,
    resting_order,
    steps_of,
    until,
)

SEED: Final = 20_261
COPIES: Final = 20
"""Places in which each kind of change is tried."""
NEVER_SENT: Final = "49000"
"""The price of orders that end before they are sent; what they are is seen by nobody."""
Change = Callable[[Step, Random], Step | None]


# ------------------------------------------------------------------------------------------------ runs to be replayed


async def recorded() -> dict[int, list[Step]]:
    """Three runs: one with all that can happen, which is killed; one that takes up what is left; one that ends well."""
    async with live(tick_ms=0) as world:
        await work(world)
        await trouble(world)
        world.wire.requests.clear()
        for request in (resting_order(), resting_order(side="sell", price="99000", reduce_only=True), cancel(cloid(2))):
            world.executor.submit(request)
            await asyncio.sleep(0.01)
        world.executor.submit(resting_order(price=NEVER_SENT))
        await world.abandon()
        world.wire.requests.set()
        world.set_faults(lookup_lag_ms=300)
        await world.restart()
        await work(world)
        await world.executor.close()
        await world.restart()
        world.executor.submit(cancel(cloid(9)))
        world.executor.submit(resting_order(price=NEVER_SENT))
        await world.executor.close()
        return steps_of(world.journal)


async def work(world: Live) -> None:
    """What happens on a good day, and an operator who halts, resets and flattens."""
    run = len(world.earlier) * 100
    first = world.executor.submit(resting_order(cloid=cloid(run + 1)))
    others = [world.executor.submit(order) for order in (crossing_order(), resting_order(tif="Alo"))]
    dropped = world.executor.submit(resting_order(price=NEVER_SENT))
    await outcomes([first, *others, dropped, world.executor.submit(cancel(dropped.cloid))])
    await world.executor.submit(Modify(cloid=cloid(run + 1), order=resting_order(price="51000", cloid=cloid(run + 2))))
    world.executor.halt("lunch")
    world.executor.submit(resting_order(price=NEVER_SENT))
    await outcomes(await world.executor.flatten())
    world.executor.reset("back")
    await outcomes([world.executor.submit(crossing_order(tif="Alo")), world.executor.submit(cancel(cloid(run + 1)))])


async def trouble(world: Live) -> None:
    """Connections, replies and hand-overs that fail, and frames out of order."""
    submit, driver = world.executor.submit, world.executor.driver
    for fault in ("close_before", "close_after", "error_processed", "refuse", "duplicate_reply"):
        world.set_faults(**{fault: 1.0, "drop_update": 1.0})
        tickets = [submit(crossing_order()), submit(resting_order())]
        await until(lambda history=tickets[1].history: len(history) > 1)  # type: ignore[misc]
        world.set_faults()
        await outcomes(tickets)
        await world.ready()
    ticket, markets = submit(resting_order()), driver.markets
    driver.markets = Markets(())
    await outcomes([ticket])
    driver.markets = markets
    ticket = submit(resting_order())
    assert driver.transport._connection is not None
    driver.transport._connection.transport.write_eof()  # so that the write fails
    driver.drive(ev.Tick())
    await outcomes([ticket])
    await world.ready()
    world.wire.answers.clear()
    ticket = submit(resting_order())
    await until(lambda: world.executor.core.inflight.count == 1)
    for text in ("Cannot send more than 2000 messages per minute.", "too many pending post requests id=99999"):
        await world.wire.inject(json.dumps({"channel": "error", "data": text}))
    await until(lambda: world.executor.reception.errors >= 2)
    world.wire.answers.set()
    await outcomes([ticket])
    rests = submit(resting_order(price="99000"))
    await outcomes([rests])
    world.set_price("BTC", "98000")
    await until(lambda: str(rests.cloid) not in world.executor.core.intents.resting_cloids())
    world.set_price("BTC", "100000")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Step]]:
    """The runs, recorded once."""
    return asyncio.run(recorded())


def test_live_runs_with_faults_and_a_recovery_replay(runs: dict[int, list[Step]]) -> None:
    assert sorted(runs) == [1, 2, 3]
    for steps in runs.values():
        taken = list(replay(steps))
        assert taken == [None] * (len(steps) - 1)
    seen = Counter(step.event for steps in runs.values() for step in steps)
    never = {kind.__name__ for kind in get_args(ev.Event)} - seen.keys()
    assert never <= {"OrderGone", "LookUpFailed"}, "these runs hold almost all that can happen"


def test_a_run_replays_from_its_export_and_up_to_any_step(runs: dict[int, list[Step]]) -> None:
    exported = [msgspec.json.decode(msgspec.json.encode(step), type=Step) for step in runs[1]]
    assert exported == runs[1]
    for length in (1, 2, len(exported) // 2, len(exported)):
        assert divergences(exported[:length]) == []


# ------------------------------------------------------------------------------------------------- one field changed


def of_move(change: Callable[[Any, Random], Any]) -> Change:
    """Change one transition of a step."""

    def changed(step: Step, draw: Random) -> Step | None:
        if not step.moves:
            return None
        place = draw.randrange(len(step.moves))
        moves = list(step.moves)
        moves[place : place + 1] = change(moves[place], draw)
        return replace(step, moves=tuple(moves))

    return changed


def of_effect(change: Callable[[dict[str, Any], Random], list[dict[str, Any]] | None]) -> Change:
    """Change one effect of a step."""

    def changed(step: Step, draw: Random) -> Step | None:
        places = [place for place, effect in enumerate(step.effects) if change(dict(effect), draw) is not None]
        if not places:
            return None
        place = draw.choice(places)
        effects = list(step.effects)
        effects[place : place + 1] = change(dict(effects[place]), draw) or []
        return replace(step, effects=tuple(effects))

    return changed


def field_of_effect(kind: str, name: str, change: Callable[[Any], Any]) -> Change:
    """Change one field of an effect of this kind."""
    return of_effect(
        lambda effect, _: (
            [effect | {name: change(effect[name])}] if effect["type"] == kind and effect[name] is not None else None
        )
    )


def of_fact(
    event: str, name: str, change: Callable[[Any], Any], *, where: Callable[[Step], bool] = lambda _: True
) -> Change:
    """Change one fact of an event of this kind, in steps in which it matters."""
    return lambda step, _: (
        replace(step, facts=step.facts | {name: change(step.facts[name])})
        if step.event == event and step.facts[name] is not None and where(step)
        else None
    )


def asks_for(kind: str) -> Callable[[Step], bool]:
    """Steps with an effect of this kind."""
    return lambda step: any(effect["type"] == kind for effect in step.effects)


def swap_neighbours(step: Step, draw: Random) -> Step | None:
    """The order of two transitions."""
    places = [place for place in range(len(step.moves) - 1) if step.moves[place] != step.moves[place + 1]]
    if not places:
        return None
    place, moves = draw.choice(places), list(step.moves)
    moves[place], moves[place + 1] = moves[place + 1], moves[place]
    return replace(step, moves=tuple(moves))


def another_event(step: Step, draw: Random) -> Step | None:
    """Another kind of event; between two that left no trace there is nothing to tell them apart."""
    if not (step.moves or step.effects):
        return None
    return replace(step, event=draw.choice([name for name in EVENTS if name != step.event]))


def sends_an_order(step: Step) -> bool:
    """Steps that allot a nonce and an expiry."""
    return any(effect.get("expires_ms") is not None for effect in step.effects)


ends_an_intent = asks_for("IntentEnded")


def decides_its_queue(step: Step) -> bool:
    """Orders that are sent and may be reduce-only or not: those that close a position are, whatever they say."""
    request = step.facts["request"]
    return request.get("price") not in (None, NEVER_SENT) and not request["flatten"]


def answered(step: Step) -> bool:
    """Replies with results that ended items."""
    return ends_an_intent(step) and bool(step.facts["reply"].get("results"))


def has_an_oid(step: Step) -> bool:
    """Replies to orders, the first of which was taken."""
    return answered(step) and "oid" in step.facts["reply"]["results"][0]


def first_result(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], Any]:
    """Change what a reply says of its first item."""
    return lambda reply: reply | {"results": [change(reply["results"][0]), *reply["results"][1:]]}


def settles(step: Step) -> bool:
    """Recoveries with orders whose fate is not known."""
    return step.event == "Recovered" and any(post["items"] for post in step.facts["posts"])


def recovered_row(part: str, name: str, change: Callable[[Any], Any]) -> Change:
    """Change what was taken up of the run before."""

    def changed(posts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        place = next(place for place, post in enumerate(posts) if post["items"])
        post = posts[place]
        row = post["row"] if part == "row" else post["items"][0]
        new = row | {name: change(row[name])}
        post |= {"row": new} if part == "row" else {"items": [new, *post["items"][1:]]}
        return [*posts[:place], post, *posts[place + 1 :]]

    return of_fact("Recovered", "posts", lambda posts: changed(deepcopy(posts)), where=settles)


EVENTS: Final = sorted(kind.__name__ for kind in get_args(ev.Event))
REJECTED: Final = {"type": "Rejected", "reason": "no"}
CHANGES: Final[dict[str, Change]] = {
    "seq": lambda step, draw: replace(step, seq=step.seq + draw.choice((-1, 1, 7))),
    "event": another_event,
    "cause gone": lambda step, _: None if step.cause is None else replace(step, cause=None),
    "cause earlier": lambda step, _: None if step.cause is None else replace(step, cause=step.cause - 1),
    "cause made up": lambda step, _: replace(step, cause=step.seq - 1) if step.cause is None else None,
    "move gone": of_move(lambda move, _: []),
    "move twice": of_move(lambda move, _: [move, move]),
    "moves in another order": swap_neighbours,
    "move: machine": of_move(lambda move, _: [replace(move, machine="post" if move.machine != "post" else "intent")]),
    "move: key": of_move(lambda move, draw: [replace(move, key=move.key + draw.choice((-1, 1, 1_000)))]),
    "move: event": of_move(lambda move, _: [replace(move, event="reset")]),
    "move: source": of_move(lambda move, _: [replace(move, source=f"{move.source}s")]),
    "move: target": of_move(lambda move, _: [replace(move, target=move.source)] if move.target != move.source else []),
    "effect gone": of_effect(lambda effect, _: []),
    "effect twice": of_effect(lambda effect, _: [effect, effect]),
    "effect: type": of_effect(lambda effect, _: [effect | {"type": "Halted"}] if effect["type"] != "Halted" else []),
    "Transmit: nonce": field_of_effect("Transmit", "nonce", lambda nonce: nonce + 1),
    "Transmit: kind": field_of_effect("Transmit", "kind", lambda kind: "noop" if kind != "noop" else "order"),
    "Transmit: items": field_of_effect("Transmit", "items", lambda items: [{"intent": 1}] if not items else items[1:]),
    "Transmit: expiry": field_of_effect("Transmit", "expires_ms", lambda expires: expires + 1),
    "Transmit: fence of": field_of_effect("Transmit", "fence_of", lambda post: post + 1),
    "IntentEnded: intent": field_of_effect("IntentEnded", "intent", lambda _: {"intent": 1_000}),
    "IntentEnded: outcome": field_of_effect("IntentEnded", "outcome", lambda _: {"type": "Filled", "oid": 1}),
    "IntentEnded: proof": field_of_effect("IntentEnded", "settled_by", lambda _: "the order stream, they say"),
    "IntentUnknown: reason": field_of_effect("IntentUnknown", "reason", lambda _: "who knows"),
    "LookUp: key": field_of_effect("LookUp", "key", lambda _: cloid(99)),
    "Admitted: admission": field_of_effect("Admitted", "admission", lambda _: "inflight_full"),
    "PostWritten: post": of_fact("PostWritten", "post_id", lambda post: post + 1),
    "PostWritten: signed nonce": of_fact("PostWritten", "signed_nonce", lambda nonce: nonce + 1),
    "reply: post": of_fact("ReplyReceived", "post_id", lambda post: post + 1_000, where=answered),
    "reply: connection": of_fact("ReplyReceived", "epoch", lambda epoch: epoch + 1, where=answered),
    "reply: result": of_fact("ReplyReceived", "reply", first_result(lambda _: REJECTED), where=has_an_oid),
    "reply: oid": of_fact("ReplyReceived", "reply", first_result(lambda one: one | {"oid": 5}), where=has_an_oid),
    "reply: kind": of_fact("ReplyReceived", "reply", lambda _: {"type": "Refused", "reason": "no"}, where=answered),
    "look-up: record": of_fact("LookedUp", "record", lambda record: record | {"oid": 5}, where=ends_an_intent),
    "look-up: status": of_fact(
        "LookedUp",
        "record",
        lambda record: record | {"status": "canceled"},
        where=lambda step: ends_an_intent(step) and step.facts["record"]["status"] == "open",
    ),
    "look-up: traded": of_fact(
        "LookedUp",
        "record",
        lambda record: record | {"traded": "0.005"},
        where=lambda step: ends_an_intent(step) and step.facts["record"]["status"] == "filled",
    ),
    "Submit: reduce-only": of_fact(
        "Submit",
        "request",
        lambda request: request | {"reduce_only": not request["reduce_only"]},
        where=decides_its_queue,
    ),
    "StopTripped: reason": of_fact("StopTripped", "reason", lambda _: "dinner", where=asks_for("Halted")),
    "ConnectionLost: reason": of_fact("ConnectionLost", "reason", lambda _: "rain", where=asks_for("IntentUnknown")),
    "recovered: post": recovered_row("row", "post_id", lambda post: post + 1),
    "recovered: nonce": recovered_row("row", "nonce", lambda nonce: nonce + 1),
    "recovered: answered": recovered_row("row", "answered", lambda told: not told),
    "recovered: intent": recovered_row("items", "seq", lambda seq: seq + 100),
    "recovered: same key": of_fact("Recovered", "same_key", lambda same: not same, where=settles),
    "unix time": lambda step, _: replace(step, unix_ms=step.unix_ms + 60_000) if sends_an_order(step) else None,
    "monotonic time": lambda step, _: (
        replace(step, monotonic_ms=step.monotonic_ms + 1) if sends_an_order(step) else None
    ),
    "monotonic time that falls": lambda step, _: replace(step, monotonic_ms=step.monotonic_ms - 1_000_000),
}
"""One field a kind; None where the step has no such field, or where a change of it means nothing."""


def changed_copies(runs: dict[int, list[Step]], kind: str) -> Iterator[tuple[Step, list[Step]]]:
    """Copies of runs with one step changed, at places drawn by the seed; the changed step comes first."""
    draw, change = Random(f"{SEED} {kind}"), CHANGES[kind]
    places = [(run, place) for run, steps in runs.items() for place in range(1, len(steps))]
    draw.shuffle(places)
    found = 0
    for run, place in places:
        step = runs[run][place]
        copy = change(step, draw)
        if copy is not None and copy != step:
            yield copy, [*runs[run][:place], copy, *runs[run][place + 1 :]]
            found += 1
            if found == COPIES:
                return


def rejected(steps: list[Step]) -> bool:
    """Whether a replay finds something wrong."""
    try:
        return divergences(steps) != []
    except NotReplayable:
        return True


@pytest.mark.parametrize("kind", CHANGES)
def test_a_record_with_one_field_changed_is_rejected(runs: dict[int, list[Step]], kind: str) -> None:
    count = 0
    for step, copy in changed_copies(runs, kind):
        count += 1
        assert rejected(copy), f"accepted: {step}"
    assert count > 0, "it was tried"


def test_a_step_that_is_missing_twice_or_elsewhere_is_found(runs: dict[int, list[Step]]) -> None:
    draw, steps = Random(SEED), runs[1]
    for place in draw.sample(range(2, len(steps) - 1), 6):
        before, step, after = steps[:place], steps[place], steps[place + 1 :]
        renumbered = [replace(later, seq=later.seq - 1) for later in after]
        for copy in ([*before, *after], [*before, step, step, *after], [*before[:-1], step, before[-1], *after]):
            assert rejected(copy)
        assert rejected([*before, *renumbered]) or not (step.moves or step.effects), "a step without any trace"


def test_what_differs_is_named(runs: dict[int, list[Step]]) -> None:
    steps = runs[1]
    place = next(place for place, step in enumerate(steps) if step.event == "PostWritten")
    copy = [*steps[:place], replace(steps[place], cause=None), *steps[place + 1 :]]
    (divergence,) = divergences(copy)
    assert str(divergence) == f"step {place}: cause: recorded None, replayed {steps[place].cause}"
    assert len(list(replay(copy))) == place, "it ends there"


# ------------------------------------------------------------------------------------------------- no record of a run


def test_a_record_without_its_beginning_says_what_to_do(runs: dict[int, list[Step]]) -> None:
    with pytest.raises(NotReplayable, match=r"begins with step 5 \(\w+\), not with .* replay a younger run"):
        divergences(runs[1][5:])
    with pytest.raises(NotReplayable, match="not with the first step of a run"):
        divergences([replace(runs[1][0], seq=1), *runs[1][1:]])


def test_an_empty_record_says_what_to_do() -> None:
    with pytest.raises(NotReplayable, match="holds no step; replay a run that has some"):
        divergences([])


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"run_id": "no number"},
        {"run_id": 5},
        {"settings": []},
        {"settings": {"inflight_limit": "many"}},
        {"settings": {"post_timeout_ms": 1}},
        {"last_nonce": None},
        {"last_seq": "1"},
    ],
    ids=str,
)
def test_a_run_that_can_not_have_begun_so_says_what_to_do(runs: dict[int, list[Step]], facts: dict[str, Any]) -> None:
    began = replace(runs[1][0], facts=runs[1][0].facts | facts if facts else {})
    with pytest.raises(NotReplayable, match=r"step 0: no run begins so: .*hip3 journal verify"):
        divergences([began, *runs[1][1:]])


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        ("Dance", {}),
        (BEGAN, {}),
        ("Tick", {"tempo": 3}),
        ("Submit", {}),
        ("Submit", {"request": {"type": "Wish"}}),
        ("Submit", {"request": {"type": "Order", "market": "BTC"}}),
        ("Submit", {"request": {"type": []}}),
        ("Submit", {"request": {"market": "BTC"}}),
        ("Recovered", {}),
        ("Recovered", {"posts": None, "never_sent": [], "same_key": True, "lost_cancels": []}),
        ("Recovered", {"posts": [{"row": {}, "items": []}], "never_sent": [], "same_key": True, "lost_cancels": []}),
        ("Recovered", {"posts": [], "never_sent": ["x"], "same_key": True, "lost_cancels": []}),
    ],
    ids=str,
)
def test_a_step_that_no_executor_writes_says_what_to_do(event: str, facts: dict[str, Any]) -> None:
    with pytest.raises(NotReplayable, match=r"step 7: .*hip3 journal verify"):
        event_of(Step(seq=7, unix_ms=0, monotonic_ms=0, event=event, facts=facts))


def test_no_nonsense_in_a_record_is_more_than_a_divergence(runs: dict[int, list[Step]]) -> None:
    """Any fact of any kind of event replaced by junk: rejected, or carried along, but never an error of ours."""
    draw = Random(SEED)
    junk: list[Any] = [None, -1, 10**30, "", "x", [], {}, {"type": "Order"}, True, [[]], {"post": 1}]
    by_event = {step.event: (run, place) for run, steps in runs.items() for place, step in enumerate(steps) if place}
    for event, (run, place) in sorted(by_event.items()):
        steps = runs[run]
        for name in steps[place].facts:
            changed = replace(steps[place], facts=steps[place].facts | {name: draw.choice(junk)})
            assert rejected([*steps[:place], changed]) in (True, False), event
