"""The simulator can fail: each mistake that a rule of settlement.md forbids is found, and for the right reason."""

from __future__ import annotations

from itertools import count

import pytest

from adapters.simulation import simulate
from tests.simulation.mistakes import MISTAKES, Mistake

HOURS = 0.05
PATIENCE = 120
"""Runs within which a mistake has to show; most show in the first few."""


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"rule {mistake.rule}: {mistake.put_back.__name__}")
def test_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake.put_back(monkeypatch)
    for seed in count():
        assert seed < PATIENCE, "not found"
        failure = simulate(seed, HOURS).failure
        if failure is not None:
            assert failure.name in mistake.breaks, f"{failure.name}: {failure.detail}"
            return
