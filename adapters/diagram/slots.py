"""When an inflight slot comes back: each way in which a post can end, run on the real core until its slot is free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from adapters.diagram.stage import PlotBroken, Stage
from machines import events as ev
from machines.intent import Order, Resting
from machines.post import POST, PostEvent
from machines.reply import Accepted, GatewayError

_POST: Final = 2
"""The id of a plot's first post; the noop that proved the key was the first of all."""
_FINAL: Final = frozenset(state.value for state in POST.final)


@dataclass(frozen=True, slots=True)
class Ending:
    """A way in which a post ends, and what becomes of its slot.

    Attributes:
        event: What ends it: `time_out`.
        state: The state in which it ends: `timed_out`.
        slot: What happens to its slot in that step: `quarantine`; empty if it never had one.
        freed: What frees the slot later, by the clock alone: `clear`; empty if nothing is left to free.
        after_ms: How long after the end of the post that is.
        by_reply: What frees it if the post's own reply comes late; empty if nothing is left to free.
    """

    event: str
    state: str
    slot: str
    freed: str
    after_ms: int
    by_reply: str


def _answered(stage: Stage) -> None:
    stage.accept(stage.send(), Resting(8))


def _failed(stage: Stage) -> None:
    stage.answer(stage.send(), GatewayError("429 Too Many Requests"))


def _timed_out(stage: Stage) -> None:
    stage.send()
    stage.wait()


def _disconnected(stage: Stage) -> None:
    stage.send()
    stage.drop()


def _refused(stage: Stage) -> None:
    post = stage.due()
    stage.handle(ev.SendRefused(post.post_id, "no socket"))


_PLAYS: Final[Mapping[PostEvent, Callable[[Stage], None]]] = {
    PostEvent.ACK: _answered,
    PostEvent.FAIL: _failed,
    PostEvent.TIME_OUT: _timed_out,
    PostEvent.DISCONNECT: _disconnected,
    PostEvent.REFUSE: _refused,
}


def endings() -> tuple[Ending, ...]:
    """All ways in which a post can end, run now.

    Raises:
        PlotBroken: A post did not end as expected, or its slot is never freed.
    """
    return tuple(_ending(event, play) for event, play in _PLAYS.items())


def _ending(event: PostEvent, play: Callable[[Stage], None]) -> Ending:
    stage, late = _played(play), _played(play)
    ended, state = next(
        (step, move.target)
        for step in reversed(stage.steps)
        for move in step.moves
        if (move.machine, move.key) == ("post", _POST)
    )
    if state not in _FINAL:
        raise PlotBroken(f"{event.value} was expected to end a post, and leaves it {state}")
    slot = [move.event for move in ended.moves if move.machine == "inflight"]
    begun, passed = len(stage.steps), 0
    while stage.core.inflight.occupied:
        passed += stage.wait()
    if late.core.inflight.occupied:
        late.answer(late.sent[-1], Accepted((Resting(8),)))
    return Ending(event.value, state, "".join(slot), _frees(stage, begun), passed, _frees(late, begun))


def _played(play: Callable[[Stage], None]) -> Stage:
    stage = Stage()
    stage.submit(Order(market="xyz:TSLA", side="buy", size="2", price="400"))
    play(stage)
    return stage


def _frees(stage: Stage, begun: int) -> str:
    return "".join(move.event for step in stage.steps[begun:] for move in step.moves if move.machine == "inflight")
