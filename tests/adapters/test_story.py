"""Stories are told from the record alone, and leave nothing of their subject out."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.diagram.stage import Stage
from adapters.journal import Move, Step
from adapters.journal.reading import Subject
from adapters.recorder import BEGAN
from adapters.said import Party, numbers, said_by_effect, said_by_event
from adapters.story import Chapter, Line, NotInTrace, Story, mermaid, story_of
from adapters.trace import UnreadableTrace
from machines import events as ev
from machines.intent import Cancel, Canceled, Modify, Resting
from machines.post import TIMEOUT_MS
from machines.reply import Accepted, Refused
from tests.adapters.live import cloid, live, resting_order, steps_of
from tests.adapters.recorded import played, record
from tests.machines.builders import order, reduce_only

ALLOTTED = f"0x{0xABC:016x}{1:016x}"
"""The cloid that a stage's core gives its first order."""


def began(stage: Stage) -> list[Step]:
    """The steps of a stage, as a run that its record has from its beginning."""
    first = stage.steps[0]
    return [replace(first, seq=0, event=BEGAN, facts={"run_id": f"{0xABC:016x}"}, moves=(), effects=()), *stage.steps]


def texts(story: Story) -> list[str]:
    return [f"{line.parties}: {line.text}" for line in story.lines]


def moved(story: Story) -> list[str]:
    return [words for line in story.lines for words in line.moved]


# ---------------------------------------------------------------------------------------------------------- of a post


def test_story_of_a_post_has_its_intents_and_its_fence_and_nothing_else(tmp_path: Path) -> None:
    stage = played("and the order never ran")
    story = story_of(record(tmp_path / "runs", stage.steps), 2)
    assert story.title == "Post 2; intent 1; fence 3"
    assert texts(story)[:5] == [
        "strategy → executor: sell 2 xyz:TSLA at 395, Gtc, reduce-only",
        "executor → strategy: intent 1: queued",
        "executor → wire: post 2: order of intent 1",
        "wire → venue: frame of post 2, on connection 1",
        "wire → executor: the connection is lost: reset by the venue",
    ]
    assert "executor → wire: post 3: noop with the nonce of post 2, its fence" in texts(story)
    assert "executor → wire: post 4: order of intents 1, 3" in texts(story), "which carries its intent again"
    assert texts(story)[-1] == "executor → strategy: intent 1: filled 2 at 400, oid 7"
    assert not any("intent 2" in text or "intent 3" in text.replace("intents 1, 3", "") for text in texts(story))
    recorded = [move for step in stage.steps for move in step.moves]
    of_it = [move for move in recorded if (move.machine, move.key) in {("intent", 1), ("post", 2), ("settlement", 2)}]
    shown = [move for line in story.lines for move in line.moves]
    assert [move for move in shown if move in of_it] == of_it
    assert {(move.machine, move.key) for move in shown} - {(move.machine, move.key) for move in of_it} == {
        ("post", 3),
        ("inflight", 0),
        ("session", 0),
    }


def test_of_a_fence_the_story_of_its_post_is_told(tmp_path: Path) -> None:
    path = record(tmp_path / "runs", played("and the order never ran").steps)
    of_fence, of_post = story_of(path, 3), story_of(path, 2)
    assert of_fence.title == "Post 3, a fence of post 2; intent 1"
    assert of_fence.chapters == of_post.chapters


def test_slot_that_goes_with_another_post_is_not_in_the_story(tmp_path: Path) -> None:
    stage = Stage()
    for price in ("400", "401"):
        stage.submit(order(price=price))
        stage.send()
    stage.drop()
    story = story_of(record(tmp_path / "runs", stage.steps), 3)
    lost = story.lines[-2]
    assert lost.moved == (
        "session lose: ready → disconnected",
        "inflight quarantine: normal → normal",
        "post 3: sent → disconnected",
        "intent 2: posted → unknown",
    )
    assert len([move for move in stage.steps[-1].moves if move.machine == "inflight"]) == 2


def test_late_reply_gives_the_slot_back(tmp_path: Path) -> None:
    stage = Stage()
    stage.submit(order())
    post = stage.send()
    stage.pass_time(TIMEOUT_MS)
    stage.answer(post, Accepted((Resting(8),)))
    story = story_of(record(tmp_path / "runs", stage.steps), 2)
    assert "inflight clear: normal → idle" in moved(story)
    assert texts(story)[-1] == "executor → strategy: intent 1: resting, oid 8; shown by: its own late reply"


# --------------------------------------------------------------------------------------------------------- of an order


def test_story_of_an_order_has_its_cancel_and_both_posts(tmp_path: Path) -> None:
    stage = played("a cancel is lost")
    story = story_of(record(tmp_path / "runs", stage.steps), cloid(1))
    assert story.title == f"Order {cloid(1)}; intents 1–2; posts 2–4"
    assert [text for text in texts(story) if text.startswith("executor → strategy")] == [
        "executor → strategy: intent 1: queued",
        "executor → strategy: intent 1: resting, oid 8",
        "executor → strategy: intent 2: queued",
        "executor → strategy: intent 2: canceled",
    ]


@pytest.mark.parametrize("whole", [True, False], ids=["from its beginning", "its beginning retired"])
def test_order_is_found_by_the_cloid_that_it_was_given(tmp_path: Path, whole: bool) -> None:
    stage = played("fills")
    path = record(tmp_path / "runs", began(stage) if whole else stage.steps)
    assert story_of(path, ALLOTTED).title == f"Order {ALLOTTED}; intent 1; post 2"
    with pytest.raises(NotInTrace, match="has no order 0x0000000000000def"):
        story_of(record(tmp_path / "other", began(stage)), f"0x{0xDEF:016x}{1:016x}")


def test_cancel_and_modify_by_the_oid_belong_to_the_order(tmp_path: Path) -> None:
    stage = Stage()
    stage.submit(order(cloid=cloid(1)))
    stage.accept(stage.send(), Resting(8))
    stage.submit(Modify(order=order(cloid=cloid(2)), oid=8))
    stage.accept(stage.send(), Resting(9))
    stage.submit(Cancel(market="xyz:TSLA", oid=9))
    stage.accept(stage.send(), Canceled())
    path = record(tmp_path / "runs", stage.steps)
    assert story_of(path, cloid(1)).title == f"Order {cloid(1)}; intents 1–2; posts 2–3"
    assert story_of(path, cloid(2)).title == f"Order {cloid(2)}; intents 2–3; posts 3–4"


def test_refused_order_has_a_story_too(tmp_path: Path) -> None:
    stage = Stage()
    stage.handle(ev.StopTripped("the operator said so"))
    stage.submit(order(cloid=cloid(1)))
    story = story_of(record(tmp_path / "runs", stage.steps), cloid(1))
    assert texts(story) == [
        "strategy → executor: buy 1 xyz:TSLA at 400, Gtc, 0x0000…0001",
        "executor → strategy: refused: halted",
    ]


def test_look_up_of_another_order_of_the_post_is_not_in_the_story(tmp_path: Path) -> None:
    stage = Stage()
    for number in (1, 2):
        stage.submit(reduce_only(cloid=cloid(number)))
    stage.send()
    stage.pass_time(TIMEOUT_MS)
    stage.answer(stage.send(), Refused("Invalid nonce: duplicate nonce"))
    stage.handle(ev.TimePassed())
    path = record(tmp_path / "runs", stage.steps)
    asked = "executor → venue: what became of intent {}?"
    assert {asked.format(1), asked.format(2)} <= set(texts(story_of(path, 2)))
    of_order = texts(story_of(path, cloid(2)))
    assert asked.format(2) in of_order
    assert asked.format(1) not in of_order


def test_what_concerns_all_is_told_while_the_order_is_open_only(tmp_path: Path) -> None:
    stage = Stage()
    stage.submit(reduce_only(cloid=cloid(1)))
    stage.drop()
    stage.connect()
    stage.accept(stage.send(), Resting(8))
    stage.drop()
    story = story_of(record(tmp_path / "runs", stage.steps), cloid(1))
    assert [text for text in texts(story) if " connection is " in text] == [
        "wire → executor: the connection is lost: reset by the venue",
        "wire → executor: a new connection is open",
    ]
    assert texts(story)[-1] == "executor → strategy: intent 1: resting, oid 8"


# ---------------------------------------------------------------------------------------------------------- over runs


async def _abandoned_and_settled(path: Path) -> None:
    async with live(tick_ms=0) as world:
        world.wire.answers.clear()
        world.executor.submit(resting_order(cloid=cloid(1)))
        while not world.executor.core.inflight.count:  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.005)
        world.executor.driver.make_durable()
        await world.abandon()
        world.wire.answers.set()
        await world.restart()
        await world.executor.close()
        record(path, *steps_of(world.journal).values())


def test_story_goes_on_in_the_run_that_settles_it(tmp_path: Path) -> None:
    path = tmp_path / "executor.journal"
    asyncio.run(_abandoned_and_settled(path))
    story = story_of(path, cloid(1))
    first, second = story.chapters
    assert (first.run, second.run) == (1, 2)
    assert first.lines[-1].text.startswith("frame of post 2")
    assert second.lines[0].text == "left by an earlier run: unanswered or unsettled posts 2"
    assert second.lines[0].moved[-1] == "post 2: sent → disconnected"
    assert second.lines[-1].text.startswith("intent 1: resting, oid ")
    assert story_of(path, 2).chapters[1].lines == second.lines
    assert story_of(path, cloid(1), run=2).chapters == (second,)
    with pytest.raises(NotInTrace, match="run 3, has no post 2"):
        story_of(path, 2, run=3)


# -------------------------------------------------------------------------------------------------- records and words


def test_changed_record_is_told_with_its_step(tmp_path: Path) -> None:
    steps = list(played("fills").steps)
    steps[1] = replace(steps[1], effects=({"type": "Transmit"},))
    with pytest.raises(UnreadableTrace, match=r"run 1, step \d+ \(Tick\) is not what an executor writes: KeyError"):
        story_of(record(tmp_path / "runs", steps), 2)


def test_step_that_only_asks_for_a_post_is_about_it() -> None:
    stage = played("fills")
    (tick,) = (step for step in stage.steps if step.event == "Tick")
    assert Subject(None, frozenset(), frozenset({2})).concerns(tick)
    assert not Subject(None, frozenset(), frozenset({3})).concerns(tick)


def test_every_event_and_effect_of_the_core_was_thought_of() -> None:
    """What has no sentence is bookkeeping, or its moves tell it."""
    silent_events = {kind.__name__ for kind in ev.Event.__args__ if not _speaks(kind.__name__, said_by_event)}
    assert silent_events == {
        "BudgetReported",
        "ConnectStarted",
        "MarketsLoaded",
        "MessageWritten",
        "ServerTimeLearned",
        "Tick",
        "TimePassed",
    }
    silent = {
        kind.__name__ for kind in ev.Effect.__args__ if not _speaks(kind.__name__, lambda _, e: said_by_effect(e))
    }
    assert silent == {"DriftSeen", "PostEnded"}


def _speaks(name: str, said: Any) -> bool:
    try:
        return said(name, {"type": name}) is not None
    except KeyError:  # it wants to say something
        return True


def test_numbers_are_told_in_ranges() -> None:
    assert numbers([7, 3, 1, 2, 3, 9, 10]) == "1–3, 7, 9–10"
    assert numbers([]) == ""


NASTY = 'a; b # <b>"x"</b>\n\x1b[31m%%{init}%% end -->> $$x$$'


def test_what_a_venue_writes_breaks_neither_lines_nor_terminals_nor_mermaid(tmp_path: Path) -> None:
    stage = Stage()
    stage.submit(order())
    stage.answer(stage.send(), Refused(NASTY))
    story = story_of(record(tmp_path / "runs", stage.steps), 2)
    assert all(text.isprintable() for text in texts(story))
    drawn = mermaid(story)
    (line,) = (line for line in drawn.splitlines() if "refused" in line)
    assert "#60;b#62;" in line
    message = line.partition("->>")[2]
    assert not set('<>"$%{};#') & set(re.sub("#[0-9]+;", "", message))


def test_mermaid_of_a_story() -> None:
    move = Move("post", 3, "send", "queued", "sent")
    lines = (
        Line(4, 0, Party.WIRE, Party.VENUE, "frame of post 3", (move,)),
        Line(5, 12, Party.EXECUTOR, Party.EXECUTOR, "b"),
    )
    assert (
        mermaid(Story("Post 3", (Chapter(2, 1_700_000_000_123, lines),)))
        == """\
sequenceDiagram
    accTitle: Post 3
    participant S as strategy
    participant E as executor
    participant W as wire
    participant V as venue
    Note over S,V: run 2, from 2023-11-14 22:13:20.123 UTC
    W-)V: +0 ms frame of post 3
    Note over E: post 3: queued → sent
    E->>E: +12 ms b
"""
    )
