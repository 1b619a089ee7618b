"""Runs real code with unknown numbers, and follows every way that it can go.

A `Number` stands for an integer that is not known, a `Truth` for what is said of one. Code computes with them as
with integers. Where it branches on a `Truth`, z3 says which ways are possible under everything decided before, and
`explore` runs the code again for each. So when `explore` is through, whatever was observed on none of the ways happens
for **no** integers, however large: that is a proof, as long as the code has no loop whose length depends on an unknown
(`explore` gives up with an error if it seems to have one).

What proves a machine here is its own code: its table, its guards and its effects, run by its own engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import z3  # type: ignore[import-untyped]  # ships no type information; nothing else here imports it

# The end of the process frees all that z3 holds. Its own clean-up at that moment was seen to run for ever.
z3.main_ctx().owner = False

T = TypeVar("T")

MOST_WAYS: Final = 10_000
"""The machines have a few dozen; more means a loop that depends on an unknown."""
MOST_DECISIONS: Final = 1_000
"""On one way; for the same reason."""


class Undecidable(Exception):
    """z3 could not tell whether a way is possible, or the ways have no end; nothing is proven."""


class Unknowns:
    """One run of the code: its unknowns, and the ways it took at its branches."""

    def __init__(self, solver: Any, decided: tuple[bool, ...]) -> None:
        """Repeat the decisions `decided`, then take each new branch the first possible way."""
        self.others: list[tuple[bool, ...]] = []
        self._solver = solver
        self._decided = decided
        self._taken: list[bool] = []
        self._numbers: dict[str, Number] = {}

    @property
    def decisions(self) -> tuple[bool, ...]:
        """The ways it took so far."""
        return tuple(self._taken)

    def number(self, name: str) -> Number:
        """The unknown integer `name`; the same for the same name."""
        return self._numbers.setdefault(name, Number(self, z3.Int(name)))

    def example(self) -> str:
        """Numbers that lead this way."""
        self._may_be(z3.BoolVal(True))
        model = self._solver.model()
        return ", ".join(
            f"{name} = {model.eval(number.term, model_completion=True)}" for name, number in self._numbers.items()
        )

    def decide(self, term: Any) -> bool:
        """Which way to go at a branch on `term`."""
        if len(self._taken) >= MOST_DECISIONS:
            raise Undecidable(f"more than {MOST_DECISIONS} decisions on one way: does the code loop over an unknown?")
        if len(self._taken) < len(self._decided):
            way = self._decided[len(self._taken)]
        else:
            way = self._may_be(term)
            if way and self._may_be(z3.Not(term)):
                self.others.append((*self._taken, False))
        self._taken.append(way)
        self._solver.add(term if way else z3.Not(term))
        return way

    def _may_be(self, term: Any) -> bool:
        answer = self._solver.check(term)
        if answer == z3.unknown:
            raise Undecidable(f"z3 can't tell whether {term} is possible: {self._solver.reason_unknown()}")
        return bool(answer == z3.sat)


def explore(code: Callable[[Unknowns], T], start: tuple[bool, ...] = ()) -> Iterator[T]:
    """Run `code` once for every way that it can go; yields what each returned.

    `code` must begin from scratch each time, and depend on nothing but its unknowns. With `start`, the `decisions` of
    an earlier run of code that begins in the same way, only the ways that begin with these are followed.

    Raises:
        Undecidable: Nothing is proven.
    """
    solver = z3.Solver()
    ahead = [start]
    for _ in range(MOST_WAYS):
        if not ahead:
            return
        run = Unknowns(solver, ahead.pop())
        solver.push()
        yield code(run)
        solver.pop()
        ahead += run.others
    raise Undecidable(f"more than {MOST_WAYS} ways: does the code loop over an unknown?")


class Truth:
    """Something said of unknowns; asked whether it holds, it goes both ways."""

    __hash__ = None  # type: ignore[assignment]  # equal only by decision

    def __init__(self, run: Unknowns, term: Any) -> None:
        self._run = run
        self.term = term

    def __bool__(self) -> bool:
        return self._run.decide(self.term)

    def __eq__(self, other: object) -> Truth:  # type: ignore[override]  # what it says is not known
        return Truth(self._run, self.term == _term(other))

    def __ne__(self, other: object) -> Truth:  # type: ignore[override]  # what it says is not known
        return Truth(self._run, self.term != _term(other))


class Number:
    """An integer that is not known. It has no hash and no index: code that needs one can't be run with it."""

    __hash__ = None  # type: ignore[assignment]  # equal only by decision

    def __init__(self, run: Unknowns, term: Any) -> None:
        self._run = run
        self.term = term

    def __repr__(self) -> str:
        return str(self.term)

    def __bool__(self) -> bool:
        return self._run.decide(self.term != 0)

    def __add__(self, other: Number | int) -> Number:
        return Number(self._run, self.term + _term(other))

    __radd__ = __add__

    def __sub__(self, other: Number | int) -> Number:
        return Number(self._run, self.term - _term(other))

    def __rsub__(self, other: Number | int) -> Number:
        return Number(self._run, _term(other) - self.term)

    def __neg__(self) -> Number:
        return Number(self._run, -self.term)

    def __abs__(self) -> Number:
        return -self if self < 0 else self

    def __lt__(self, other: Number | int) -> Truth:
        return Truth(self._run, self.term < _term(other))

    def __le__(self, other: Number | int) -> Truth:
        return Truth(self._run, self.term <= _term(other))

    def __gt__(self, other: Number | int) -> Truth:
        return Truth(self._run, self.term > _term(other))

    def __ge__(self, other: Number | int) -> Truth:
        return Truth(self._run, self.term >= _term(other))

    def __eq__(self, other: object) -> Truth:  # type: ignore[override]  # whether they are equal is not known
        comparable = isinstance(other, Number | int)
        return Truth(self._run, self.term == _term(other) if comparable else z3.BoolVal(False))

    def __ne__(self, other: object) -> Truth:  # type: ignore[override]  # whether they are equal is not known
        return Truth(self._run, z3.Not((self == other).term))


def _term(value: object) -> Any:
    return value.term if isinstance(value, Number | Truth) else value
