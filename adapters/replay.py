"""A recorded run, replayed through fresh machines: each step must move and ask for exactly what was recorded.

The steps of a journal, or of the NDJSON that `hip3 journal export` writes, are given to a new core, at the times that
they had. What that core then does is recorded by the same recorder, and compared with the record, field by field. So a
record that says something else than the machines do, by a changed field or by changed machines, is found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args

from msgspec import Struct, convert

from adapters.journal import Changes, Step
from adapters.journal.memory import KeptSteps
from adapters.recorder import BEGAN, Recorder, recovered_event
from machines import events as ev
from machines import intent, reply, settlement
from machines.clock import ManualClock
from machines.errors import MachinesError
from machines.executor import ExecutorCore
from machines.settings import CoreSettings

_EVENTS: Final[dict[str, type[Any]]] = {kind.__name__: kind for kind in get_args(ev.Event)}
_PARTS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        *get_args(intent.Request),
        intent.Trigger,
        *get_args(intent.ItemResult),
        *get_args(reply.PostReply),
        settlement.OrderRecord,
    )
}
"""What an event is made of; the record names each by its type."""
_MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, MachinesError)
"""What comes of fields that are missing, too many, or not what they should be."""
_COMPARED: Final = ("seq", "event", "facts", "moves", "effects", "cause")


_ADVICE: Final = (
    "the record was changed (`hip3 journal verify` tells, of a journal), or another version of this program wrote it"
)


class NotReplayable(Exception):
    """The record is not one of a whole run, or holds what no executor writes; the message says which step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Divergence:
    """Where a replay and its record part.

    Attributes:
        seq: The step.
        field: What differs.
        recorded: What the record says.
        replayed: What the machines did.
    """

    seq: int
    field: str
    recorded: object
    replayed: object

    def __str__(self) -> str:
        return f"step {self.seq}: {self.field}: recorded {self.recorded!r}, replayed {self.replayed!r}"


class _Began(Struct):
    """What the first step of a run says (`Recorder.begin`)."""

    settings: CoreSettings
    run_id: str
    last_nonce: int
    last_post_id: int
    last_seq: int


class Replay:
    """One run, step by step.

    Attributes:
        core: The machines as they are after the steps taken.
        steps: How many were taken.
    """

    def __init__(self, began: Step) -> None:
        """Begin as the run began, by its first step.

        Raises:
            NotReplayable: It is not the first step of a run.
        """
        if began.event != BEGAN or began.seq != 0:
            raise NotReplayable(
                f"the record begins with step {began.seq} ({began.event}), not with the first step of a run; the "
                "beginning may be gone by retention: replay a younger run"
            )
        self._clock = ManualClock(began.unix_ms, began.monotonic_ms)
        try:
            facts = convert(began.facts, _Began)
            self.core = ExecutorCore(
                self._clock,
                facts.settings,
                run_id=int(facts.run_id, 16),
                last_nonce=facts.last_nonce,
                last_post_id=facts.last_post_id,
                last_seq=facts.last_seq,
            )
        except _MALFORMED as error:
            raise NotReplayable(f"step 0: no run begins so: {type(error).__name__}: {error}; {_ADVICE}") from error
        self._kept = KeptSteps(1)
        self._kept.append([began], Changes())
        self._recorder = Recorder(self.core, self._kept, self._clock, recorded=1)
        self.steps = 1

    def take(self, recorded: Step) -> Divergence | None:
        """Take the next step; says where it parts from the record, if it does.

        Raises:
            NotReplayable: The step holds what no executor writes.
        """
        event = event_of(recorded)
        unix_ms, monotonic_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        if recorded.monotonic_ms < monotonic_ms:
            return Divergence(recorded.seq, "monotonic_ms", recorded.monotonic_ms, f"at least {monotonic_ms}")
        self._clock.advance(recorded.monotonic_ms - monotonic_ms)
        self._clock.step_unix(recorded.unix_ms - unix_ms - (recorded.monotonic_ms - monotonic_ms))
        try:
            with self._recorder.watching():
                effects = self.core.handle(event)
        except Exception as error:  # whatever the machines say to a step that never was
            return Divergence(recorded.seq, "event", recorded.event, f"{type(error).__name__}: {error}")
        self._recorder.record(event, effects)
        self._recorder.commit()
        self.steps += 1
        replayed = self._kept.steps[-1]
        for name in _COMPARED:
            if getattr(recorded, name) != getattr(replayed, name):
                return Divergence(recorded.seq, name, getattr(recorded, name), getattr(replayed, name))
        return None


def replay(steps: Iterable[Step]) -> Iterator[Divergence | None]:
    """Replay a run; yields once a step, and ends with the first one that differs.

    Raises:
        NotReplayable: See `Replay`.
    """
    rest = iter(steps)
    began = next(rest, None)
    if began is None:
        raise NotReplayable("the record holds no step; replay a run that has some (`hip3 journal show` lists them)")
    run = Replay(began)
    for step in rest:
        divergence = run.take(step)
        yield divergence
        if divergence is not None:
            return


def event_of(step: Step) -> ev.Event:
    """The event that a step records.

    Raises:
        NotReplayable: There is no such event, or it has not these fields.
    """
    kind = _EVENTS.get(step.event)
    if kind is None:
        raise NotReplayable(f"step {step.seq}: there is no event {step.event!r}; {_ADVICE}")
    try:
        made: ev.Event = recovered_event(step.facts) if kind is ev.Recovered else _of(kind, step.facts)
    except _MALFORMED as error:
        what = f"{step.event} with fields that it can't have: {type(error).__name__}: {error}"
        raise NotReplayable(f"step {step.seq}: {what}; {_ADVICE}") from error
    return made


def _of(kind: type[Any], facts: dict[str, Any]) -> Any:
    return kind(**{name: _part(value) for name, value in facts.items()})


def _part(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_part(item) for item in value)
    if isinstance(value, dict):
        fields = {name: part for name, part in value.items() if name != "type"}
        return _of(_PARTS[value["type"]], fields)
    return value
