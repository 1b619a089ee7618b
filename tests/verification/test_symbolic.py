"""Code over unknown numbers: every way is followed, none that is impossible, and endless code proves nothing."""

from __future__ import annotations

import pytest

from adapters.verification import symbolic
from adapters.verification.symbolic import Undecidable, Unknowns, explore


def test_every_way_is_followed_once() -> None:
    def grade(run: Unknowns) -> str:
        x, y = run.number("x"), run.number("y")
        if x < y:
            return "less"
        return "same" if x == y else "more"

    assert sorted(explore(grade)) == ["less", "more", "same"]


def test_impossible_ways_are_not() -> None:
    def contradiction(run: Unknowns) -> bool:
        x = run.number("x")
        return bool(x > 3 and x + 1 < 3)

    assert set(explore(contradiction)) == {False}


def test_arithmetic_is_that_of_integers() -> None:
    def laws(run: Unknowns) -> bool:
        x, y = run.number("x"), run.number("y")
        same = x + y == y + x and 5 - x == -(x - 5) and abs(x) >= 0 and (x if x else 0) == x
        return bool(same and x != x + 1 and not x < x and x <= x and (x > y) == (y < x))

    assert set(explore(laws)) == {True}


def test_nothing_but_a_number_equals_a_number() -> None:
    assert list(explore(lambda run: bool(run.number("x") == None))) == [False]  # noqa: E711 the comparison is meant


def test_example_leads_the_way() -> None:
    def example(run: Unknowns) -> str:
        x = run.number("x")
        return run.example() if x > 6 and x < 8 else ""

    assert "x = 7" in set(explore(example))


def test_start_follows_the_ways_that_begin_so() -> None:
    def beginning(run: Unknowns) -> tuple[bool, ...]:
        return run.decisions if run.number("x") > 0 else ()

    def whole(run: Unknowns) -> str:
        x = run.number("x")
        if x > 0:
            return "one" if x == 1 else "more"
        return "none"

    start = next(way for way in explore(beginning) if way)
    assert sorted(explore(whole, start)) == ["more", "one"]


def test_endless_code_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "MOST_DECISIONS", 20)

    def count_up(run: Unknowns) -> None:
        x = run.number("x")
        while x > 0:
            x = x + 1

    with pytest.raises(Undecidable, match="more than 20 decisions on one way"):
        list(explore(count_up))


def test_too_many_ways_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "MOST_WAYS", 20)
    with pytest.raises(Undecidable, match="more than 20 ways"):
        list(explore(lambda run: [bool(run.number("x") == value) for value in range(30)]))


def test_number_is_no_index_and_no_key() -> None:
    with pytest.raises(TypeError):
        list(explore(lambda run: [1][run.number("x")]))  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        list(explore(lambda run: {run.number("x")}))
