"""What the suite itself has done: stateful tests silence health checks, so that nothing else would show idle runs.

Three things are recorded while a state machine is explored: which of its rules fired, which transitions of the
tables were made, and which notable things were seen at least once (*sometimes* checks: a check that always passes
because nothing ever happened is worthless). `test_suite.py` judges the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import wraps
from typing import Any, ClassVar, Final, TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import seed as with_seed
from hypothesis.stateful import Bundle, RuleBasedStateMachine, get_state_machine_test
from hypothesis.stateful import rule as hypothesis_rule
from hypothesis.strategies import SearchStrategy

from machines.catalogue import observing

SEED: Final = 0
"""Of the runs that are to be the same every time.

Hypothesis mixes constants that it finds in the loaded modules into its choice of the rules that a run may use, so that
runs differ a little with what else is loaded; nothing may be found by luck, and what chance seldom finds is aimed at.
"""
Move: TypeAlias = tuple[Enum, Enum, Enum]
"""Event, source and target of a transition; the enums tell the machines apart."""


class Explorer(RuleBasedStateMachine):
    """A state machine of this suite.

    Attributes:
        effort: How many times the profile's number of examples it is worth.
        pace: How many of the profile's steps each of its own is worth.
    """

    effort: ClassVar[int] = 1
    pace: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        RECORD.runs += 1

    @classmethod
    def fixed_runs(cls) -> Iterable[Callable[[], None]]:
        """Runs that lead where chance seldom does; they come before the random ones, always."""
        return ()


class Record:
    """What happened while state machines were explored.

    Attributes:
        fired: How often each rule fired, by the names of state machine and rule.
        moves: How often each transition was made.
        seen: How often each notable thing was seen.
        explored: The state machines explored so far.
        runs: How many runs of state machines there were, failing ones included.
    """

    def __init__(self) -> None:
        self.fired: Counter[tuple[str, str]] = Counter()
        self.moves: Counter[Move] = Counter()
        self.seen: Counter[str] = Counter()
        self.explored: set[type[Explorer]] = set()
        self.runs = 0
        self._watching = False

    def rule_fired(self, machine: object, name: str) -> None:
        """A rule of a state machine ran to its end."""
        if self._watching:
            self.fired[type(machine).__name__, name] += 1

    def sometimes(self, name: str, holds: bool = True) -> None:
        """Something that has to be seen at least once was seen, if `holds`."""
        if holds and self._watching:
            self.seen[name] += 1

    def moved(self, _: object, event: Enum, source: Enum, target: Enum) -> None:
        """A transition was made."""
        self.moves[event, source, target] += 1

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record what happens inside; outside, runs that are meant to fail leave no mark."""
        self._watching = True
        try:
            with observing(self.moved):
                yield
        finally:
            self._watching = False


RECORD: Final = Record()
"""The record of this session."""


def rule(
    *, target: Bundle[Any] | None = None, **arguments: SearchStrategy[Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Hypothesis's `rule`, counted."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def counted(machine: Explorer, **facts: Any) -> Any:
            result = function(machine, **facts)
            RECORD.rule_fired(machine, function.__name__)
            return result

        targets: Any = {} if target is None else {"target": target}
        untyped: Any = hypothesis_rule
        ruled: Callable[..., Any] = untyped(**targets, **arguments)(counted)
        return ruled

    return decorate


def rules_of(machine: type[Explorer]) -> set[tuple[str, str]]:
    """The names of a state machine and of each of its rules."""
    return {(machine.__name__, rule.function.__name__) for rule in machine.setup_state().rules}


def run(machine: type[Explorer], *, seed: int | None = None, **changes: Any) -> None:
    """Run a state machine: its fixed runs, then random ones with the profile's settings, but for `changes`.

    Without a `seed`, a derandomized profile runs under `SEED`, and a random one under the session's. Raises what the
    first failing run raised.
    """
    steps = settings().stateful_step_count // machine.pace
    chosen = {"stateful_step_count": steps, "suppress_health_check": list(HealthCheck), "deadline": None, **changes}
    for fixed_run in machine.fixed_runs():
        RECORD.runs += 1
        fixed_run()
    test = get_state_machine_test(machine, settings=settings(**chosen))
    if seed is None and settings().derandomize:
        seed = SEED
    seeded: Callable[[], None] = test if seed is None else with_seed(seed)(test)
    seeded()


def explore(machine: type[Explorer]) -> None:
    """Run a state machine on the record, once a session."""
    if machine not in RECORD.explored:
        print(f"{machine.__name__}: seed {SEED if settings().derandomize else 'of the session, see the header'}")
        with RECORD.watching():
            run(machine, max_examples=machine.effort * settings().max_examples)
        RECORD.explored.add(machine)
