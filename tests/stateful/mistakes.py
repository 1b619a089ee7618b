"""Every mistake that findings.md and settlement.md forbid, to be put back one at a time.

`MISTAKES` is data: `hip3 verify --level mutants` puts each back and demands that the suite finds it, and the docs list
it. Of the rules that concern the journal, the parts that only a journal can show are in tests/simulation/mistakes.py:
what is written before what (rules 1 and 2).
"""

from __future__ import annotations

from typing import Final

from tests.stateful import mistakes_of_outcomes, mistakes_of_sending, mistakes_of_settlement
from tests.stateful.mistake import REGISTERED, Mistake

SOURCES: Final = (mistakes_of_sending, mistakes_of_settlement, mistakes_of_outcomes)
"""The modules that hold them; importing a module registers its mistakes."""
MISTAKES: Final[tuple[Mistake, ...]] = tuple(
    mistake for source in SOURCES for mistake in REGISTERED if mistake.put_back.__module__ == source.__name__
)
"""All of them, in this order whoever imported which module first."""

__all__ = ["MISTAKES", "SOURCES", "Mistake"]
