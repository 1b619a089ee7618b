"""Level `trace`: recorded runs are runs of the machines, and a record that was tampered with is found out.

A demo is recorded on real sockets, and runs of the simulator with every fault in them. Each is replayed through fresh
machines, and read by TLC with `spec/TraceExecutor.tla`. Then single fields of a good record are changed, one a copy,
and both have to reject every copy.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from adapters.journal import Step
from adapters.replay import NotReplayable, replay
from adapters.simulation.world import Simulation
from adapters.trace import trace_of
from adapters.verification.level import Check, CheckFailed, Options, check
from adapters.verification.tlc import Tlc, TlcUnavailable, find_tlc
from adapters.verification.trace_tla import accepted_change, check_trace

_SEED: Final = 20_261_122
_COPIES_A_KIND: Final = 2
_LINES: Final = 150
"""So many steps of the demo are copied and changed; every kind of step is among them."""
_SIMULATED: Final = 3
_SIMULATED_MS: Final = 120_000


def run_trace(_: Options) -> Iterator[Check]:
    """Record, replay, let TLC read, and tamper."""
    try:
        tlc: Tlc | None = find_tlc()
        reason = ""
    except TlcUnavailable as unavailable:
        tlc, reason = None, str(unavailable)
    demo: list[Step] = []
    yield check("a demo, recorded now, replays", lambda: _demo(demo))
    simulated: list[list[Step]] = []
    yield check("simulated runs with every fault replay", lambda: _simulated(simulated))
    names = (
        ("TLC reads the demo as steps of the model", lambda found: _read(found, [demo])),
        ("TLC reads the simulated runs as steps of the model", lambda found: _read(found, simulated)),
        ("changed copies are rejected, by the replay and by TLC", lambda found: _tampered(found, demo)),
    )
    for name, body in names:
        if tlc is None:
            yield Check(name, "not_run", 0.0, reason)
        else:
            yield check(name, lambda body=body, tlc=tlc: body(tlc))  # type: ignore[misc]


def _demo(kept: list[Step]) -> str:
    with TemporaryDirectory(prefix="hip3-trace-") as folder:
        journal = Path(folder) / "demo.journal"
        command = [sys.executable, "-m", "adapters.cli", "demo", "--journal", str(journal)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)  # noqa: S603 our own
        if done.returncode:
            raise CheckFailed(f"the demo ended with exit code {done.returncode}: {done.stdout[-1_000:]}")
        with trace_of(journal) as runs:
            kept.extend(step for _, steps in runs for step in steps)
    return _replayed([kept])


def _simulated(kept: list[list[Step]]) -> str:
    for seed in range(_SEED, _SEED + _SIMULATED):
        world = Simulation(seed)
        world.suffer(_SIMULATED_MS)
        # A restart begins a new record; the one that is there is of the last run.
        kept.append([msgspec.json.decode(step, type=Step) for step in world.disk.steps])
    return _replayed(kept)


def _replayed(runs: Sequence[Sequence[Step]]) -> str:
    for run in runs:
        for divergence in replay(run):
            if divergence is not None:
                raise CheckFailed(str(divergence))
    return f"{len(runs)} runs, {sum(map(len, runs))} steps"


def _read(tlc: Tlc, runs: Sequence[Sequence[Step]]) -> str:
    if not runs or not runs[0]:
        raise CheckFailed("there is no record to read")
    for run in runs:
        refused = check_trace(tlc, run)
        if refused is not None:
            raise CheckFailed(refused)
    return f"{len(runs)} runs, {sum(map(len, runs))} lines"


def _tampered(tlc: Tlc, run: Sequence[Step]) -> str:
    run = run[:_LINES]
    changes = list(changed_fields(run, _SEED))
    for what, place, step in changes:
        if not _differs([*run[:place], step, *run[place + 1 :]]):
            raise CheckFailed(f"the replay accepts a changed {what}")
    accepted = accepted_change(tlc, run, [(place, step) for _, place, step in changes])
    if accepted is not None:
        raise CheckFailed(f"TLC accepts a changed {changes[accepted][0]}")
    return f"{len(changes)} copies, each with one field changed, all rejected by both"


def _differs(run: Sequence[Step]) -> bool:
    try:
        return any(divergence is not None for divergence in replay(run))
    except NotReplayable:
        return True


# ---------------------------------------------------------------------------------------------- changing one field


def changed_fields(run: Sequence[Step], seed: int) -> Iterator[tuple[str, int, Step]]:
    """Single fields of single steps, changed to what they can't be: what was changed, its place, and the step."""
    draw = Random(seed)  # noqa: S311 it must be repeatable, and guards nothing
    for name, (fits, change) in _CHANGES.items():
        places = [place for place, step in enumerate(run) if place and fits(step)]
        for place in draw.sample(places, min(_COPIES_A_KIND, len(places))):
            step = run[place]
            yield f"{name} of step {step.seq}", place, change(step)


def _of_move(name: str, change: Callable[[Any], Any]) -> Callable[[Step], Step]:
    def changed(step: Step) -> Step:
        move = step.moves[-1]
        return replace(step, moves=(*step.moves[:-1], replace(move, **{name: change(getattr(move, name))})))

    return changed


def _of_fact(name: str, change: Callable[[Any], Any]) -> Callable[[Step], Step]:
    return lambda step: replace(step, facts={**step.facts, name: change(step.facts[name])})


def _of_effect(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Step], Step]:
    return lambda step: replace(step, effects=(*step.effects[:-1], change(dict(step.effects[-1]))))


def _ends_something(step: Step) -> bool:
    return bool(step.effects) and step.effects[-1]["type"] == "IntentEnded"


def _answers(step: Step) -> bool:
    return step.event == "ReplyReceived" and bool(step.moves) and step.facts["reply"]["type"] == "Accepted"


def _is_handed_over(step: Step) -> bool:
    return step.event == "PostWritten"


def _moves(step: Step) -> bool:
    return bool(step.moves)


_CHANGES: Final[dict[str, tuple[Callable[[Step], bool], Callable[[Step], Step]]]] = {
    "seq": (_moves, lambda step: replace(step, seq=step.seq + 1)),
    "event": (_is_handed_over, lambda step: replace(step, event="SendRefused")),
    "event of an answer": (_answers, lambda step: replace(step, event="TimePassed")),
    "cause": (_is_handed_over, lambda step: replace(step, cause=(step.cause or 0) - 1)),
    "post_id": (_is_handed_over, _of_fact("post_id", lambda post: post + 1)),
    "post_id of an answer": (_answers, _of_fact("post_id", lambda post: post + 1_000)),
    "epoch": (_is_handed_over, _of_fact("epoch", lambda epoch: epoch + 1)),
    "epoch of an answer": (_answers, _of_fact("epoch", lambda epoch: epoch + 1)),
    "reply": (_answers, _of_fact("reply", lambda _: {"type": "Refused", "reason": "no"})),
    "machine of a move": (_moves, _of_move("machine", lambda machine: "session" if machine == "post" else "post")),
    "key of a move": (_ends_something, _of_move("key", lambda key: key + 1_000)),
    "event of a move": (_moves, _of_move("event", lambda _: "reset")),
    "source of a move": (_moves, _of_move("source", lambda _: "armed")),
    "target of a move": (_moves, _of_move("target", lambda _: "tripped")),
    "type of an effect": (_ends_something, _of_effect(lambda effect: {**effect, "type": "IntentUnknown"})),
    "intent of an effect": (
        _ends_something,
        _of_effect(lambda effect: {**effect, "intent": {"intent": effect["intent"]["intent"] + 1}}),
    ),
}
