"""The suite can find bugs: every mistake that findings.md and settlement.md forbid, put back, is found.

`pytest -k X2` hunts the mistakes of a finding, `pytest -k rule_09` those of a rule.
"""

from __future__ import annotations

import pytest

from tests.stateful.hunt import hunt
from tests.stateful.mistakes import MISTAKES, Mistake


def test_mistakes_are_data() -> None:
    assert len({mistake.id for mistake in MISTAKES}) == len(MISTAKES) >= 50
    assert all(mistake.findings and mistake.description for mistake in MISTAKES)
    for mistake in MISTAKES:
        named = tuple(f"rule_{rule:02}" for rule in mistake.rules)
        assert mistake.id.startswith(named) if named else not mistake.id.startswith("rule_")


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: "-".join((*mistake.findings, mistake.id)))
def test_mistake_is_found(mistake: Mistake) -> None:
    assert hunt(mistake) is not None, f"survives: {mistake.description}"
