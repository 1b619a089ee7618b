"""Breadth-first search through every state that a scenario's world can be in.

Each state is taken up once; all that can happen in it is tried on a copy of its own. So a search that ends has seen
everything within the scenario's bounds, and the first state in which something is wrong comes with the shortest way
to it. From every state a settled one must be reachable, or the executor can be stuck.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from adapters.verification.abstraction import key_of
from adapters.verification.copying import copy_of
from adapters.verification.small_venue import PromiseBroken
from adapters.verification.world import Choice, Scenario, World
from machines.catalogue import observing
from machines.errors import MachinesError

Move: TypeAlias = tuple[Enum, Enum, Enum]
"""A row that was taken: event, source, target."""

MOST_STATES: Final = 200_000
"""No scenario comes near; a search that goes on is one whose states never repeat."""


class SearchFailed(Exception):
    """Something is wrong in a state; the message has the way to it."""


@dataclass(slots=True)
class Found:
    """What a search has seen.

    Attributes:
        states: Distinct states.
        steps: Transitions between them.
        depth: Steps to the farthest.
        settled: States in which everything has ended.
        seen: What happened, and in how many steps.
        moves: Rows of the tables that were taken.
        views: What `view` made of the states, if it was given: distinct values.
    """

    states: int = 0
    steps: int = 0
    depth: int = 0
    settled: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    moves: set[Move] = field(default_factory=set)
    views: set[Any] = field(default_factory=set)


class Search:
    """One search."""

    def __init__(self, scenario: Scenario, view: Callable[[World], Any] | None = None) -> None:
        """Prepare a search; `view` projects each state, to count what it makes of them."""
        self._scenario = scenario
        self._view = view
        self._found = Found()
        self._numbers: dict[bytes, int] = {}
        self._came_from: list[tuple[int, Choice]] = []
        self._depths = array("I")
        self._settled: list[int] = []
        self._edges_from, self._edges_to = array("I"), array("I")
        self._frontier: deque[tuple[int, World]] = deque()

    def run(self) -> Found:
        """Search to the end.

        Raises:
            SearchFailed: Something is wrong in a state, or from one no settled state can be reached.
        """
        with _moves_noted(self._found.moves):
            self._meet(World(self._scenario), 0, ("begin",))
            while self._frontier:
                self._take_up(*self._frontier.popleft())
        self._check_all_settle()
        self._found.states = len(self._numbers)
        self._found.settled = len(self._settled)
        return self._found

    def _take_up(self, number: int, world: World) -> None:
        choices = list(world.choices())
        for choice in choices:
            # The last one needs no copy: the state is not taken up again.
            after = world if choice is choices[-1] else copy_of(world)
            try:
                after.take(choice)
                reached = self._meet(after, number, choice)
            except (PromiseBroken, MachinesError) as error:
                raise self._failed(str(error), number, choice) from error
            self._found.steps += 1
            self._found.seen.update(after.seen)
            self._edges_from.append(number)
            self._edges_to.append(reached)

    def _meet(self, world: World, before: int, choice: Choice) -> int:
        key = key_of(world)
        number = self._numbers.get(key)
        if number is not None:
            return number
        number = self._numbers[key] = len(self._numbers)
        if number >= MOST_STATES:
            raise self._failed(f"more than {MOST_STATES} states: is a number or a time kept as it is?", before, choice)
        world.check_everything()
        self._came_from.append((before, choice))
        depth = self._depths[before] + 1 if number else 0
        self._depths.append(depth)
        self._found.depth = depth
        if world.settled:
            self._settled.append(number)
        if self._view is not None:
            self._found.views.add(self._view(world))
        self._frontier.append((number, world))
        return number

    def _check_all_settle(self) -> None:
        """Go back from the settled states: whatever is not met on the way is stuck."""
        before: list[list[int]] = [[] for _ in self._numbers]
        for source, target in zip(self._edges_from, self._edges_to, strict=True):
            before[target].append(source)
        settles = bytearray(len(before))
        ahead = list(self._settled)
        while ahead:
            number = ahead.pop()
            if not settles[number]:
                settles[number] = True
                ahead += before[number]
        stuck = settles.find(0)
        if stuck >= 0:
            number, choice = self._came_from[stuck]
            raise self._failed(f"stuck: {settles.count(0)} states from which nothing settles", number, choice)

    def _failed(self, what: str, number: int, choice: Choice) -> SearchFailed:
        way = [choice]
        while number:
            number, choice = self._came_from[number]
            way.append(choice)
        told = "; ".join(" ".join(map(str, step)) for step in reversed(way))
        return SearchFailed(f"{self._scenario.name}: {what}, after: {told}")


@contextmanager
def _moves_noted(moves: set[Move]) -> Iterator[None]:
    def note(_: object, event: Enum, source: Enum, target: Enum) -> None:
        moves.add((event, source, target))

    with observing(note):
        yield
