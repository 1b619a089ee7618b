"""What happens when …: each answer states what the core really did, and the story tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pytest

from adapters.diagram.scenarios import PLOTS, Plot, scenarios
from adapters.diagram.stage import PlotBroken, Stage
from adapters.journal import Move
from machines import events as ev
from machines.hard_stop import MISSING_ORDER
from machines.inflight import InflightState
from machines.intent import Cancel, IntentState, Priority, Rejected, Resting
from machines.post import QUARANTINE_MS, TIMEOUT_MS
from machines.session import SessionState
from spec.invariants import violations
from tests.machines.builders import order, reduce_only


def played(plot: Plot) -> Stage:
    stage = Stage(plot.settings)
    plot.play(stage)
    return stage


def moves(stage: Stage, machine: str, key: int = 0) -> list[str]:
    """The events that moved one thing, in order."""
    return [move.event for step in stage.steps for move in step.moves if (move.machine, move.key) == (machine, key)]


def at(stage: Stage, machine: str, key: int, event: str) -> int:
    """When something happened to one thing, in ms."""
    (found,) = [
        step.monotonic_ms
        for step in stage.steps
        for move in step.moves
        if (move.machine, move.key, move.event) == (machine, key, event)
    ]
    return found


def ends(stage: Stage) -> list[tuple[Priority, IntentState]]:
    """How the strategy's intents stand."""
    return [(intent.priority, intent.state) for intent in stage.intents]


def told(stage: Stage, seq: int) -> int:
    """How often the owner of an intent was told its outcome."""
    effects = [effect for step in stage.steps for effect in step.effects if effect["type"] == "IntentEnded"]
    return [effect["intent"]["intent"] for effect in effects].count(seq)


def carriers(stage: Stage) -> list[list[int]]:
    """The intents of each post sent, in order; none for a fence."""
    sent = [effect for step in stage.steps for effect in step.effects if effect["type"] == "Transmit"]
    return [[item["intent"] for item in effect["items"]] for effect in sent]


def fences(stage: Stage) -> list[int]:
    sent = [effect for step in stage.steps for effect in step.effects if effect["type"] == "Transmit"]
    return [effect["fence_of"] for effect in sent if effect["fence_of"] is not None]


NEW, REDUCE, CANCEL = Priority.NEW_ORDER, Priority.REDUCE_ONLY, Priority.CANCEL


def fills(stage: Stage) -> None:
    written = next(step for step in stage.steps if step.event == "PostWritten")
    assert Move("inflight", 0, "acquire", "idle", "normal") in written.moves, "as its frame is handed over"
    assert moves(stage, "post", 2) == ["send", "ack"]
    assert moves(stage, "inflight") == ["acquire", "release"]
    assert ends(stage) == [(NEW, IntentState.FILLED)]
    assert told(stage, 1) == 1


def unanswered(stage: Stage) -> None:
    assert moves(stage, "post", 2) == ["send", "time_out"]
    assert moves(stage, "inflight") == ["acquire", "quarantine", "acquire", "release", "clear"]
    assert fences(stage) == [2]
    assert moves(stage, "settlement", 2) == ["fence", "fence_won"]
    assert ends(stage) == [(NEW, IntentState.NOT_EXECUTED)]
    assert stage.intents[0].attempts == (2,), "not sent again"
    assert stage.core.idle
    written, ended = at(stage, "post", 2, "send"), at(stage, "post", 2, "time_out")
    assert (ended - written, at(stage, "inflight", 0, "clear") - ended) == (TIMEOUT_MS, QUARANTINE_MS)
    assert at(stage, "settlement", 2, "fence_won") < at(stage, "inflight", 0, "clear"), "the fence does not free it"


def ran(stage: Stage) -> None:
    assert moves(stage, "post", 2) == ["send", "disconnect"]
    assert moves(stage, "inflight")[:2] == ["acquire", "quarantine"]
    assert stage.core.inflight.quarantined == 1
    assert moves(stage, "settlement", 2) == ["fence", "spend", "find"]
    assert moves(stage, "intent", 1) == ["enqueue", "post", "lose", "fill"]
    assert ends(stage) == [(REDUCE, IntentState.FILLED)]
    assert stage.intents[0].settled_by == "the venue's record"
    assert stage.intents[0].attempts == (2,), "not sent again"


def never_ran(stage: Stage) -> None:
    assert moves(stage, "settlement", 2) == ["fence", "fence_won"]
    assert moves(stage, "intent", 1) == ["enqueue", "post", "lose", "return_", "post", "fill"]
    assert stage.core.inflight.quarantined == 1, "the fence does not free the slot"
    assert carriers(stage) == [[1], [], [1, 3], [2]], "before a later reduce-only order, and before the new order"
    assert [priority for priority, _ in ends(stage)] == [REDUCE, NEW, REDUCE]


def still_queued(stage: Stage) -> None:
    assert moves(stage, "intent", 2) == ["enqueue", "post", "fill"], "untouched by the drop"
    assert carriers(stage) == [[2], [1]], "before the new order that was submitted first"
    events = [step.event for step in stage.steps]
    (ready,) = (number for number, step in enumerate(stage.steps) if "synced" in [move.event for move in step.moves])
    writes = [number for number, event in enumerate(events) if event == "PostWritten"]
    assert events.index("ConnectionOpened") < writes[0] < ready < writes[1]
    idle = [step for step in stage.steps[:ready] if step.event == "Tick" and not step.effects]
    assert idle, "a tick passes in which the new order waits, though a connection is open"
    assert stage.core.session.state is SessionState.READY


def cancel_lost(stage: Stage) -> None:
    lost = next(step for step in stage.steps if step.event == "ConnectionLost")
    assert Move("intent", 2, "return_", "posted", "queued") in lost.moves, "at once"
    assert fences(stage) == []
    assert stage.intents[1].attempts == (3, 4)
    assert ends(stage) == [(NEW, IntentState.RESTING), (CANCEL, IntentState.CANCELED)]


def turned_away(stage: Stage) -> None:
    assert moves(stage, "post", 2) == moves(stage, "post", 3) == ["send", "fail"]
    assert moves(stage, "inflight") == ["acquire", "release"] * 3
    assert moves(stage, "intent", 1) == ["enqueue", "post", "abandon"]
    assert moves(stage, "intent", 2) == ["enqueue", "post", "return_", "post", "fill"]
    assert fences(stage) == []


def error_unclear(stage: Stage) -> None:
    assert moves(stage, "post", 2) == ["send", "fail"]
    assert moves(stage, "inflight")[:2] == ["acquire", "release"]
    assert moves(stage, "intent", 1) == ["enqueue", "post", "lose", "rest"]
    assert fences(stage) == [2]
    assert ends(stage) == [(NEW, IntentState.RESTING)]


def limit(stage: Stage) -> None:
    assert moves(stage, "inflight") == ["acquire", "acquire", "acquire", "release", "acquire"]
    assert stage.core.inflight.state is InflightState.FULL
    asked = [effect["admission"] for step in stage.steps for effect in step.effects if effect["type"] == "Admitted"]
    assert asked == ["queued", "queued", "queued_degraded", "queued", "queued_degraded", "inflight_full"]
    held, cancel = stage.intents[2], stage.intents[4]
    assert (held.priority, held.state) == (NEW, IntentState.QUEUED)
    assert (cancel.priority, cancel.state, cancel.attempts) == (CANCEL, IntentState.POSTED, (5,))
    idle = [n for n, step in enumerate(stage.steps) if step.event == "Tick" and not step.effects]
    full = next(n for n, step in enumerate(stage.steps) if "full" in [move.target for move in step.moves])
    assert len(idle) == 2, "nothing is sent: the new order while degraded, the cancel while full"
    assert idle[0] < full < idle[1]


def halted(stage: Stage) -> None:
    assert ends(stage) == [
        (NEW, IntentState.NOT_EXECUTED),
        (REDUCE, IntentState.FILLED),
        (CANCEL, IntentState.CANCELED),
    ]
    admissions = [e["admission"] for step in stage.steps for e in step.effects if e["type"] == "Admitted"]
    assert admissions == ["queued", "queued", "queued", "halted"]
    assert stage.core.hard_stop.tripped
    assert carriers(stage) == [[3], [2]]


CHECKS: Final[Mapping[str, Callable[[Stage], None]]] = {
    "an order is placed and fills": fills,
    "a post is not answered in time, and never ran": unanswered,
    "the socket drops while a reduce-only order is in flight, and the order ran": ran,
    "the socket drops while a reduce-only order is in flight, and the order never ran": never_ran,
    "the socket drops while a reduce-only order is still queued": still_queued,
    "a cancel is lost with the connection": cancel_lost,
    "the venue answers with an error that proves that nothing ran": turned_away,
    "the venue answers with an error that proves nothing": error_unclear,
    "the inflight limit is reached and a slot comes back": limit,
    "the hard stop trips while orders are queued": halted,
}


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.title)
def test_the_core_does_what_the_answer_states(plot: Plot) -> None:
    stage = played(plot)
    CHECKS[plot.title](stage)
    assert list(violations(stage.core.snapshot(intents=stage.intents))) == []


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.title)
def test_the_story_tells_all_that_moved(plot: Plot) -> None:
    (story,) = [scenario.story for scenario in scenarios() if scenario.title == plot.title]
    recorded = [move for step in played(plot).steps for move in step.moves]
    assert [move for line in story.lines for move in line.moves] == recorded
    assert story.lines[0].at_ms == 0


def test_a_queued_reduce_only_order_ends_if_the_socket_drops_while_shutting_down() -> None:
    stage = Stage()
    stage.submit(reduce_only())
    stage.handle(ev.DrainStarted())
    assert ends(stage) == [(REDUCE, IntentState.QUEUED)]
    stage.drop()
    assert ends(stage) == [(REDUCE, IntentState.NOT_EXECUTED)]
    assert moves(stage, "inflight") == [], "it had no slot"


def test_a_reduce_only_order_that_never_ran_and_is_wanted_no_more_is_not_sent_again() -> None:
    stage = Stage()
    cloid = f"0x{1:032x}"
    stage.submit(reduce_only(cloid=cloid))
    stage.send()
    stage.drop()
    stage.submit(Cancel(market=stage.intents[0].market, cloid=cloid))
    stage.connect()
    stage.accept(stage.send(), Rejected(MISSING_ORDER))
    stage.accept(stage.send())
    assert moves(stage, "settlement", 2) == ["fence", "fence_won"]
    assert stage.intents[0].state is IntentState.NOT_EXECUTED
    assert stage.intents[0].attempts == (2,), "not sent again"


def test_they_are_the_same_each_time() -> None:
    assert scenarios() == scenarios()


def test_plot_that_does_not_fit_the_machines_is_told() -> None:
    stage = Stage()
    with pytest.raises(PlotBroken, match="a post was expected to be due, and none is"):
        stage.send()
    with pytest.raises(PlotBroken, match="waits for none"):
        stage.wait()
    stage.submit(order())
    stage.accept(stage.send(), Resting(8))
    assert stage.handle(ev.TimePassed()) == []
