"""An overlay counts every move once, measures what the record tells, and hides nothing that it can't place."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.diagram.marks import Kind
from adapters.diagram.overlay import MachineUse, Overlay, Times, _Count, document, overlay, overlay_of, told
from adapters.diagram.reading import installed, read
from adapters.diagram.scenarios import PLOTS
from adapters.diagram.stage import Stage
from adapters.journal import Move, Step
from adapters.trace import UnreadableTrace
from machines import events as ev
from tests.adapters.recorded import played, record
from tests.machines.builders import order

CHARTS = read(installed()).charts


def step(at_ms: int, event: str, *moves: Move, effects: tuple[dict[str, object], ...] = ()) -> Step:
    """A step of a trace made by hand."""
    return Step(unix_ms=at_ms, monotonic_ms=at_ms, event=event, moves=moves, effects=effects)


def transmit(post: int, *items: int) -> dict[str, object]:
    return {"type": "Transmit", "post": {"post": post}, "items": [{"intent": item} for item in items]}


def of(found: Overlay, machine: str) -> MachineUse:
    (use,) = (use for use in found.machines if use.chart.name == machine)
    return use


# --------------------------------------------------------------------------------------------------- made by hand

BEGAN = Step(unix_ms=0, monotonic_ms=1_000, event="Began", facts={"run_id": "0"})
WAITS = {1: (10, 200), 2: (15, 300), 3: (20, 400), 4: (5, 5_000)}
"""Of each post: ms until it was written, and until it ended; the last one timed out."""


def by_hand() -> list[Step]:
    """Four posts with one order each, one after another."""
    steps, now = [BEGAN], 1_000
    for number, (until_written, until_ended) in WAITS.items():
        answered = number != 4
        steps.append(step(now, "Submit", Move("intent", number, "enqueue", "accepted", "queued")))
        now += 100
        steps.append(step(now, "Tick", effects=(transmit(number, number),)))
        now += until_written
        posted = (Move("post", number, "send", "queued", "sent"), Move("intent", number, "post", "queued", "posted"))
        steps.append(step(now, "PostWritten", *posted))
        now += until_ended
        if answered:
            ended = (Move("post", number, "ack", "sent", "acked"), Move("intent", number, "rest", "posted", "resting"))
            steps.append(step(now, "ReplyReceived", *ended))
        else:
            lost = (Move("post", 4, "time_out", "sent", "timed_out"), Move("intent", 4, "lose", "posted", "unknown"))
            steps.append(step(now, "TimePassed", *lost))
    steps.append(step(now + 7, "Tick", Move("settlement", 4, "fence", "unknown", "fencing"), effects=(transmit(5),)))
    return steps


def test_times_of_a_trace_made_by_hand() -> None:
    found = overlay([(1, by_hand())], CHARTS)
    post, intent = of(found, "post"), of(found, "intent")
    assert post.transitions["send", "queued", "sent"].note == "4 ×, median 10 ms, p99 20 ms"
    assert post.transitions["ack", "sent", "acked"].note == "3 ×, median 300 ms, p99 400 ms"
    assert post.transitions["time_out", "sent", "timed_out"].note == "1 ×, 5,000 ms"
    assert post.states["sent"].note == "4 ×, median 300 ms, p99 5,000 ms"
    assert post.states["queued"].note == "5 ×, median 10 ms, p99 20 ms", "the fence is still in hand"
    assert post.states["acked"].note == "3 ×"
    assert intent.states["accepted"].note == "4 ×, median 0 ms, p99 0 ms"
    assert intent.states["queued"].note == "4 ×, median 110 ms, p99 120 ms"
    assert intent.states["unknown"].note == "1 ×", "a stay that has not ended"
    settlement = of(found, "settlement")
    assert settlement.transitions["fence", "unknown", "fencing"].note == "1 ×, 7 ms", "since its post was lost"
    assert (post.moves, intent.moves, settlement.moves) == (8, 12, 1)
    assert (found.runs, found.steps, found.foreign) == ((1,), len(by_hand()), {})


def test_a_state_that_is_not_left_goes_on() -> None:
    """A move from a state to itself ends no stay, and has its time since the stay began."""
    moves = {0: ("acquire", "idle", "normal"), 30: ("acquire", "normal", "normal"), 70: ("release", "normal", "idle")}
    steps = [BEGAN, *(step(1_000 + at, "Tick", Move("inflight", 0, *move)) for at, move in moves.items())]
    use = of(overlay([(1, steps)], CHARTS), "inflight")
    assert use.transitions["acquire", "normal", "normal"].note == "1 ×, 30 ms"
    assert use.transitions["release", "normal", "idle"].note == "1 ×, 70 ms"
    assert use.states["normal"].note == "1 ×, 70 ms"


def test_stays_end_with_their_run() -> None:
    first = [BEGAN, step(1_100, "ConnectStarted", Move("session", 0, "connect", "disconnected", "connecting"))]
    retired = [step(9_000, "ConnectionOpened", Move("session", 0, "open", "connecting", "syncing"))]
    use = of(overlay([(1, first), (2, retired)], CHARTS), "session")
    assert use.transitions["connect", "disconnected", "connecting"].note == "1 ×, 100 ms"
    assert use.transitions["open", "connecting", "syncing"].note == "1 ×", "counted, but not timed"
    assert use.states["connecting"].count == 2


def test_moves_of_no_table_are_reported() -> None:
    odd = Move("post", 1, "teleport", "queued", "acked")
    newer = Move("weather", 0, "rain", "dry", "wet")
    found = overlay([(1, [step(1, "Tick", odd, newer), step(2, "Tick", newer)])], CHARTS)
    assert found.foreign == {("post", ("teleport", "queued", "acked")): 1, ("weather", ("rain", "dry", "wet")): 2}
    lines = told(found).splitlines()
    assert lines[-3].startswith("Moves that no table of this version has")
    assert [line.split() for line in lines[-2:]] == [
        ["post.teleport", "queued", "→", "acked", "1"],
        ["weather.rain", "dry", "→", "wet", "2"],
    ]
    assert document(found)["foreign"][1] == {
        "machine": "weather", "event": "rain", "source": "dry", "target": "wet", "count": 2,
    }  # fmt: skip


def test_changed_step_is_told_with_its_number() -> None:
    bad = Step(seq=3, unix_ms=0, monotonic_ms=0, event="Tick", effects=({"type": "Transmit"},))
    with pytest.raises(UnreadableTrace, match=r"run 7, step 3 \(Tick\) is not what an executor writes"):
        overlay([(7, [bad])], CHARTS)


# --------------------------------------------------------------------------------------------------- played and read


def test_all_plots_are_counted_as_recorded(tmp_path: Path) -> None:
    runs = [list(played(plot.title).steps) for plot in PLOTS]
    found = overlay_of(record(tmp_path / "runs", *runs), CHARTS)
    recorded = Counter(
        (move.machine, move.event, move.source, move.target) for run in runs for s in run for move in s.moves
    )
    counted = {(m.chart.name, *key): use.count for m in found.machines for key, use in m.transitions.items()}
    assert {key: count for key, count in counted.items() if count} == recorded
    assert found.runs == tuple(range(1, len(PLOTS) + 1))
    assert overlay_of(tmp_path / "runs", CHARTS, run=2).steps == len(runs[1])


def test_settlement_of_what_an_earlier_run_left_begins_with_the_run() -> None:
    row = {"row": {"post_id": 4}, "items": [{"seq": 9}]}
    recovered = Step(
        unix_ms=0,
        monotonic_ms=1_000,
        event="Recovered",
        facts={"posts": [row, {"row": {"post_id": 5}, "items": []}], "never_sent": [], "lost_cancels": []},
        moves=(Move("post", 4, "disconnect", "sent", "disconnected"),),
    )
    spent = step(1_040, "TimePassed", Move("settlement", 4, "spend", "unknown", "looking_up"))
    found = overlay([(2, [recovered, spent])], CHARTS)
    assert of(found, "settlement").transitions["spend", "unknown", "looking_up"].note == "1 ×, 40 ms"
    assert of(found, "settlement").states["unknown"].count == 1
    assert of(found, "post").transitions["disconnect", "sent", "disconnected"].note == "1 ×", "sent in another run"


def test_memory_grows_with_what_is_open_only() -> None:
    """After fifty orders, lost and settled one after another, nothing of them is left."""
    stage = Stage()
    for _ in range(50):
        stage.submit(order(tif="Ioc"))
        stage.send()
        stage.drop()
        stage.connect()
        stage.accept(stage.send())
    counted = _Count(CHARTS)
    counted.begin(1)
    for taken in stage.steps:
        counted.take(taken)
    assert {thing[0] for thing in counted._stays} <= {"session", "inflight", "hard_stop"}
    assert counted._carriers == {}


# ------------------------------------------------------------------------------------------------------ times, marks


@given(st.lists(st.integers(0, 30), min_size=1), st.sampled_from([1, 50, 99, 100]))
def test_nearest_rank_of_a_sorted_list(values: list[int], percent: int) -> None:
    times = Times(Counter(values))
    assert times.nearest_rank(percent) == sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def test_nothing_measured_has_no_median() -> None:
    assert (Times().median_ms, Times().p99_ms, Times().count) == (None, None, 0)


def test_marks_show_counts_on_one_logarithmic_scale() -> None:
    found = overlay([(1, by_hand())], CHARTS)
    marks = found.marks(of(found, "post"))
    send, ack = marks.of_transition(("send", "queued", "sent")), marks.of_transition(("ack", "sent", "acked"))
    assert send.weight == 1.0, "with intents' the most"
    assert ack.weight == pytest.approx(math.log(4) / math.log(5))
    assert send.note == "4 ×, median 10 ms, p99 20 ms"
    assert marks.of_transition(("fail", "sent", "failed")).kind is Kind.UNUSED
    assert marks.of_state("unsent").kind is Kind.UNUSED
    assert marks.of_state("acked").kind is Kind.PLAIN
    stop = found.marks(of(found, "hard_stop"))
    assert {mark.kind for mark in stop.transitions.values()} == {Kind.UNUSED}
    assert stop.of_state("armed").note == "1 ×"


def test_a_run_without_moves_has_marks() -> None:
    found = overlay([(1, [BEGAN])], CHARTS)
    assert {m.kind for machine in found.machines for m in found.marks(machine).transitions.values()} == {Kind.UNUSED}


def test_events_that_only_ask_are_no_moves() -> None:
    stage = Stage()
    stage.handle(ev.BudgetReported(1, 100))
    assert sum(machine.moves for machine in overlay([(1, stage.steps)], CHARTS).machines) == 0
