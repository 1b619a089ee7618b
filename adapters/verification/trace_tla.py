"""A recorded run as `TraceData.tla`, for `spec/TraceExecutor.tla` to read line by line.

Of a step the model sees its number, event and cause, the post, connection and kind of reply that the event names, the
moves, and of each effect its type and the post or intent that it concerns. Prices, sizes, cloids, reasons and times it
does not see; those the replay compares (adapters/replay.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, get_args

import spec
from adapters.journal import Step
from adapters.recorder import BEGAN
from adapters.replay import NotReplayable
from adapters.verification.tlc import Tlc, Verdict
from machines import events as ev
from machines.intent import Admission
from machines.post import PostState

_SPEC: Final = Path(spec.__file__).parent
_MODULES: Final = ("Tables.tla", "TraceExecutor.tla", "TraceExecutor.cfg", "TraceTampered.cfg")
_EFFECTS: Final = tuple(kind.__name__ for kind in get_args(ev.Effect))
_TIMEOUT_S: Final = 600.0


def check_trace(tlc: Tlc, steps: Sequence[Step]) -> str | None:
    """Let TLC read a run; says which step is none of the model's and why, or None if all are.

    Raises:
        NotReplayable: It does not begin with the first step of a run.
        TlcFailed: TLC came to no verdict.
    """
    verdict = _read(tlc, "TraceExecutor.cfg", trace_data(steps, ()))
    if verdict.violated is None:
        return None
    read = int(verdict.trace.rpartition("line = ")[2].split()[0])
    reason = verdict.trace.rpartition("refused = ")[2].partition('"')[2].partition('"')[0]
    return f"step {read + 1}: {reason or verdict.violated}"


def accepted_change(tlc: Tlc, steps: Sequence[Step], changes: Sequence[tuple[int, Step]]) -> int | None:
    """Let TLC read a copy of a run for each change of one step; the index of a change that it accepts, or None.

    Args:
        tlc: TLC.
        steps: The run.
        changes: The place of a step in the run, and what stands there in the copy.

    Raises:
        NotReplayable: It does not begin with the first step of a run.
        TlcFailed: TLC came to no verdict.
    """
    verdict = _read(tlc, "TraceTampered.cfg", trace_data(steps, changes))
    return None if verdict.violated is None else int(verdict.trace.rpartition("copy = ")[2].split()[0]) - 1


def _read(tlc: Tlc, config: str, data: str) -> Verdict:
    with TemporaryDirectory(prefix="hip3-trace-") as folder:
        for name in _MODULES:
            shutil.copy(_SPEC / name, folder)
        module = Path(folder) / "TraceExecutor.tla"
        (module.parent / "TraceData.tla").write_text(data, encoding="utf-8")
        return tlc.run(module, module.parent / config, brief=True, timeout_s=_TIMEOUT_S)


def trace_data(steps: Sequence[Step], changes: Sequence[tuple[int, Step]]) -> str:
    """The text of `TraceData.tla` for a run, and for its changed copies if there are any.

    Raises:
        NotReplayable: It does not begin with the first step of a run.
    """
    if not steps or steps[0].event != BEGAN:
        raise NotReplayable("the record does not begin with the first step of a run")
    facts = steps[0].facts
    lines = ",\n".join(_line(step) for step in steps[1:])
    copies = [f"[at |-> {place}, line |-> {_line(step)}]" for place, step in changes] or ["[at |-> 0]"]
    return (
        "----------------------------- MODULE TraceData -----------------------------\n"
        "EXTENDS Integers, TLC\n"
        f"Limit == {facts['settings']['inflight_limit']}\n"
        f"HighWatermark == {facts['settings']['high_watermark']}\n"
        f"LastPost == {facts['last_post_id']}\n"
        f"LastIntent == {facts['last_seq']}\n"
        f"Effects == {{{', '.join(map(_text, _EFFECTS))}}}\n"
        f"Trace == <<\n{lines}>>\n"
        f"Copies == {_sequence(copies)}\n"
        "=============================================================================\n"
    )


def _line(step: Step) -> str:
    facts = step.facts
    fields = {
        "seq": str(step.seq),
        "event": _text(step.event),
        "cause": str(-1 if step.cause is None else step.cause),
        "post": str(facts.get("post_id") or 0),
        "epoch": str(facts.get("epoch", -1)),
        "says": _text((facts.get("reply") or {}).get("type", "")),
        "moves": _sequence(
            _sequence((_text(m.machine), str(m.key), _text(m.event), _text(m.source), _text(m.target)))
            for m in step.moves
        ),
        "effects": _sequence(_sequence((_text(e["type"]), str(_concerned(e)))) for e in step.effects),
        **_taken_up(step),
    }
    return "[" + ", ".join(f"{name} |-> {value}" for name, value in fields.items()) + "]"


def _taken_up(step: Step) -> dict[str, str]:
    """What the line hands over of an earlier run: intents with their states, unanswered posts, and other posts."""
    posts: list[Any] = step.facts["posts"] if step.event == ev.Recovered.__name__ else []
    intents = {item["seq"]: item["state"] for post in posts for item in post["items"]}
    if posts or step.event == ev.Recovered.__name__:
        waiting = (*step.facts["never_sent"], *step.facts["lost_cancels"])
        intents |= {item["seq"]: item["state"] for item in waiting}
    open_posts = [post["row"]["post_id"] for post in posts if post["row"]["state"] == PostState.SENT.value]
    others = [post["row"]["post_id"] for post in posts if post["row"]["state"] != PostState.SENT.value]
    states = " @@ ".join(f"({seq} :> {_text(state)})" for seq, state in intents.items())
    return {"intents": states or "[x \\in {} |-> 0]", "open": _set(open_posts), "ended": _set(others)}


def _concerned(effect: dict[str, Any]) -> int:
    """The post or intent that an effect is about; 0 if none."""
    if effect["type"] == ev.Admitted.__name__:
        admitted = Admission(effect["admission"])
        return effect["intent"]["intent"] if admitted.accepted else 0
    for name in ("post", "intent"):
        if isinstance(effect.get(name), dict):
            return int(effect[name][name])
    return int(effect.get("post_id") or 0)


def _text(word: str) -> str:
    return '"' + "".join(letter for letter in word if letter.isascii() and (letter.isalnum() or letter in "_-")) + '"'


def _sequence(parts: Any) -> str:
    return "<<" + ", ".join(parts) + ">>"


def _set(numbers: Sequence[int]) -> str:
    return "{" + ", ".join(map(str, numbers)) + "}"
