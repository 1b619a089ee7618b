"""The suite can find bugs: every mistake that a finding forbids, put back, is found (findings.md)."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import Phase

from machines.errors import MachinesError
from tests.stateful.mistakes import MISTAKES, Mistake
from tests.stateful.record import run

FOUND: Final = (AssertionError, MachinesError, pytest.fail.Exception)
"""How a mistake shows: a check fails, or a machine refuses. Anything else would be an error of the patch."""

FINDINGS: Final = {
    *(f"N{number}" for number in range(1, 6)),
    *(f"B{number}" for number in range(1, 8)),
    *(f"P{number}" for number in range(1, 8)),
    *(f"I{number}" for number in range(1, 3)),
    *(f"D{number}" for number in range(1, 4)),
    *(f"X{number}" for number in range(1, 10)),
}
NOT_BUILT: Final = {"X3": "no quarantine in the core so far, hence nothing that could be mistaken about it"}


def test_every_finding_has_a_mistake() -> None:
    assert {mistake.finding for mistake in MISTAKES} == FINDINGS - set(NOT_BUILT)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.finding}-{mistake.put_back.__name__}")
def test_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake.put_back(monkeypatch)
    with pytest.raises(FOUND):
        run(
            mistake.machine,
            max_examples=400,
            stateful_step_count=25,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
        )
