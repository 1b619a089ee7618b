"""The simulator can fail: each mistake that a rule of settlement.md forbids is found, and for the right reason."""

from __future__ import annotations

import pytest

from tests.simulation.mistakes import MISTAKES, Mistake, kill


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_mistake_is_found(mistake: Mistake) -> None:
    found = kill(mistake)
    assert found is not None
    assert found.failure.name in mistake.breaks, f"seed {found.seed}: {found.failure.name}: {found.failure.detail}"


def test_the_rules_of_journal_and_restart_each_have_a_mistake() -> None:
    rules = {rule for mistake in MISTAKES for rule in mistake.rules}
    assert rules >= {1, 2, 3, 9, 11, 13, 14, 15, 16}
    assert any("X7" in mistake.findings for mistake in MISTAKES)
    assert len({mistake.id for mistake in MISTAKES}) == len(MISTAKES)
    assert all(mistake.description.endswith(".") for mistake in MISTAKES)
